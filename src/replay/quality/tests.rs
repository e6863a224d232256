//! The figures of small days, counted by hand, and what holds for any day.

use proptest::prelude::*;

use super::*;
use crate::replay::{measure::tests::order, outcome::RiderOutcome, outcome::Span};

const MINUTE: i64 = 60_000;

/// Two hours of a day from noon, with an order of every kind; times in minutes are easy to check by hand.
pub(in crate::replay) fn small_day() -> Outcomes {
    let planned = |number, placed, ready, promise, offers| OrderOutcome {
        number,
        offers,
        ..order(placed * MINUTE, ready * MINUTE, promise * MINUTE)
    };
    let delivered = |order: OrderOutcome, [due, assigned, at_pickup, picked_up, delivered]: [i64; 5]| OrderOutcome {
        due: Some(due * MINUTE),
        assigned: Some(assigned * MINUTE),
        at_pickup: Some(at_pickup * MINUTE),
        picked_up: Some(picked_up * MINUTE),
        delivered: Some(delivered * MINUTE),
        ended: Some(delivered * MINUTE),
        end: End::Delivered,
        ..order
    };
    let rider = |on_duty: &[Span], busy: &[Span], ridden_m| {
        let spans = |spans: &[Span]| spans.iter().map(|(a, b)| (a * MINUTE, b.saturating_mul(MINUTE))).collect();
        RiderOutcome { on_duty: spans(on_duty), busy: spans(busy), ridden_m }
    };
    Outcomes {
        dispatcher: "live engine".into(),
        from_s: 43_200,
        placed_to: 60 * MINUTE,
        until: 120 * MINUTE,
        orders: vec![
            delivered(planned(1, 0, 10, 40, 1), [5, 6, 9, 12, 30]),
            delivered(planned(2, 10, 20, 50, 2), [15, 20, 25, 26, 60]),
            // Taken before it was due, picked up before the goods were said to be ready, promised for that very moment.
            delivered(planned(3, 20, 30, 30, 1), [22, 21, 28, 29, 40]),
            OrderOutcome { ended: Some(45 * MINUTE), end: End::Cancelled, ..planned(4, 30, 40, 70, 3) },
            OrderOutcome { due: Some(55 * MINUTE), ..planned(5, 50, 60, 90, 4) },
        ],
        riders: vec![
            rider(&[(-10, 90)], &[(6, 30), (85, 100)], 3_000.0),
            rider(&[(30, i64::MAX)], &[(35, 60), (110, i64::MAX)], 4_500.0),
            rider(&[(130, 140)], &[], 0.0),
        ],
    }
}

#[test]
fn orders_are_counted_by_their_end() {
    let mut day = small_day();
    let orders = Quality::of(&day).orders;
    let counts = |o: &OrderCounts| [o.placed, o.delivered, o.cancelled, o.returned, o.expired, o.open];
    assert_eq!(counts(&orders), [5, 3, 1, 0, 0, 1]);
    assert_eq!((orders.wanted, orders.undelivered), (4, 1));
    (day.orders[0].end, day.orders[1].end) = (End::Returned, End::Expired);
    let orders = Quality::of(&day).orders;
    assert_eq!(counts(&orders), [5, 1, 1, 1, 1, 1]);
    assert_eq!((orders.wanted, orders.undelivered), (4, 3));
}

#[test]
fn click_to_door_and_its_limits() {
    let mut day = small_day();
    let quality = Quality::of(&day);
    let spread = &quality.click_to_door_minutes;
    assert_eq!((spread.count, spread.mean), (3, Some(100.0 / 3.0)));
    assert_eq!([spread.p50, spread.p90, spread.p99, spread.max], [30.0, 50.0, 50.0, 50.0].map(Some));
    assert_eq!(quality.delivered_share, Some(0.75));
    // The order of 50 minutes, and the one that never came; the cancelled one does not count.
    assert_eq!((quality.over_40_minutes_share, quality.over_90_minutes_share), (Some(0.5), Some(0.25)));
    // Exactly 40 and 90 minutes are not over.
    day.orders[1].delivered = Some(50 * MINUTE);
    day.orders[0].delivered = Some(90 * MINUTE);
    let quality = Quality::of(&day);
    assert_eq!((quality.over_40_minutes_share, quality.over_90_minutes_share), (Some(0.5), Some(0.25)));
    day.orders[0].delivered = Some(90 * MINUTE + 1);
    assert_eq!(Quality::of(&day).over_90_minutes_share, Some(0.5));
}

#[test]
fn waits_at_the_store_and_for_a_rider() {
    let quality = Quality::of(&small_day());
    let order = &quality.order_wait_minutes;
    assert_eq!((order.count, order.mean, order.p50, order.max), (3, Some(8.0 / 3.0), Some(2.0), Some(6.0)));
    let rider = &quality.rider_wait_minutes;
    assert_eq!((rider.count, rider.mean, rider.p50, rider.max), (3, Some(5.0 / 3.0), Some(1.0), Some(3.0)));
    let due = &quality.due_to_assigned_seconds;
    assert_eq!((due.count, due.mean, due.p50, due.max), (3, Some(120.0), Some(60.0), Some(300.0)));
}

#[test]
fn promises() {
    let mut day = small_day();
    let quality = Quality::of(&day);
    assert_eq!((quality.on_time_share, quality.on_time_share_of_possible), (Some(1.0 / 3.0), Some(0.5)));
    assert_eq!(quality.impossible_promises, 1);
    let late = &quality.late_minutes;
    assert_eq!((late.count, late.mean, late.p90), (2, Some(10.0), Some(10.0)));
    // At the promised moment is on time; a cancelled order's promise is nobody's.
    day.orders[1].promise = 60 * MINUTE;
    day.orders[3].promise = 0;
    let quality = Quality::of(&day);
    assert_eq!((quality.on_time_share_of_possible, quality.impossible_promises), (Some(1.0), 1));
}

#[test]
fn the_fleet_within_the_observation() {
    let quality = Quality::of(&small_day());
    assert_eq!((quality.riders, quality.rider_hours), (2, 3.0));
    assert_eq!(quality.busy_share, Some(64.0 / 180.0));
    assert_eq!(quality.idle_share, Some(1.0 - 64.0 / 180.0));
    assert_eq!(quality.busy_off_duty_hours, 10.0 / 60.0);
    assert_eq!((quality.deliveries_per_rider_hour, quality.ridden_metres_per_delivery), (Some(1.0), Some(2_500.0)));
    assert_eq!(quality.offers_per_order, Some(2.2));
}

#[test]
fn the_oldest_order_without_a_rider() {
    let mut day = small_day();
    let oldest = |minutes, at: &str| Oldest { max_minutes: Some(minutes), at: Some(at.into()) };
    let quality = Quality::of(&day);
    assert_eq!(quality.oldest_since_placed, oldest(70.0, "14:00:00"));
    assert_eq!(quality.oldest_since_ready, oldest(60.0, "14:00:00"));
    day.orders[4].assigned = Some(64 * MINUTE);
    let quality = Quality::of(&day);
    // The cancelled order had waited for 15 minutes, and 5 of them for a rider alone.
    assert_eq!(quality.oldest_since_placed, oldest(15.0, "12:45:00"));
    assert_eq!(quality.oldest_since_ready, oldest(5.0, "12:45:00"));
    day.orders.truncate(1);
    assert_eq!(Quality::of(&day).oldest_since_placed, oldest(6.0, "12:06:00"));
    assert_eq!(Quality::of(&day).oldest_since_ready, Oldest { max_minutes: Some(0.0), at: None });
}

#[test]
fn of_two_equally_old_orders_the_earlier_is_named() {
    let mut day = small_day();
    day.orders.truncate(2);
    day.orders[1].assigned = Some(16 * MINUTE);
    assert_eq!(Quality::of(&day).oldest_since_placed.at.as_deref(), Some("12:06:00"));
}

#[test]
fn an_empty_day_has_counts_and_no_figures() {
    let empty = Outcomes { orders: vec![], riders: vec![], until: 0, ..small_day() };
    let quality = Quality::of(&empty);
    assert_eq!(quality.orders, OrderCounts::default());
    assert_eq!((quality.riders, quality.rider_hours, quality.click_to_door_minutes.count), (0, 0.0, 0));
    let figures = serde_json::to_value(&quality).unwrap();
    for name in ["delivered_share", "over_40_minutes_share", "on_time_share", "busy_share", "offers_per_order"] {
        assert!(figures[name].is_null(), "{name}: {}", figures[name]);
    }
    assert_eq!(quality.oldest_since_placed, Oldest::default());
}

prop_compose! {
    /// An order that may contradict itself in every way.
    fn any_order()(
        times in prop::array::uniform3(-5_000i64..20_000),
        steps in prop::array::uniform6(prop::option::of(-5_000i64..20_000)),
        end in prop::sample::select(vec![End::Delivered, End::Cancelled, End::Returned, End::Expired, End::Open]),
        offers in 0u32..9,
    ) -> OrderOutcome {
        let [placed, ready, promise] = times;
        let [due, assigned, at_pickup, picked_up, delivered, ended] = steps;
        OrderOutcome { number: 1, placed, ready, promise, due, assigned, at_pickup, picked_up, delivered, ended, end, offers }
    }
}

prop_compose! {
    fn any_rider()(
        on_duty in prop::collection::vec((-5_000i64..20_000, -5_000i64..20_000), 0..4),
        busy in prop::collection::vec((-5_000i64..20_000, -5_000i64..20_000), 0..4),
        ridden_m in 0.0..9_000.0,
    ) -> RiderOutcome {
        RiderOutcome { on_duty, busy, ridden_m }
    }
}

prop_compose! {
    /// Any day, with times in milliseconds that need not make sense.
    pub(in crate::replay) fn any_day()(
        orders in prop::collection::vec(any_order(), 0..12),
        riders in prop::collection::vec(any_rider(), 0..5),
        until in -10i64..15_000,
    ) -> Outcomes {
        Outcomes { dispatcher: "any".into(), from_s: 80_000, placed_to: until / 2, until, orders, riders }
    }
}

proptest! {
    #[test]
    fn whatever_happened_shares_are_shares(day in any_day()) {
        let quality = Quality::of(&day);
        let shares = [
            quality.delivered_share,
            quality.over_40_minutes_share,
            quality.over_90_minutes_share,
            quality.on_time_share,
            quality.on_time_share_of_possible,
            quality.busy_share,
            quality.idle_share,
        ];
        prop_assert!(shares.iter().flatten().all(|share| (0.0..=1.0).contains(share)), "{:?}", shares);
        if let Some((busy, idle)) = quality.busy_share.zip(quality.idle_share) {
            prop_assert!((busy + idle - 1.0).abs() < 1e-9);
        }
        let o = &quality.orders;
        prop_assert_eq!(o.delivered + o.cancelled + o.returned + o.expired + o.open, o.placed);
        prop_assert_eq!(o.delivered + o.undelivered, o.wanted);
        prop_assert!(quality.over_90_minutes_share <= quality.over_40_minutes_share);
        for spread in [&quality.order_wait_minutes, &quality.rider_wait_minutes, &quality.due_to_assigned_seconds] {
            let ranks = [Some(0.0), spread.p50, spread.p90, spread.p99, spread.max];
            prop_assert!(spread.count == 0 || ranks.is_sorted(), "{:?}", spread);
        }
    }

    #[test]
    fn no_waiting_order_is_ever_older_than_the_oldest(day in any_day(), at in 0i64..15_000) {
        let age = |order: &OrderOutcome| {
            let (from, to) = order.without_rider(day.until)?;
            (from..to).contains(&at).then(|| (at - from) as f64 / MINUTE as f64)
        };
        let oldest = Quality::of(&day).oldest_since_placed.max_minutes.unwrap_or(0.0);
        prop_assert!(day.orders.iter().filter_map(age).all(|age| age <= oldest));
    }
}
