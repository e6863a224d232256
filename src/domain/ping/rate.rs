//! More points than a city takes. A token bucket in device time bounds how dense points may be, so that the backlog after
//! a tunnel, which comes all at once, is not punished; a second bound in server time, with room for such a backlog, holds
//! whatever a device says about its times.
//!
//! The bound in server time is the Generic Cell Rate Algorithm (ITU-T I.371, virtual scheduling): one number per bucket.

use super::{
    pipeline::{Hygiene, Trial},
    point::{Facts, Reason},
};
use crate::domain::{policy::PingPolicy, time::Timestamp};

/// Points that may be of one moment of device time: fused providers deliver some together.
const DEPTH: f64 = 10.0;

/// The buckets of one device.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    live: Tokens,
    late: Tokens,
    /// Theoretical arrival time of the next point, server time, microseconds.
    next_us: i64,
}

/// A bucket in device time. What it gains is the time between one point and the next, in whichever direction: a backlog may
/// come newest first.
#[derive(Clone, Copy, Debug, Default)]
struct Tokens {
    last: Option<Timestamp>,
    left: f64,
}

impl Tokens {
    fn take(&mut self, at: Timestamp, per_s: f64) -> bool {
        let depth = DEPTH.max(2.0 * per_s);
        self.left = match self.last {
            None => depth,
            #[expect(clippy::cast_precision_loss, reason = "a span that fills the bucket long before it is inexact")]
            Some(last) => (self.left + at.millis_since(last).unsigned_abs() as f64 * per_s / 1_000.0).min(depth),
        };
        self.last = Some(at);
        let taken = self.left >= 1.0;
        if taken {
            self.left -= 1.0;
        }
        taken
    }
}

impl Rate {
    fn take(&mut self, at: Timestamp, late: bool, now: Timestamp, policy: &PingPolicy) -> bool {
        let lane = if late { &mut self.late } else { &mut self.live };
        if !lane.take(at, policy.max_per_s) {
            return false;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the policy keeps it within 10^8")]
        let every_us = (1_000_000.0 / policy.max_per_s) as i64;
        let now_us = now.as_millis().saturating_mul(1_000);
        let next = self.next_us.max(now_us);
        if next.saturating_sub(now_us) > every_us.saturating_mul(i64::from(policy.burst)) {
            return false;
        }
        self.next_us = next.saturating_add(every_us);
        true
    }
}

/// Beyond `max_per_s` in device time, or beyond it and `burst` in server time.
pub(super) fn rate(trial: &mut Trial, facts: &Facts<'_>, state: &mut Hygiene) -> Result<(), Reason> {
    let taken = state.rate.take(trial.at, trial.late, facts.now, facts.policy);
    if taken { Ok(()) } else { Err(Reason::Rate) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_900_000_000_000);

    fn policy() -> PingPolicy {
        PingPolicy { max_per_s: 1.0, burst: 1_000, ..PingPolicy::default() }
    }

    fn taken(rate: &mut Rate, times: impl Iterator<Item = i64>, late: bool) -> usize {
        let ago = |ms| Timestamp::from_millis(NOW.as_millis() - ms);
        times.filter(|ms| rate.take(ago(*ms), late, NOW, &policy())).count()
    }

    #[test]
    fn an_hour_of_points_may_come_at_once_in_either_direction() {
        let second = |n: i64| n * 3_600;
        for late in [false, true] {
            assert_eq!(taken(&mut Rate::default(), (0..1_000).rev().map(second), late), 1_000);
            assert_eq!(taken(&mut Rate::default(), (0..1_000).map(second), late), 1_000);
        }
    }

    #[test]
    fn points_too_dense_in_device_time_are_not_all_taken() {
        // Ten per second for a minute: one per second, and those that may come together.
        let taken = taken(&mut Rate::default(), (0..600).rev().map(|n| n * 100), false);
        assert!((60..=70).contains(&taken), "{taken}");
    }

    #[test]
    fn whatever_times_a_device_invents_the_server_bounds_it() {
        assert_eq!(taken(&mut Rate::default(), (0..5_000).map(|n| (n * 7_919) % 86_400 * 1_000), true), 1_001);
    }

    #[test]
    fn the_bound_of_the_server_recovers_with_its_time() {
        let mut rate = Rate::default();
        let at = |n: i64| Timestamp::from_millis(n * 10_000);
        let refused = (0..2_000).find(|n| !rate.take(at(*n), false, NOW, &policy())).unwrap();
        assert_eq!(refused, 1_001);
        let later = Timestamp::from_millis(NOW.as_millis() + 10_000);
        assert_eq!((3_000..3_100).filter(|n| rate.take(at(*n), false, later, &policy())).count(), 10);
    }
}
