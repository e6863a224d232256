//! What frames add up to.

use super::*;
use crate::wire::{LatLon, operator::EndedOrder};

fn order(id: u128, status: &str, due_at: Option<i64>, leave_by: i64, offers_tried: u32) -> OrderRow {
    OrderRow {
        order: Uuid::from_u128(id),
        merchant: Uuid::nil(),
        external_ref: None,
        status: status.to_owned(),
        version: 1,
        waiting_for: Some("no_rider_in_reach".to_owned()),
        rider: None,
        pickup: LatLon { lat: 1.0, lon: 1.0 },
        drop: LatLon { lat: 1.0, lon: 1.0 },
        placed_at: 0,
        ready_at: 0,
        promise_at: 100_000,
        leave_by,
        due_at,
        offers_tried,
        asked: Vec::new(),
        priority: 0,
        held_by: None,
        held_until: None,
        hold_reason: None,
    }
}

fn rider(id: u128, state: &str, fix_at: i64) -> RiderRow {
    RiderRow {
        rider: Uuid::from_u128(id),
        duty: "ON".to_owned(),
        state: state.to_owned(),
        vehicle: "bicycle".to_owned(),
        connected: true,
        position: None,
        fix_at: Some(fix_at),
        orders: vec![],
    }
}

/// A city with three waiting orders, one in hand and two riders, a minute in.
pub fn sample() -> View {
    let mut view = View::default();
    view.apply(OperatorDown::Snapshot(CityState {
        city: "blr".to_owned(),
        at: 10_000,
        clock_speed: 1.0,
        counts: CityCounts { delivered: 7, ..CityCounts::default() },
        orders: vec![
            order(1, "queued", None, 90_000, 0),
            order(2, "queued", Some(9_000), 9_000, 1),
            order(3, "offered", Some(4_000), 4_000, 2),
            order(4, "picked_up", Some(1_000), 1_000, 1),
        ],
        riders: vec![rider(1, "idle", 1), rider(2, "busy", 1)],
    }));
    view
}

fn delta(at: i64) -> CityDelta {
    CityDelta {
        at,
        counts: CityCounts { delivered: 7, ..CityCounts::default() },
        orders: vec![],
        ended: vec![],
        riders: vec![],
        gone: vec![],
    }
}

fn queue(view: &View) -> Vec<u128> {
    view.queue().iter().map(|row| row.order.as_u128()).collect()
}

#[test]
fn the_queue_is_oldest_due_first_and_holds_waiting_orders_only() {
    let mut view = sample();
    assert_eq!(queue(&view), [3, 2, 1]);
    assert_eq!(view.queue_row(view.queue()[0])[2], "0:06");
    assert_eq!(view.queue_row(view.queue()[2])[2], "in 1:20");

    let mut change = delta(20_000);
    change.orders = vec![order(2, "assigned", Some(9_000), 9_000, 1), order(5, "queued", Some(3_000), 3_000, 0)];
    change.ended = vec![EndedOrder { order: Uuid::from_u128(3), status: "cancelled".to_owned() }];
    view.apply(OperatorDown::Delta(change));
    assert_eq!(queue(&view), [5, 1]);
}

#[test]
fn riders_come_change_and_go() {
    let mut view = sample();
    let mut change = delta(20_000);
    change.riders = vec![rider(1, "offered", 2), rider(3, "idle", 2)];
    change.gone = vec![Uuid::from_u128(2)];
    view.apply(OperatorDown::Delta(change));
    let by_state: Vec<usize> = view.riders_by_state().iter().map(|(_, count)| *count).collect();
    assert_eq!(by_state, [1, 1, 0, 0, 0, 0]);
}

#[test]
fn rates_come_from_the_last_minute_and_begin_anew_with_a_snapshot() {
    let mut view = sample();
    assert_eq!(view.rates(), Rates::default());
    let mut change = delta(40_000);
    change.counts.delivered = 10;
    change.orders = vec![order(3, "queued", Some(4_000), 4_000, 4)];
    change.riders = vec![rider(1, "idle", 30_000), rider(2, "busy", 1)];
    view.apply(OperatorDown::Delta(change.clone()));
    let rates = view.rates();
    assert_eq!((rates.delivered_per_min, rates.offers_per_min), (6.0, 4.0));
    assert_eq!(rates.fixes_per_s, 1.0 / 30.0);

    for second in 41..=140 {
        view.apply(OperatorDown::Delta(CityDelta { at: second * 1_000, ..change.clone() }));
    }
    assert_eq!(view.rates().delivered_per_min, 0.0, "what is older than a minute counts no more");

    let again = sample();
    assert_eq!(again.rates(), Rates::default());
}

#[test]
fn alerts_and_trouble_are_shown() {
    let mut view = sample();
    let alert = |n: u128| OperatorDown::Alert {
        kind: "order_expired".to_owned(),
        order: Some(Uuid::from_u128(n)),
        rider: None,
        detail: "no rider was found".to_owned(),
    };
    (0..60).for_each(|n| view.apply(alert(n)));
    assert_eq!(view.alerts().count(), 50);
    assert!(view.alerts().next().unwrap().1.contains("0000003b"));
    view.apply(OperatorDown::Bye { why: "city_moved".to_owned(), reconnect_after_ms: None });
    assert!(view.headline().contains("city_moved"));
    view.note_connected();
    assert!(!view.headline().contains("city_moved"));
}

#[test]
fn spans_read_well() {
    assert_eq!(span(0), "0:00");
    assert_eq!(span(-61_000), "-1:01");
    assert_eq!(span(3_661_000), "1:01:01");
}
