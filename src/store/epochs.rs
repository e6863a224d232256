//! City epochs: every incarnation of a city claims the next one before it reads, which fences whoever held the city
//! before. The journal holds a share lock on the row while it commits, so a claim waits for commits in flight.

use super::{Db, StoreError};
use crate::domain::{ids::CityCode, time::Timestamp};

/// Claims a city for a new incarnation and returns its epoch, from 1. Whoever held the city before can commit nothing
/// more once this returns. `holder` names the process, for people who look at the row.
///
/// # Errors
/// [`StoreError`]; a city that is not stored is refused by its foreign key.
pub async fn claim(db: &Db, city: &CityCode, holder: &str, now: Timestamp) -> Result<i64, StoreError> {
    let epoch = sqlx::query_scalar!(
        "INSERT INTO city_epochs (city, epoch, holder, claimed_at) VALUES ($1, 1, $2, $3)
         ON CONFLICT (city) DO UPDATE
         SET epoch = city_epochs.epoch + 1, holder = EXCLUDED.holder, claimed_at = EXCLUDED.claimed_at
         RETURNING epoch",
        city.as_str(),
        holder,
        now.to_datetime(),
    )
    .fetch_one(db)
    .await?;
    Ok(epoch)
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
