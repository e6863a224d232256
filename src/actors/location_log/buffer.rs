//! What waits to be stored, and when to store it: pure. Swap, write, then confirm: a batch leaves the buffer only when
//! it is committed, one batch is on its way at a time, and past the bound the oldest points are dropped and counted.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::track::Track;
use crate::{
    domain::{position::Position, time::Timestamp},
    store::location_logs::{CopyBatch, LocationRow},
};

/// A point on its way to `location_logs`.
#[derive(Clone, Debug)]
pub struct LogPoint {
    /// Whose, of which device; also the way back for the confirmation.
    pub track: Arc<Track>,
    /// The device's number.
    pub seq: u64,
    /// When it was received, server time.
    pub created_at: Timestamp,
    /// When it was recorded, device time corrected.
    pub recorded_at: Timestamp,
    /// When it was recorded, as the device said.
    pub device_at: Timestamp,
    /// Where.
    pub position: Position,
    /// Radius of 68 % confidence, metres.
    pub accuracy_m: Option<f32>,
    /// Ground speed, metres per second.
    pub speed_mps: Option<f32>,
    /// Course, degrees clockwise from north.
    pub heading_deg: Option<f32>,
    /// Bits, see [`crate::store::location_logs::flags`].
    pub flags: i16,
    /// Whether the city's policy wants it stored; the live dot sees every point.
    pub store: bool,
    /// Where it puts the live dot; `None` for a point that is only history.
    pub dot: Option<Position>,
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Committed.
    Stored,
    /// Not now: the same batch goes again.
    Later,
    /// Never: the batch is dropped.
    Refused,
}

/// The bounds of the buffer.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Rows that make a batch.
    pub flush_rows: usize,
    /// Rows held at most, the batch on its way included.
    pub max_rows: usize,
}

/// The buffer.
#[derive(Debug)]
pub struct Buffer {
    bounds: Bounds,
    waiting: VecDeque<LogPoint>,
    /// The batch that is being written or waits to be tried again, sorted by rider.
    batch: Vec<LogPoint>,
    writing: bool,
    failures: u32,
}

impl Buffer {
    /// An empty buffer.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, waiting: VecDeque::new(), batch: Vec::new(), writing: false, failures: 0 }
    }

    /// Takes points in; returns how many old ones had to go.
    pub fn push(&mut self, points: &PointBatch) -> usize {
        self.waiting.extend(points.0.iter().filter(|point| point.store).cloned());
        let over = self.len().saturating_sub(self.bounds.max_rows);
        if over == 0 {
            return 0;
        }
        // A whole batch at once, so that a long outage does not drop point by point.
        let dropped = over.max(self.bounds.flush_rows).min(self.waiting.len());
        for point in self.waiting.drain(..dropped) {
            point.track.note_dropped(point.seq);
        }
        dropped
    }

    /// Rows held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len() + self.batch.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a batch is full and nothing is on its way.
    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.writing && self.failures == 0 && self.len() >= self.bounds.flush_rows
    }

    /// The next batch, encoded; `None` when one is on its way or nothing waits. The caller reports with
    /// [`Buffer::written`].
    pub fn begin(&mut self) -> Option<CopyBatch> {
        if self.writing || self.is_empty() {
            return None;
        }
        if self.batch.is_empty() {
            let rows = self.waiting.len().min(self.bounds.flush_rows);
            self.batch.extend(self.waiting.drain(..rows));
            // Neighbours in the heap are then points of one rider, and the index is filled in order.
            self.batch.sort_unstable_by_key(|point| (point.track.rider, point.created_at, point.seq));
        }
        self.writing = true;
        let mut encoded = CopyBatch::with_capacity(self.batch.len());
        for point in &self.batch {
            encoded.push(&LocationRow {
                rider: point.track.rider,
                created_at: point.created_at,
                recorded_at: point.recorded_at,
                city: point.track.city.as_str(),
                position: point.position,
                accuracy_m: point.accuracy_m,
                speed_mps: point.speed_mps,
                heading_deg: point.heading_deg,
                // The ping filter lets no greater number in.
                seq: i64::try_from(point.seq).unwrap_or(i64::MAX),
                boot: point.track.boot,
                device: &point.track.device,
                flags: point.flags,
            });
        }
        Some(encoded)
    }

    /// What came of the batch; returns its rows, and every track hears of them.
    pub fn written(&mut self, result: Written) -> usize {
        self.writing = false;
        let rows = self.batch.len();
        match result {
            Written::Later => {
                self.failures = self.failures.saturating_add(1);
                return rows;
            }
            Written::Stored => {
                for point in self.batch.drain(..) {
                    point.track.note_stored(point.seq);
                }
            }
            Written::Refused => {
                for point in self.batch.drain(..) {
                    point.track.note_dropped(point.seq);
                }
            }
        }
        self.failures = 0;
        rows
    }

    /// How long to wait before the next try: 200 ms, doubling, at most 5 s; zero when the last write did not fail.
    #[must_use]
    pub fn backoff(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            n => Duration::from_millis(200).saturating_mul(1 << (n - 1).min(10)).min(Duration::from_secs(5)),
        }
    }
}

/// The points that a lane gathered for one city, in the order of their arrival: one copy, which the city and the log share.
#[derive(Clone, Debug)]
pub struct PointBatch(pub Arc<[LogPoint]>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{BootId, CityCode, RiderId};

    fn track(rider: u128) -> Arc<Track> {
        let (rider, boot) = (RiderId(uuid::Uuid::from_u128(rider)), BootId(uuid::Uuid::nil()));
        Arc::new(Track::new(rider, CityCode::parse("blr").unwrap(), boot, "d", 0, Timestamp::default()))
    }

    fn points(track: &Arc<Track>, seqs: std::ops::RangeInclusive<u64>) -> PointBatch {
        let point = |seq| {
            track.note_accepted(seq, None);
            LogPoint {
                track: track.clone(),
                seq,
                created_at: Timestamp::from_millis(1_000),
                recorded_at: Timestamp::from_millis(900),
                device_at: Timestamp::from_millis(900),
                position: Position::new(1.0, 2.0).unwrap(),
                accuracy_m: None,
                speed_mps: None,
                heading_deg: None,
                flags: 0,
                store: true,
                dot: None,
            }
        };
        PointBatch(seqs.map(point).collect())
    }

    #[test]
    fn a_failed_batch_stays_and_points_that_come_meanwhile_wait_behind_it() {
        let track = track(1);
        let mut buffer = Buffer::new(Bounds { flush_rows: 3, max_rows: 100 });
        assert_eq!(buffer.push(&points(&track, 1..=3)), 0);
        assert!(buffer.is_due());
        assert_eq!(buffer.begin().unwrap().rows(), 3);
        assert!(buffer.begin().is_none(), "one write in flight");
        buffer.push(&points(&track, 4..=7));
        assert!(!buffer.is_due());
        buffer.written(Written::Later);
        assert_eq!((track.stored_to(), buffer.len()), (0, 7));
        assert_eq!(buffer.backoff(), Duration::from_millis(200));
        assert_eq!(buffer.begin().unwrap().rows(), 3, "the same batch again");
        assert_eq!(buffer.written(Written::Stored), 3);
        assert_eq!((track.stored_to(), buffer.len(), buffer.backoff()), (3, 4, Duration::ZERO));
    }

    #[test]
    fn past_the_bound_the_oldest_go_and_their_track_stops() {
        let (kept, dropped) = (track(1), track(2));
        let mut buffer = Buffer::new(Bounds { flush_rows: 2, max_rows: 4 });
        buffer.push(&points(&dropped, 1..=2));
        assert_eq!(buffer.push(&points(&kept, 1..=3)), 2);
        assert!(dropped.is_lost() && !kept.is_lost());
        buffer.begin().unwrap();
        buffer.written(Written::Stored);
        assert_eq!(kept.stored_to(), 2);
    }

    #[test]
    fn a_refused_batch_is_not_tried_for_ever() {
        let track = track(1);
        let mut buffer = Buffer::new(Bounds { flush_rows: 2, max_rows: 4 });
        buffer.push(&points(&track, 1..=2));
        buffer.begin().unwrap();
        assert_eq!(buffer.written(Written::Refused), 2);
        assert!(buffer.is_empty() && track.is_lost());
    }
}
