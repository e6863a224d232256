//! What waits to be stored: pure. Points stay in the batches in which the lanes handed them over, shared with the cities;
//! past the bound the oldest ones go and are counted.

use std::{collections::VecDeque, ops::Deref, sync::Arc, time::Duration};

use uuid::Uuid;

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

/// The points that a lane gathered for one city, in the order of their arrival: one copy, which the city and the log share.
#[derive(Clone, Debug)]
pub struct PointBatch {
    points: Arc<[LogPoint]>,
    /// How many of them are to be stored.
    rows: usize,
}

impl<P: Into<Arc<[LogPoint]>>> From<P> for PointBatch {
    fn from(points: P) -> Self {
        let points = points.into();
        let rows = points.iter().filter(|point| point.store).count();
        Self { points, rows }
    }
}

impl Deref for PointBatch {
    type Target = [LogPoint];

    fn deref(&self) -> &[LogPoint] {
        &self.points
    }
}

impl PointBatch {
    /// The points that are to be stored.
    fn stored(&self) -> impl Iterator<Item = &LogPoint> {
        self.iter().filter(|point| point.store)
    }

    /// Tells the tracks that these points will never be stored; returns how many they are.
    pub(super) fn lose(&self) -> usize {
        self.stored().map(|point| point.track.note_dropped(point.seq)).count()
    }
}

/// What is written at once, under one id.
pub struct Batch {
    /// UUIDv7, the same for every attempt.
    pub id: Uuid,
    points: Vec<PointBatch>,
    rows: usize,
    held: usize,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({}, {} rows)", self.id, self.rows)
    }
}

impl Batch {
    /// Rows to be stored.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The rows, sorted by rider and encoded. Neighbours in the heap are then points of one rider, and the index is filled in
    /// order.
    #[must_use]
    pub fn encode(&self) -> CopyBatch {
        // The keys stand beside each other: behind the pointers every comparison would miss the cache.
        let points = self.points.iter().flat_map(PointBatch::stored);
        let mut rows: Vec<_> = points.map(|point| (point.track.rider, point.created_at, point.seq, point)).collect();
        rows.sort_unstable_by_key(|(rider, at, seq, _)| (*rider, *at, *seq));
        let mut encoded = CopyBatch::with_capacity(rows.len());
        for (rider, created_at, seq, point) in rows {
            encoded.push(&LocationRow {
                rider,
                created_at,
                recorded_at: point.recorded_at,
                city: point.track.city.as_str(),
                position: point.position,
                accuracy_m: point.accuracy_m,
                speed_mps: point.speed_mps,
                heading_deg: point.heading_deg,
                // The ping filter lets no greater number in.
                seq: i64::try_from(seq).unwrap_or(i64::MAX),
                boot: point.track.boot,
                device: &point.track.device,
                flags: point.flags,
                device_at: point.device_at,
            });
        }
        encoded
    }

    /// Tells the tracks that their points are stored: committed, or synced to the spool.
    pub fn settle(&self) {
        for batch in &self.points {
            // The points of one frame stand together.
            for run in batch.chunk_by(|one, next| Arc::ptr_eq(&one.track, &next.track)) {
                let stored = run.iter().filter(|point| point.store).map(|point| point.seq);
                run[0].track.note_all_stored(stored);
            }
        }
    }

    /// Tells the tracks that their points will never be stored.
    pub fn lose(&self) {
        for points in &self.points {
            points.lose();
        }
    }
}

/// The bounds of the buffer.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Rows that make a batch.
    pub flush_rows: usize,
    /// How long the first point of a batch waits for others.
    pub flush_age: Duration,
    /// Points held at most, those on their way included.
    pub max_points: usize,
}

/// The buffer. Times are durations since its beginning.
pub struct Buffer {
    bounds: Bounds,
    waiting: VecDeque<(Duration, PointBatch)>,
    rows: usize,
    /// Points that wait, be they to be stored or not: a shared batch is held as a whole.
    points: usize,
    /// Points of batches that are on their way.
    away: usize,
}

impl Buffer {
    /// An empty buffer.
    #[must_use]
    pub const fn new(bounds: Bounds) -> Self {
        Self { bounds, waiting: VecDeque::new(), rows: 0, points: 0, away: 0 }
    }

    /// Takes points in; returns how many old rows had to go. Points that the policy does not store are let go at once
    /// where they come without others.
    pub fn push(&mut self, now: Duration, points: PointBatch) -> usize {
        let rows = points.rows;
        if rows == 0 {
            return 0;
        }
        self.rows += rows;
        self.points += points.len();
        self.waiting.push_back((now, points));
        if self.held() <= self.bounds.max_points {
            return 0;
        }
        // A whole batch at once, so that a long outage does not drop and log point by point.
        let mut dropped = 0;
        while dropped < self.bounds.flush_rows || self.held() > self.bounds.max_points {
            let Some((_, oldest)) = self.waiting.pop_front() else { break };
            self.points -= oldest.len();
            dropped += oldest.lose();
        }
        self.rows -= dropped;
        dropped
    }

    /// Points held, those on their way included.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.points + self.away
    }

    /// Rows that wait for a batch.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.rows
    }

    /// Whether the next batch is full.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.rows >= self.bounds.flush_rows
    }

    /// When the next batch is due however few rows it has.
    #[must_use]
    pub fn due_at(&self) -> Option<Duration> {
        self.waiting.front().map(|(since, _)| *since + self.bounds.flush_age)
    }

    /// The next batch, of what has waited longest; `None` when nothing waits. It counts as held until
    /// [`Buffer::release`].
    pub fn form(&mut self, id: impl FnOnce() -> Uuid) -> Option<Batch> {
        if self.waiting.is_empty() {
            return None;
        }
        let mut batch = Batch { id: id(), points: Vec::new(), rows: 0, held: 0 };
        // A lane's points stay together, so a batch may be a little larger than asked for.
        while batch.rows < self.bounds.flush_rows
            && let Some((_, points)) = self.waiting.pop_front()
        {
            batch.rows += points.rows;
            batch.held += points.len();
            batch.points.push(points);
        }
        self.rows -= batch.rows;
        self.points -= batch.held;
        self.away += batch.held;
        Some(batch)
    }

    /// A batch is stored or lost, and no longer held.
    pub const fn release(&mut self, batch: &Batch) {
        self.away -= batch.held;
    }
}

#[cfg(test)]
#[path = "buffer_tests.rs"]
mod tests;
