//! The stored points of riders, read back: a track in a range of time, and the last position that is known.
//!
//! A track is asked for by the time at which points were recorded, and the table knows them by the time at which they were
//! received: its partitions, and the index of a rider's points. A point is received when it is recorded or up to `late`
//! afterwards (what a device without a network kept for itself), never before; so a range of the one time is a range of the
//! other that is longer by `late`, and only its partitions are read.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Db, StoreError, location_logs::flags};
use crate::domain::{ids::RiderId, time::Timestamp};

/// What two corrections of one device time may differ by: a point that was sent twice, in two sessions, may have been
/// stored twice with different times.
const SKEW: Duration = Duration::from_secs(15 * 60);

/// The range of time that is read at once; twice as long after each one with little in it. Longer ones would be sorted
/// whole for each page, shorter ones read more of the `late` points of the day before again.
const SLICE: Duration = Duration::from_secs(24 * 3_600);

/// Which points.
#[derive(Clone, Debug)]
pub struct TrackFilter {
    /// Whose.
    pub rider: RiderId,
    /// Recorded at this time or later.
    pub from: Timestamp,
    /// Recorded before this time.
    pub to: Timestamp,
    /// With none of these flags, see [`flags`].
    pub without: i16,
    /// Recorded in one of these cities; anywhere when `None`.
    pub cities: Option<Vec<String>>,
    /// How long after it was recorded a point may have been received. What came later is not found, whatever the page.
    pub late: Duration,
}

/// A point, as its row stands.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct StoredPoint {
    pub recorded_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub lat: f64,
    pub lon: f64,
    pub accuracy_m: Option<f32>,
    pub speed_mps: Option<f32>,
    pub heading_deg: Option<f32>,
    pub flags: i16,
    pub seq: i64,
    pub boot_id: Uuid,
    pub device_id: String,
}

/// A place in a track: behind the point that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When the point was recorded.
    pub recorded_at: DateTime<Utc>,
    /// Its number.
    pub seq: i64,
    /// The run of the device's app that gave the number.
    pub boot_id: Uuid,
    /// The device.
    pub device_id: String,
}

impl StoredPoint {
    /// The place behind this point.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let Self { recorded_at, seq, boot_id, .. } = *self;
        Mark { recorded_at, seq, boot_id, device_id: self.device_id.clone() }
    }
}

/// Up to `most` points behind a mark, or from the beginning, in the order in which they were recorded. A point that was
/// stored more than once is read as it was stored first.
///
/// # Errors
/// [`StoreError`].
pub async fn read(
    db: &Db,
    filter: &TrackFilter,
    after: Option<&Mark>,
    most: usize,
) -> Result<Vec<StoredPoint>, StoreError> {
    let mut found = Vec::new();
    let (mut from, mut span) = (after.map_or(filter.from, |mark| mark.recorded_at.into()), SLICE);
    while from < filter.to && found.len() < most {
        let to = filter.to.min(from + span);
        let before = found.len();
        found.extend(slice(db, filter, (from, to), after, most - before).await?);
        if (found.len() - before) * 4 < most {
            span *= 2;
        }
        from = to;
    }
    Ok(found)
}

async fn slice(
    db: &Db,
    filter: &TrackFilter,
    (from, to): (Timestamp, Timestamp),
    after: Option<&Mark>,
    most: usize,
) -> Result<Vec<StoredPoint>, StoreError> {
    // A mark that is older than the slice has no say in it.
    let start = Mark { recorded_at: from.into(), seq: i64::MIN, boot_id: Uuid::nil(), device_id: String::new() };
    let after = after.filter(|mark| mark.recorded_at >= start.recorded_at).unwrap_or(&start);
    Ok(sqlx::query_as!(
        StoredPoint,
        r#"SELECT recorded_at, created_at, lat, lon, accuracy_m, speed_mps, heading_deg, flags, seq, boot_id, device_id
             FROM (SELECT DISTINCT ON (boot_id, seq, device_id) recorded_at, created_at, city, lat, lon, accuracy_m,
                          speed_mps, heading_deg, flags, seq, boot_id, device_id
                     FROM location_logs
                    WHERE rider_id = $1 AND created_at >= $2 AND created_at < $3 AND recorded_at >= $2 AND recorded_at < $4
                      AND created_at <= recorded_at + make_interval(secs => $13)
                    ORDER BY boot_id, seq, device_id, created_at) AS point
            WHERE (recorded_at, seq, boot_id, device_id) > ($5, $6, $7, $8) AND recorded_at < $9
              AND flags & $10 = 0 AND ($11::text[] IS NULL OR city = ANY($11))
            ORDER BY recorded_at, seq, boot_id, device_id
            LIMIT $12"#,
        filter.rider.0,
        (from - SKEW).to_datetime(),
        (to + filter.late + SKEW).to_datetime(),
        (to + SKEW).to_datetime(),
        after.recorded_at,
        after.seq,
        after.boot_id,
        after.device_id,
        to.to_datetime(),
        filter.without,
        filter.cities.as_deref(),
        i64::try_from(most).unwrap_or(i64::MAX),
        filter.late.as_secs_f64(),
    )
    .fetch_all(db)
    .await?)
}

/// The last known position of a rider, of the points that were received between two times: the newest that was not late, or
/// else the newest. `cities` as in [`TrackFilter`].
///
/// # Errors
/// [`StoreError`].
pub async fn last(
    db: &Db,
    rider: RiderId,
    (from, to): (Timestamp, Timestamp),
    cities: Option<&[String]>,
) -> Result<Option<StoredPoint>, StoreError> {
    match newest(db, rider, (from, to), 0, cities).await? {
        Some(late) if late.flags & flags::LATE != 0 => {
            Ok(newest(db, rider, (from, to), flags::LATE, cities).await?.or(Some(late)))
        }
        // Where there is none, there is none that was not late.
        newest_of_all => Ok(newest_of_all),
    }
}

/// The newest point with none of the flags.
async fn newest(
    db: &Db,
    rider: RiderId,
    (from, to): (Timestamp, Timestamp),
    without: i16,
    cities: Option<&[String]>,
) -> Result<Option<StoredPoint>, StoreError> {
    Ok(sqlx::query_as!(
        StoredPoint,
        "SELECT recorded_at, created_at, lat, lon, accuracy_m, speed_mps, heading_deg, flags, seq, boot_id, device_id
               FROM location_logs
              WHERE rider_id = $1 AND created_at >= $2 AND created_at <= $3 AND flags & $4 = 0
                AND ($5::text[] IS NULL OR city = ANY($5))
              ORDER BY created_at DESC, recorded_at DESC, seq DESC
              LIMIT 1",
        rider.0,
        from.to_datetime(),
        to.to_datetime(),
        without,
        cities,
    )
    .fetch_optional(db)
    .await?)
}
