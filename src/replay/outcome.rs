//! What became of a day, however it was lived through: the live engine, an oracle and the virtual-time runner all end in
//! this form, and one place ([`super::quality`]) turns it into figures. Times are milliseconds from the start of the plan.

use serde::{Deserialize, Serialize};

use super::orders::PlannedOrder;

/// A span of time, `from..to`.
pub type Span = (i64, i64);

/// What became of a day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Who dispatched: `live engine`, `virtual engine`, `oracle at placement`, ...
    pub dispatcher: String,
    /// The second of the day at which the plan starts.
    pub from_s: u32,
    /// When the last order could be placed.
    pub placed_to: i64,
    /// When the observation ended.
    pub until: i64,
    /// Every order, in the order of their placement.
    pub orders: Vec<OrderOutcome>,
    /// Every rider who came on duty.
    pub riders: Vec<RiderOutcome>,
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The recipient has the goods.
    Delivered,
    /// The merchant called it off, before or after pickup.
    Cancelled,
    /// The goods went back, and nobody had called it off.
    Returned,
    /// No rider was found.
    Expired,
    /// It had not ended when the observation did.
    Open,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderOutcome {
    /// Its number in the run.
    pub number: u64,
    /// When it was placed.
    pub placed: i64,
    /// When the goods were ready, as said last.
    pub ready: i64,
    /// When the recipient expected them.
    pub promise: i64,
    /// When a rider had to leave for it, since it last waited for one (a rider who gives it back makes it wait anew); an
    /// oracle's time of dispatch.
    pub due: Option<i64>,
    /// When its last rider took it.
    pub assigned: Option<i64>,
    /// When that rider was at the counter.
    pub at_pickup: Option<i64>,
    /// When the goods were first picked up.
    pub picked_up: Option<i64>,
    /// When the recipient had them.
    pub delivered: Option<i64>,
    /// When it ended, in any way.
    pub ended: Option<i64>,
    /// How it ended.
    pub end: End,
    /// Offers made for it.
    pub offers: u32,
}

impl OrderOutcome {
    /// An order to which nothing has happened yet.
    #[must_use]
    pub const fn planned(order: &PlannedOrder) -> Self {
        Self {
            number: order.number,
            placed: order.at,
            ready: order.ready,
            promise: order.promise,
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

    /// An order that was refused for good: no rider was found, because none was looked for.
    #[must_use]
    pub const fn refused(order: &PlannedOrder) -> Self {
        Self { end: End::Expired, ended: Some(order.at), ..Self::planned(order) }
    }
}

/// What a rider did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RiderOutcome {
    /// On duty, in time and without overlap.
    pub on_duty: Vec<Span>,
    /// With an order in hand.
    pub busy: Vec<Span>,
    /// Metres along the street with an order in hand, from where it was taken to the end of its last stop.
    pub ridden_m: f64,
}

/// Opens a span at the end of a list, unless one is open.
pub fn open_span(spans: &mut Vec<Span>, now: i64) {
    if spans.last().is_none_or(|(_, to)| *to != i64::MAX) {
        spans.push((now, i64::MAX));
    }
}

/// Closes the span at the end of a list, when it is open.
pub fn close_span(spans: &mut [Span], now: i64) {
    if let Some((from, to)) = spans.last_mut().filter(|(_, to)| *to == i64::MAX) {
        *to = now.max(*from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_open_and_close_once() {
        let mut spans = vec![];
        close_span(&mut spans, 1);
        open_span(&mut spans, 5);
        open_span(&mut spans, 6);
        close_span(&mut spans, 9);
        close_span(&mut spans, 11);
        assert_eq!(spans, [(5, 9)]);
        open_span(&mut spans, 12);
        assert_eq!(spans, [(5, 9), (12, i64::MAX)]);
    }
}
