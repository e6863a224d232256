//! Riders as stored.

use super::{Db, StoreError};
use crate::domain::{
    duty::Duty,
    ids::{CityCode, RiderId},
    rider::{KycStatus, RiderProfile, RiderStatus, Vehicle},
};

/// What a city needs to know of a rider, and the committed duty.
///
/// # Errors
/// [`StoreError`] when the database does not answer or a stored row cannot be read.
pub async fn profile(db: &Db, id: RiderId) -> Result<Option<(RiderProfile, Duty)>, StoreError> {
    let row =
        sqlx::query!("SELECT city, status, kyc_status, vehicle, capacity_units, duty FROM riders WHERE id = $1", id.0)
            .fetch_optional(db)
            .await?;
    let Some(row) = row else { return Ok(None) };
    let corrupt = |problem: String| StoreError::Corrupt(format!("rider {id}: {problem}"));
    let profile = RiderProfile {
        id,
        city: CityCode::parse(&row.city).map_err(|e| corrupt(e.to_string()))?,
        status: RiderStatus::parse(&row.status).map_err(|e| corrupt(e.to_string()))?,
        kyc: KycStatus::parse(&row.kyc_status).map_err(|e| corrupt(e.to_string()))?,
        vehicle: Vehicle::parse(&row.vehicle).map_err(|e| corrupt(e.to_string()))?,
        capacity_units: u32::try_from(row.capacity_units).map_err(|e| corrupt(e.to_string()))?,
    };
    let duty = Duty::parse(&row.duty).map_err(|e| corrupt(e.to_string()))?;
    Ok(Some((profile, duty)))
}
