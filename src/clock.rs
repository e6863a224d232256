//! The one place that reads the time. The clock may run faster than life (`--clock-speed 20`): offers, timeouts, shifts
//! and device times then run with it on the server and in the load tester, so that a replay is a true speed-up.
//!
//! Tokens and keep-alives of connections belong to the real world and use [`Clock::wall`] and real durations.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

use crate::domain::time::Timestamp;

/// A clock that starts at a given time and runs at a constant speed. Cheap to clone; all clones agree. It never goes
/// backwards, because it counts from a monotonic instant.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Timestamp,
    origin: Instant,
    speed: f64,
}

impl Clock {
    /// Real time.
    #[must_use]
    pub fn system() -> Self {
        Self::scaled(1.0)
    }

    /// Starts now and runs `speed` times as fast as life; a speed that is not positive and finite counts as 1.
    #[must_use]
    pub fn scaled(speed: f64) -> Self {
        Self::starting_at(Self::wall(), speed)
    }

    /// Starts at `start` and runs `speed` times as fast as life.
    #[must_use]
    pub fn starting_at(start: Timestamp, speed: f64) -> Self {
        let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
        Self(Arc::new(Inner { start, origin: Instant::now(), speed }))
    }

    /// What time it is on this clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.start + self.0.origin.elapsed().mul_f64(self.0.speed)
    }

    /// How fast it runs against real time.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.0.speed
    }

    /// The real duration that a duration of this clock takes.
    #[must_use]
    pub fn real(&self, span: Duration) -> Duration {
        span.div_f64(self.0.speed)
    }

    /// Sleeps for a duration of this clock.
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(self.real(span)).await;
    }

    /// A new UUIDv7 whose time is this clock's.
    #[must_use]
    pub fn new_id(&self) -> Uuid {
        let millis = u64::try_from(self.now().as_millis()).unwrap_or(0);
        let random = Uuid::new_v4().into_bytes();
        let mut tail = [0_u8; 10];
        tail.copy_from_slice(&random[..10]);
        uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
    }

    /// The real time, for tokens and for what leaves this system's own time.
    #[must_use]
    pub fn wall() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_the_clock_and_sort_by_it() {
        let start = Timestamp::from_millis(1_900_000_000_000);
        let clock = Clock::starting_at(start, 1.0);
        let id = crate::domain::ids::OrderId(clock.new_id());
        assert!(id.placed_at().since(start) < Duration::from_secs(3_600));
        assert!(id.placed_at() >= start);
        assert_eq!(id.0.get_version_num(), 7);
    }

    #[test]
    fn a_faster_clock_needs_less_real_time() {
        let clock = Clock::scaled(20.0);
        assert_eq!(clock.real(Duration::from_secs(20)), Duration::from_secs(1));
        assert_eq!(Clock::scaled(f64::NAN).speed(), 1.0);
    }
}
