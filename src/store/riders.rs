//! Riders as they stand in the store. Their duty is written by the journal only.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Db, StoreError};
use crate::domain::{
    duty::{Duty, DutyReason},
    ids::{CityCode, RiderId},
    rider::{KycStatus, RiderProfile, RiderStatus, Vehicle},
    tags::Tags,
    time::Timestamp,
};

/// A rider, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRider {
    /// Who.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// Mobile number, E.164.
    pub mobile: String,
    /// The city the rider works in.
    pub city: String,
    /// As [`RiderStatus`].
    pub status: String,
    /// As [`KycStatus`].
    pub kyc_status: String,
    /// As [`Vehicle`].
    pub vehicle: String,
    /// Size units that the bag or vehicle holds.
    pub capacity_units: i32,
    /// As [`Duty`], as last committed.
    pub duty: String,
    /// Since when.
    pub duty_since: Option<DateTime<Utc>>,
    /// When the rider was created.
    pub created_at: DateTime<Utc>,
    /// As [`Tags`].
    pub tags: Vec<String>,
}

/// A rider who is to be stored; active and off duty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRider {
    /// Who.
    pub id: RiderId,
    /// For people.
    pub name: String,
    /// Mobile number, E.164.
    pub mobile: String,
    /// The city the rider works in.
    pub city: CityCode,
    /// Where the documents stand.
    pub kyc: KycStatus,
    /// How the rider moves.
    pub vehicle: Vehicle,
    /// Size units that the bag or vehicle holds.
    pub capacity_units: i32,
    /// What the rider brings along or may carry.
    pub tags: Tags,
}

/// What became of a new rider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// Stored.
    Stored(Box<StoredRider>),
    /// Another rider has the mobile number.
    MobileTaken,
    /// There is no such city.
    UnknownCity,
}

/// Stores a new rider.
///
/// # Errors
/// [`StoreError`].
pub async fn insert(db: &Db, rider: &NewRider, now: Timestamp) -> Result<Inserted, StoreError> {
    let stored = sqlx::query_as!(
        StoredRider,
        r#"INSERT INTO riders (id, name, mobile, city, kyc_status, vehicle, capacity_units, created_at, updated_at, tags)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)
           ON CONFLICT (mobile) DO NOTHING
           RETURNING id, name, mobile, city, status, kyc_status, vehicle, capacity_units, duty, duty_since, created_at,
                     tags"#,
        rider.id.0,
        rider.name,
        rider.mobile,
        rider.city.as_str(),
        rider.kyc.as_str(),
        rider.vehicle.as_str(),
        rider.capacity_units,
        now.to_datetime(),
        &rider.tags.to_texts()
    )
    .fetch_optional(db)
    .await;
    match stored {
        Ok(Some(rider)) => Ok(Inserted::Stored(Box::new(rider))),
        Ok(None) => Ok(Inserted::MobileTaken),
        // riders_city_fkey is the only foreign key that an insert can break.
        Err(sqlx::Error::Database(refusal)) if refusal.is_foreign_key_violation() => Ok(Inserted::UnknownCity),
        Err(error) => Err(error.into()),
    }
}

/// One rider.
///
/// # Errors
/// [`StoreError`].
pub async fn get(db: &Db, id: RiderId) -> Result<Option<StoredRider>, StoreError> {
    Ok(sqlx::query_as!(
        StoredRider,
        r#"SELECT id, name, mobile, city, status, kyc_status, vehicle, capacity_units, duty, duty_since, created_at,
                  tags
             FROM riders WHERE id = $1"#,
        id.0
    )
    .fetch_optional(db)
    .await?)
}

/// Riders of a city with ids below `before`, newest first, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn list(db: &Db, city: &CityCode, before: Uuid, limit: i64) -> Result<Vec<StoredRider>, StoreError> {
    Ok(sqlx::query_as!(
        StoredRider,
        r#"SELECT id, name, mobile, city, status, kyc_status, vehicle, capacity_units, duty, duty_since, created_at,
                  tags
             FROM riders WHERE city = $1 AND id < $2 ORDER BY id DESC LIMIT $3"#,
        city.as_str(),
        before,
        limit
    )
    .fetch_all(db)
    .await?)
}

/// The committed duty of a rider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredDuty {
    /// In force.
    pub duty: Duty,
    /// Why, where it is known.
    pub why: Option<DutyReason>,
}

/// What cities need to know of riders, and their committed duties, read at once. A rider who is not there is left out; one whose row the domain does
/// not know how to read stands without a profile, and in the log: the others must not wait for it.
///
/// # Errors
/// [`StoreError`].
pub async fn profiles(
    db: &Db,
    ids: &[RiderId],
) -> Result<BTreeMap<RiderId, Option<(RiderProfile, StoredDuty)>>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        "SELECT id, city, status, kyc_status, vehicle, capacity_units, duty, duty_reason, tags
           FROM riders WHERE id = ANY($1)",
        &ids
    )
    .fetch_all(db)
    .await?;
    let read = rows.into_iter().map(|row| {
        let id = RiderId(row.id);
        let bad = |what: &dyn std::fmt::Display| StoreError::Corrupt(format!("rider {id}: {what}"));
        let profile = || {
            let why = row.duty_reason.as_deref().map(DutyReason::parse).transpose().map_err(|e| bad(&e))?;
            let duty = StoredDuty { duty: Duty::parse(&row.duty).map_err(|e| bad(&e))?, why };
            let profile = RiderProfile {
                id,
                city: CityCode::parse(&row.city).map_err(|e| bad(&e))?,
                status: RiderStatus::parse(&row.status).map_err(|e| bad(&e))?,
                kyc: KycStatus::parse(&row.kyc_status).map_err(|e| bad(&e))?,
                vehicle: Vehicle::parse(&row.vehicle).map_err(|e| bad(&e))?,
                capacity_units: u32::try_from(row.capacity_units).map_err(|e| bad(&e))?,
                tags: Tags::parse(&row.tags).map_err(|e| bad(&e))?,
            };
            Ok::<_, StoreError>((profile, duty))
        };
        let profile =
            profile().inspect_err(|error| tracing::error!(%error, "a rider is kept out by a row of the store"));
        (id, profile.ok())
    });
    Ok(read.collect())
}

/// The names of riders; ids of anything else are left out.
///
/// # Errors
/// [`StoreError`].
pub async fn names(db: &Db, ids: &[Uuid]) -> Result<BTreeMap<Uuid, String>, StoreError> {
    let rows = sqlx::query!("SELECT id, name FROM riders WHERE id = ANY($1)", ids).fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}
