//! When the next batch of the spool goes to Postgres: pure. In order, one at a time, beside the live batches and after
//! them, with pauses that leave them their share.

use std::time::Duration;

use super::retry::backoff;

/// The longest pause between two tries while Postgres is away. Its answer ends the outage for live batches too.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Failures after which another batch is tried: what fails for reasons of its own must not hold up the rest.
const TRIES: u32 = 3;

/// The pace of the drain. Times are durations since the log's beginning.
#[derive(Debug)]
pub struct Drain {
    /// The share of the time, 0 to 1, in which the drain may keep Postgres busy.
    share: f64,
    busy: bool,
    suspended: bool,
    failures: u32,
    next_at: Duration,
}

impl Drain {
    /// A drain that may begin at once.
    #[must_use]
    pub const fn new(share: f64) -> Self {
        Self { share: share.clamp(0.01, 1.0), busy: false, suspended: false, failures: 0, next_at: Duration::ZERO }
    }

    /// Which of the spooled batches is next, counted from the oldest; `None` when none may go now.
    #[must_use]
    pub fn next(&self, now: Duration, spooled: usize) -> Option<usize> {
        let may = !self.busy && !self.suspended && now >= self.next_at && spooled > 0;
        may.then(|| (self.failures / TRIES) as usize % spooled)
    }

    /// When to ask again although nothing happened; `None` while one is on its way.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        (!self.busy && !self.suspended).then_some(self.next_at)
    }

    /// One is on its way.
    pub const fn begun(&mut self) {
        self.busy = true;
    }

    /// It is done with, after so long: stored, or set aside.
    pub fn done(&mut self, now: Duration, took: Duration) {
        self.busy = false;
        self.failures = 0;
        self.next_at = now + took.mul_f64((1.0 - self.share) / self.share);
    }

    /// It stays where it is.
    pub fn failed(&mut self, now: Duration) {
        self.busy = false;
        self.failures = self.failures.saturating_add(1);
        self.next_at = now + backoff(self.failures, LONGEST_PAUSE);
    }

    /// None goes any more; one on its way is given up.
    pub const fn suspend(&mut self) {
        (self.busy, self.suspended) = (false, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_quarter_of_the_time_is_three_pauses_per_write() {
        let mut drain = Drain::new(0.25);
        assert_eq!(drain.next(ms(0), 0), None, "nothing to drain");
        assert_eq!(drain.next(ms(0), 2), Some(0));
        drain.begun();
        assert_eq!((drain.next(ms(0), 2), drain.wake_at()), (None, None), "one at a time");
        drain.done(ms(100), ms(100));
        assert_eq!(drain.wake_at(), Some(ms(400)));
        assert_eq!((drain.next(ms(399), 1), drain.next(ms(400), 1)), (None, Some(0)));
    }

    #[test]
    fn failures_slow_it_down_and_after_some_another_batch_is_tried() {
        let mut drain = Drain::new(1.0);
        let mut tried = Vec::new();
        for _ in 0..7 {
            let now = drain.wake_at().unwrap();
            tried.push(drain.next(now, 3).unwrap());
            drain.begun();
            drain.failed(now);
        }
        assert_eq!(tried, [0, 0, 0, 1, 1, 1, 2]);
        let now = drain.wake_at().unwrap();
        assert_eq!(drain.next(now, 1), Some(0), "there is no other");
        drain.done(now, ms(10));
        assert_eq!(drain.next(now, 3), Some(0), "the oldest again");
    }

    #[test]
    fn a_suspended_drain_sends_nothing() {
        let mut drain = Drain::new(1.0);
        drain.begun();
        drain.suspend();
        assert_eq!((drain.next(ms(1), 1), drain.wake_at()), (None, None));
    }
}
