//! What the rider sessions count.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge};

use crate::metrics::Metrics;

/// The figures of all rider sessions of one app.
#[derive(Clone, Debug)]
pub struct Figures {
    pub(super) sessions: IntGauge,
    pub(super) frames: IntCounterVec,
    /// Of `frames`, found once: nearly all of them.
    pub(super) ping_frames: IntCounter,
    pub(super) refused_frames: IntCounterVec,
    pub(super) errors: IntCounterVec,
    pub(super) live_pings: IntCounter,
    pub(super) late_pings: IntCounter,
    pub(super) refused_pings: IntCounterVec,
    pub(super) reconnects: IntCounter,
    pub(super) takeovers: IntCounter,
    pub(super) byes: IntCounterVec,
    pub(super) cut_off: IntCounter,
    pub(super) answer_seconds: Histogram,
    pub(super) notice_seconds: Histogram,
    pub(super) offer_seconds: Histogram,
    pub(super) lane_points: Histogram,
    pub(super) lane_dropped: IntCounterVec,
}

impl Figures {
    /// Registers the figures.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let sizes = HistogramOpts::new("dispatch_ping_lane_points", "Points in one flush of a lane")
            .buckets(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0]);
        let frames = metrics.counters("dispatch_rider_frames_total", "Frames from devices, by type", &["type"]);
        let pings = metrics.counters("dispatch_pings_total", "Points accepted (live, late)", &["kind"]);
        Self {
            sessions: metrics.gauge("dispatch_rider_sessions", "Open rider sockets"),
            ping_frames: frames.with_label_values(&["pings"]),
            frames,
            refused_frames: metrics.counters(
                "dispatch_rider_refused_frames_total",
                "Frames from devices that were refused before they had a meaning",
                &["reason"],
            ),
            errors: metrics.counters("dispatch_rider_errors_total", "Error frames sent, by code", &["code"]),
            live_pings: pings.with_label_values(&["live"]),
            late_pings: pings.with_label_values(&["late"]),
            refused_pings: metrics.counters("dispatch_pings_refused_total", "Points refused", &["reason"]),
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
            lane_points: metrics.histogram(sizes),
            lane_dropped: metrics.counters(
                "dispatch_ping_lane_dropped_total",
                "Live positions that a lane did not deliver (superseded while the city was full, city gone)",
                &["reason"],
            ),
        }
    }
}
