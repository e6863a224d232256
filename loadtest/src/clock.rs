//! The engine's clock, as seen from here. The engine is the authority: this one is aligned with it once and then runs on
//! the monotonic clock of this machine at the engine's speed.

use std::time::Duration;

use tokio::time::Instant;

/// One reading of the engine's clock.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Just before the question was sent.
    pub asked: Instant,
    /// Just after the answer came.
    pub answered: Instant,
    /// The answer: milliseconds since 1970.
    pub now: i64,
}

/// A copy of the engine's clock.
#[derive(Clone, Copy, Debug)]
pub struct ServerClock {
    origin: Instant,
    /// The engine's time at `origin`.
    start_ms: f64,
    speed: f64,
    /// How far off it may be, real time.
    uncertainty: Duration,
}

impl ServerClock {
    /// Aligns with the reading that took the least time: the answer was written about half-way. `None` without readings.
    pub fn aligned(readings: &[Reading], speed: f64) -> Option<Self> {
        let best = readings.iter().min_by_key(|r| r.answered.duration_since(r.asked))?;
        let round_trip = best.answered.duration_since(best.asked);
        // The reading is cut to whole milliseconds: on average half of one is missing.
        let start_ms = best.now as f64 + 0.5;
        Some(Self { origin: best.asked + round_trip / 2, start_ms, speed, uncertainty: round_trip / 2 })
    }

    /// The engine's time, milliseconds since 1970.
    pub fn now(&self) -> i64 {
        self.at(Instant::now())
    }

    /// The engine's time at an instant of this machine.
    pub fn at(&self, instant: Instant) -> i64 {
        let ahead = instant.saturating_duration_since(self.origin).as_secs_f64();
        let behind = self.origin.saturating_duration_since(instant).as_secs_f64();
        (self.start_ms + (ahead - behind) * 1_000.0 * self.speed).floor() as i64
    }

    /// The instant of this machine at which the engine's clock shows `at`; at the earliest the origin.
    pub fn instant(&self, at: i64) -> Instant {
        let ahead_ms = (at as f64 - self.start_ms) / self.speed;
        self.origin + Duration::from_secs_f64((ahead_ms / 1_000.0).clamp(0.0, 86_400.0 * 365.0))
    }

    /// Sleeps until the engine's clock shows `at`.
    pub async fn sleep_until(&self, at: i64) {
        tokio::time::sleep_until(self.instant(at)).await;
    }

    /// Milliseconds of this clock that pass in a real duration.
    pub fn ms_in(&self, real: Duration) -> i64 {
        (real.as_secs_f64() * 1_000.0 * self.speed) as i64
    }

    /// The real microseconds that a span of this clock takes; none when it is negative.
    pub fn real_micros(&self, span_ms: i64) -> u64 {
        (span_ms.max(0) as f64 * 1_000.0 / self.speed) as u64
    }

    /// How fast it runs against real time.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// How far off the alignment may be, real time.
    pub fn uncertainty(&self) -> Duration {
        self.uncertainty
    }
}

/// A span in whole milliseconds.
pub fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_reading_counts_and_time_scales() {
        let t = Instant::now();
        let s = Duration::from_secs;
        let readings = [
            Reading { asked: t, answered: t + s(4), now: 999 },
            Reading { asked: t + s(10), answered: t + s(12), now: 100_000 },
        ];
        let clock = ServerClock::aligned(&readings, 20.0).unwrap();
        assert_eq!(clock.uncertainty(), s(1));
        assert_eq!(clock.at(t + s(11)), 100_000);
        assert_eq!(clock.at(t + s(12)), 120_000);
        assert_eq!(clock.at(t + s(10)), 80_000);
        let at = clock.instant(140_000);
        assert!((clock.at(at) - 140_000).abs() <= 1);
        assert_eq!(clock.ms_in(s(3)), 60_000);
        assert_eq!(clock.real_micros(20), 1_000);
        assert_eq!(clock.real_micros(-5), 0);
        assert!(ServerClock::aligned(&[], 1.0).is_none());
    }
}
