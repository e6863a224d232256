//! How good a day was: every figure that dispatchers are compared by, each with its exact definition. The definitions follow
//! the literature on the meal delivery routing problem (Reyes et al. 2018) where it has one.

use serde::Serialize;

use super::{
    measure::{MINUTE_MS, Spread, ratio, time_of_day},
    outcome::{End, OrderOutcome, Outcomes},
    spans::{common, total, within},
};

/// The click-to-door time that a dispatcher aims at, minutes.
pub const TARGET_MINUTES: i64 = 40;

/// The click-to-door time that no order should exceed, minutes.
pub const MAXIMUM_MINUTES: i64 = 90;

/// Milliseconds of an hour, as a divisor.
const HOUR_MS: f64 = 3_600_000.0;

/// The figures of a day. Shares lie in 0..=1. A figure that nothing speaks about (no order, no rider) is absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// Orders by how they ended.
    pub orders: OrderCounts,
    /// Delivered, of those wanted.
    pub delivered_share: Option<f64>,
    /// From placement to the door, of the delivered orders.
    pub click_to_door_minutes: Spread,
    /// Share of the wanted orders that took more than 40 minutes from placement to the door, or were not delivered.
    pub over_40_minutes_share: Option<f64>,
    /// Share of the wanted orders that took more than 90 minutes from placement to the door, or were not delivered.
    pub over_90_minutes_share: Option<f64>,
    /// How long the goods stood ready (as said last) before they were first picked up, of all orders that were; 0 when
    /// they were picked up before that time.
    pub order_wait_minutes: Spread,
    /// How long riders stood at the counter before pickup, of all orders that were picked up and not handed over.
    pub rider_wait_minutes: Spread,
    /// From when a rider had to leave until the last rider took the order, of all orders that were due and taken; 0 when it
    /// was taken before. An order that a rider gave back became due anew.
    pub due_to_assigned_seconds: Spread,
    /// Delivered at or before the promise, of the delivered orders.
    pub on_time_share: Option<f64>,
    /// The same without promises that nobody could have kept.
    pub on_time_share_of_possible: Option<f64>,
    /// Wanted orders whose promise was not later than the time at which the goods were ready.
    pub impossible_promises: usize,
    /// How much later than promised, of the orders delivered later than promised.
    pub late_minutes: Spread,
    /// Metres along the street that riders went with an order in hand, per delivered order.
    pub ridden_metres_per_delivery: Option<f64>,
    /// Riders who were on duty at any time of the observation.
    pub riders: usize,
    /// Their time on duty within the observation.
    pub rider_hours: f64,
    /// Share of that time with an order in hand.
    pub busy_share: Option<f64>,
    /// Share of that time without one.
    pub idle_share: Option<f64>,
    /// Time with an order in hand while not on duty: the last order is finished after the shift.
    pub busy_off_duty_hours: f64,
    /// Delivered orders per hour of a rider on duty.
    pub deliveries_per_rider_hour: Option<f64>,
    /// The longest that an order had been placed and yet had no rider and no end. The oldest waiting order at any time is
    /// never older. Goods handed over after a breakdown count as with their rider: their wait for the next one is not in it.
    pub oldest_since_placed: Oldest,
    /// The same, counted only from when the goods were ready: an order may wait for its kitchen on purpose.
    pub oldest_since_ready: Oldest,
    /// Offers per order, over all orders.
    pub offers_per_order: Option<f64>,
}

/// Orders by how they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OrderCounts {
    /// All of them.
    pub placed: usize,
    /// The recipient has the goods.
    pub delivered: usize,
    /// The merchant called it off.
    pub cancelled: usize,
    /// The goods went back, and nobody had called it off.
    pub returned: usize,
    /// No rider was found.
    pub expired: usize,
    /// Not ended when the observation did.
    pub open: usize,
    /// Not cancelled.
    pub wanted: usize,
    /// Wanted and not delivered.
    pub undelivered: usize,
}

/// The oldest order without a rider.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Oldest {
    /// Its age when it was oldest; 0 when no order ever waited, absent without orders.
    pub max_minutes: Option<f64>,
    /// The time of day at which that was, `HH:MM:SS`; absent when no order ever waited.
    pub at: Option<String>,
}

impl Quality {
    /// The figures of what became of a day.
    #[must_use]
    pub fn of(outcomes: &Outcomes) -> Self {
        let orders = &outcomes.orders;
        let counts = OrderCounts::of(orders);
        let (wanted, delivered) = (counts.wanted as f64, counts.delivered as f64);
        let minutes =
            |measure: fn(&OrderOutcome) -> Option<i64>| Spread::of(orders.iter().filter_map(measure), MINUTE_MS);
        let over = |limit: i64| {
            let kept = |order: &&OrderOutcome| order.click_to_door_ms().is_some_and(|ms| ms <= limit * 60_000);
            ratio(wanted - orders.iter().filter(kept).count() as f64, wanted)
        };
        let on_time = |possible_only: bool| {
            let considered = orders.iter().filter(|order| !(possible_only && order.promise_was_impossible()));
            let lateness: Vec<i64> = considered.filter_map(OrderOutcome::lateness_ms).collect();
            let kept = lateness.iter().filter(|ms| **ms <= 0).count();
            ratio(kept as f64, lateness.len() as f64)
        };
        let late = orders.iter().filter_map(OrderOutcome::lateness_ms).filter(|ms| *ms > 0);
        let fleet = Fleet::of(outcomes);
        let rider_hours = fleet.on_duty_ms as f64 / HOUR_MS;
        let busy_share = ratio(fleet.busy_ms as f64, fleet.on_duty_ms as f64);
        let ridden_m: f64 = outcomes.riders.iter().map(|rider| rider.ridden_m).sum();
        let offers: f64 = orders.iter().map(|order| f64::from(order.offers)).sum();
        Self {
            delivered_share: ratio(delivered, wanted),
            click_to_door_minutes: minutes(OrderOutcome::click_to_door_ms),
            over_40_minutes_share: over(TARGET_MINUTES),
            over_90_minutes_share: over(MAXIMUM_MINUTES),
            order_wait_minutes: minutes(OrderOutcome::order_wait_ms),
            rider_wait_minutes: minutes(OrderOutcome::rider_wait_ms),
            due_to_assigned_seconds: Spread::of(orders.iter().filter_map(OrderOutcome::due_to_assigned_ms), 1_000.0),
            on_time_share: on_time(false),
            on_time_share_of_possible: on_time(true),
            impossible_promises: orders.iter().filter(|o| o.wanted() && o.promise_was_impossible()).count(),
            late_minutes: Spread::of(late, MINUTE_MS),
            ridden_metres_per_delivery: ratio(ridden_m, delivered),
            riders: fleet.riders,
            rider_hours,
            busy_share,
            idle_share: busy_share.map(|share| 1.0 - share),
            busy_off_duty_hours: fleet.busy_off_duty_ms as f64 / HOUR_MS,
            deliveries_per_rider_hour: ratio(delivered, rider_hours),
            oldest_since_placed: Oldest::of(outcomes, |order| order.placed),
            oldest_since_ready: Oldest::of(outcomes, |order| order.placed.max(order.ready)),
            offers_per_order: ratio(offers, orders.len() as f64),
            orders: counts,
        }
    }
}

impl OrderCounts {
    fn of(orders: &[OrderOutcome]) -> Self {
        let count = |end| orders.iter().filter(|order| order.end == end).count();
        let (delivered, cancelled) = (count(End::Delivered), count(End::Cancelled));
        let wanted = orders.len() - cancelled;
        Self {
            placed: orders.len(),
            delivered,
            cancelled,
            returned: count(End::Returned),
            expired: count(End::Expired),
            open: count(End::Open),
            wanted,
            undelivered: wanted - delivered,
        }
    }
}

/// What the riders did within the observation.
#[derive(Default)]
struct Fleet {
    riders: usize,
    on_duty_ms: i64,
    busy_ms: i64,
    busy_off_duty_ms: i64,
}

impl Fleet {
    fn of(outcomes: &Outcomes) -> Self {
        let mut fleet = Self::default();
        for rider in &outcomes.riders {
            let on_duty = within(&rider.on_duty, (0, outcomes.until));
            let busy = within(&rider.busy, (0, outcomes.until));
            let busy_on_duty_ms = total(&common(&on_duty, &busy));
            fleet.riders += usize::from(!on_duty.is_empty());
            fleet.on_duty_ms += total(&on_duty);
            fleet.busy_ms += busy_on_duty_ms;
            fleet.busy_off_duty_ms += total(&busy) - busy_on_duty_ms;
        }
        fleet
    }
}

impl Oldest {
    /// At its peak, the oldest waiting order is about to be taken or to end: so the longest wait is the greatest age.
    fn of(outcomes: &Outcomes, since: fn(&OrderOutcome) -> i64) -> Self {
        let waits = outcomes.orders.iter().filter_map(|order| {
            let (_, to) = order.without_rider(outcomes.until)?;
            Some((to - since(order), to)).filter(|(age, _)| *age > 0)
        });
        // The earliest of equals.
        match waits.max_by_key(|(age, at)| (*age, -at)) {
            Some((age, at)) => {
                Self { max_minutes: Some(age as f64 / MINUTE_MS), at: Some(time_of_day(outcomes.from_s, at)) }
            }
            None => Self { max_minutes: (!outcomes.orders.is_empty()).then_some(0.0), at: None },
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
