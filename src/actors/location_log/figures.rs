//! What the location log counts.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::{flow::Why, spool::Aside};
use crate::metrics::Metrics;

/// The figures of the location log.
#[derive(Clone, Debug)]
pub struct Figures {
    pub buffered: IntGauge,
    pub stored: IntCounter,
    pub already_stored: IntCounter,
    dropped: IntCounterVec,
    pub failures: IntCounter,
    pub write_seconds: Histogram,
    pub depth: IntGauge,
    pub refused: IntCounter,
    spilled: IntCounterVec,
    pub drained: IntCounter,
    aside: IntCounterVec,
    pub spool_batches: IntGauge,
    pub spool_rows: IntGauge,
    pub spool_bytes: IntGauge,
    pub spool_age: IntGauge,
    pub spool_failures: IntCounter,
    pub fsync_seconds: Histogram,
}

impl Figures {
    /// Registers the figures.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            buffered: metrics.gauge("dispatch_location_log_buffered_rows", "Points in memory that wait to be stored"),
            stored: metrics.counter("dispatch_location_log_stored_total", "Points stored, drained ones included"),
            already_stored: metrics.counter(
                "dispatch_location_log_already_stored_total",
                "Points of batches that came again although Postgres had them: the answer to their commit was lost",
            ),
            dropped: metrics.counters(
                "dispatch_location_log_dropped_total",
                "Points that will not be stored (buffer_full, queue_full: devices send them again; spool_full; refused, \
                 damaged, expired: set aside in the spool)",
                &["reason"],
            ),
            failures: metrics.counter("dispatch_location_log_failures_total", "Writes that failed and go again"),
            write_seconds: metrics.seconds("dispatch_location_log_write_seconds", "Duration of a write of live points"),
            depth: metrics.gauge("dispatch_location_log_queue_depth", "Messages that wait for the location log"),
            refused: metrics
                .counter("dispatch_location_log_queue_refused_total", "Messages refused because the queue was full"),
            spilled: metrics.counters(
                "dispatch_location_log_spilled_total",
                "Points that went to the spool (failed, away, slow, ending, refused)",
                &["reason"],
            ),
            drained: metrics.counter("dispatch_location_log_drained_total", "Points that left the spool for Postgres"),
            aside: metrics.counters(
                "dispatch_location_log_set_aside_total",
                "Batches set aside in the spool for people to look at (damaged, refused, expired)",
                &["reason"],
            ),
            spool_batches: metrics.gauge("dispatch_location_log_spool_batches", "Batches in the spool"),
            spool_rows: metrics.gauge("dispatch_location_log_spool_rows", "Points in the spool"),
            spool_bytes: metrics
                .gauge("dispatch_location_log_spool_bytes", "Bytes of the spool, with what was set aside"),
            spool_age: metrics
                .gauge("dispatch_location_log_spool_oldest_seconds", "Age of the oldest batch in the spool"),
            spool_failures: metrics
                .counter("dispatch_location_log_spool_failures_total", "Reads and writes of the spool that failed"),
            fsync_seconds: metrics
                .seconds("dispatch_location_log_fsync_seconds", "Time in which the disk confirmed a spooled batch"),
        }
    }

    /// Points that will not be stored.
    pub fn drop_rows(&self, reason: &str, rows: u64) {
        self.dropped.with_label_values(&[reason]).inc_by(rows);
    }

    /// Points that went to the spool.
    pub fn spill(&self, why: Why, rows: u64) {
        self.spilled.with_label_values(&[why.as_str()]).inc_by(rows);
    }

    /// A batch that was set aside.
    pub fn set_aside(&self, why: Aside, rows: u64) {
        self.aside.with_label_values(&[why.as_str()]).inc();
        self.drop_rows(why.as_str(), rows);
    }
}
