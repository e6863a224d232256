//! The location log: gathers accepted points and copies them into Postgres by count or age. While Postgres is away they
//! wait in a bounded buffer.

mod buffer;
mod messages;
mod shell;
mod track;

use std::time::Duration;

use actix::Recipient;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use serde::Deserialize;
use tokio::sync::oneshot;

pub use buffer::{LogPoint, PointBatch};
use messages::{Append, Flush};
pub use shell::start;
pub use track::Track;

use super::gate::Gate;
use crate::metrics::Metrics;

/// The limits of the location log.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Rows that are written at once, and the most that one statement takes.
    pub flush_rows: usize,
    /// Milliseconds (real time) after which fewer rows are written too.
    pub flush_age_ms: u64,
    /// Rows held at most; beyond them the oldest batch is dropped and counted. A row takes about 100 bytes.
    pub max_rows: usize,
    /// Messages from the lanes that may wait for the log.
    pub max_messages: usize,
    /// Milliseconds (real time) after which a write counts as failed.
    pub write_timeout_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            flush_rows: 10_000,
            flush_age_ms: 1_000,
            max_rows: 1_000_000,
            max_messages: 1_024,
            write_timeout_ms: 30_000,
        }
    }
}

/// The figures of the location log.
#[derive(Clone, Debug)]
struct Figures {
    buffered: IntGauge,
    stored: IntCounter,
    dropped: IntCounterVec,
    failures: IntCounter,
    write_seconds: Histogram,
    depth: IntGauge,
    refused: IntCounter,
}

impl Figures {
    fn new(metrics: &Metrics) -> Self {
        Self {
            buffered: metrics.gauge("dispatch_location_log_buffered_rows", "Points that wait to be stored"),
            stored: metrics.counter("dispatch_location_log_stored_total", "Points stored"),
            dropped: metrics.counters(
                "dispatch_location_log_dropped_total",
                "Points that will never be stored (buffer_full, refused, queue_full)",
                &["reason"],
            ),
            failures: metrics.counter("dispatch_location_log_failures_total", "Writes that failed and go again"),
            write_seconds: metrics.seconds("dispatch_location_log_write_seconds", "Duration of a write"),
            depth: metrics.gauge("dispatch_location_log_queue_depth", "Messages that wait for the location log"),
            refused: metrics
                .counter("dispatch_location_log_queue_refused_total", "Messages refused because the queue was full"),
        }
    }
}

/// The location log, as the lanes see it. Cheap to clone.
#[derive(Clone)]
pub struct LocationLogHandle {
    append: Recipient<Append>,
    flush: Recipient<Flush>,
    gate: Gate,
    figures: Figures,
    max_rows: usize,
}

impl LocationLogHandle {
    /// Gives points to the log, without waiting. When its queue is full they are dropped and counted, and their tracks
    /// are told, so that the devices send them again.
    pub fn append(&self, points: PointBatch) {
        if points.0.is_empty() {
            return;
        }
        match self.gate.enter().filter(|_| self.append.connected()) {
            Some(permit) => self.append.do_send(Append { permit, points }),
            None => {
                self.figures.dropped.with_label_values(&["queue_full"]).inc_by(points.0.len() as u64);
                for point in points.0.iter() {
                    point.track.note_dropped(point.seq);
                }
            }
        }
    }

    /// Writes everything that is held now; `false` when that took longer than the deadline (real time). For a graceful
    /// stop, after the sessions are gone.
    pub async fn flush(&self, deadline: Duration) -> bool {
        let (done, finished) = oneshot::channel();
        self.flush.do_send(Flush { done });
        matches!(tokio::time::timeout(deadline, finished).await, Ok(Ok(())))
    }

    /// How full the log is, 0 to 1: its queue or its memory, whichever is fuller.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share of a bound")]
    pub fn fill(&self) -> f64 {
        self.gate.fill().max(self.figures.buffered.get() as f64 / self.max_rows as f64)
    }
}

impl std::fmt::Debug for LocationLogHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocationLogHandle({} inside)", self.gate.inside())
    }
}
