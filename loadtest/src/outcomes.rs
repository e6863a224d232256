//! What became of the run, in the form that all dispatchers end in: from the orders as they are stored, with their
//! histories, and from what the riders wrote down.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use dispatch_engine::{
    replay::{
        oracle::{self, Dispatch},
        outcome::{End, OrderOutcome, Outcomes, RiderOutcome, Span},
    },
    wire::rest::{OrderBody, OrderEventBody},
};

use crate::{crosscheck::Stored, orders::placer::CANCEL_REASON, setup::Plan};

/// When a run took place, on the engine's clock.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// The start of the plan.
    pub t0: i64,
    /// The second of the day at which the plan starts.
    pub from_s: u32,
    /// When the last order could be placed.
    pub placed_to: i64,
    /// When the orders had been worked off.
    pub until: i64,
}

/// What became of each city of a run: the live engine first, then the oracles, where a day was replayed. Riders and refused
/// orders name their city by its index.
pub fn of_run(
    frame: Frame,
    plan: &Plan,
    stored: &Stored,
    riders: &[(usize, RiderOutcome)],
    refused: &[(usize, OrderOutcome)],
) -> Vec<Vec<Outcomes>> {
    let of = |(index, code): (usize, &String)| {
        let orders: Vec<&OrderBody> = stored.orders.iter().filter(|order| order.city == *code).collect();
        let riders: Vec<RiderOutcome> =
            riders.iter().filter(|(city, _)| *city == index).map(|(_, rider)| rider.clone()).collect();
        let refused = refused.iter().filter(|(city, _)| *city == index).map(|(_, order)| order);
        let mut runs = vec![of_city(frame, &orders, refused, &riders)];
        if let Some(days) = &plan.days
            && let Some(scenario) = days.scenarios.get(index)
        {
            let solve = |dispatch| oracle::solve(scenario, &days.window, &plan.manners, plan.detour, dispatch);
            runs.extend(Dispatch::BOTH.map(solve));
        }
        runs
    };
    plan.cities.iter().enumerate().map(of).collect()
}

/// Whether a merchant called an order off: after pickup a cancellation means return.
pub fn called_off(order: &OrderBody) -> bool {
    let sent_back = matches!(order.status.as_str(), "returning" | "returned");
    order.status == "cancelled" || (sent_back && order.end_reason.as_deref() == Some(CANCEL_REASON))
}

/// What became of one city's part of a run.
fn of_city<'a>(
    frame: Frame,
    orders: &[&OrderBody],
    refused: impl Iterator<Item = &'a OrderOutcome>,
    riders: &[RiderOutcome],
) -> Outcomes {
    let mut orders: Vec<OrderOutcome> = orders.iter().map(|order| outcome(frame, order)).collect();
    // An order that the engine refused is as little delivered as one that expired; one whose answer never came may be
    // stored all the same.
    let stored: BTreeSet<u64> = orders.iter().map(|order| order.number).collect();
    orders.extend(refused.filter(|order| !stored.contains(&order.number)).cloned());
    orders.sort_by_key(|order| (order.placed, order.number));
    let shift = |spans: &[Span]| spans.iter().map(|(from, to)| (from - frame.t0, to - frame.t0)).collect();
    let riders = riders.iter().map(|rider| RiderOutcome {
        on_duty: shift(&rider.on_duty),
        busy: shift(&rider.busy),
        ridden_m: rider.ridden_m,
    });
    Outcomes {
        dispatcher: "live engine".to_owned(),
        from_s: frame.from_s,
        placed_to: frame.placed_to - frame.t0,
        until: frame.until - frame.t0,
        orders,
        riders: riders.collect(),
    }
}

fn outcome(frame: Frame, order: &OrderBody) -> OrderOutcome {
    let at = |time: DateTime<Utc>| time.timestamp_millis() - frame.t0;
    let end = match order.status.as_str() {
        "delivered" => End::Delivered,
        _ if called_off(order) => End::Cancelled,
        "returned" => End::Returned,
        "expired" => End::Expired,
        _ => End::Open,
    };
    OrderOutcome {
        number: number(order),
        placed: at(order.created_at),
        ready: at(order.ready_at),
        promise: at(order.promise_at),
        due: order.due_at.map(at),
        assigned: order.assigned_at.map(at),
        at_pickup: arrival(order.events.as_deref().unwrap_or_default(), order.picked_up_at).map(at),
        picked_up: order.picked_up_at.map(at),
        delivered: order.delivered_at.map(at),
        ended: order.ended_at.map(at),
        end,
        offers: order.offers_tried,
    }
}

/// The number after the last `-` of the run's external reference.
fn number(order: &OrderBody) -> u64 {
    let last = order.external_ref.as_deref().and_then(|reference| reference.rsplit('-').next());
    last.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// When the rider who picked the goods up was at the counter: the last arrival before that.
fn arrival(events: &[OrderEventBody], picked_up: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    let picked_up = picked_up?;
    events.iter().filter(|event| event.kind == "at_pickup" && event.at <= picked_up).map(|event| event.at).next_back()
}

#[cfg(test)]
mod tests {
    use dispatch_engine::{
        replay::orders::{PlannedOrder, Whims},
        wire::{LatLon, MoneyBody, PlaceBody},
    };
    use serde_json::{Map, Value};
    use uuid::Uuid;

    use super::*;

    fn date(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(ms).unwrap()
    }

    fn order(status: &str, end_reason: Option<&str>) -> OrderBody {
        let place = PlaceBody { lat: 1.0, lon: 1.0, hint: None };
        let money = MoneyBody { minor: 0, currency: "INR".into() };
        let event = |seq, kind: &str, ms| OrderEventBody {
            seq,
            version: seq,
            kind: kind.into(),
            actor_kind: "rider".into(),
            actor_id: None,
            reason: None,
            data: Value::Null,
            at: date(ms),
        };
        OrderBody {
            id: Uuid::from_u128(1),
            city: "x".into(),
            merchant_id: Uuid::nil(),
            external_ref: Some("lt-some-run-17".into()),
            store: None,
            status: status.into(),
            version: 5,
            rider_id: None,
            custody: "recipient".into(),
            pickup: place.clone(),
            drop: place,
            ready_at: date(5_000),
            promise_at: date(90_000),
            dispatch_at: None,
            due_at: Some(date(2_000)),
            assigned_at: Some(date(3_000)),
            picked_up_at: Some(date(7_000)),
            delivered_at: None,
            ended_at: None,
            end_reason: end_reason.map(str::to_owned),
            size_units: 1,
            vehicle_need: None,
            needs_tags: vec![],
            cash_to_collect: money.clone(),
            payout: money,
            offers_tried: 2,
            metadata: Map::new(),
            created_at: date(1_000),
            updated_at: date(7_000),
            priority: 0,
            hold: None,
            // The first rider gave up at the counter; the second one picked up. Then a repeated arrival.
            events: Some(vec![
                event(1, "at_pickup", 4_000),
                event(2, "at_pickup", 6_000),
                event(3, "at_pickup", 8_000),
            ]),
            contact: None,
        }
    }

    fn refused(number: u64) -> OrderOutcome {
        let here = LatLon { lat: 1.0, lon: 1.0 };
        OrderOutcome::refused(&PlannedOrder {
            number,
            city: 0,
            at: 9_000,
            store: "store".into(),
            store_number: 1,
            pickup: here,
            drop: here,
            ready: 9_000,
            promise: 9_000,
            whims: Whims::default(),
        })
    }

    #[test]
    fn an_order_is_seen_from_the_start_of_the_plan() {
        let frame = Frame { t0: 1_000, from_s: 3_600, placed_to: 61_000, until: 121_000 };
        let riders = [RiderOutcome { on_duty: vec![(500, 2_000)], busy: vec![], ridden_m: 5.0 }];
        let outcomes = of_city(frame, &[&order("picked_up", None)], [17, 18].map(refused).iter(), &riders);
        assert_eq!((outcomes.placed_to, outcomes.until), (60_000, 120_000));
        assert_eq!(outcomes.riders[0].on_duty, [(-500, 1_000)]);
        // The 17th was stored although its answer never came.
        assert_eq!(outcomes.orders.iter().map(|order| order.number).collect::<Vec<_>>(), [17, 18]);
        assert_eq!((outcomes.orders[1].end, outcomes.orders[1].ended), (End::Expired, Some(9_000)));
        let seen = &outcomes.orders[0];
        assert_eq!((seen.number, seen.placed, seen.ready, seen.due), (17, 0, 4_000, Some(1_000)));
        assert_eq!((seen.at_pickup, seen.picked_up, seen.end), (Some(5_000), Some(6_000), End::Open));
    }

    #[test]
    fn ends_have_their_names() {
        let frame = Frame { t0: 0, from_s: 0, placed_to: 0, until: 0 };
        let end = |status: &str, reason: Option<&str>| outcome(frame, &order(status, reason)).end;
        assert_eq!(end("delivered", None), End::Delivered);
        assert_eq!(end("cancelled", Some("whatever")), End::Cancelled);
        assert_eq!(end("returned", Some(CANCEL_REASON)), End::Cancelled);
        assert_eq!(end("returned", Some("nobody there")), End::Returned);
        assert_eq!(end("expired", None), End::Expired);
    }
}
