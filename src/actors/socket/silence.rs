//! Whether the other side of a socket has fallen silent, judged at each keep-alive beat.

use std::time::Duration;

use tokio::time::Instant;

/// Counts the beats since the last sign of life.
#[derive(Debug)]
pub struct Silence {
    every: Duration,
    missed: u32,
    last: Option<Instant>,
}

impl Silence {
    /// Of a socket that beats so often.
    #[must_use]
    pub const fn new(every: Duration) -> Self {
        Self { every, missed: 0, last: None }
    }

    /// A sign of life.
    pub const fn heard(&mut self) {
        self.missed = 0;
    }

    /// A beat; returns how many there were since the last sign of life. After a pause of this process its timer makes up
    /// for the beats that it missed, all at once and before what came meanwhile is read: they count as one.
    pub fn beat(&mut self, now: Instant) -> u32 {
        if self.last.is_none_or(|last| now.saturating_duration_since(last) >= self.every / 2) {
            self.missed += 1;
        }
        self.last = Some(now);
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(15);

    #[test]
    fn silence_is_counted_in_beats_and_a_word_ends_it() {
        let mut silence = Silence::new(EVERY);
        let start = Instant::now();
        assert_eq!([1, 2, 3].map(|n| silence.beat(start + EVERY * n)), [1, 2, 3]);
        silence.heard();
        assert_eq!(silence.beat(start + EVERY * 4), 1);
    }

    #[test]
    fn beats_that_a_pause_held_back_are_one() {
        let mut silence = Silence::new(EVERY);
        let start = Instant::now();
        silence.beat(start);
        silence.heard();
        let resumed = start + Duration::from_secs(65);
        assert_eq!([0, 1, 2, 3].map(|ms| silence.beat(resumed + Duration::from_millis(ms))), [1, 1, 1, 1]);
        // The next one is on time again: nobody spoke.
        assert_eq!(silence.beat(start + EVERY * 5), 2);
    }
}
