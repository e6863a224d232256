//! How long to wait before the journal tries again. Pure: the random share is an argument.

use std::time::Duration;

use super::Options;

/// The pause after the `failed`th failure in a row (from 1): doubling up to the limit, and of that a random half to
/// whole (`random` in 0..=1), so that several processes do not return to a database in step.
pub(super) fn pause(options: &Options, failed: u32, random: f64) -> Duration {
    let least = Duration::from_millis(options.retry_min_ms.max(1));
    let most = Duration::from_millis(options.retry_max_ms).max(least);
    let doubled = least.saturating_mul(1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX)).min(most);
    doubled.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_limit() {
        let options = Options { retry_min_ms: 50, retry_max_ms: 2_000, ..Options::default() };
        let whole = |failed| pause(&options, failed, 1.0).as_millis();
        assert_eq!([1, 2, 3].map(whole), [50, 100, 200]);
        assert_eq!([7, 33, u32::MAX].map(whole), [2_000, 2_000, 2_000]);
        assert_eq!(pause(&options, 1, 0.0), Duration::from_millis(25));
    }
}
