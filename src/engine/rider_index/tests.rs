//! The index against brute force, and against crowds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use crate::domain::{rider::Vehicle, tags::Tags};

use super::*;

const BIKE: Means = Means { vehicle: Vehicle::Bicycle, free_units: 10, tags: Tags::NONE };

fn rider(n: usize) -> RiderId {
    RiderId(Uuid::from_u128(n as u128 + 1))
}

/// Wraps a longitude beyond the antimeridian.
fn at(lat: f64, lon: f64) -> Position {
    Position::new(lat, (lon + 540.0).rem_euclid(360.0) - 180.0).unwrap()
}

/// Somewhere around a centre, degrees: over the whole city, within a block, or on one of a few spots.
fn offset() -> impl Strategy<Value = (f64, f64)> {
    let spot = prop::sample::select(vec![(0.01, 0.02), (0.010_000_1, 0.02), (-0.1, 0.05)]);
    prop_oneof![
        2 => (-0.2_f64..0.2, -0.2_f64..0.2),
        2 => (-0.002_f64..0.002, -0.002_f64..0.002),
        3 => spot,
    ]
}

/// What happens to a rider.
#[derive(Clone, Debug)]
enum Step {
    /// To somewhere, with other means.
    Jump((f64, f64), Means),
    /// By degrees, as far as a vehicle comes between two pings, with the same means.
    Move(f64, f64),
    Leave,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (offset(), means()).prop_map(|(to, means)| Step::Jump(to, means)),
        5 => (-0.000_5_f64..0.000_5, -0.000_5_f64..0.000_5).prop_map(|(lat, lon)| Step::Move(lat, lon)),
        1 => Just(Step::Leave),
    ]
}

/// Some of four tags, as a number whose bits they are.
fn tags(bits: usize) -> Tags {
    let words = ["alcohol", "cod", "thermal_bag", "v2"];
    Tags::parse(words.iter().enumerate().filter(|(n, _)| bits & (1 << n) != 0).map(|(_, word)| word)).unwrap()
}

fn means() -> impl Strategy<Value = Means> {
    (prop::sample::select(Vehicle::ALL), 0_u32..12, 0_usize..16).prop_map(|(vehicle, free_units, bits)| Means {
        vehicle,
        free_units,
        tags: tags(bits),
    })
}

/// What is needed: mostly little, so that there is somebody to find.
fn need() -> impl Strategy<Value = (Option<Vehicle>, u32, Tags)> {
    let vehicle = prop::option::weighted(0.3, prop::sample::select(Vehicle::ALL));
    (vehicle, prop_oneof![2 => Just(0), 1 => 0_u32..12], prop_oneof![2 => Just(0), 2 => 0_usize..16].prop_map(tags))
}

fn will_do(means: &Means, need: Need<'_>) -> bool {
    need.vehicle.is_none_or(|vehicle| means.vehicle >= vehicle)
        && means.free_units >= need.units
        && need.tags.iter().all(|tag| means.tags.iter().any(|has| has == tag))
}

fn centre() -> impl Strategy<Value = (f64, f64)> {
    prop::sample::select(vec![
        (0.0, 32.5),     // the equator
        (60.2, 24.9),    // 60 degrees north
        (-16.8, 179.99), // the antimeridian
        (12.97, 77.59),
        (89.9, 10.0), // next to the pole
    ])
}

/// Who stands where, in degrees, with what.
type Truth = BTreeMap<RiderId, ((f64, f64), Means)>;

/// The truth, and an index that has followed every step.
fn walk((lat, lon): (f64, f64), frame: (f64, f64), steps: &[(usize, Step)]) -> (RiderIndex, Truth) {
    let mut index = RiderIndex::around(frame.0, frame.1);
    let mut truth = Truth::new();
    let mut tickets = BTreeMap::new();
    for (n, step) in steps {
        let id = rider(*n);
        match (step, truth.get_mut(&id)) {
            (Step::Leave, _) => {
                index.remove(id);
                truth.remove(&id);
            }
            (Step::Move(north, east), Some((at_now, _))) => {
                *at_now = ((at_now.0 + north).min(90.0), at_now.1 + east);
                index.shift(tickets[&id], at(at_now.0, at_now.1));
            }
            (Step::Move(north, east), None) => {
                let to = ((lat + north).min(90.0), lon + east);
                tickets.insert(id, index.put(id, at(to.0, to.1), BIKE));
                truth.insert(id, (to, BIKE));
            }
            (Step::Jump((north, east), means), _) => {
                let to = ((lat + north).min(90.0), lon + east);
                tickets.insert(id, index.put(id, at(to.0, to.1), means.clone()));
                truth.insert(id, (to, means.clone()));
            }
        }
    }
    check(&index);
    (index, truth)
}

/// Fails unless all parts of an index agree.
fn check(index: &RiderIndex) {
    index.ground.check();
    let mut seated = BTreeMap::new();
    for slot in &index.slots {
        *seated.entry(index.ground.member(*slot).unwrap().kit).or_default() += 1;
    }
    index.kits.check(&seated);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Brute force by haversine and the index agree after any walk, wherever the city and the frame lie and whatever is
    /// needed: the same riders, in the same order, at the same distance.
    #[test]
    fn nearest_is_nearest_by_true_metres(
        centre in centre(),
        elsewhere in prop::option::weighted(0.2, centre()),
        steps in prop::collection::vec((0_usize..250, step()), 1..1_500),
        queries in prop::collection::vec((offset(), 1.0_f64..30_000.0, need()), 1..5),
    ) {
        let (index, truth) = walk(centre, elsewhere.unwrap_or(centre), &steps);
        prop_assert_eq!(index.len(), truth.len());
        for ((north, east), radius, (vehicle, units, tags)) in queries {
            let need = Need { vehicle, units, tags: &tags };
            let from = at((centre.0 + north).min(90.0), centre.1 + east);
            let metres_to = |id: &RiderId| from.distance_m(at(truth[id].0.0, truth[id].0.1));
            let able = truth.iter().filter(|(_, (_, means))| will_do(means, need)).map(|(id, _)| id);
            let mut expected: Vec<f64> = able.map(metres_to).filter(|metres| *metres <= radius).collect();
            expected.sort_by(f64::total_cmp);
            let found: Vec<(RiderId, f64)> = index.nearest_with(from, radius, need).collect();
            // On the rim itself rounding decides.
            prop_assume!(truth.keys().all(|id| (metres_to(id) - radius).abs() > 1e-3));
            prop_assert_eq!(found.len(), expected.len());
            for ((id, metres), want) in found.iter().zip(&expected) {
                prop_assert!((metres - want).abs() < 1e-3, "{} m instead of {} m", metres, want);
                prop_assert!((metres_to(id) - metres).abs() < 1e-3);
                prop_assert!(will_do(&truth[id].1, need));
            }
            prop_assert!(found.windows(2).all(|pair| pair[0].1 <= pair[1].1));
            let mut ids: Vec<RiderId> = found.into_iter().map(|(id, _)| id).collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), expected.len(), "a rider was found twice");
        }
    }

    /// Tags are told apart however many different ones a city has seen, also after their riders have left.
    #[test]
    fn a_hundred_different_tags_are_told_apart(
        wear in prop::collection::vec((0_usize..60, prop::collection::btree_set(0_usize..100, 0..=8)), 1..400),
        needs in prop::collection::vec(prop::collection::btree_set(0_usize..100, 1..=2), 1..20),
    ) {
        let tags = |numbers: &BTreeSet<usize>| Tags::parse(numbers.iter().map(|n| format!("t{n}"))).unwrap();
        let mut index = RiderIndex::around(12.97, 77.59);
        let mut truth: BTreeMap<RiderId, &BTreeSet<usize>> = BTreeMap::new();
        for (n, numbers) in &wear {
            if numbers.is_empty() {
                index.remove(rider(*n));
                truth.remove(&rider(*n));
            } else {
                index.put(rider(*n), at(12.97, 77.59 + *n as f64 / 1e3), Means { tags: tags(numbers), ..BIKE });
                truth.insert(rider(*n), numbers);
            }
        }
        check(&index);
        for needed in needs {
            let tags = tags(&needed);
            let need = Need { tags: &tags, ..Need::NOTHING };
            let found: BTreeSet<RiderId> = index.nearest_with(at(12.97, 77.59), 1e6, need).map(|(id, _)| id).collect();
            let able = truth.iter().filter(|(_, has)| needed.is_subset(has)).map(|(id, _)| *id);
            prop_assert_eq!(found, able.collect());
        }
    }
}

#[test]
fn ten_thousand_riders_on_one_spot_are_all_found_in_order_and_removed() {
    let (lat, lon) = (12.97, 77.59);
    let spot = at(lat, lon);
    let mut index = RiderIndex::around(lat, lon);
    // One in a thousand of them has a car.
    let with =
        |n: usize| Means { vehicle: if n.is_multiple_of(1_000) { Vehicle::Car } else { Vehicle::Bicycle }, ..BIKE };
    let tickets: Vec<Ticket> = (0..10_000).map(|n| index.put(rider(n), spot, with(n))).collect();
    // Others around them, some of them only centimetres away.
    for n in 0..200 {
        index.put(rider(10_000 + n), at(lat + 1e-7 * (n * n) as f64, lon + 1e-7), BIKE);
    }
    index.ground.check();
    let from = at(lat + 0.001, lon);
    let found: Vec<(RiderId, f64)> = index.nearest(from, 1_000.0).collect();
    assert_eq!(found.len(), 10_200);
    assert!(found.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    let mut ids: Vec<RiderId> = found.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq((0..10_200).map(rider)));
    assert_eq!(index.nearest(spot, 0.001).count(), 10_000);
    let cars = Need { vehicle: Some(Vehicle::Car), ..Need::NOTHING };
    assert_eq!(index.nearest_with(from, 1_000.0, cars).count(), 10);

    // Every third one goes for a ride and comes back; every other one leaves.
    for n in (0..10_000).step_by(3) {
        index.shift(tickets[n], at(lat + 0.000_1, lon + 1e-6 * n as f64));
    }
    index.ground.check();
    assert_eq!(index.nearest_with(from, 1_000.0, cars).count(), 10);
    assert_eq!(index.nearest(spot, 0.001).count(), 6_666);
    (0..10_000).step_by(3).for_each(|n| index.shift(tickets[n], spot));
    (0..10_200).step_by(2).for_each(|n| index.remove(rider(n)));
    index.ground.check();
    assert_eq!(index.nearest(spot, 0.001).count(), 5_000);
    (0..10_200).for_each(|n| index.remove(rider(n)));
    check(&index);
    assert!(index.is_empty());
    assert_eq!(index.nearest(spot, 1_000.0).count(), 0);
}

#[test]
fn a_search_into_a_crowd_does_not_go_through_it() {
    let (lat, lon) = (12.97, 77.59);
    let mut index = RiderIndex::around(lat, lon);
    for n in 0..1_000 {
        index.put(rider(n), at(lat, lon), BIKE);
    }
    let from = index.frame.point(at(lat, lon));
    let mut search =
        Nearest::new(&index.ground, index.ground.roots(from), from, f64::INFINITY, index.kits.test(Need::NOTHING));
    assert_eq!(search.by_ref().take(10).count(), 10);
    assert!(search.waiting() <= 1, "the crowd is one entry, not {}", search.waiting());
}

#[test]
fn a_ticket_of_somebody_who_has_left_moves_nobody() {
    let (here, there) = (at(12.97, 77.59), at(12.98, 77.60));
    let mut index = RiderIndex::around(12.97, 77.59);
    let [first, second] = [1, 2].map(|n| index.put(rider(n), here, BIKE));
    index.shift(Ticket::NONE, there);
    index.remove(rider(2));
    index.shift(second, there);
    check(&index);
    assert_eq!(index.nearest(here, 1.0).count(), 1);
    index.shift(first, there);
    assert_eq!(index.find(rider(1), there), Some((0.0, &BIKE, first)));
    assert_eq!((index.find(rider(2), there), index.nearest(here, 1.0).count()), (None, 0));
}

#[test]
fn who_is_not_in_is_neither_found_nor_removed() {
    let mut index = RiderIndex::around(12.97, 77.59);
    index.put(rider(1), at(12.97, 77.59), BIKE);
    index.remove(rider(2));
    assert!(index.contains(rider(1)) && !index.contains(rider(2)));
    assert_eq!(index.len(), 1);
    index.remove(rider(1));
    index.remove(rider(1));
    assert!(index.is_empty() && index.nearest(at(12.97, 77.59), 1e6).next().is_none());
    // The other side of the earth has the same east and north.
    index.put(rider(3), at(-12.97, -102.41), BIKE);
    let (found, metres) = index.nearest(at(12.97, 77.59), f64::INFINITY).next().unwrap();
    assert_eq!(found, rider(3));
    assert!((metres - 20_015_114.0).abs() < 10.0, "{metres}");
}
