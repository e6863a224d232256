//! What the clock of a device shows: right, off by so much, running away, or set anew while it is in use. Pure.

use std::ops::Range;

use rand::{Rng, RngExt};

/// How far a wrong clock is off, milliseconds.
const OFFSET_MS: Range<i64> = -90_000..90_000;

/// How far a bad oscillator is off, parts per million.
const DRIFT_PPM: Range<f64> = -200.0..200.0;

/// How long after its start a clock that is set anew is so, milliseconds.
const STEP_AFTER_MS: Range<i64> = 10_000..1_800_000;

/// By how much it is set, milliseconds.
const STEP_MS: Range<i64> = -20_000..20_000;

/// The clock of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DeviceClock {
    /// When it was started, true time, milliseconds since 1970; its drift counts from there.
    pub since: i64,
    /// How far ahead it was then, milliseconds.
    pub ahead_ms: i64,
    /// How much too fast it runs, parts per million.
    pub drift_ppm: f64,
    /// When somebody sets it, true time, and by how much, milliseconds.
    pub step: Option<(i64, i64)>,
}

impl DeviceClock {
    /// One that is ahead by so much, for ever.
    #[must_use]
    pub const fn ahead(ahead_ms: i64) -> Self {
        Self { since: 0, ahead_ms, drift_ppm: 0.0, step: None }
    }

    /// Draws a wrong one that is started `now`: every one is off and drifts, every third is set anew in use.
    pub fn wrong<R: Rng>(now: i64, rng: &mut R) -> Self {
        let (ahead_ms, drift_ppm) = (rng.random_range(OFFSET_MS), rng.random_range(DRIFT_PPM));
        let step = (now.saturating_add(rng.random_range(STEP_AFTER_MS)), rng.random_range(STEP_MS));
        Self { since: now, ahead_ms, drift_ppm, step: rng.random_bool(1.0 / 3.0).then_some(step) }
    }

    /// What it shows at a true time, milliseconds since 1970.
    #[must_use]
    pub fn shows(&self, now: i64) -> i64 {
        let ran = now.saturating_sub(self.since).max(0);
        let drift = (ran as f64 * self.drift_ppm / 1e6) as i64;
        let step = self.step.filter(|(at, _)| now >= *at).map_or(0, |(_, by)| by);
        now.saturating_add(self.ahead_ms).saturating_add(drift).saturating_add(step)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_clock_is_off_drifts_and_is_set() {
        assert_eq!(DeviceClock::default().shows(1_000), 1_000);
        assert_eq!(DeviceClock::ahead(-5).shows(1_000), 995);
        let clock = DeviceClock { since: 0, ahead_ms: 10, drift_ppm: 100.0, step: Some((2_000_000, -7_000)) };
        assert_eq!(clock.shows(1_000_000), 1_000_110);
        assert_eq!(clock.shows(2_000_000), 1_993_210);
    }

    #[test]
    fn a_wrong_clock_is_wrong() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let clocks: Vec<DeviceClock> = (0..300).map(|_| DeviceClock::wrong(1_000, &mut rng)).collect();
        assert!(clocks.iter().filter(|clock| clock.shows(1_000) == 1_000).count() < 3);
        let set = clocks.iter().filter(|clock| clock.step.is_some()).count();
        assert!((70..130).contains(&set), "{set} of 300 are set anew");
    }
}
