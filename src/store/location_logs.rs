//! Rows of location logs in the form in which they go in: PostgreSQL's binary COPY, one statement per batch, no parsing of
//! text on either side. How a batch is stored stands in `location_batches.rs`.

use uuid::Uuid;

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
    /// When it was recorded, as the device said.
    pub device_at: Timestamp,
}

/// The columns of a row, in the order in which they are encoded.
const COPY: &str = "COPY location_logs (rider_id, created_at, recorded_at, city, lat, lon, accuracy_m, speed_mps, \
                    heading_deg, seq, boot_id, device_id, flags, device_at) FROM STDIN (FORMAT binary)";
const COLUMNS: i16 = 14;
/// Where in a row they stand.
const RIDER: i16 = 0;
const RECORDED: i16 = 2;
const SEQ: i16 = 9;
const BOOT: i16 = 10;
const DEVICE: i16 = 11;
const FLAGS: i16 = 12;
/// Names the columns and their order in what is kept outside the database. Whoever changes them gives the new order the
/// next number and keeps the statement of the old one: a spool may hold rows that an older program encoded.
pub const LAYOUT: u16 = 1;
/// PostgreSQL, COPY, "Binary Format": signature, no flags, no header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The end of the data: a field count of -1.
pub(super) const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// Microseconds from 1970-01-01, where our times begin, to 2000-01-01, where PostgreSQL's do.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
/// Rows encoded for one COPY.
#[derive(Clone, Debug)]
pub struct CopyBatch {
    layout: u16,
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
        Self { layout: LAYOUT, bytes, rows: 0, first: Timestamp::FAR_FUTURE, last: Timestamp::default() }
    }

    /// A batch that was encoded before, by this program or an older one; `None` when its columns are not known here.
    #[must_use]
    pub fn from_encoded(layout: u16, bytes: Vec<u8>, rows: u64, first: Timestamp, last: Timestamp) -> Option<Self> {
        (layout == LAYOUT && bytes.starts_with(HEADER)).then_some(Self { layout, bytes, rows, first, last })
    }

    /// Adds a row.
    pub fn push(&mut self, row: &LocationRow<'_>) {
        self.rows += 1;
        self.first = self.first.min(row.created_at);
        self.last = self.last.max(row.created_at);
        self.bytes.extend_from_slice(&COLUMNS.to_be_bytes());
        self.fixed(*row.rider.0.as_bytes());
        self.fixed(micros(row.created_at).to_be_bytes());
        self.fixed(micros(row.recorded_at).to_be_bytes());
        self.text(row.city);
        self.fixed(row.position.lat().to_be_bytes());
        self.fixed(row.position.lon().to_be_bytes());
        self.optional(row.accuracy_m);
        self.optional(row.speed_mps);
        self.optional(row.heading_deg);
        self.fixed(row.seq.to_be_bytes());
        self.fixed(*row.boot.0.as_bytes());
        self.text(row.device);
        self.fixed(row.flags.to_be_bytes());
        self.fixed(micros(row.device_at).to_be_bytes());
    }

    /// How many rows it holds.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The earliest and the latest `created_at` in it.
    #[must_use]
    pub const fn span(&self) -> (Timestamp, Timestamp) {
        (self.first, self.last)
    }

    /// Which columns it holds, see [`LAYOUT`].
    #[must_use]
    pub const fn layout(&self) -> u16 {
        self.layout
    }

    /// The rows as they are sent and kept.
    #[must_use]
    pub fn encoded(&self) -> &[u8] {
        &self.bytes
    }

    /// The names of its points, in order; they end early where the bytes are no rows.
    pub fn names(&self) -> impl Iterator<Item = PointName<'_>> {
        Names(self.bytes.get(HEADER.len()..).unwrap_or_default())
    }

    /// The statement that takes its columns.
    #[expect(clippy::unused_self, reason = "there is one layout so far; a second one has a statement of its own")]
    pub(super) const fn statement(&self) -> &'static str {
        COPY
    }

    /// The length is part of the type, so that a field is a few instructions and not two calls.
    fn fixed<const N: usize>(&mut self, value: [u8; N]) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "16 at most")]
        self.bytes.extend_from_slice(&(N as i32).to_be_bytes());
        self.bytes.extend_from_slice(&value);
    }

    fn text(&mut self, value: &str) {
        // No value of a row comes near 2 GiB: the longest is a device id of 64 characters.
        let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
    }

    fn optional(&mut self, value: Option<f32>) {
        match value {
            Some(value) => self.fixed(value.to_be_bytes()),
            None => self.bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
}

const fn micros(at: Timestamp) -> i64 {
    at.as_millis().saturating_mul(1_000).saturating_sub(POSTGRES_EPOCH_US)
}

/// The time that [`micros`] encodes.
const fn time(micros: i64) -> Timestamp {
    Timestamp::from_millis(micros.saturating_add(POSTGRES_EPOCH_US).div_euclid(1_000))
}

/// A field of a row in the binary format; `None` stands for NULL.
fn next_field<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = i32::from_be_bytes(*bytes.split_off(..4)?.first_chunk()?);
    if length == -1 {
        return Some(None);
    }
    Some(Some(bytes.split_off(..usize::try_from(length).ok()?)?))
}

/// What names a point: whose, which run of which device, and the device's number. And the dot's time, which a device that
/// sends it again is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointName<'a> {
    /// Whose.
    pub rider: RiderId,
    /// The run of the device's app.
    pub boot: BootId,
    /// The device.
    pub device: &'a str,
    /// The device's number of the point.
    pub seq: u64,
    /// When it was recorded, if it moved the rider's dot: it was not late.
    pub live_at: Option<Timestamp>,
}

/// Reads the names of the points back out of encoded rows.
struct Names<'a>(&'a [u8]);

impl<'a> Names<'a> {
    fn row(&mut self) -> Option<PointName<'a>> {
        let columns = i16::from_be_bytes(*self.0.split_off(..2)?.first_chunk()?);
        let (mut rider, mut boot, mut device, mut seq) = (None, None, None, None);
        let (mut recorded, mut late) = (None, false);
        for column in 0..columns {
            let field = next_field(&mut self.0)?;
            match column {
                RIDER => rider = Uuid::from_slice(field?).ok(),
                SEQ => seq = u64::try_from(i64::from_be_bytes(field?.try_into().ok()?)).ok(),
                BOOT => boot = Uuid::from_slice(field?).ok(),
                DEVICE => device = std::str::from_utf8(field?).ok(),
                RECORDED => recorded = Some(time(i64::from_be_bytes(field?.try_into().ok()?))),
                FLAGS => late = i16::from_be_bytes(field?.try_into().ok()?) & flags::LATE != 0,
                _ => {}
            }
        }
        let live_at = recorded.filter(|_| !late);
        Some(PointName { rider: RiderId(rider?), boot: BootId(boot?), device: device?, seq: seq?, live_at })
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = PointName<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.row()
    }
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

    #[test]
    fn the_names_of_points_are_read_back_and_a_cut_row_ends_them() {
        let (rider, boot) = (RiderId(Uuid::from_u128(1)), BootId(Uuid::from_u128(2)));
        let mut batch = CopyBatch::with_capacity(2);
        for (seq, flags) in [(7, 0), (9, flags::LATE | flags::MOCK)] {
            batch.push(&LocationRow {
                rider,
                created_at: Timestamp::from_millis(1_000),
                recorded_at: Timestamp::from_millis(900),
                city: "blr",
                position: Position::new(1.0, 2.0).unwrap(),
                accuracy_m: None,
                speed_mps: Some(1.5),
                heading_deg: None,
                seq,
                boot,
                device: "d",
                flags,
                device_at: Timestamp::from_millis(800),
            });
        }
        let names: Vec<_> = batch.names().collect();
        let live = [(7, Some(Timestamp::from_millis(900))), (9, None)];
        assert_eq!(names, live.map(|(seq, live_at)| PointName { rider, boot, device: "d", seq, live_at }));
        for length in 0..batch.bytes.len() {
            let cut = CopyBatch { bytes: batch.bytes[..length].to_vec(), ..batch.clone() };
            assert!(cut.names().count() < 2, "{length}");
        }
        let (first, last) = batch.span();
        assert!(CopyBatch::from_encoded(LAYOUT, batch.bytes.clone(), 2, first, last).is_some());
        assert!(CopyBatch::from_encoded(LAYOUT + 1, batch.bytes, 2, first, last).is_none());
    }
}
