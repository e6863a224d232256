//! Where the riders who may be offered work are: an R-tree that answers "nearest" in true metres anywhere on earth.
//!
//! Positions stand in the tree as points on a sphere in three dimensions. The straight chord between two of them grows
//! with their great-circle distance, so the nearest by chord is the nearest by haversine: at any latitude, at the poles
//! and across the antimeridian, with no projection to choose.

use std::collections::BTreeMap;

use rstar::{AABB, PointDistance, RTree, RTreeObject};

use crate::domain::{ids::RiderId, position::Position};

/// Mean earth radius in metres, as in `geo::Haversine` (IUGG mean radius R1).
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// A rider in the tree.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Dot {
    on_sphere: [f64; 3],
    rider: RiderId,
}

impl RTreeObject for Dot {
    type Envelope = AABB<[f64; 3]>;

    fn envelope(&self) -> Self::Envelope {
        AABB::from_point(self.on_sphere)
    }
}

impl PointDistance for Dot {
    fn distance_2(&self, point: &[f64; 3]) -> f64 {
        self.on_sphere.iter().zip(point).map(|(a, b)| (a - b) * (a - b)).sum()
    }
}

/// The index of one city.
#[derive(Clone, Debug, Default)]
pub struct RiderIndex {
    tree: RTree<Dot>,
    places: BTreeMap<RiderId, [f64; 3]>,
}

impl RiderIndex {
    /// Puts a rider at a position, or moves the rider there.
    pub fn put(&mut self, rider: RiderId, position: Position) {
        let on_sphere = sphere(position);
        match self.places.insert(rider, on_sphere) {
            Some(before) if before == on_sphere => return,
            Some(before) => {
                self.tree.remove(&Dot { on_sphere: before, rider });
            }
            None => {}
        }
        self.tree.insert(Dot { on_sphere, rider });
    }

    /// Takes a rider out; nothing happens when the rider is not in.
    pub fn remove(&mut self, rider: RiderId) {
        if let Some(on_sphere) = self.places.remove(&rider) {
            self.tree.remove(&Dot { on_sphere, rider });
        }
    }

    /// Whether a rider is in.
    #[must_use]
    pub fn contains(&self, rider: RiderId) -> bool {
        self.places.contains_key(&rider)
    }

    /// How many riders are in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nobody is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The riders within `radius_m` great-circle metres of a position, nearest first, with their distance in metres.
    pub fn nearest(&self, position: Position, radius_m: f64) -> impl Iterator<Item = (RiderId, f64)> + '_ {
        self.tree
            .nearest_neighbor_iter_with_distance_2(sphere(position))
            .map(|(dot, chord_2)| (dot.rider, arc_from_chord(chord_2.sqrt())))
            .take_while(move |(_, metres)| *metres <= radius_m)
    }
}

/// A position on the sphere, metres from the earth's centre.
fn sphere(position: Position) -> [f64; 3] {
    let (lat, lon) = (position.lat().to_radians(), position.lon().to_radians());
    [EARTH_RADIUS_M * lat.cos() * lon.cos(), EARTH_RADIUS_M * lat.cos() * lon.sin(), EARTH_RADIUS_M * lat.sin()]
}

/// The great-circle distance that belongs to a chord: arc = 2 R asin(chord / 2R).
fn arc_from_chord(chord_m: f64) -> f64 {
    2.0 * EARTH_RADIUS_M * (chord_m / (2.0 * EARTH_RADIUS_M)).min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn rider(n: usize) -> RiderId {
        RiderId(Uuid::from_u128(n as u128 + 1))
    }

    fn at(lat: f64, lon: f64) -> Position {
        // Wraps a longitude beyond the antimeridian.
        Position::new(lat, (lon + 540.0).rem_euclid(360.0) - 180.0).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Brute force by haversine and the tree agree, wherever the city lies.
        #[test]
        fn nearest_is_nearest_by_true_metres(
            centre in prop::sample::select(vec![(0.3, 32.5), (60.2, 24.9), (-16.8, 179.99), (12.97, 77.59), (89.5, 10.0)]),
            offsets in prop::collection::vec((-0.2_f64..0.2, -0.2_f64..0.2), 1..60),
            moves in prop::collection::vec((0_usize..60, -0.2_f64..0.2, -0.2_f64..0.2), 0..60),
            query in (-0.2_f64..0.2, -0.2_f64..0.2),
            radius in 500.0_f64..30_000.0,
        ) {
            let mut index = RiderIndex::default();
            let mut truth = BTreeMap::new();
            let place = |(dlat, dlon): (f64, f64)| at((centre.0 + dlat).min(89.9), centre.1 + dlon);
            for (n, offset) in offsets.iter().enumerate() {
                index.put(rider(n), place(*offset));
                truth.insert(rider(n), place(*offset));
            }
            for (n, dlat, dlon) in moves {
                if n % 7 == 0 {
                    index.remove(rider(n));
                    truth.remove(&rider(n));
                } else if truth.contains_key(&rider(n)) {
                    index.put(rider(n), place((dlat, dlon)));
                    truth.insert(rider(n), place((dlat, dlon)));
                }
            }
            prop_assert_eq!(index.len(), truth.len());

            let from = place(query);
            let mut expected: Vec<f64> = truth.values().map(|p| from.distance_m(*p)).filter(|d| *d <= radius).collect();
            expected.sort_by(f64::total_cmp);
            let found: Vec<(RiderId, f64)> = index.nearest(from, radius).collect();
            prop_assert_eq!(found.len(), expected.len());
            for ((id, metres), want) in found.iter().zip(&expected) {
                prop_assert!((metres - want).abs() < 0.01, "{} m instead of {} m", metres, want);
                prop_assert!((from.distance_m(truth[id]) - metres).abs() < 0.01);
            }
        }
    }

    #[test]
    fn many_riders_on_one_spot_are_all_found_and_removed() {
        let mut index = RiderIndex::default();
        let spot = at(12.97, 77.59);
        (0..500).for_each(|n| index.put(rider(n), spot));
        assert_eq!(index.nearest(spot, 1.0).count(), 500);
        (0..500).for_each(|n| index.remove(rider(n)));
        assert!(index.is_empty());
        assert_eq!(index.nearest(spot, 1.0).count(), 0);
    }
}
