//! The index against brute force, and against crowds.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use crate::domain::rider::Vehicle;

use super::*;

const BIKE: Means = Means { vehicle: Vehicle::Bicycle, free_units: 10 };

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
#[derive(Clone, Copy, Debug)]
enum Step {
    Jump((f64, f64)),
    /// By degrees, as far as a vehicle comes between two pings.
    Move(f64, f64),
    Leave,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => offset().prop_map(Step::Jump),
        5 => (-0.000_5_f64..0.000_5, -0.000_5_f64..0.000_5).prop_map(|(lat, lon)| Step::Move(lat, lon)),
        1 => Just(Step::Leave),
    ]
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

/// Who stands where, and an index that has followed every step.
fn walk(
    (lat, lon): (f64, f64),
    frame: (f64, f64),
    steps: &[(usize, Step)],
) -> (RiderIndex, BTreeMap<RiderId, (f64, f64)>) {
    let mut index = RiderIndex::around(frame.0, frame.1);
    let mut truth: BTreeMap<RiderId, (f64, f64)> = BTreeMap::new();
    for (n, step) in steps {
        let id = rider(*n);
        let to = match (step, truth.get(&id)) {
            (Step::Leave, _) => None,
            (Step::Move(north, east), Some((lat, lon))) => Some((lat + north, lon + east)),
            (Step::Move(north, east), None) => Some((lat + north, lon + east)),
            (Step::Jump((north, east)), _) => Some((lat + north, lon + east)),
        };
        match to.map(|(lat, lon)| (lat.min(90.0), lon)) {
            Some((lat, lon)) => {
                index.put(id, at(lat, lon), BIKE);
                truth.insert(id, (lat, lon));
            }
            None => {
                index.remove(id);
                truth.remove(&id);
            }
        }
    }
    index.ground.check();
    (index, truth)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Brute force by haversine and the index agree after any walk, wherever the city and the frame lie: the same riders,
    /// in the same order, at the same distance.
    #[test]
    fn nearest_is_nearest_by_true_metres(
        centre in centre(),
        elsewhere in prop::option::weighted(0.2, centre()),
        steps in prop::collection::vec((0_usize..250, step()), 1..1_500),
        queries in prop::collection::vec((offset(), 1.0_f64..30_000.0), 1..5),
    ) {
        let (index, truth) = walk(centre, elsewhere.unwrap_or(centre), &steps);
        prop_assert_eq!(index.len(), truth.len());
        for ((north, east), radius) in queries {
            let from = at((centre.0 + north).min(90.0), centre.1 + east);
            let metres_to = |id: &RiderId| from.distance_m(at(truth[id].0, truth[id].1));
            let mut expected: Vec<f64> = truth.keys().map(metres_to).filter(|metres| *metres <= radius).collect();
            expected.sort_by(f64::total_cmp);
            let found: Vec<(RiderId, f64)> = index.nearest(from, radius).collect();
            // On the rim itself rounding decides.
            prop_assume!(truth.keys().all(|id| (metres_to(id) - radius).abs() > 1e-3));
            prop_assert_eq!(found.len(), expected.len());
            for ((id, metres), want) in found.iter().zip(&expected) {
                prop_assert!((metres - want).abs() < 1e-3, "{} m instead of {} m", metres, want);
                prop_assert!((metres_to(id) - metres).abs() < 1e-3);
            }
            prop_assert!(found.windows(2).all(|pair| pair[0].1 <= pair[1].1));
            let mut ids: Vec<RiderId> = found.into_iter().map(|(id, _)| id).collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), expected.len(), "a rider was found twice");
        }
    }

    /// Riders who cannot do the job are left out, and nobody else.
    #[test]
    fn only_riders_with_the_means_are_found(
        riders in prop::collection::vec((offset(), prop::sample::select(Vehicle::ALL), 0_u32..12), 1..300),
        vehicle in prop::option::of(prop::sample::select(Vehicle::ALL)),
        units in 0_u32..12,
    ) {
        let (lat, lon) = (12.97, 77.59);
        let mut index = RiderIndex::around(lat, lon);
        for (n, ((north, east), vehicle, free_units)) in riders.iter().enumerate() {
            // First with other means, which the second report replaces.
            index.put(rider(n), at(lat + north, lon + east), Means { vehicle: Vehicle::Walking, free_units: 0 });
            index.put(rider(n), at(lat + north, lon + east), Means { vehicle: *vehicle, free_units: *free_units });
        }
        let able = |(_, (_, has, room)): &(usize, &(_, Vehicle, u32))| {
            vehicle.is_none_or(|need| *has >= need) && *room >= units
        };
        let mut expected: Vec<RiderId> = riders.iter().enumerate().filter(able).map(|(n, _)| rider(n)).collect();
        expected.sort_unstable();
        let mut found: Vec<RiderId> =
            index.nearest_with(at(lat, lon), 100_000.0, Need { vehicle, units }).map(|(id, _)| id).collect();
        found.sort_unstable();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn ten_thousand_riders_on_one_spot_are_all_found_in_order_and_removed() {
    let (lat, lon) = (12.97, 77.59);
    let spot = at(lat, lon);
    let mut index = RiderIndex::around(lat, lon);
    for n in 0..10_000 {
        index.put(rider(n), spot, BIKE);
    }
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

    // Every third one goes for a ride and comes back; every other one leaves.
    for n in (0..10_000).step_by(3) {
        index.put(rider(n), at(lat + 0.000_1, lon + 1e-6 * n as f64), BIKE);
    }
    index.ground.check();
    assert_eq!(index.nearest(spot, 0.001).count(), 6_666);
    (0..10_000).step_by(3).for_each(|n| index.put(rider(n), spot, BIKE));
    (0..10_200).step_by(2).for_each(|n| index.remove(rider(n)));
    index.ground.check();
    assert_eq!(index.nearest(spot, 0.001).count(), 5_000);
    (0..10_200).for_each(|n| index.remove(rider(n)));
    index.ground.check();
    assert!(index.is_empty());
    assert_eq!(index.nearest(spot, 1_000.0).count(), 0);
}

#[test]
fn a_search_into_a_crowd_does_not_go_through_it() {
    let (lat, lon) = (12.97, 77.59);
    let mut index = RiderIndex::around(lat, lon);
    (0..1_000).for_each(|n| index.put(rider(n), at(lat, lon), BIKE));
    let from = index.frame.point(at(lat, lon));
    let mut search =
        Nearest::new(&index.ground, index.ground.roots(from), from, f64::INFINITY, Test::from(Need::NOTHING));
    assert_eq!(search.by_ref().take(10).count(), 10);
    assert!(search.waiting() <= 1, "the crowd is one entry, not {}", search.waiting());
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
