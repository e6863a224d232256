//! Keeps refused points with their reason where a city wants that, so that people can see why a rider is not where the
//! device says. Off the way of the points that count: a bounded queue, written every second; what does not fit or cannot
//! be written is dropped and counted.

use std::{sync::Arc, time::Duration};

use prometheus::{IntCounter, IntGauge};
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use super::location_log::Track;
use crate::{
    domain::{
        ping::point::{RawPoint, Reason},
        time::Timestamp,
    },
    metrics::Metrics,
    store::{
        Db,
        refused_points::{RefusedRow, insert},
    },
};

/// Points that may wait.
const QUEUE: usize = 8_192;
/// Points that one statement takes.
const AT_ONCE: usize = 1_000;
/// Between two statements, real time.
const EVERY: Duration = Duration::from_secs(1);

/// A refused point, as it came.
#[derive(Clone, Debug)]
pub struct RefusedPoint {
    track: Arc<Track>,
    seq: u64,
    received_at: Timestamp,
    device_at: Timestamp,
    lat: f64,
    lon: f64,
    reason: Reason,
    expires_at: Timestamp,
}

impl RefusedPoint {
    /// A point that is kept for so many days.
    #[must_use]
    pub fn new(track: &Arc<Track>, raw: &RawPoint, now: Timestamp, reason: Reason, days: u32) -> Self {
        Self {
            track: track.clone(),
            seq: raw.seq,
            received_at: now,
            device_at: raw.device_at,
            lat: raw.lat,
            lon: raw.lon,
            reason,
            expires_at: now + Duration::from_secs(u64::from(days) * 86_400),
        }
    }

    fn row(&self) -> RefusedRow<'_> {
        RefusedRow {
            rider: self.track.rider,
            city: self.track.city.as_str(),
            received_at: self.received_at,
            device_ms: self.device_at.as_millis(),
            lat: self.lat,
            lon: self.lon,
            reason: self.reason.as_str(),
            // A number that is none has no place in the table.
            seq: i64::try_from(self.seq).ok(),
            boot: self.track.boot,
            device: &self.track.device,
            expires_at: self.expires_at,
        }
    }
}

/// Where refused points go. Cheap to clone; all clones share one queue.
#[derive(Clone, Debug)]
pub struct RefusedPoints {
    queue: Sender<RefusedPoint>,
    figures: Figures,
}

#[derive(Clone, Debug)]
struct Figures {
    depth: IntGauge,
    kept: IntCounter,
    queue_full: IntCounter,
    store: IntCounter,
}

impl RefusedPoints {
    /// Starts to write them, on the current runtime, until nobody can bring any more.
    #[must_use]
    pub fn start(db: Db, metrics: &Metrics) -> Self {
        let dropped = metrics.counters(
            "dispatch_refused_points_dropped_total",
            "Refused points that were to be kept and are not (queue_full, store)",
            &["reason"],
        );
        let figures = Figures {
            depth: metrics.gauge("dispatch_refused_points_queue_depth", "Refused points that wait to be kept"),
            kept: metrics.counter("dispatch_refused_points_kept_total", "Refused points that were kept"),
            queue_full: dropped.with_label_values(&["queue_full"]),
            store: dropped.with_label_values(&["store"]),
        };
        let (queue, waiting) = channel(QUEUE);
        tokio::spawn(write(db, waiting, figures.clone()));
        Self { queue, figures }
    }

    /// Takes points, without waiting.
    pub fn keep(&self, points: Vec<RefusedPoint>) {
        for point in points {
            match self.queue.try_send(point) {
                Ok(()) => self.figures.depth.inc(),
                Err(TrySendError::Full(_) | TrySendError::Closed(_)) => self.figures.queue_full.inc(),
            }
        }
    }
}

async fn write(db: Db, mut waiting: Receiver<RefusedPoint>, figures: Figures) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, AT_ONCE).await > 0 {
        let rows: Vec<RefusedRow<'_>> = batch.iter().map(RefusedPoint::row).collect();
        let points = rows.len() as u64;
        match insert(&db, &rows).await {
            Ok(()) => figures.kept.inc_by(points),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, points, "refused points could not be kept");
                figures.store.inc_by(points);
            }
        }
        figures.depth.sub(i64::try_from(points).unwrap_or(i64::MAX));
        batch.clear();
        tokio::time::sleep(EVERY).await;
    }
}
