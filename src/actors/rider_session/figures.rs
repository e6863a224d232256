//! What the rider sessions count.

use std::sync::Arc;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge};

use super::ping_figures::PingFigures;
use crate::metrics::Metrics;

/// The figures of all rider sessions of one app.
#[derive(Clone, Debug)]
pub struct Figures {
    pub(super) sessions: IntGauge,
    pub(super) frames: ByWord,
    pub(super) refused_frames: IntCounterVec,
    pub(super) errors: IntCounterVec,
    pub(super) points: PingFigures,
    pub(super) reconnects: IntCounter,
    pub(super) takeovers: IntCounter,
    pub(super) byes: IntCounterVec,
    pub(super) cut_off: IntCounter,
    pub(super) answer_seconds: Histogram,
    pub(super) notice_seconds: Histogram,
    pub(super) offer_seconds: Histogram,
    pub(super) lane: LaneFigures,
    pub(super) ping_faster: IntCounter,
    pub(super) ping_slower: IntCounter,
}

/// The figures of the ping lanes; each reason for a drop is its own counter, found once.
#[derive(Clone, Debug)]
pub(super) struct LaneFigures {
    pub points: Histogram,
    pub seconds: Histogram,
    pub depth: IntGauge,
    pub superseded: IntCounter,
    pub overflow: IntCounter,
    pub city_gone: IntCounter,
    pub abandoned: IntCounter,
}

impl LaneFigures {
    fn new(metrics: &Metrics) -> Self {
        let sizes = HistogramOpts::new("dispatch_ping_lane_points", "Points in one batch of a lane")
            .buckets(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0]);
        let dropped = metrics.counters(
            "dispatch_ping_lane_dropped_total",
            "Live positions that a lane did not deliver: while the city was full a newer one of the rider came \
             (superseded) or no more riders could wait (overflow); the city had ended (city_gone); all sessions of the \
             worker had (abandoned)",
            &["reason"],
        );
        let dropped = |reason| dropped.with_label_values(&[reason]);
        Self {
            points: metrics.histogram(sizes),
            seconds: metrics.short_seconds(
                "dispatch_ping_lane_seconds",
                "From the arrival of a frame to its hand-over to the city, of the oldest position of each batch",
            ),
            depth: metrics
                .gauge("dispatch_ping_lane_depth", "Live positions that wait in lanes for cities that are full"),
            superseded: dropped("superseded"),
            overflow: dropped("overflow"),
            city_gone: dropped("city_gone"),
            abandoned: dropped("abandoned"),
        }
    }
}

impl Figures {
    /// Registers the figures.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let paced = metrics.counters(
            "dispatch_ping_interval_changes_total",
            "Devices that were told another ping interval (faster, slower)",
            &["to"],
        );
        Self {
            sessions: metrics.gauge("dispatch_rider_sessions", "Open rider sockets"),
            frames: ByWord::new(
                metrics.counters("dispatch_rider_frames_total", "Frames from devices, by type", &["type"]),
                &TYPES,
            ),
            refused_frames: metrics.counters(
                "dispatch_rider_refused_frames_total",
                "Frames from devices that were refused before they had a meaning",
                &["reason"],
            ),
            errors: metrics.counters("dispatch_rider_errors_total", "Error frames sent, by code", &["code"]),
            points: PingFigures::new(metrics),
            reconnects: metrics
                .counter("dispatch_rider_reconnects_total", "Connections of a device that had been here before"),
            takeovers: metrics
                .counter("dispatch_rider_takeovers_total", "Sessions that ended because a newer one took over"),
            byes: metrics.counters("dispatch_rider_byes_total", "Sessions that the server ended", &["why"]),
            cut_off: metrics
                .counter("dispatch_rider_cut_off_total", "Sessions whose device did not read its notices in time"),
            answer_seconds: metrics.seconds("dispatch_rider_answer_seconds", "From a request to its answer"),
            notice_seconds: metrics
                .seconds("dispatch_rider_notice_to_wire_seconds", "From a city's notice to the wire"),
            offer_seconds: metrics.seconds("dispatch_offer_to_wire_seconds", "From a city's offer to the wire"),
            lane: LaneFigures::new(metrics),
            ping_faster: paced.with_label_values(&["faster"]),
            ping_slower: paced.with_label_values(&["slower"]),
        }
    }
}

/// The types of frames, the usual one first.
pub(super) const TYPES: [&str; 7] =
    ["pings", "progress", "offer_seen", "offer_accept", "offer_decline", "duty", "hello"];

/// Counters by a word that is one of a few. They are resolved once: to look one up in the registry's way costs more than
/// what is counted.
#[derive(Clone, Debug)]
pub(super) struct ByWord(Arc<Words>);

#[derive(Debug)]
struct Words {
    all: IntCounterVec,
    known: Vec<(&'static str, IntCounter)>,
}

impl ByWord {
    fn new(all: IntCounterVec, words: &[&'static str]) -> Self {
        let known = words.iter().map(|word| (*word, all.with_label_values(&[word]))).collect();
        Self(Arc::new(Words { all, known }))
    }

    /// Counts one.
    pub(super) fn inc(&self, word: &str) {
        match self.0.known.iter().find(|(known, _)| *known == word) {
            Some((_, counter)) => counter.inc(),
            None => self.0.all.with_label_values(&[word]).inc(),
        }
    }
}
