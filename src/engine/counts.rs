//! The figures of a city, kept by what changes instead of counted anew: they are published twice a second.
//!
//! Whatever changes a rider or an order notes it for the operators (`Touched`). So the figures at a moment are the tally
//! of the last `take_changes`, corrected by what has been noted since.

use crate::domain::{duty::Duty, time::Timestamp};

use super::{
    city::City,
    forward::Stands,
    state::{LiveOrder, LiveRider},
    view::Counts,
};

/// What a rider adds to the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RiderShare {
    on_duty: bool,
    busy: bool,
    connected: bool,
}

/// What an order adds to the figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OrderShare {
    waiting: bool,
    due: bool,
    active: bool,
}

impl RiderShare {
    pub const NOTHING: Self = Self { on_duty: false, busy: false, connected: false };
}

impl LiveRider {
    fn share(&self) -> RiderShare {
        RiderShare { on_duty: self.duty == Duty::On, busy: !self.orders.is_empty(), connected: self.session.is_some() }
    }
}

impl LiveOrder {
    const fn share(&self) -> OrderShare {
        let active = self.state.status.has_rider();
        OrderShare { waiting: !active, due: !active && self.state.due_at.is_some(), active }
    }
}

/// Replaces one share by another.
const fn exchange(count: &mut u32, before: bool, after: bool) {
    match (before, after) {
        (false, true) => *count += 1,
        (true, false) => *count -= 1,
        _ => {}
    }
}

impl Counts {
    const fn exchange_rider(&mut self, before: RiderShare, after: RiderShare) {
        exchange(&mut self.riders_on_duty, before.on_duty, after.on_duty);
        exchange(&mut self.riders_busy, before.busy, after.busy);
        exchange(&mut self.riders_connected, before.connected, after.connected);
    }

    const fn exchange_order(&mut self, before: OrderShare, after: OrderShare) {
        exchange(&mut self.orders_waiting, before.waiting, after.waiting);
        exchange(&mut self.orders_due, before.due, after.due);
        exchange(&mut self.orders_active, before.active, after.active);
    }
}

impl City {
    /// Figures at a moment.
    #[must_use]
    pub fn counts(&self, now: Timestamp) -> Counts {
        let mut counts = self.tally;
        for live in self.touched.riders.iter().filter_map(|rider| self.riders.get(rider)) {
            counts.exchange_rider(live.counted, live.share());
        }
        for live in self.touched.orders.iter().filter_map(|order| self.orders.get(order)) {
            counts.exchange_order(live.counted, live.share());
        }
        self.add_plain_figures(now, &mut counts);
        counts
    }

    /// The figures that need no counting.
    fn add_plain_figures(&self, now: Timestamp, counts: &mut Counts) {
        // Who has gone stale since the last tick is still in the index, and due.
        let stale = self.rider_alarms.due(now).filter(|rider| {
            let live = self.riders.get(rider);
            live.is_some_and(|live| live.stands == Stands::Ready && !self.is_fresh(now, live))
        });
        counts.riders_idle = number(self.index.len() - self.ahead - stale.count());
        counts.offers_open = number(self.offers.len());
        counts.writes_pending = number(self.pending.len());
        counts.delivered = self.delivered;
        counts.ended_otherwise = self.ended_otherwise;
    }

    /// Brings the tally up to date, before what was noted is forgotten.
    pub(super) fn settle_counts(&mut self) {
        for rider in &self.touched.riders {
            if let Some(live) = self.riders.get_mut(rider) {
                let share = live.share();
                self.tally.exchange_rider(live.counted, share);
                live.counted = share;
                live.touched.unset();
            }
        }
        for order in &self.touched.orders {
            if let Some(live) = self.orders.get_mut(order) {
                let share = live.share();
                self.tally.exchange_order(live.counted, share);
                live.counted = share;
            }
        }
    }

    /// A rider is live here no more.
    pub(super) fn uncount_rider(&mut self, live: &LiveRider) {
        self.tally.exchange_rider(live.counted, RiderShare::NOTHING);
    }

    /// An order is live no more.
    pub(super) fn uncount_order(&mut self, live: &LiveOrder) {
        self.tally.exchange_order(live.counted, OrderShare::default());
    }

    /// The figures, counted one by one, for checks.
    pub(super) fn recount(&self, now: Timestamp) -> Counts {
        let mut counts = Counts::default();
        for live in self.riders.values() {
            counts.exchange_rider(RiderShare::NOTHING, live.share());
            counts.riders_idle += u32::from(live.orders.is_empty() && self.is_offerable(now, live));
        }
        for live in self.orders.values() {
            counts.exchange_order(OrderShare::default(), live.share());
        }
        let riders_idle = counts.riders_idle;
        self.add_plain_figures(now, &mut counts);
        Counts { riders_idle, ..counts }
    }
}

fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
