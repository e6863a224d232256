//! The window of a day that is lived through: which orders come when, which couriers are there, and what happens besides.
//! The same seed makes the same scenario, for the live engine, for the oracle and in virtual time.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{
    day::{CityDay, DayCourier},
    manners::{Manners, chance},
    orders::{PlannedOrder, Whims},
};

/// When a rider works: milliseconds from the start of the plan. One who starts at or before 0 is there from the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// Comes on duty.
    pub on: i64,
    /// Goes off duty; never, when absent.
    pub off: Option<i64>,
}

/// Which part of the day is lived through, and by how many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Window {
    /// Its start, seconds of the day; time 0 of the plan.
    pub from_s: u32,
    /// Its end.
    pub to_s: u32,
    /// How long the orders may be worked off after that, milliseconds.
    pub drain_ms: i64,
    /// The share of the couriers that turns up.
    pub fleet: f64,
}

impl Window {
    /// How long orders are placed, milliseconds.
    #[must_use]
    pub const fn length_ms(&self) -> i64 {
        (self.to_s as i64 - self.from_s as i64) * 1_000
    }
}

/// What will happen.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The orders in time.
    pub orders: Vec<PlannedOrder>,
    /// The couriers with their shifts.
    pub couriers: Vec<(DayCourier, Shift)>,
    /// What was found in the data.
    pub notes: Notes,
}

/// What was found in the data, for the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// Orders of the whole day.
    pub orders_in_day: usize,
    /// Orders of the window.
    pub orders_in_window: usize,
    /// Orders of the day that were ready before they were placed; they count as ready when placed.
    pub orders_clamped_ready_before_placed: usize,
    /// Orders of the window whose promise is not later than their ready time.
    pub orders_in_window_promised_before_ready: usize,
    /// Couriers of the whole day.
    pub couriers_in_day: usize,
    /// Couriers left out because their shift ends before it starts.
    pub couriers_skipped_off_before_on: usize,
    /// Couriers whose shift touches the window or the time in which it is worked off.
    pub couriers_in_window_and_drain: usize,
}

impl Notes {
    /// In words, for reports.
    #[must_use]
    pub fn words(&self) -> String {
        format!(
            "{} of the day's {} orders ({} of the day were ready before they were placed, {} of the window were promised \
             no later than they were ready); {} of {} couriers ({} skipped: off duty before on)",
            self.orders_in_window,
            self.orders_in_day,
            self.orders_clamped_ready_before_placed,
            self.orders_in_window_promised_before_ready,
            self.couriers_in_window_and_drain,
            self.couriers_in_day,
            self.couriers_skipped_off_before_on,
        )
    }
}

impl Window {
    /// When, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let time = |s: u32| match s % 60 {
            0 => format!("{:02}:{:02}", s / 3_600, s % 3_600 / 60),
            seconds => format!("{:02}:{:02}:{seconds:02}", s / 3_600, s % 3_600 / 60),
        };
        let drain = std::time::Duration::from_millis(u64::try_from(self.drain_ms).unwrap_or(0));
        let drain = humantime::format_duration(drain);
        format!("{} to {}, worked off for at most {drain}", time(self.from_s), time(self.to_s))
    }
}

impl Scenario {
    /// Cuts a window out of a day. `city` is the index of the city in the run, `seed` decides who turns up and what
    /// merchants do besides.
    #[must_use]
    pub fn new(day: &CityDay, window: &Window, manners: &Manners, city: usize, seed: u64) -> Self {
        // Everybody draws from a stream of their own, so that another fleet or window leaves the others as they are.
        let stream = |kind: u64, id: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(((city as u64) << 48) ^ (kind << 40) ^ id);
            rng
        };
        let from = i64::from(window.from_s);
        let until = i64::from(window.to_s) + window.drain_ms / 1_000;
        let couriers: Vec<(DayCourier, Shift)> = day
            .couriers
            .rows
            .iter()
            .filter(|courier| courier.on < until && courier.off > from)
            .filter(|courier| chance(window.fleet, &mut stream(0, courier.id)))
            .map(|courier| {
                let shift = Shift { on: (courier.on - from) * 1_000, off: Some((courier.off - from) * 1_000) };
                (courier.clone(), shift)
            })
            .collect();
        let placed = from..i64::from(window.to_s);
        let mut chosen: Vec<_> = day.orders.rows.iter().filter(|order| placed.contains(&order.placed)).collect();
        chosen.sort_by_key(|order| (order.placed, order.id));
        let orders = chosen.into_iter().zip(1..).map(|(order, number)| PlannedOrder {
            number,
            city,
            at: (order.placed - from) * 1_000,
            store: format!("store {:.5}/{:.5}", order.pickup.lat, order.pickup.lon),
            store_number: order.pickup.lat.to_bits() ^ order.pickup.lon.to_bits().rotate_left(17),
            pickup: order.pickup,
            drop: order.drop,
            ready: (order.ready - from) * 1_000,
            promise: (order.promise - from) * 1_000,
            whims: Whims::draw(manners, &mut stream(1, order.id)),
        });
        let orders: Vec<PlannedOrder> = orders.collect();
        let notes = Notes {
            orders_in_day: day.orders.rows.len(),
            orders_in_window: orders.len(),
            orders_clamped_ready_before_placed: day.orders.clamped,
            orders_in_window_promised_before_ready: orders.iter().filter(|order| order.promise <= order.ready).count(),
            couriers_in_day: day.couriers.rows.len() + day.couriers.skipped,
            couriers_skipped_off_before_on: day.couriers.skipped,
            couriers_in_window_and_drain: couriers.len(),
        };
        Self { orders, couriers, notes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::day::{
        read_couriers, read_orders,
        tests::{COURIERS, ORDERS},
    };

    fn scenario(drain_ms: i64, fleet: f64) -> Scenario {
        let day = CityDay {
            orders: read_orders(ORDERS.as_bytes()).unwrap(),
            couriers: read_couriers(COURIERS.as_bytes()).unwrap(),
        };
        let window = Window { from_s: 43_200, to_s: 46_800, drain_ms, fleet };
        Scenario::new(&day, &window, &Manners::flawless(), 0, 1)
    }

    #[test]
    fn orders_are_cut_to_the_window() {
        let scenario = scenario(0, 1.0);
        let times: Vec<_> = scenario.orders.iter().map(|o| (o.number, o.at, o.ready, o.promise)).collect();
        assert_eq!(times, [(1, 0, 900_000, 2_400_000), (2, 1_800_000, 1_800_000, 4_200_000)]);
        assert_eq!(scenario.orders[0].store, scenario.orders[1].store);
    }

    #[test]
    fn another_fleet_leaves_the_orders_as_they_are() {
        let day = CityDay {
            orders: read_orders(ORDERS.as_bytes()).unwrap(),
            couriers: read_couriers(COURIERS.as_bytes()).unwrap(),
        };
        let manners = Manners { cancel: 0.5, late_kitchen: 0.5, ..Manners::flawless() };
        let orders = |fleet, drain_ms, seed| {
            let window = Window { from_s: 0, to_s: 86_400, drain_ms, fleet };
            Scenario::new(&day, &window, &manners, 0, seed).orders
        };
        assert_eq!(orders(1.0, 0, 1), orders(0.5, 3_600_000, 1));
        assert!((1..20).any(|seed| orders(1.0, 0, seed) != orders(1.0, 0, 1)));
    }

    #[test]
    fn couriers_come_when_their_shift_touches_the_time() {
        let ids = |scenario: &Scenario| -> Vec<u64> { scenario.couriers.iter().map(|(c, _)| c.id).collect() };
        assert_eq!(ids(&scenario(0, 1.0)), [1, 2]);
        let longer = scenario(3 * 3_600_000, 1.0);
        assert_eq!(ids(&longer), [1, 2, 4]);
        assert_eq!(longer.couriers[1].1, Shift { on: 1_800_000, off: Some(2_700_000) });
        assert!(ids(&scenario(0, 0.0)).is_empty());
    }
}
