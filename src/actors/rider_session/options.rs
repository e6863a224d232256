//! The limits of a rider session. Keep-alives and waits are real time; what is said about points is the engine's time.

use std::time::Duration;

use serde::Deserialize;

use crate::actors::pressure;

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
    /// Milliseconds (real time) between two `pings_ack`; from `ping_every_s` on they go with the keep-alive, which costs
    /// next to nothing.
    pub ack_every_ms: u64,
    /// Milliseconds (real time) after which a refusal, and the progress of a backlog of 50 points and more, is told.
    pub ack_soon_ms: u64,
    /// Points in one frame.
    pub max_points: usize,
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
    /// Milliseconds (real time) for which a lane gathers points: each flush wakes the city and the log.
    pub lane_flush_ms: u64,
    /// Points at which a lane does not wait any longer.
    pub lane_max: usize,
    /// Runs of devices whose progress is remembered between two connections; about 800 bytes each.
    pub max_tracks: usize,
    /// Riders whose newest position may wait in a lane while their cities are full.
    pub lane_keep: usize,
    /// Milliseconds (of the engine's clock) for which a longer ping interval must have been wanted before the device is
    /// told; a shorter one is told at once.
    pub slower_after_ms: u64,
    /// Milliseconds (real time) between two measurements of how pressed the way of the pings is.
    pub pressure_beat_ms: u64,
    /// How full the fullest queue on that way is where the levels 1, 2 and 3 of the pressure begin, 0 to 1.
    pub pressure_levels: [f64; 3],
    /// What ping intervals are stretched by at the levels 1, 2 and 3.
    pub pressure_factors: [f64; 3],
    /// Milliseconds (real time) of calm after which the level falls by one.
    pub pressure_calm_ms: u64,
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
            ack_every_ms: 15_000,
            ack_soon_ms: 1_000,
            max_points: 500,
            reconnect_after_ms: 1_000,
            reconnect_later_ms: 10_000,
            storage_notice_ms: 2_000,
            reconnects_per_s: 1_000,
            reconnect_most_ms: 60_000,
            joins_at_once: 64,
            join_queue: 10_000,
            lane_flush_ms: 10,
            lane_max: 512,
            max_tracks: 200_000,
            lane_keep: 20_000,
            slower_after_ms: 4_000,
            pressure_beat_ms: 500,
            pressure_levels: [0.25, 0.5, 0.75],
            pressure_factors: [1.5, 2.0, 4.0],
            pressure_calm_ms: 10_000,
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

    pub(super) fn ack_soon(&self) -> Duration {
        Duration::from_millis(self.ack_soon_ms).min(self.ack_every())
    }

    pub(super) const fn reconnect_later(&self) -> Duration {
        Duration::from_millis(self.reconnect_later_ms)
    }

    pub(super) const fn storage_notice(&self) -> Duration {
        Duration::from_millis(self.storage_notice_ms)
    }

    pub(super) const fn slower_after(&self) -> Duration {
        Duration::from_millis(self.slower_after_ms)
    }

    pub(super) const fn pressure(&self) -> pressure::Options {
        pressure::Options {
            beat: Duration::from_millis(self.pressure_beat_ms),
            levels: self.pressure_levels,
            factors: self.pressure_factors,
            calm: Duration::from_millis(self.pressure_calm_ms),
        }
    }

    /// Whether the numbers of the pressure make sense: the levels rise within 0 to 1, and no factor makes pings faster.
    #[must_use]
    pub fn is_pressure_sound(&self) -> bool {
        let [low, middle, high] = self.pressure_levels;
        let rising = 0.0 < low && low <= middle && middle <= high && high <= 1.0;
        rising && self.pressure_factors.iter().all(|factor| (1.0..=100.0).contains(factor))
    }
}
