//! Figures of the order journal.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge};

use crate::{actors::gate::Gate, engine::command::RejectReason, metrics::Metrics};

use super::Options;

/// What the journal shows of itself.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub batch: Histogram,
    pub commit: Histogram,
    pub retries: IntCounter,
    pub rejected: IntCounterVec,
    pub unavailable: IntGauge,
    pub refused: IntCounterVec,
}

impl Figures {
    pub fn new(metrics: &Metrics) -> Self {
        let sizes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 4_096.0];
        let batch =
            HistogramOpts::new("dispatch_journal_batch_size", "Writes in one transaction").buckets(sizes.into());
        Self {
            batch: metrics.histogram(batch),
            commit: metrics.seconds("dispatch_journal_commit_seconds", "Time of one batch, retries included"),
            retries: metrics.counter("dispatch_journal_retries_total", "Batches given to the database again"),
            rejected: metrics.counters("dispatch_journal_rejected_total", "Writes refused for good", &["reason"]),
            unavailable: metrics.gauge("dispatch_journal_unavailable", "1 while the database does not answer"),
            refused: metrics.counters(
                "dispatch_journal_refused_total",
                "Writes for which the journal had no room, by kind (place, order, offer, duty) and reason (busy, unavailable)",
                &["kind", "reason"],
            ),
        }
    }

    pub fn gate(metrics: &Metrics, options: &Options) -> Gate {
        Gate::new(
            options.bound,
            metrics
                .gauge("dispatch_journal_depth", "Writes that wait for their commit, those being committed included"),
            metrics.counter("dispatch_journal_full_total", "Writes that found the journal full"),
        )
    }

    pub fn rejected(&self, why: &RejectReason) {
        self.rejected.with_label_values(&[word(why)]).inc();
    }
}

/// The metric label of a reason.
pub(super) const fn word(why: &RejectReason) -> &'static str {
    match why {
        RejectReason::Conflict => "conflict",
        RejectReason::Fenced => "fenced",
        RejectReason::Busy => "busy",
        RejectReason::DuplicateRef(_) => "duplicate_ref",
        RejectReason::Replay(_) => "replay",
        RejectReason::KeyReused => "key_reused",
        RejectReason::Invalid(_) => "invalid",
        RejectReason::Unavailable => "unavailable",
    }
}
