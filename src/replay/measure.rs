//! What is measured at one order, and how many measurements become one figure: the definitions that the figures of a day
//! ([`super::quality`]) and its plots ([`super::series`]) share.

use serde::Serialize;

use super::outcome::{End, OrderOutcome, Span};

/// Milliseconds of a minute, as a divisor.
pub const MINUTE_MS: f64 = 60_000.0;

impl OrderOutcome {
    /// Whether somebody still wanted it: it was not cancelled.
    #[must_use]
    pub fn wanted(&self) -> bool {
        self.end != End::Cancelled
    }

    /// When the recipient had it, if it ended so.
    #[must_use]
    pub fn delivered_at(&self) -> Option<i64> {
        self.delivered.or(self.ended).filter(|_| self.end == End::Delivered)
    }

    /// From placement to the door, of a delivered order.
    #[must_use]
    pub fn click_to_door_ms(&self) -> Option<i64> {
        self.delivered_at().map(|at| at - self.placed)
    }

    /// How long the goods stood ready before they were picked up; 0 when they were picked up before the time said.
    #[must_use]
    pub fn order_wait_ms(&self) -> Option<i64> {
        self.picked_up.map(|at| (at - self.ready).max(0))
    }

    /// How long the rider stood at the counter. Unknown after a handover, when another rider than the last had been there.
    #[must_use]
    pub fn rider_wait_ms(&self) -> Option<i64> {
        let (arrived, left) = self.at_pickup.zip(self.picked_up)?;
        (arrived <= left).then_some(left - arrived)
    }

    /// From when a rider had to leave until the last rider took it; 0 when it was taken before.
    #[must_use]
    pub fn due_to_assigned_ms(&self) -> Option<i64> {
        self.due.zip(self.assigned).map(|(due, assigned)| (assigned - due).max(0))
    }

    /// Whether nobody could have kept the promise: it was not later than the time at which the goods were ready.
    #[must_use]
    pub fn promise_was_impossible(&self) -> bool {
        self.promise <= self.ready
    }

    /// How much later than promised it was delivered; negative when early.
    #[must_use]
    pub fn lateness_ms(&self) -> Option<i64> {
        self.delivered_at().map(|at| at - self.promise)
    }

    /// From placement until it has a rider or has ended, within the observation. An order that changed its rider before
    /// pickup counts as without one until the last took it.
    #[must_use]
    pub fn without_rider(&self, until: i64) -> Option<Span> {
        let to = [self.taken(), self.over()].into_iter().flatten().fold(until, i64::min);
        (self.placed < to).then_some((self.placed, to))
    }

    /// From when it has a rider until it has ended, within the observation.
    #[must_use]
    pub fn in_hand(&self, until: i64) -> Option<Span> {
        let (from, to) = (self.taken()?, self.over().unwrap_or(until).min(until));
        (from < to).then_some((from, to))
    }

    /// When it got the rider who picked it up. A handover afterwards changes the last rider, not this.
    fn taken(&self) -> Option<i64> {
        [self.assigned, self.picked_up].into_iter().flatten().min()
    }

    fn over(&self) -> Option<i64> {
        self.ended.or(self.delivered)
    }
}

/// How a measurement is spread. A quantile is the nearest rank: the smallest value such that at least that share of all
/// values is no larger, so it is always a value that occurred. Without values, there are no figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many values.
    pub count: usize,
    /// Their arithmetic mean.
    pub mean: Option<f64>,
    /// Their median.
    pub p50: Option<f64>,
    /// Nine tenths are no larger.
    pub p90: Option<f64>,
    /// 99 of a hundred are no larger.
    pub p99: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

impl Spread {
    /// Of milliseconds, in units of `unit_ms`.
    #[must_use]
    pub fn of(milliseconds: impl Iterator<Item = i64>, unit_ms: f64) -> Self {
        let mut sorted: Vec<i64> = milliseconds.collect();
        sorted.sort_unstable();
        let quantile = |percent| nearest_rank(&sorted, percent).map(|value| value as f64 / unit_ms);
        let sum = sorted.iter().map(|value| *value as f64).sum::<f64>();
        Self {
            count: sorted.len(),
            mean: ratio(sum / unit_ms, sorted.len() as f64),
            p50: quantile(50),
            p90: quantile(90),
            p99: quantile(99),
            max: quantile(100),
        }
    }
}

/// The value of that rank in a sorted list, `percent` in 1..=100; none in an empty list.
#[must_use]
pub fn nearest_rank(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

/// A quotient, where there is something to divide by.
#[must_use]
pub fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// The time of day, `HH:MM:SS`, of a moment of a plan that starts at a second of the day.
#[must_use]
pub fn time_of_day(from_s: u32, at_ms: i64) -> String {
    let second = (i64::from(from_s) + at_ms.div_euclid(1_000)).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An order that nothing has happened to yet.
    pub fn order(placed: i64, ready: i64, promise: i64) -> OrderOutcome {
        OrderOutcome {
            number: 1,
            placed,
            ready,
            promise,
            due: None,
            assigned: None,
            at_pickup: None,
            picked_up: None,
            delivered: None,
            ended: None,
            end: End::Open,
            offers: 0,
        }
    }

    #[test]
    fn waits_are_never_negative() {
        let mut order = order(0, 600, 900);
        order.due = Some(300);
        assert_eq!((order.order_wait_ms(), order.rider_wait_ms(), order.due_to_assigned_ms()), (None, None, None));
        (order.assigned, order.at_pickup, order.picked_up) = (Some(200), Some(400), Some(500));
        assert_eq!(
            (order.order_wait_ms(), order.rider_wait_ms(), order.due_to_assigned_ms()),
            (Some(0), Some(100), Some(0))
        );
        (order.assigned, order.at_pickup, order.picked_up) = (Some(350), Some(600), Some(650));
        assert_eq!(
            (order.order_wait_ms(), order.rider_wait_ms(), order.due_to_assigned_ms()),
            (Some(50), Some(50), Some(50))
        );
    }

    #[test]
    fn a_handover_hides_the_wait_at_the_counter_and_nothing_else() {
        let mut order = order(0, 100, 900);
        order.picked_up = Some(200);
        (order.assigned, order.at_pickup) = (Some(500), Some(550));
        (order.delivered, order.ended, order.end) = (Some(800), Some(800), End::Delivered);
        assert_eq!(order.rider_wait_ms(), None);
        assert_eq!(order.without_rider(1_000), Some((0, 200)));
        assert_eq!(order.in_hand(1_000), Some((200, 800)));
    }

    #[test]
    fn an_order_waits_until_it_is_taken_or_over_or_nobody_looks() {
        let mut order = order(10, 100, 900);
        assert_eq!((order.without_rider(70), order.in_hand(70)), (Some((10, 70)), None));
        assert_eq!(order.without_rider(10), None);
        (order.ended, order.end) = (Some(60), End::Expired);
        assert_eq!(order.without_rider(70), Some((10, 60)));
        (order.assigned, order.ended, order.end) = (Some(10), None, End::Open);
        assert_eq!((order.without_rider(70), order.in_hand(70)), (None, Some((10, 70))));
    }

    #[test]
    fn only_what_ended_as_delivered_has_a_door() {
        let mut order = order(0, 100, 800);
        (order.delivered, order.end) = (Some(900), End::Returned);
        assert_eq!((order.click_to_door_ms(), order.lateness_ms()), (None, None));
        order.end = End::Delivered;
        assert_eq!((order.click_to_door_ms(), order.lateness_ms()), (Some(900), Some(100)));
        assert!(order.wanted() && !order.promise_was_impossible());
        order.promise = 100;
        assert!(order.promise_was_impossible());
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        let hundred: Vec<i64> = (1..=100).rev().map(|minute| minute * 60_000).collect();
        let spread = Spread::of(hundred.into_iter(), MINUTE_MS);
        let figures = [spread.mean, spread.p50, spread.p90, spread.p99, spread.max];
        assert_eq!(figures, [50.5, 50.0, 90.0, 99.0, 100.0].map(Some));
        let four = [10, 20, 30, 40];
        assert_eq!([25, 26, 50, 51, 90].map(|p| nearest_rank(&four, p)), [10, 20, 20, 30, 40].map(Some));
        assert_eq!(nearest_rank(&[], 50), None);
        assert_eq!(Spread::of([].into_iter(), 1.0), Spread::default());
    }

    #[test]
    fn the_day_wraps_at_midnight() {
        assert_eq!(time_of_day(43_200, 90_999), "12:01:30");
        assert_eq!(time_of_day(86_399, 1_000), "00:00:00");
        assert_eq!(time_of_day(0, -1), "23:59:59");
    }
}
