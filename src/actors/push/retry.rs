//! When a message that a provider did not take is given to it again: pure.

use std::time::Duration;

use super::Options;

/// The longest doubling: about a thousand times the first pause.
const DOUBLINGS: u32 = 10;

/// The pause before the next try, after `tried` of them; `None` when there is none: enough was tried, or the message
/// would come when its time is over. A provider that names a time is not asked before it.
#[must_use]
pub fn pause(options: &Options, tried: u32, after: Option<Duration>, left: Duration) -> Option<Duration> {
    if tried >= options.tries {
        return None;
    }
    let doubled = Duration::from_millis(options.retry_min_ms) * (1 << tried.saturating_sub(1).min(DOUBLINGS));
    let pause = match after {
        // What can be mended at once, an access token that has ended, is tried at once; but only once.
        Some(Duration::ZERO) if tried == 1 => Duration::ZERO,
        after => doubled.max(after.unwrap_or_default()),
    };
    (pause < left).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pauses_double_and_end() {
        let options = Options { tries: 3, retry_min_ms: 100, ..Options::default() };
        let left = ms(60_000);
        assert_eq!(pause(&options, 1, None, left), Some(ms(100)));
        assert_eq!(pause(&options, 2, None, left), Some(ms(200)));
        assert_eq!(pause(&options, 3, None, left), None);
    }

    #[test]
    fn the_provider_says_when_and_the_offer_says_until_when() {
        let options = Options { tries: 9, retry_min_ms: 100, ..Options::default() };
        assert_eq!(pause(&options, 1, Some(ms(5_000)), ms(6_000)), Some(ms(5_000)));
        assert_eq!(pause(&options, 1, Some(ms(5_000)), ms(5_000)), None, "it would come too late");
        assert_eq!(pause(&options, 1, Some(Duration::ZERO), ms(1)), Some(Duration::ZERO));
        assert_eq!(pause(&options, 2, Some(Duration::ZERO), ms(1_000)), Some(ms(200)), "not for ever at once");
        assert_eq!(pause(&options, 80, None, ms(1)), None);
    }
}
