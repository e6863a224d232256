//! Duty: the rider's row holds the one in force and the city that holds the rider; the log holds its history.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Numbered;
use crate::{
    domain::{duty::Duty, ids::RiderId},
    engine::effect::DutyWrite,
    store::StoreError,
};

/// Sets duties and logs them. A city that lets go of a rider who is meanwhile live elsewhere changes only the log.
pub(super) async fn set(tx: &mut PgConnection, duties: &[Numbered<'_, DutyWrite>]) -> Result<(), StoreError> {
    if duties.is_empty() {
        return Ok(());
    }
    // A rider may change twice within a batch: the log has both, the row the last.
    let last: BTreeMap<RiderId, &Numbered<'_, DutyWrite>> = duties.iter().map(|d| (d.write.rider, d)).collect();
    change(tx, duties).await?;
    plan(tx, last.values().copied().filter(|d| d.write.next.is_some()).collect()).await
}

/// What follows the duty in force: a wish, which neither changes the duty nor stands in its log.
async fn plan(tx: &mut PgConnection, plans: Vec<&Numbered<'_, DutyWrite>>) -> Result<(), StoreError> {
    if plans.is_empty() {
        return Ok(());
    }
    let riders: Vec<Uuid> = plans.iter().map(|d| d.write.rider.0).collect();
    let next: Vec<&str> = plans.iter().filter_map(|d| d.write.next).map(Duty::as_str).collect();
    let times: Vec<DateTime<Utc>> = plans.iter().map(|d| d.write.at.to_datetime()).collect();
    sqlx::query!(
        "UPDATE riders AS r SET next_duty = u.next, updated_at = u.at
         FROM UNNEST($1::uuid[], $2::text[], $3::timestamptz[]) AS u (id, next, at) WHERE r.id = u.id",
        &riders,
        &next as &[&str],
        &times,
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn change(tx: &mut PgConnection, duties: &[Numbered<'_, DutyWrite>]) -> Result<(), StoreError> {
    let duties: Vec<_> = duties.iter().filter(|d| d.write.next.is_none()).collect();
    if duties.is_empty() {
        return Ok(());
    }
    let latest: BTreeMap<RiderId, &Numbered<'_, DutyWrite>> = duties.iter().map(|d| (d.write.rider, *d)).collect();
    let riders: Vec<Uuid> = latest.keys().map(|rider| rider.0).collect();
    let states: Vec<&str> = latest.values().map(|d| d.write.duty.as_str()).collect();
    let since: Vec<DateTime<Utc>> = latest.values().map(|d| d.write.at.to_datetime()).collect();
    let cities: Vec<&str> = latest.values().map(|d| d.write.city.as_str()).collect();
    let live: Vec<bool> = latest.values().map(|d| matches!(d.write.duty, Duty::On | Duty::Break)).collect();
    let because: Vec<&str> = latest.values().map(|d| d.write.reason.as_str()).collect();
    let epochs: Vec<i64> = latest.values().map(|d| d.entry.epoch).collect();
    sqlx::query!(
        "UPDATE riders AS r
         SET duty = u.duty, duty_since = u.since, live_city = CASE WHEN u.live THEN u.city END,
             live_epoch = CASE WHEN u.live THEN u.epoch ELSE r.live_epoch END, updated_at = u.since,
             next_duty = NULL, duty_reason = u.reason
         FROM UNNEST($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::bool[], $6::int8[], $7::text[])
              AS u (id, duty, since, city, live, epoch, reason)
         WHERE r.id = u.id AND (u.live OR r.live_city IS NULL OR r.live_city = u.city)",
        &riders,
        &states as &[&str],
        &since,
        &cities as &[&str],
        &live,
        &epochs,
        &because as &[&str],
    )
    .execute(&mut *tx)
    .await?;

    // The transition's id is the row's id, so a retry finds it stored.
    let ids: Vec<Uuid> = duties.iter().map(|d| d.write.transition.0).collect();
    let riders: Vec<Uuid> = duties.iter().map(|d| d.write.rider.0).collect();
    let cities: Vec<&str> = duties.iter().map(|d| d.write.city.as_str()).collect();
    let states: Vec<&str> = duties.iter().map(|d| d.write.duty.as_str()).collect();
    let reasons: Vec<&str> = duties.iter().map(|d| d.write.reason.as_str()).collect();
    let times: Vec<DateTime<Utc>> = duties.iter().map(|d| d.write.at.to_datetime()).collect();
    sqlx::query!(
        "INSERT INTO duty_logs (id, rider_id, city, duty, reason, created_at)
         SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
         ON CONFLICT (id, created_at) DO NOTHING",
        &ids,
        &riders,
        &cities as &[&str],
        &states as &[&str],
        &reasons as &[&str],
        &times,
    )
    .execute(tx)
    .await?;
    Ok(())
}
