//! Location logs go in by binary COPY: one statement per batch, no parsing of text on either side.

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use sqlx::postgres::PgPoolCopyExt;
use uuid::Uuid;

use super::{Db, StoreError};
use crate::domain::{
    ids::{BootId, RiderId},
    position::Position,
    time::Timestamp,
};

/// Bits of `location_logs.flags`.
pub use crate::domain::ping::point::flags;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocationRow<'a> {
    /// Whose point.
    pub rider: RiderId,
    /// When it was received, server time: the partition key.
    pub created_at: Timestamp,
    /// When it was recorded, device time corrected.
    pub recorded_at: Timestamp,
    /// The city in which the rider was live.
    pub city: &'a str,
    /// Where.
    pub position: Position,
    /// Radius of 68 % confidence, metres.
    pub accuracy_m: Option<f32>,
    /// Ground speed, metres per second.
    pub speed_mps: Option<f32>,
    /// Course, degrees clockwise from north.
    pub heading_deg: Option<f32>,
    /// The device's number of the point.
    pub seq: i64,
    /// The run of the device's app.
    pub boot: BootId,
    /// The device.
    pub device: &'a str,
    /// See [`flags`].
    pub flags: i16,
}

const COPY: &str = "COPY location_logs (rider_id, created_at, recorded_at, city, lat, lon, accuracy_m, speed_mps, \
                    heading_deg, seq, boot_id, device_id, flags) FROM STDIN (FORMAT binary)";
const COLUMNS: i16 = 13;
/// PostgreSQL, COPY, "Binary Format": signature, no flags, no header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The end of the data: a field count of -1.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// Microseconds from 1970-01-01, where our times begin, to 2000-01-01, where PostgreSQL's do.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
/// SQLSTATE check_violation: what a row gets that no partition takes (tried; it has no code of its own).
const NO_PARTITION: &str = "23514";

/// Rows encoded for one COPY.
#[derive(Clone, Debug)]
pub struct CopyBatch {
    bytes: Vec<u8>,
    rows: u64,
    first: Timestamp,
    last: Timestamp,
}

impl CopyBatch {
    /// An empty batch with room for about `rows` rows.
    #[must_use]
    pub fn with_capacity(rows: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER.len() + rows.saturating_mul(192));
        bytes.extend_from_slice(HEADER);
        Self { bytes, rows: 0, first: Timestamp::FAR_FUTURE, last: Timestamp::default() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: &LocationRow<'_>) {
        self.rows += 1;
        self.first = self.first.min(row.created_at);
        self.last = self.last.max(row.created_at);
        self.bytes.extend_from_slice(&COLUMNS.to_be_bytes());
        self.field(row.rider.0.as_bytes());
        self.field(&micros(row.created_at).to_be_bytes());
        self.field(&micros(row.recorded_at).to_be_bytes());
        self.field(row.city.as_bytes());
        self.field(&row.position.lat().to_be_bytes());
        self.field(&row.position.lon().to_be_bytes());
        self.optional(row.accuracy_m);
        self.optional(row.speed_mps);
        self.optional(row.heading_deg);
        self.field(&row.seq.to_be_bytes());
        self.field(Uuid::as_bytes(&row.boot.0));
        self.field(row.device.as_bytes());
        self.field(&row.flags.to_be_bytes());
    }

    /// How many rows it holds.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    fn field(&mut self, value: &[u8]) {
        // No value of a row comes near 2 GiB: the longest is a device id of 64 characters.
        let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value);
    }

    fn optional(&mut self, value: Option<f32>) {
        match value {
            Some(value) => self.field(&value.to_be_bytes()),
            None => self.bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
}

const fn micros(at: Timestamp) -> i64 {
    at.as_millis().saturating_mul(1_000).saturating_sub(POSTGRES_EPOCH_US)
}

/// Stores a batch, whole or not at all, and makes the partitions that it lacks. A retry after a lost answer stores the
/// rows a second time: the log has no unique key, and a reader takes a point's (device, boot, seq) once.
///
/// # Errors
/// [`StoreError`] when the database does not answer or refuses the rows.
pub async fn append(db: &Db, batch: &CopyBatch) -> Result<u64, StoreError> {
    match copy(db, batch).await {
        Err(sqlx::Error::Database(refusal)) if refusal.code().as_deref() == Some(NO_PARTITION) => {
            make_partitions(db, batch.first, batch.last).await?;
            Ok(copy(db, batch).await?)
        }
        other => Ok(other?),
    }
}

async fn copy(db: &Db, batch: &CopyBatch) -> Result<u64, sqlx::Error> {
    let mut sink = db.copy_in_raw(COPY).await?;
    sink.send(batch.bytes.as_slice()).await?;
    sink.send(TRAILER.as_slice()).await?;
    sink.finish().await
}

async fn make_partitions(db: &Db, first: Timestamp, last: Timestamp) -> Result<(), StoreError> {
    let last = month_of(last.to_datetime());
    let mut month = Some(month_of(first.to_datetime()));
    while let Some(day) = month.filter(|day| *day <= last) {
        sqlx::query!("SELECT create_location_logs_partition($1)", day).execute(db).await?;
        month = day.checked_add_months(Months::new(1));
    }
    Ok(())
}

fn month_of(at: DateTime<Utc>) -> NaiveDate {
    let day = at.date_naive();
    day.with_day(1).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_the_documented_one() {
        let batch = CopyBatch::with_capacity(0);
        assert_eq!(batch.bytes.len(), 19);
        assert_eq!(&batch.bytes[..11], b"PGCOPY\n\xff\r\n\0");
        assert_eq!(micros(Timestamp::from_millis(946_684_800_000)), 0);
    }
}
