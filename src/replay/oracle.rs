//! A greedy dispatcher without an engine, to hold the engine's figures against: the same day, couriers, streets and
//! kitchens, solved offline. It knows at once where everybody is, every courier says yes at once, and no message is ever
//! late. Each order goes to the nearest idle courier at one fixed time: when it is placed, or a fixed lead before its
//! goods are ready. Orders that find nobody wait in line for whoever is free next.

use std::{cmp::Reverse, collections::BinaryHeap};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::{
    day::DayCourier,
    geometry::distance_m,
    manners::Manners,
    motion::Motion,
    orders::PlannedOrder,
    outcome::{End, OrderOutcome, Outcomes, RiderOutcome},
    scenario::{Scenario, Shift, Window},
    work::{self, Task},
};
use crate::domain::order::{OrderStatus, Step};

/// When the oracle gives an order to a courier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// As soon as it is placed.
    AtPlacement,
    /// This long before its goods are ready, milliseconds; at once when that is over.
    BeforeReady(i64),
}

impl Dispatch {
    /// The two policies that every report shows: at placement, and eight minutes before ready.
    pub const BOTH: [Self; 2] = [Self::AtPlacement, Self::BeforeReady(8 * 60_000)];

    fn name(self) -> String {
        match self {
            Self::AtPlacement => "oracle at placement".to_owned(),
            Self::BeforeReady(lead) => format!("oracle {} min before ready", lead / 60_000),
        }
    }
}

/// Lives the scenario under a policy. Orders that their merchant cancels are left out, kitchens that announce a delay
/// have it from the start, couriers do not break down; everything else is drawn as in the live replay.
#[must_use]
pub fn solve(scenario: &Scenario, window: &Window, manners: &Manners, detour: f64, dispatch: Dispatch) -> Outcomes {
    let mut day = Day {
        manners: Manners { breakdown: 0.0, ..manners.clone() },
        // One stream for the whole day: the oracle meets the order of events that it makes itself.
        rng: ChaCha8Rng::seed_from_u64(0),
        riders: scenario.couriers.iter().map(|(courier, shift)| OracleRider::new(courier, *shift, detour)).collect(),
        events: BinaryHeap::new(),
        line: vec![],
        orders: vec![],
    };
    let until = window.length_ms() + window.drain_ms;
    for order in scenario.orders.iter().filter(|order| order.whims.cancel_after.is_none()) {
        let ready = order.ready + order.whims.delay.map_or(0, |(_, by)| by);
        let at = match dispatch {
            Dispatch::AtPlacement => order.at,
            Dispatch::BeforeReady(lead) => order.at.max(ready - lead),
        };
        let number = day.orders.len();
        day.events.push(Reverse((at, Event::Order(number))));
        day.orders.push((order.clone(), OrderOutcome { ready, due: Some(at), ..OrderOutcome::planned(order) }));
    }
    for (number, rider) in day.riders.iter().enumerate() {
        day.events.push(Reverse((rider.shift.on.max(0), Event::Free(number))));
    }
    while let Some(Reverse((now, event))) = day.events.pop().filter(|Reverse((now, _))| *now <= until) {
        if let Event::Order(number) = event {
            day.line.push(number);
        }
        day.assign(now);
    }
    let orders: Vec<OrderOutcome> = day.orders.into_iter().map(|(_, order)| seen_until(until, order)).collect();
    // Like every other observation it ends once there is nothing left to do.
    let all_ended: Option<Vec<i64>> = orders.iter().map(|order| order.ended).collect();
    let until = all_ended.map_or(until, |ended| ended.into_iter().fold(window.length_ms(), i64::max));
    Outcomes {
        dispatcher: dispatch.name(),
        from_s: window.from_s,
        placed_to: window.length_ms(),
        until,
        orders,
        riders: day.riders.into_iter().filter(|rider| rider.shift.on < until).map(OracleRider::outcome).collect(),
    }
}

/// What somebody who stops looking then has seen of an order.
fn seen_until(until: i64, order: OrderOutcome) -> OrderOutcome {
    let seen = |at: Option<i64>| at.filter(|at| *at <= until);
    OrderOutcome {
        at_pickup: seen(order.at_pickup),
        picked_up: seen(order.picked_up),
        delivered: seen(order.delivered),
        ended: seen(order.ended),
        end: if seen(order.ended).is_some() { order.end } else { End::Open },
        ..order
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A courier comes on duty or is free again.
    Free(usize),
    /// An order is to be dispatched.
    Order(usize),
}

struct OracleRider {
    shift: Shift,
    motion: Motion,
    free_at: i64,
    diary: RiderOutcome,
}

impl OracleRider {
    fn new(courier: &DayCourier, shift: Shift, detour: f64) -> Self {
        let motion = Motion::standing(courier.at, courier.vehicle, detour);
        Self { shift, motion, free_at: shift.on.max(0), diary: RiderOutcome::default() }
    }

    fn is_idle(&self, now: i64) -> bool {
        self.free_at <= now && self.shift.off.is_none_or(|off| now < off)
    }

    /// On duty for the shift, and for as long as the last order took.
    fn outcome(self) -> RiderOutcome {
        let off = self.shift.off.unwrap_or(i64::MAX).max(self.free_at);
        RiderOutcome { on_duty: vec![(self.shift.on.max(0), off)], ..self.diary }
    }
}

struct Day {
    manners: Manners,
    rng: ChaCha8Rng,
    riders: Vec<OracleRider>,
    events: BinaryHeap<Reverse<(i64, Event)>>,
    /// Orders that wait for a courier, in the order in which they were dispatched.
    line: Vec<usize>,
    orders: Vec<(PlannedOrder, OrderOutcome)>,
}

impl Day {
    /// Gives the orders in line, first come first served, to the nearest idle couriers.
    fn assign(&mut self, now: i64) {
        let mut line = std::mem::take(&mut self.line).into_iter();
        for order in line.by_ref() {
            let pickup = self.orders[order].0.pickup;
            let nearest = self
                .riders
                .iter()
                .enumerate()
                .filter(|(_, rider)| rider.is_idle(now))
                .map(|(number, rider)| (distance_m(rider.motion.position(now), pickup), number))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            match nearest {
                Some((_, rider)) => self.ride(now, order, rider),
                // Nobody is left for the others either.
                None => {
                    self.line.push(order);
                    break;
                }
            }
        }
        self.line.extend(line);
    }

    /// Plays an order from its assignment to its end.
    fn ride(&mut self, now: i64, order: usize, rider: usize) {
        let (plan, outcome) = &mut self.orders[order];
        let number = rider;
        let rider = &mut self.riders[rider];
        outcome.assigned = Some(now);
        outcome.offers = 1;
        let ridden = rider.motion.ridden_m(now);
        let mut task = Task {
            order: Uuid::from_u128(u128::from(plan.number)),
            status: OrderStatus::Assigned,
            place: Some(plan.pickup),
            ready_at: outcome.ready,
            failed: false,
        };
        let mut at = now;
        while let Some(next) = work::plan(&task, at, &self.manners, &mut rider.motion, &mut self.rng) {
            at = next.at;
            task.status = match next.step {
                Step::AtPickup => {
                    outcome.at_pickup = Some(at);
                    OrderStatus::AtPickup
                }
                Step::PickedUp => {
                    outcome.picked_up = Some(at);
                    task.place = Some(plan.drop);
                    OrderStatus::PickedUp
                }
                Step::AtDropoff => OrderStatus::AtDropoff,
                Step::AttemptFailed => {
                    task.failed = true;
                    OrderStatus::AttemptFailed
                }
                Step::Returning => {
                    task.place = Some(plan.pickup);
                    OrderStatus::Returning
                }
                Step::Delivered => {
                    outcome.delivered = Some(at);
                    outcome.end = End::Delivered;
                    OrderStatus::Delivered
                }
                // Couriers of the oracle do not break down.
                Step::Returned | Step::Handover => {
                    outcome.end = End::Returned;
                    OrderStatus::Returned
                }
            };
        }
        outcome.ended = Some(at);
        rider.free_at = at;
        rider.diary.busy.push((now, at));
        rider.diary.ridden_m += rider.motion.ridden_m(at) - ridden;
        self.events.push(Reverse((at, Event::Free(number))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::rider::Vehicle,
        replay::{
            geometry::offset,
            orders::Whims,
            scenario::{Notes, Scenario},
        },
        wire::LatLon,
    };

    const HERE: LatLon = LatLon { lat: 7.1, lon: -73.1 };
    const MINUTE: i64 = 60_000;

    fn courier(id: u64, east_m: f64, on: i64, off: i64) -> (DayCourier, Shift) {
        let at = offset(HERE, 0.0, east_m);
        (DayCourier { id, vehicle: Vehicle::Motorcycle, at, on, off }, Shift { on, off: Some(off) })
    }

    fn order(number: u64, at: i64, ready: i64) -> PlannedOrder {
        PlannedOrder {
            number,
            city: 0,
            at,
            store: "store".into(),
            store_number: 1,
            pickup: HERE,
            drop: offset(HERE, 1_200.0, 0.0),
            ready,
            promise: ready + 30 * MINUTE,
            whims: Whims::default(),
        }
    }

    fn solve(orders: Vec<PlannedOrder>, couriers: Vec<(DayCourier, Shift)>, dispatch: Dispatch) -> Vec<OrderOutcome> {
        observe(orders, couriers, dispatch).orders
    }

    fn observe(orders: Vec<PlannedOrder>, couriers: Vec<(DayCourier, Shift)>, dispatch: Dispatch) -> Outcomes {
        let notes = Notes {
            orders_in_day: 0,
            orders_in_window: 0,
            orders_clamped_ready_before_placed: 0,
            orders_in_window_promised_before_ready: 0,
            couriers_in_day: 0,
            couriers_skipped_off_before_on: 0,
            couriers_in_window_and_drain: 0,
        };
        let window = Window { from_s: 0, to_s: 3_600, drain_ms: 3_600_000, fleet: 1.0 };
        let scenario = Scenario { orders, couriers, notes };
        super::solve(&scenario, &window, &Manners::flawless(), 1.4, dispatch)
    }

    #[test]
    fn the_nearest_idle_courier_goes_at_placement_or_before_ready() {
        let couriers = || vec![courier(1, 3_000.0, 0, 10 * 3_600_000), courier(2, 600.0, 0, 10 * 3_600_000)];
        let at_once = solve(vec![order(1, 0, 20 * MINUTE)], couriers(), Dispatch::AtPlacement).remove(0);
        // 600 m x 1.4 at 6.1 m/s: 138 s, give or take a sixth.
        assert!((100_000..170_000).contains(&at_once.at_pickup.unwrap()), "{at_once:?}");
        assert!(at_once.picked_up.unwrap() >= 20 * MINUTE);
        assert_eq!((at_once.end, at_once.assigned), (End::Delivered, Some(0)));
        let later = solve(vec![order(1, 0, 20 * MINUTE)], couriers(), Dispatch::BeforeReady(8 * MINUTE)).remove(0);
        assert_eq!((later.due, later.assigned), (Some(12 * MINUTE), Some(12 * MINUTE)));
    }

    #[test]
    fn it_is_observed_until_nothing_is_left_to_do_or_the_time_is_over() {
        let couriers = || vec![courier(1, 0.0, 0, 10 * 3_600_000)];
        let done = observe(vec![order(1, 0, 0)], couriers(), Dispatch::AtPlacement);
        assert_eq!(done.until, 60 * MINUTE, "the window itself is looked at whole");
        let late = observe(vec![order(1, 0, 70 * MINUTE)], couriers(), Dispatch::AtPlacement);
        assert_eq!(Some(late.until), late.orders[0].ended);
        let never = observe(vec![order(1, 0, 119 * MINUTE)], couriers(), Dispatch::AtPlacement);
        let order = &never.orders[0];
        assert_eq!((never.until, order.end, order.delivered), (120 * MINUTE, End::Open, None));
        assert!(order.picked_up.is_some());
    }

    #[test]
    fn an_order_that_finds_nobody_waits_for_whoever_is_free_next() {
        let orders = vec![order(1, 0, 0), order(2, MINUTE, MINUTE), order(3, 2 * MINUTE, 2 * MINUTE)];
        let outcomes = solve(orders.clone(), vec![courier(1, 0.0, 0, 3_600_000)], Dispatch::AtPlacement);
        assert_eq!(outcomes[1].assigned, outcomes[0].ended);
        assert_eq!(outcomes[2].assigned, outcomes[1].ended);
        // A shift that is over takes nothing more, but finishes what it has.
        let outcomes = solve(orders, vec![courier(1, 0.0, 0, MINUTE / 2)], Dispatch::AtPlacement);
        assert_eq!(outcomes.iter().map(|o| o.end).collect::<Vec<_>>(), [End::Delivered, End::Open, End::Open]);
    }

    #[test]
    fn what_is_cancelled_is_left_out_and_what_is_late_is_late() {
        let mut orders = vec![order(1, 0, 0), order(2, 0, 0)];
        orders[0].whims.cancel_after = Some(1);
        orders[1].whims.delay = Some((MINUTE, 5 * MINUTE));
        let outcomes = solve(orders, vec![courier(1, 0.0, 0, 3_600_000)], Dispatch::AtPlacement);
        assert_eq!((outcomes.len(), outcomes[0].number, outcomes[0].ready), (1, 2, 5 * MINUTE));
        assert!(outcomes[0].picked_up.unwrap() >= 5 * MINUTE);
    }
}
