//! Refused points with their reason, where a city keeps them. Written many at a time, deleted when their time is over.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Db, StoreError};
use crate::domain::{
    ids::{BootId, RiderId},
    time::Timestamp,
};

/// One row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RefusedRow<'a> {
    /// Whose point.
    pub rider: RiderId,
    /// The city in which the rider was live.
    pub city: &'a str,
    /// When it was received, server time.
    pub received_at: Timestamp,
    /// When it was recorded, as the device said: milliseconds since 1970, any number.
    pub device_ms: i64,
    /// Degrees north, any number.
    pub lat: f64,
    /// Degrees east, any number.
    pub lon: f64,
    /// Why it was refused.
    pub reason: &'a str,
    /// The device's number, where it is one.
    pub seq: Option<i64>,
    /// The run of the device's app.
    pub boot: BootId,
    /// The device.
    pub device: &'a str,
    /// Until when it is kept.
    pub expires_at: Timestamp,
}

/// Stores rows, all or none.
///
/// # Errors
/// [`StoreError`].
pub async fn insert(db: &Db, rows: &[RefusedRow<'_>]) -> Result<(), StoreError> {
    let riders: Vec<Uuid> = rows.iter().map(|row| row.rider.0).collect();
    let cities: Vec<&str> = rows.iter().map(|row| row.city).collect();
    let received: Vec<DateTime<Utc>> = rows.iter().map(|row| row.received_at.to_datetime()).collect();
    let device_ms: Vec<i64> = rows.iter().map(|row| row.device_ms).collect();
    let lats: Vec<f64> = rows.iter().map(|row| row.lat).collect();
    let lons: Vec<f64> = rows.iter().map(|row| row.lon).collect();
    let reasons: Vec<&str> = rows.iter().map(|row| row.reason).collect();
    let seqs: Vec<Option<i64>> = rows.iter().map(|row| row.seq).collect();
    let boots: Vec<Uuid> = rows.iter().map(|row| row.boot.0).collect();
    let devices: Vec<&str> = rows.iter().map(|row| row.device).collect();
    let expires: Vec<DateTime<Utc>> = rows.iter().map(|row| row.expires_at.to_datetime()).collect();
    sqlx::query!(
        "INSERT INTO refused_points (rider_id, city, received_at, device_ms, lat, lon, reason, seq, boot_id, device_id,
                                     expires_at)
         SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::timestamptz[], $4::bigint[], $5::float8[], $6::float8[],
                              $7::text[], $8::bigint[], $9::uuid[], $10::text[], $11::timestamptz[])",
        &riders,
        &cities as &[&str],
        &received,
        &device_ms,
        &lats,
        &lons,
        &reasons as &[&str],
        &seqs as &[Option<i64>],
        &boots,
        &devices as &[&str],
        &expires,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes the rows whose time is over, and counts them.
///
/// # Errors
/// [`StoreError`].
pub async fn delete_expired(db: &Db, now: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query!("DELETE FROM refused_points WHERE expires_at <= $1", now.to_datetime()).execute(db).await?;
    Ok(done.rows_affected())
}
