//! The devices that can be woken: one row per rider and device, the newest used first.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Db, StoreError};
use crate::domain::{
    device::{PushDevice, PushToken},
    ids::{OfferId, RiderId},
};

/// Devices of one rider that are tried; a rider has one phone, and perhaps the one before it.
const MOST: i64 = 4;

/// Stores how devices can be woken, of many riders at once. A token that another row holds is taken from it: the phone
/// has a new rider, or the app a new device id. Of the same device or token twice, the last one counts.
///
/// # Errors
/// [`StoreError`]; then none is stored.
pub async fn upsert(db: &Db, devices: &[PushDevice]) -> Result<(), StoreError> {
    let by_token: BTreeMap<(&str, &PushToken), &PushDevice> =
        devices.iter().map(|device| ((device.provider.as_str(), &device.token), device)).collect();
    let latest: BTreeMap<(RiderId, &str), &PushDevice> = devices
        .iter()
        .filter(|device| by_token.get(&(device.provider.as_str(), &device.token)).is_some_and(|last| last == device))
        .map(|device| ((device.rider, device.device.as_str()), device))
        .collect();
    if latest.is_empty() {
        return Ok(());
    }
    let riders: Vec<Uuid> = latest.values().map(|device| device.rider.0).collect();
    let ids: Vec<&str> = latest.values().map(|device| device.device.as_str()).collect();
    let providers: Vec<&str> = latest.values().map(|device| device.provider.as_str()).collect();
    let tokens: Vec<&str> = latest.values().map(|device| device.token.expose()).collect();
    let versions: Vec<&str> = latest.values().map(|device| device.app_version.as_str()).collect();
    let seen: Vec<DateTime<Utc>> = latest.values().map(|device| device.seen_at.to_datetime()).collect();
    let mut tx = db.begin().await?;
    sqlx::query!(
        "DELETE FROM rider_devices AS d
          USING UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[]) AS n (rider_id, device_id, provider, token)
          WHERE d.token = n.token AND d.provider = n.provider
            AND (d.rider_id, d.device_id) <> (n.rider_id, n.device_id)",
        &riders,
        &ids as &[&str],
        &providers as &[&str],
        &tokens as &[&str],
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "INSERT INTO rider_devices AS d (rider_id, device_id, provider, token, app_version, seen_at)
         SELECT n.* FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
                AS n (rider_id, device_id, provider, token, app_version, seen_at)
           JOIN riders ON riders.id = n.rider_id
         ON CONFLICT (rider_id, device_id) DO UPDATE
         SET provider = excluded.provider, token = excluded.token, app_version = excluded.app_version,
             seen_at = greatest(d.seen_at, excluded.seen_at)",
        &riders,
        &ids as &[&str],
        &providers as &[&str],
        &tokens as &[&str],
        &versions as &[&str],
        &seen,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// The devices on which a rider can be woken, newest first; `None` once the offer that waits there is closed.
///
/// # Errors
/// [`StoreError`].
pub async fn to_wake(db: &Db, rider: RiderId, offer: Option<OfferId>) -> Result<Option<Vec<PushDevice>>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT c.closed AS "closed!", d.device_id AS "device_id?", d.provider AS "provider?", d.token AS "token?",
                  d.app_version AS "app_version?", d.seen_at AS "seen_at?"
             FROM (SELECT EXISTS (SELECT 1 FROM offers WHERE id = $2 AND closed_at IS NOT NULL) AS closed) AS c
             LEFT JOIN rider_devices AS d ON d.rider_id = $1
            ORDER BY d.seen_at DESC LIMIT $3"#,
        rider.0,
        offer.map(|offer| offer.0),
        MOST,
    )
    .fetch_all(db)
    .await?;
    if rows.iter().any(|row| row.closed) {
        return Ok(None);
    }
    let devices = rows.into_iter().filter_map(|row| {
        Some(PushDevice {
            rider,
            device: row.device_id?,
            provider: row.provider?,
            token: PushToken::new(row.token?),
            app_version: row.app_version?,
            seen_at: row.seen_at?.into(),
        })
    });
    Ok(Some(devices.collect()))
}

/// Forgets a token that its provider does not know any more; a newer one of the same device stays.
///
/// # Errors
/// [`StoreError`].
pub async fn forget(db: &Db, device: &PushDevice) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM rider_devices WHERE rider_id = $1 AND device_id = $2 AND token = $3",
        device.rider.0,
        device.device,
        device.token.expose()
    )
    .execute(db)
    .await?;
    Ok(())
}
