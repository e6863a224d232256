//! What becomes of orders and riders, read off what the engine has stored: the same record from which the load tester reads
//! the end of a live day, and by the same rules (`loadtest/src/outcomes.rs`).

use super::{names, rider::Shared};
use crate::{
    domain::{duty::Duty, ids::RiderId, order::OrderStatus, time::Timestamp},
    engine::effect::{OrderEvent, OrderState, Write},
    replay::{
        orders::{CANCEL_REASON, PlannedOrder},
        outcome::{End, OrderOutcome, RiderOutcome, close_span, open_span},
    },
};

/// What was written down of one order.
#[derive(Debug)]
struct Page {
    outcome: OrderOutcome,
    /// Arrivals at the counter.
    arrivals: Vec<i64>,
    rider: Option<usize>,
}

/// What was written down of one rider.
#[derive(Clone, Debug, Default)]
struct Diary {
    outcome: RiderOutcome,
    in_hand: usize,
    /// Metres on the clock when the work in hand was taken.
    work_from_m: f64,
}

impl Diary {
    fn takes(&mut self, now: i64, ridden_m: f64) {
        if self.in_hand == 0 {
            open_span(&mut self.outcome.busy, now);
            self.work_from_m = ridden_m;
        }
        self.in_hand += 1;
    }

    fn lets_go(&mut self, now: i64, ridden_m: f64) {
        self.in_hand = self.in_hand.saturating_sub(1);
        if self.in_hand == 0 {
            close_span(&mut self.outcome.busy, now);
            self.outcome.ridden_m += ridden_m - self.work_from_m;
        }
    }
}

/// The books of a city.
#[derive(Debug)]
pub(super) struct Books {
    pages: Vec<Page>,
    diaries: Vec<Diary>,
    on_duty: usize,
    open: usize,
}

impl Books {
    /// Empty books for so many orders and riders.
    pub fn new(orders: &[PlannedOrder], riders: usize) -> Self {
        let page = |order: &PlannedOrder| Page { outcome: OrderOutcome::planned(order), arrivals: vec![], rider: None };
        let diaries = vec![Diary::default(); riders];
        Self { pages: orders.iter().map(page).collect(), diaries, on_duty: 0, open: orders.len() }
    }

    /// Orders that have not ended, those to come included.
    pub const fn open(&self) -> usize {
        self.open
    }

    /// Riders on duty.
    pub const fn on_duty(&self) -> usize {
        self.on_duty
    }

    /// A merchant was told no for good: no rider was found, because none was looked for.
    pub fn refused(&mut self, order: usize) {
        if let Some(page) = self.pages.get_mut(order) {
            page.outcome.end = End::Expired;
            page.outcome.ended = Some(page.outcome.placed);
            self.open -= 1;
        }
    }

    /// The engine stores something. `ridden_m` tells how far a rider has ridden in all.
    pub fn stored(&mut self, now: i64, write: &Write, shared: &Shared, ridden_m: impl Fn(usize) -> f64) {
        match write {
            Write::Place(write) => {
                let order = names::order_index(write.spec.id);
                if let Some(page) = self.pages.get_mut(order) {
                    page.outcome.placed = shared.plan_time(write.spec.placed_at);
                }
                self.order(now, order, &write.state, &write.events, shared, ridden_m);
            }
            Write::Order(write) => {
                self.order(now, names::order_index(write.order), &write.state, &write.events, shared, ridden_m);
            }
            // What follows later changes nothing now.
            Write::Duty(write) if write.next.is_some() => {}
            Write::Duty(write) => self.duty(now, write.rider, write.duty),
            Write::Offer { .. } | Write::Note(_) | Write::Dispute(_) => {}
        }
    }

    fn duty(&mut self, now: i64, rider: RiderId, duty: Duty) {
        let Some(diary) = self.diaries.get_mut(names::rider_index(rider)) else { return };
        let was = diary.outcome.on_duty.last().is_some_and(|(_, to)| *to == i64::MAX);
        if duty == Duty::On {
            open_span(&mut diary.outcome.on_duty, now);
            self.on_duty += usize::from(!was);
        } else {
            close_span(&mut diary.outcome.on_duty, now);
            self.on_duty -= usize::from(was);
        }
    }

    fn order(
        &mut self,
        now: i64,
        order: usize,
        state: &OrderState,
        events: &[OrderEvent],
        shared: &Shared,
        ridden_m: impl Fn(usize) -> f64,
    ) {
        let Some(page) = self.pages.get_mut(order) else { return };
        let at = |time: Timestamp| shared.plan_time(time);
        let arrivals = events.iter().filter(|event| event.kind == "at_pickup");
        page.arrivals.extend(arrivals.map(|event| at(event.at)));
        let outcome = &mut page.outcome;
        self.open -= usize::from(state.status.is_end() && outcome.ended.is_none());
        outcome.ready = at(state.ready_at);
        outcome.due = state.due_at.map(at);
        outcome.assigned = state.assigned_at.map(at);
        outcome.picked_up = state.picked_up_at.map(at);
        outcome.delivered = state.delivered_at.map(at);
        outcome.ended = state.ended_at.map(at);
        outcome.offers = state.offers_tried;
        outcome.end = end(state);
        // Who picked the goods up was at the counter before that, at the last arrival.
        let before = |arrival: &&i64| outcome.picked_up.is_some_and(|picked_up| **arrival <= picked_up);
        outcome.at_pickup = page.arrivals.iter().rfind(before).copied();
        let rider = state.rider.filter(|_| state.status.has_rider()).map(names::rider_index);
        let before = std::mem::replace(&mut page.rider, rider);
        if before != rider {
            if let Some(before) = before {
                self.diaries[before].lets_go(now, ridden_m(before));
            }
            if let Some(rider) = rider {
                self.diaries[rider].takes(now, ridden_m(rider));
            }
        }
    }

    /// Closes the books: orders in the order of their placement, and the riders who came on duty.
    pub fn close(mut self, now: i64, ridden_m: impl Fn(usize) -> f64) -> (Vec<OrderOutcome>, Vec<RiderOutcome>) {
        for (rider, diary) in self.diaries.iter_mut().enumerate() {
            if diary.in_hand > 0 {
                diary.in_hand = 1;
                diary.lets_go(now, ridden_m(rider));
            }
            close_span(&mut diary.outcome.on_duty, now);
        }
        let mut orders: Vec<_> = self.pages.into_iter().map(|page| page.outcome).collect();
        orders.sort_by_key(|order| (order.placed, order.number));
        let riders = self.diaries.into_iter().map(|diary| diary.outcome);
        (orders, riders.filter(|rider| !rider.on_duty.is_empty()).collect())
    }
}

/// How an order ended; one that goes back because its merchant called it off counts as called off.
fn end(state: &OrderState) -> End {
    match state.status {
        OrderStatus::Delivered => End::Delivered,
        OrderStatus::Cancelled => End::Cancelled,
        OrderStatus::Returning | OrderStatus::Returned if state.end_reason.as_deref() == Some(CANCEL_REASON) => {
            End::Cancelled
        }
        OrderStatus::Returned => End::Returned,
        OrderStatus::Expired => End::Expired,
        _ => End::Open,
    }
}
