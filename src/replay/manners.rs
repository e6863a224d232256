//! How riders and merchants behave, and what goes wrong on purpose: the model that the load tester, the virtual-time
//! runner and their reports share, so that a live day and a simulated one differ in nothing but the machinery.

use std::ops::Range;

use clap::Args;
use rand::{Rng, RngExt};
use serde::Serialize;

/// From an offer on the screen to the rider's look at it, milliseconds.
const LOOK_MS: Range<i64> = 300..1_500;

/// From the look to the answer, milliseconds.
const THINK_MS: Range<i64> = 1_500..9_000;

/// How long a connection is lost, milliseconds.
pub const OUTAGE_MS: Range<i64> = 5_000..90_000;

/// How long a break lasts, milliseconds.
pub const BREAK_MS: Range<i64> = 180_000..480_000;

/// From a breakdown to the rider's return to duty, milliseconds.
pub const AFTER_BREAKDOWN_MS: Range<i64> = 600_000..1_200_000;

/// From being taken off duty for silence to the rider's return to it, milliseconds.
pub const AFTER_AUTO_OFF_MS: Range<i64> = 5_000..20_000;

/// Milliseconds of an hour.
const HOUR_MS: f64 = 3_600_000.0;

/// A time that never comes.
pub const NEVER: i64 = i64::MAX;

/// How riders and merchants behave: shares lie in 0 to 1, rates are per rider and hour.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
pub struct Manners {
    /// Share of offers taken. `accept`, `decline` and `ignore` are weights: only their proportion counts.
    #[arg(long, default_value_t = 0.85, value_parser = share)]
    pub accept: f64,
    /// Share of offers declined.
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    pub decline: f64,
    /// Share of offers left unanswered; of every second one not even the screen is looked at.
    #[arg(long, default_value_t = 0.05, value_parser = share)]
    pub ignore: f64,
    /// Connections lost per rider and hour, 5 to 90 seconds each; some of them silently, some with a restart of the app.
    #[arg(long, default_value_t = 0.5, value_parser = rate)]
    pub dropout_per_hour: f64,
    /// Breaks per rider and hour.
    #[arg(long, default_value_t = 0.05, value_parser = rate)]
    pub breaks_per_hour: f64,
    /// Share of devices that lie: impossible positions, future times, garbage frames now and then.
    #[arg(long, default_value_t = 0.01, value_parser = share)]
    pub liars: f64,
    /// Share of devices whose own clock is up to 90 seconds off and runs too fast or too slow; every third of them is set
    /// anew in use.
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    pub skewed: f64,
    /// Share of deliveries whose recipient is not met at first.
    #[arg(long, default_value_t = 0.01, value_parser = share)]
    pub fail: f64,
    /// Share of deliveries on which the rider breaks down and hands the goods over.
    #[arg(long, default_value_t = 0.001, value_parser = share)]
    pub breakdown: f64,
    /// Share of orders that their merchant cancels.
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    pub cancel: f64,
    /// Share of orders whose kitchen announces a delay.
    #[arg(long, default_value_t = 0.03, value_parser = share)]
    pub late_kitchen: f64,
    /// Share of placements and of device requests that are sent twice under the same key or id.
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    pub twice: f64,
}

/// What a rider makes of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mood {
    /// When the rider looks at it; [`NEVER`] for an offer that is never shown.
    pub seen_at: i64,
    /// When the rider answers; [`NEVER`] for one that is let pass.
    pub answer_at: i64,
    /// The answer.
    pub accept: bool,
}

impl Manners {
    /// Everybody does what is asked, and nothing goes wrong.
    #[must_use]
    pub const fn flawless() -> Self {
        Self {
            accept: 1.0,
            decline: 0.0,
            ignore: 0.0,
            dropout_per_hour: 0.0,
            breaks_per_hour: 0.0,
            liars: 0.0,
            skewed: 0.0,
            fail: 0.0,
            breakdown: 0.0,
            cancel: 0.0,
            late_kitchen: 0.0,
            twice: 0.0,
        }
    }

    /// Draws what a rider makes of an offer that comes now.
    pub fn consider<R: Rng>(&self, now: i64, rng: &mut R) -> Mood {
        let total = (self.accept + self.decline + self.ignore).max(f64::MIN_POSITIVE);
        let mood = rng.random_range(0.0..total);
        let seen_at = now + rng.random_range(LOOK_MS);
        let answer_at = seen_at + rng.random_range(THINK_MS);
        let (seen_at, answer_at) = if mood < self.accept + self.decline {
            (seen_at, answer_at)
        } else if rng.random_bool(0.5) {
            (seen_at, NEVER)
        } else {
            (NEVER, NEVER)
        };
        Mood { seen_at, answer_at, accept: mood < self.accept }
    }

    /// What goes wrong, in words, for reports.
    #[must_use]
    pub fn mishaps(&self) -> String {
        let percent = |share: f64| format!("{} %", share * 100.0);
        format!(
            "per rider and hour {} lost connections and {} breaks; of the orders {} are cancelled and {} have a late \
             kitchen; of the deliveries {} meet nobody at first and {} break down",
            self.dropout_per_hour,
            self.breaks_per_hour,
            percent(self.cancel),
            percent(self.late_kitchen),
            percent(self.fail),
            percent(self.breakdown),
        )
    }

    /// The acceptance model in words, for reports.
    #[must_use]
    pub fn acceptance(&self) -> String {
        let total = (self.accept + self.decline + self.ignore).max(f64::MIN_POSITIVE);
        let percent = |share: f64| format!("{:.0} %", share / total * 100.0);
        let seconds =
            |range: &Range<i64>| format!("{:.1} to {:.1} s", range.start as f64 / 1e3, range.end as f64 / 1e3);
        format!(
            "each offer on its own: {} accepted, {} declined, {} let pass (half of those never looked at); looked at \
             after {}, answered {} later",
            percent(self.accept),
            percent(self.decline),
            percent(self.ignore),
            seconds(&LOOK_MS),
            seconds(&THINK_MS),
        )
    }
}

/// Whether something happens that has this share. It always draws, also where the outcome is certain, so that one share
/// does not change what comes after.
pub fn chance<R: Rng>(share: f64, rng: &mut R) -> bool {
    rng.random_range(0.0..1.0) < share
}

/// How a connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// The socket closes.
    Cut,
    /// The socket stays open, but nothing goes through it any more: the next one takes over.
    Silent,
    /// The app restarts and remembers nothing.
    Restart,
}

impl Outage {
    /// Draws one: six of ten are cuts, one is a restart.
    pub fn draw<R: Rng>(rng: &mut R) -> Self {
        match rng.random_range(0..10_u8) {
            0..6 => Self::Cut,
            6..9 => Self::Silent,
            _ => Self::Restart,
        }
    }
}

/// The next time of something that happens `per_hour` times an hour; [`NEVER`] at a rate of 0.
pub fn after<R: Rng>(now: i64, per_hour: f64, rng: &mut R) -> i64 {
    if per_hour <= 0.0 {
        return NEVER;
    }
    let hours = -(1.0 - rng.random_range(0.0..1.0_f64)).ln() / per_hour;
    now.saturating_add((hours * HOUR_MS) as i64)
}

/// Reads a share, 0 to 1.
///
/// # Errors
/// In words, for the command line.
pub fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|s| (0.0..=1.0).contains(s)).ok_or_else(|| "must lie in 0 to 1".to_owned())
}

/// Reads a rate, 0 or more.
///
/// # Errors
/// In words, for the command line.
pub fn rate(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|r| (0.0..=100_000.0).contains(r)).ok_or_else(|| "must be a rate of 0 or more".to_owned())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn nonsense_is_refused() {
        assert!(share("1.1").is_err() && share("NaN").is_err() && share("0.5").is_ok());
        assert!(rate("-1").is_err() && rate("inf").is_err() && rate("0").is_ok());
    }

    #[test]
    fn moods_come_in_the_shares_that_were_asked_for() {
        let manners = Manners { accept: 0.7, decline: 0.1, ignore: 0.2, ..Manners::flawless() };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let moods: Vec<Mood> = (0..10_000).map(|_| manners.consider(0, &mut rng)).collect();
        let count = |of: fn(&Mood) -> bool| moods.iter().filter(|mood| of(mood)).count();
        assert!((6_800..7_200).contains(&count(|mood| mood.accept)));
        assert!((1_850..2_150).contains(&count(|mood| mood.answer_at == NEVER)));
        assert!((900..1_100).contains(&count(|mood| mood.seen_at == NEVER)));
        assert!(moods.iter().all(|mood| mood.answer_at == NEVER || mood.answer_at > mood.seen_at));
        assert!(manners.acceptance().contains("70 % accepted, 10 % declined, 20 % let pass"));
    }

    #[test]
    fn what_never_happens_never_comes() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(after(5, 0.0, &mut rng), NEVER);
        let mean = (0..2_000).map(|_| after(0, 2.0, &mut rng)).sum::<i64>() / 2_000;
        assert!((1_650_000..1_950_000).contains(&mean), "{mean} ms between things that happen twice an hour");
    }
}
