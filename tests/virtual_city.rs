//! Whole days in virtual time: hand-made ones in which one thing happens, and an hour of a real one.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use dispatch_engine::{
    domain::{ids::CityCode, policy::DispatchPolicy, rider::Vehicle},
    replay::{
        day::{CityDay, Day, DayCourier, DayOrder},
        geometry::offset,
        manners::Manners,
        outcome::{End, OrderOutcome, Outcomes},
        scenario::{Scenario, Window},
        virtual_city::{Report, Settings, city_around, run},
    },
    wire::LatLon,
};

const HERE: LatLon = LatLon { lat: 7.1, lon: -73.1 };

/// An hour at noon, with three hours to work it off.
const NOON: Window = Window { from_s: 43_200, to_s: 46_800, drain_ms: 3 * 3_600_000, fleet: 1.0 };

/// An order of noon, placed some seconds after 12:00 and ready ten minutes later, about two kilometres to ride.
fn order(id: u64, placed_s: i64) -> DayOrder {
    let pickup = offset(HERE, 100.0 * (id % 7) as f64, 150.0 * (id % 5) as f64);
    let placed = 43_200 + placed_s;
    DayOrder { id, pickup, drop: offset(pickup, 900.0, 800.0), placed, ready: placed + 600, promise: placed + 2_400 }
}

/// A courier who works from `on_s` to `off_s` after 12:00.
fn courier(id: u64, on_s: i64, off_s: i64) -> DayCourier {
    let at = offset(HERE, -200.0, 90.0 * id as f64);
    DayCourier { id, vehicle: Vehicle::Motorcycle, at, on: 43_200 + on_s, off: 43_200 + off_s }
}

fn day(orders: impl IntoIterator<Item = DayOrder>, couriers: impl IntoIterator<Item = DayCourier>) -> CityDay {
    CityDay {
        orders: Day { rows: orders.into_iter().collect(), clamped: 0, skipped: 0 },
        couriers: Day { rows: couriers.into_iter().collect(), clamped: 0, skipped: 0 },
    }
}

/// A dozen orders of noon and eight couriers who work all day.
fn dozen() -> CityDay {
    day((1..=12).map(|id| order(id, id as i64 * 240)), (1..=8).map(|id| courier(id, -3_600, 40_000)))
}

fn settings(day: &CityDay, window: Window, manners: &Manners, seed: u64, policy: DispatchPolicy) -> Settings {
    Settings {
        city: city_around(CityCode::parse("noon").unwrap(), day.places(), policy).unwrap(),
        index: 0,
        window,
        manners: manners.clone(),
        detour: 1.4,
        seed,
        ping_every_ms: None,
        commit_ms: 5,
        check: true,
    }
}

fn live_by(day: &CityDay, window: Window, manners: &Manners, seed: u64, policy: DispatchPolicy) -> Report {
    run(Scenario::new(day, &window, manners, 0, seed), settings(day, window, manners, seed, policy)).unwrap()
}

fn live(day: &CityDay, manners: &Manners, seed: u64) -> Report {
    live_by(day, NOON, manners, seed, DispatchPolicy::default())
}

fn count(outcomes: &Outcomes, end: End) -> usize {
    outcomes.orders.iter().filter(|order| order.end == end).count()
}

/// What must hold of every day, whatever happened.
fn check(report: &Report) {
    let outcomes = &report.outcomes;
    for order in &outcomes.orders {
        let times = [Some(order.placed), order.assigned, order.at_pickup, order.picked_up, order.delivered];
        let ended = order.end != End::Open;
        if order.end == End::Delivered {
            assert!(times.iter().all(Option::is_some) || order.at_pickup.is_none(), "{order:?}");
            assert!(order.delivered <= order.ended && order.due.is_some() && order.offers > 0, "{order:?}");
            assert!(order.placed <= order.due.unwrap() && order.picked_up < order.delivered, "{order:?}");
        }
        assert!(ended == order.ended.is_some() || order.end == End::Cancelled, "{order:?}");
        assert!(order.at_pickup.is_none_or(|at| at <= order.picked_up.unwrap()), "{order:?}");
    }
    assert!(outcomes.orders.is_sorted_by_key(|order| order.placed));
    for rider in &outcomes.riders {
        for spans in [&rider.on_duty, &rider.busy] {
            assert!(spans.iter().all(|(from, to)| from <= to && *to <= outcomes.until), "{spans:?}");
            assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{spans:?}");
        }
        let inside = |(from, to): &(i64, i64)| rider.on_duty.iter().any(|(on, off)| on <= from && to <= off);
        assert!(rider.busy.iter().all(inside), "work is done on duty: {rider:?}");
        assert_eq!(rider.ridden_m > 0.0, !rider.busy.is_empty(), "{rider:?}");
    }
}

#[test]
fn a_small_day_is_delivered_whole() {
    let report = live(&dozen(), &Manners::flawless(), 1);
    check(&report);
    let outcomes = &report.outcomes;
    assert_eq!((outcomes.orders.len(), count(outcomes, End::Delivered), outcomes.riders.len()), (12, 12, 8));
    assert_eq!(
        (outcomes.dispatcher.as_str(), outcomes.from_s, outcomes.placed_to),
        ("virtual engine", 43_200, 3_600_000)
    );
    for order in &outcomes.orders {
        assert_eq!(
            (order.placed, order.ready),
            (order.number as i64 * 240_000, order.number as i64 * 240_000 + 600_000)
        );
        // Nobody picks goods up before they are ready; 1.2 km of straight line take a motorcycle about five minutes.
        let (picked_up, delivered) = (order.picked_up.unwrap(), order.delivered.unwrap());
        assert!((order.ready..order.ready + 180_000).contains(&picked_up), "{order:?}");
        assert!((180_000..600_000).contains(&(delivered - picked_up)), "{order:?}");
    }
    let ridden: f64 = outcomes.riders.iter().map(|rider| rider.ridden_m).sum();
    assert!((12.0 * 1_680.0..12.0 * 4_000.0).contains(&ridden), "{ridden} m along the street");
    // The window was over at 3,600 s, the last order ended later than that or was the last thing waited for.
    let last = outcomes.orders.iter().filter_map(|order| order.ended).max().unwrap();
    assert!((last.max(3_600_000)..=last.max(3_600_000) + 1_000).contains(&outcomes.until));
    let machine = &report.machine;
    assert!(machine.refusals.is_empty() && machine.alerts.is_empty(), "{machine:?}");
    // Eight riders ping every five seconds, give or take a quarter.
    let pings = 8 * outcomes.until as u64 / 5_000;
    assert!((pings * 95 / 100..pings * 105 / 100).contains(&machine.fixes), "{} points", machine.fixes);
    assert!(machine.writes >= 12 * 7 && machine.commands > machine.fixes && machine.peaks.riders_on_duty == 8);
}

#[test]
fn the_same_seed_lives_the_same_day() {
    let manners = Manners { dropout_per_hour: 3.0, breaks_per_hour: 0.5, cancel: 0.1, ..Manners::flawless() };
    let bytes = |seed| serde_json::to_vec(&live(&dozen(), &manners, seed)).unwrap();
    let first = bytes(7);
    assert!(first == bytes(7), "the same seed");
    assert!(first != bytes(8), "another seed");
}

#[test]
fn half_a_fleet_degrades_and_loses_nothing() {
    let orders: Vec<_> = (1..=60).map(|id| order(id, id as i64 * 50)).collect();
    let couriers: Vec<_> = (1..=12).map(|id| courier(id, -60, 40_000)).collect();
    let day = day(orders, couriers);
    let whole = live(&day, &Manners::flawless(), 3);
    let half = live_by(&day, Window { fleet: 0.5, ..NOON }, &Manners::flawless(), 3, DispatchPolicy::default());
    [&whole, &half].into_iter().for_each(check);
    assert!((2..=9).contains(&half.outcomes.riders.len()));
    let waits = |report: &Report| -> i64 {
        let wait = |order: &OrderOutcome| order.delivered.unwrap() - order.placed;
        report.outcomes.orders.iter().filter(|order| order.end == End::Delivered).map(wait).sum()
    };
    assert_eq!(count(&whole.outcomes, End::Delivered), 60);
    assert_eq!(count(&half.outcomes, End::Delivered), 60, "late, but delivered: {:?}", half.machine);
    assert!(waits(&half) > waits(&whole) * 11 / 10);
}

#[test]
fn an_empty_window_ends_at_its_end() {
    let night = Window { from_s: 0, to_s: 3_600, drain_ms: 600_000, fleet: 1.0 };
    let report = live_by(&dozen(), night, &Manners::flawless(), 1, DispatchPolicy::default());
    assert_eq!((report.outcomes.orders.len(), report.outcomes.riders.len()), (0, 0));
    assert_eq!(report.outcomes.until, 3_600_000);
    // Orders without riders expire, or are open when the time is over.
    let report =
        live_by(&day([order(1, 0), order(2, 3_500)], []), NOON, &Manners::flawless(), 1, DispatchPolicy::default());
    check(&report);
    assert_eq!(count(&report.outcomes, End::Expired), 2);
    assert_eq!(report.machine.alerts["order_expired"], 2);
    let brief = Window { drain_ms: 60_000, ..NOON };
    let report = live_by(&day([order(2, 3_500)], []), brief, &Manners::flawless(), 1, DispatchPolicy::default());
    assert_eq!((count(&report.outcomes, End::Open), report.outcomes.until), (1, 3_660_000));
}

#[test]
fn a_shift_that_ends_while_carrying_is_worked_to_its_end() {
    // Ready at 12:10, in hand a little before; the only courier wants to go home at 12:11.
    let report = live(&day([order(1, 0), order(2, 1_200)], [courier(1, -60, 660)]), &Manners::flawless(), 1);
    check(&report);
    let [first, second] = report.outcomes.orders.as_slice() else { panic!() };
    let rider = &report.outcomes.riders[0];
    let delivered = first.delivered.unwrap();
    assert!(delivered > 660_000 && (delivered..delivered + 1_000).contains(&rider.on_duty[0].1), "{rider:?}");
    assert_eq!((rider.on_duty.len(), second.end), (1, End::Expired));
}

#[test]
fn a_later_shift_begins_when_it_begins() {
    let report = live(&day([order(1, 0)], [courier(1, 1_500, 9_000)]), &Manners::flawless(), 1);
    check(&report);
    let (order, rider) = (&report.outcomes.orders[0], &report.outcomes.riders[0]);
    assert!((1_500_000..1_500_100).contains(&rider.on_duty[0].0) && order.assigned.unwrap() > 1_500_000);
    assert_eq!(order.end, End::Delivered);
}

#[test]
fn breakdowns_are_handed_over_and_end() {
    let manners = Manners { breakdown: 0.3, ..Manners::flawless() };
    let report = live(&dozen(), &manners, 2);
    check(&report);
    assert_eq!(count(&report.outcomes, End::Delivered), 12, "{:?}", report.machine);
    // Who broke down is off duty for at least ten minutes, then comes back.
    let pauses = report.outcomes.riders.iter().flat_map(|rider| rider.on_duty.windows(2));
    let pauses: Vec<i64> = pauses.map(|pair| pair[1].0 - pair[0].1).collect();
    assert!(!pauses.is_empty() && pauses.iter().all(|pause| (600_000..1_201_000).contains(pause)), "{pauses:?}");
}

#[test]
fn failed_attempts_are_tried_again_or_go_back() {
    let report = live(&dozen(), &Manners { fail: 1.0, ..Manners::flawless() }, 1);
    check(&report);
    let (delivered, returned) = (count(&report.outcomes, End::Delivered), count(&report.outcomes, End::Returned));
    assert!(delivered > 0 && returned > 0 && delivered + returned == 12, "{delivered} delivered, {returned} returned");
}

#[test]
fn whims_of_merchants_take_effect() {
    let report = live(&dozen(), &Manners { cancel: 1.0, ..Manners::flawless() }, 1);
    check(&report);
    assert_eq!(count(&report.outcomes, End::Cancelled), 12);
    assert!(report.outcomes.orders.iter().all(|order| order.ended.unwrap() >= order.placed + 20_000));
    let report = live(&dozen(), &Manners { late_kitchen: 1.0, ..Manners::flawless() }, 1);
    check(&report);
    assert_eq!(count(&report.outcomes, End::Delivered), 12);
    // A delay of two to ten minutes, unless the goods had gone already.
    let late = |order: &&OrderOutcome| (720_000..1_200_000).contains(&(order.ready - order.placed));
    assert!(report.outcomes.orders.iter().filter(late).count() >= 10);
    assert!(report.outcomes.orders.iter().all(|order| order.picked_up.unwrap() >= order.ready));
}

#[test]
fn offers_that_are_declined_or_let_pass_find_somebody_else() {
    let manners = Manners { accept: 0.4, decline: 0.3, ignore: 0.3, ..Manners::flawless() };
    let report = live(&dozen(), &manners, 1);
    check(&report);
    assert_eq!(count(&report.outcomes, End::Delivered), 12);
    let offers: u32 = report.outcomes.orders.iter().map(|order| order.offers).sum();
    assert!((18..80).contains(&offers), "{offers} offers for 12 orders at 40 %");
}

#[test]
fn lost_connections_and_breaks_lose_no_order() {
    let manners = Manners { dropout_per_hour: 60.0, breaks_per_hour: 2.0, ..Manners::flawless() };
    let report = live(&dozen(), &manners, 5);
    check(&report);
    assert_eq!(count(&report.outcomes, End::Delivered), 12, "{:?}", report.machine);
    let broken_off = report.outcomes.riders.iter().filter(|rider| rider.on_duty.len() > 1).count();
    assert!(broken_off > 0, "nobody took a break");
    // Each loses the connection about once a minute, for 47 s on average: many points are missing.
    let all = 8 * report.outcomes.until as u64 / 5_000;
    assert!(report.machine.fixes < all * 4 / 5, "{} points of {all}", report.machine.fixes);
}

#[test]
fn who_was_taken_off_duty_for_silence_comes_back() {
    // With an automatic off after 20 s of silence, outages of up to 90 s take idle riders off duty and orders from others.
    let policy = DispatchPolicy { auto_off_after_s: 20, ..DispatchPolicy::default() };
    let manners = Manners { dropout_per_hour: 10.0, ..Manners::flawless() };
    let report = live_by(&dozen(), NOON, &manners, 1, policy);
    check(&report);
    assert_eq!(count(&report.outcomes, End::Delivered), 12, "{:?}", report.machine);
    assert!(report.outcomes.riders.iter().filter(|rider| rider.on_duty.len() > 1).count() >= 4);
}

#[test]
fn a_full_city_refuses_and_says_so() {
    let policy = DispatchPolicy { max_waiting_orders: 1, ..DispatchPolicy::default() };
    let report = live_by(&day([order(1, 0), order(2, 1)], []), NOON, &Manners::flawless(), 1, policy);
    check(&report);
    assert_eq!(count(&report.outcomes, End::Expired), 2);
    assert!(report.machine.refusals["city_full"] >= 60, "a merchant tries for a minute");
    assert_eq!(report.machine.alerts["order_expired"], 1, "the other one never stood in the queue");
}

fn real(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("DISPATCH_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED {name}: DISPATCH_DATA names no folder of real data");
    }
    folder
}

#[test]
fn an_hour_of_a_real_day_is_delivered() {
    let Some(data) = real("an_hour_of_a_real_day_is_delivered") else { return };
    let read = |name: &str| Path::new("rappi/3").join(name);
    let day = CityDay::read(&read("orders.csv"), &read("couriers.csv"), Some(&data)).unwrap();
    let window = Window { from_s: 12 * 3_600, to_s: 13 * 3_600, drain_ms: 3 * 3_600_000, fleet: 1.0 };
    let manners = defaults();
    // Points are not checked one by one here: of a real fleet there are too many.
    let settings = Settings { check: false, ..settings(&day, window, &manners, 1, DispatchPolicy::default()) };
    let report = run(Scenario::new(&day, &window, &manners, 0, 1), settings).unwrap();
    check(&report);
    let outcomes = &report.outcomes;
    let (all, delivered) = (outcomes.orders.len(), count(outcomes, End::Delivered));
    assert!(all > 100, "{all} orders of the hour");
    assert_eq!(count(outcomes, End::Open), 0);
    assert!(delivered * 100 >= all * 90, "{delivered} of {all} delivered");
    assert!(report.machine.peaks.orders_waiting > 5 && report.machine.peaks.riders_on_duty > 50);
}

/// The manners of the command line.
fn defaults() -> Manners {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        manners: Manners,
    }
    <Cli as clap::Parser>::parse_from(["manners"]).manners
}
