//! Month partitions, made ahead of time and, when a writer meets a month without one, on demand. The work itself stands
//! in the SQL functions of the migrations: they lock little and may run twice.

use chrono::{Datelike, Months, NaiveDate};

use super::{Db, StoreError};
use crate::domain::time::Timestamp;

/// Makes the partitions of the month before `now`, of its own month and of the next two, for every table that is
/// partitioned by month. What is there already stays.
///
/// # Errors
/// [`StoreError`].
pub async fn ensure_months(db: &Db, now: Timestamp) -> Result<(), StoreError> {
    let first = month_of(now);
    let before = first.checked_sub_months(Months::new(1));
    let after = (0..=2).filter_map(|ahead| first.checked_add_months(Months::new(ahead)));
    for month in before.into_iter().chain(after) {
        create(db, month).await?;
    }
    Ok(())
}

/// Makes the partitions of the month in which `at` lies.
///
/// # Errors
/// [`StoreError`].
pub async fn create_month(db: &Db, at: Timestamp) -> Result<(), StoreError> {
    create(db, month_of(at)).await
}

/// The first day of the UTC month of a time.
#[must_use]
pub fn month_of(at: Timestamp) -> NaiveDate {
    let day = at.to_datetime().date_naive();
    day.with_day(1).unwrap_or(day)
}

/// One statement per table, each a transaction of its own: a lock on one parent is not held while the next is waited for.
async fn create(db: &Db, month: NaiveDate) -> Result<(), StoreError> {
    sqlx::query!("SELECT create_orders_partition($1)::text", month).fetch_one(db).await?;
    sqlx::query!("SELECT create_order_events_partition($1)::text", month).fetch_one(db).await?;
    sqlx::query!("SELECT create_location_logs_partition($1)::text", month).fetch_one(db).await?;
    sqlx::query!("SELECT create_duty_logs_partition($1)::text", month).fetch_one(db).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_a_month_of_utc() {
        // 2026-11-30T23:59:59.999Z and the millisecond after it.
        let last = Timestamp::from_millis(1_796_083_199_999);
        assert_eq!(month_of(last).to_string(), "2026-11-01");
        assert_eq!(month_of(last + std::time::Duration::from_millis(1)).to_string(), "2026-12-01");
    }
}
