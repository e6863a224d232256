//! How long to wait before Postgres is tried again: pure.

use std::time::Duration;

/// 200 ms after the first failure, doubling, at most `longest`; zero when nothing failed.
#[must_use]
pub fn backoff(failures: u32, longest: Duration) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => Duration::from_millis(200).saturating_mul(1 << (n - 1).min(16)).min(longest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_bound() {
        let waits = [0, 1, 2, 5, 6, u32::MAX].map(|failures| backoff(failures, Duration::from_secs(5)).as_millis());
        assert_eq!(waits, [0, 200, 400, 3_200, 5_000, 5_000]);
    }
}
