//! City epochs: every incarnation of a city claims the next one before it reads, which fences whoever held the city
//! before. The journal holds a share lock on the row while it commits, so a claim waits for commits in flight.
//!
//! A lease keeps processes from taking cities from each other unasked; it protects nothing by itself, so clocks that
//! disagree between machines cost time and never truth. Leases are real time, not the engine's.

use std::{collections::BTreeSet, time::Duration};

use super::{Db, StoreError};
use crate::domain::{ids::CityCode, time::Timestamp};

/// Who claims.
#[derive(Clone, Debug)]
pub struct Claimant<'a> {
    /// The lasting name of the process, the same after its restart.
    pub instance: &'a str,
    /// This run of it, for people who look at the row.
    pub holder: &'a str,
    /// How long the claim holds unless it is renewed.
    pub lease: Duration,
    /// Whether another instance's lease is no hindrance.
    pub take_over: bool,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The city is the claimant's, under this epoch, from 1.
    Granted(i64),
    /// Another instance holds it.
    Held(Held),
}

/// Who holds a city.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The instance.
    pub by: String,
    /// Until when, real time.
    pub until: Timestamp,
}

/// Claims a city for a new incarnation, at the engine's time `now` and the real time `wall`. It is granted when nobody
/// holds the city, the same instance does, or the lease has passed. Whoever held the city before can commit nothing more
/// once it is granted.
///
/// # Errors
/// [`StoreError`]; a city that is not stored is refused by its foreign key.
pub async fn claim(
    db: &Db,
    city: &CityCode,
    by: &Claimant<'_>,
    now: Timestamp,
    wall: Timestamp,
) -> Result<Claim, StoreError> {
    let granted = sqlx::query_scalar!(
        "INSERT INTO city_epochs (city, epoch, holder, claimed_at, instance, lease_until) VALUES ($1, 1, $2, $3, $4, $5)
         ON CONFLICT (city) DO UPDATE
         SET epoch = city_epochs.epoch + 1, holder = EXCLUDED.holder, claimed_at = EXCLUDED.claimed_at,
             instance = EXCLUDED.instance, lease_until = EXCLUDED.lease_until
         WHERE city_epochs.instance IS NULL OR city_epochs.instance = EXCLUDED.instance
            OR city_epochs.lease_until <= $6 OR $7
         RETURNING epoch",
        city.as_str(),
        by.holder,
        now.to_datetime(),
        by.instance,
        (wall + by.lease).to_datetime(),
        wall.to_datetime(),
        by.take_over,
    )
    .fetch_optional(db)
    .await?;
    if let Some(epoch) = granted {
        return Ok(Claim::Granted(epoch));
    }
    let row = sqlx::query!("SELECT instance, lease_until FROM city_epochs WHERE city = $1", city.as_str())
        .fetch_optional(db)
        .await?;
    let held = row.and_then(|row| Some(Held { by: row.instance?, until: row.lease_until?.into() }));
    // Given back between the two statements: to be claimed at once.
    Ok(Claim::Held(held.unwrap_or(Held { by: "nobody".to_owned(), until: wall })))
}

/// Renews leases until `until` (real time) and returns the cities whose epoch has moved on: another incarnation has
/// claimed them. Rows are locked in the journal's order, so that the two never wait for each other in a circle.
///
/// # Errors
/// [`StoreError`].
pub async fn renew(db: &Db, held: &[(CityCode, i64)], until: Timestamp) -> Result<Vec<CityCode>, StoreError> {
    let (cities, epochs) = columns(held);
    let renewed = sqlx::query_scalar!(
        "WITH mine AS (
             SELECT e.city
             FROM city_epochs e JOIN UNNEST($1::text[], $2::int8[]) AS u (city, epoch)
               ON e.city = u.city AND e.epoch = u.epoch
             WHERE e.instance IS NOT NULL
             ORDER BY e.city FOR NO KEY UPDATE OF e)
         UPDATE city_epochs e SET lease_until = $3 FROM mine WHERE e.city = mine.city
         RETURNING e.city",
        &cities as &[&str],
        &epochs,
        until.to_datetime(),
    )
    .fetch_all(db)
    .await?;
    let renewed: BTreeSet<&str> = renewed.iter().map(String::as_str).collect();
    Ok(held.iter().map(|(city, _)| city).filter(|city| !renewed.contains(city.as_str())).cloned().collect())
}

/// Gives cities back whose epoch is still the given one: from now on anybody may claim them.
///
/// # Errors
/// [`StoreError`].
pub async fn give_back(db: &Db, held: &[(CityCode, i64)]) -> Result<(), StoreError> {
    let (cities, epochs) = columns(held);
    sqlx::query!(
        "WITH mine AS (
             SELECT e.city
             FROM city_epochs e JOIN UNNEST($1::text[], $2::int8[]) AS u (city, epoch)
               ON e.city = u.city AND e.epoch = u.epoch
             ORDER BY e.city FOR NO KEY UPDATE OF e)
         UPDATE city_epochs e SET instance = NULL, lease_until = NULL FROM mine WHERE e.city = mine.city",
        &cities as &[&str],
        &epochs,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Who holds a city, and under which epoch; `None` when it was never claimed.
///
/// # Errors
/// [`StoreError`].
pub async fn holder(db: &Db, city: &CityCode) -> Result<Option<(i64, String)>, StoreError> {
    let row =
        sqlx::query!("SELECT epoch, holder FROM city_epochs WHERE city = $1", city.as_str()).fetch_optional(db).await?;
    Ok(row.map(|row| (row.epoch, row.holder)))
}

fn columns(held: &[(CityCode, i64)]) -> (Vec<&str>, Vec<i64>) {
    held.iter().map(|(city, epoch)| (city.as_str(), *epoch)).unzip()
}
