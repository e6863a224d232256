//! The limits of a rider session. Keep-alives and waits are real time; what is said about points is the engine's time.

use std::time::Duration;

use serde::Deserialize;

/// The limits of a rider session.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The longest message from a device, bytes.
    pub max_frame_bytes: usize,
    /// Refused frames after which the session ends with `bye {too_many_bad_frames}`.
    pub max_bad_frames: u32,
    /// Seconds (real time) in which the `hello` must come.
    pub hello_within_s: u64,
    /// Requests that may wait for their answers; one more is refused with `too_many_requests`.
    pub max_in_flight: usize,
    /// Milliseconds (real time) a request may take in the city.
    pub answer_within_ms: u64,
    /// Answers that are remembered, so that a repeated request gets the same one.
    pub remembered_answers: usize,
    /// Notices that may wait for the device; one more cuts it off.
    pub max_notices: usize,
    /// Seconds (real time) between keep-alive pings.
    pub ping_every_s: u64,
    /// Keep-alive intervals without a sign of life after which the socket is closed.
    pub silent_intervals: u32,
    /// Milliseconds (real time) between two `pings_ack` to a device that goes on sending; a refusal is told at once.
    pub ack_every_ms: u64,
    /// Points in one frame.
    pub max_points: usize,
    /// Seconds a point may lie in the future, for clocks that are not quite right.
    pub max_ahead_s: u64,
    /// Seconds after which a point is too old to be kept: what a shift without a network may last.
    pub max_age_s: u64,
    /// Milliseconds (real time) after which a device that is sent away comes back at the earliest; when few are, the
    /// latest is three times that.
    pub reconnect_after_ms: u64,
    /// The same for a device whose city is not served here for a while: kept down, or another process holds it.
    pub reconnect_later_ms: u64,
    /// Milliseconds (real time) for which a request waits for a database that does not answer before its device is told.
    pub storage_notice_ms: u64,
    /// Devices that are wanted back per second (real time) when many are sent away at once: the more, the later.
    pub reconnects_per_s: u32,
    /// Milliseconds (real time) after which a device that is sent away comes back at the latest, however many there are.
    pub reconnect_most_ms: u64,
    /// Sessions that may be on their way into their cities at once; the others wait.
    pub joins_at_once: usize,
    /// Sessions that may wait; one more is told `bye {busy}` and when to come back.
    pub join_queue: usize,
    /// Milliseconds (real time) for which a lane gathers points.
    pub lane_flush_ms: u64,
    /// Points at which a lane does not wait any longer.
    pub lane_max: usize,
    /// Devices whose progress is remembered between two connections; about 200 bytes each.
    pub max_tracks: usize,
    /// Milliseconds (real time) after which a device that sends nothing more is told how far its points came.
    pub ack_within_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_frame_bytes: 256 * 1024,
            max_bad_frames: 20,
            hello_within_s: 10,
            max_in_flight: 16,
            answer_within_ms: 10_000,
            remembered_answers: 64,
            max_notices: 64,
            ping_every_s: 15,
            silent_intervals: 3,
            ack_every_ms: 4_000,
            max_points: 500,
            max_ahead_s: 30,
            max_age_s: 24 * 3_600,
            reconnect_after_ms: 1_000,
            reconnect_later_ms: 10_000,
            storage_notice_ms: 2_000,
            reconnects_per_s: 1_000,
            reconnect_most_ms: 60_000,
            joins_at_once: 64,
            join_queue: 10_000,
            lane_flush_ms: 5,
            lane_max: 512,
            max_tracks: 200_000,
            ack_within_ms: 8_000,
        }
    }
}

impl Options {
    pub(super) const fn answer_within(&self) -> Duration {
        Duration::from_millis(self.answer_within_ms)
    }

    pub(super) const fn ack_every(&self) -> Duration {
        Duration::from_millis(self.ack_every_ms)
    }

    pub(super) const fn ack_within(&self) -> Duration {
        Duration::from_millis(self.ack_within_ms)
    }

    pub(super) const fn reconnect_later(&self) -> Duration {
        Duration::from_millis(self.reconnect_later_ms)
    }

    pub(super) const fn storage_notice(&self) -> Duration {
        Duration::from_millis(self.storage_notice_ms)
    }
}
