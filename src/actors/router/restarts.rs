//! Whether a city that panicked is started again. Pure.

use std::{collections::VecDeque, time::Duration};

use super::Options;
use crate::domain::time::Timestamp;

/// The recent panics of one city.
#[derive(Clone, Debug, Default)]
pub(super) struct Restarts(VecDeque<Timestamp>);

/// What to do about a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Start it again after a pause.
    Restart(Duration),
    /// It panics again and again: leave it down until somebody has looked.
    Quarantine,
}

impl Restarts {
    /// Takes note of a panic at the (real) time `now`.
    pub fn panicked(&mut self, now: Timestamp, options: &Options) -> Verdict {
        let window = Duration::from_secs(options.panic_window_s);
        self.0.retain(|at| now.since(*at) < window);
        self.0.push_back(now);
        let recent = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        if recent > options.max_panics {
            return Verdict::Quarantine;
        }
        Verdict::Restart(backoff(options, recent))
    }

    /// Somebody has looked.
    pub fn forgive(&mut self) {
        self.0.clear();
    }
}

/// The pause after the `n`th failure in a row (from 1): doubling up to the limit.
pub(super) fn backoff(options: &Options, n: u32) -> Duration {
    let doubled = 1_u32.checked_shl(n.saturating_sub(1)).unwrap_or(u32::MAX);
    let most = Duration::from_millis(options.restart_max_ms.max(options.restart_min_ms));
    Duration::from_millis(options.restart_min_ms.max(1)).saturating_mul(doubled).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_panic_too_many_within_the_window_is_the_end() {
        let options = Options::default();
        let mut restarts = Restarts::default();
        let at = |second: i64| Timestamp::from_millis(second * 1_000);
        let restart = |ms| Verdict::Restart(Duration::from_millis(ms));
        assert_eq!(restarts.panicked(at(0), &options), restart(100));
        assert_eq!(restarts.panicked(at(1), &options), restart(200));
        assert_eq!(restarts.panicked(at(2), &options), restart(400));
        assert_eq!(restarts.clone().panicked(at(3), &options), Verdict::Quarantine);
        // Old ones are forgotten.
        assert_eq!(restarts.clone().panicked(at(70), &options), restart(100));
        restarts.forgive();
        assert_eq!(restarts.panicked(at(3), &options), restart(100));
    }
}
