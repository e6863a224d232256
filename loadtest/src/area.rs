//! Where made-up things happen: a service area, and the busy spots in it around which fleet and orders gather.

use dispatch_engine::{
    replay::geometry::{offset, scatter},
    wire::LatLon,
};
use geo::{Contains, LineString, Point, Polygon};
use rand::{Rng, RngExt};

/// Spread of pickups around their busy spot, metres.
const PICKUP_SPREAD_M: f64 = 400.0;

/// Straight-line metres from a pickup to its drop.
const TRIP_M: std::ops::Range<f64> = 1_000.0..5_000.0;

/// Attempts to hit a small or crooked area before the fallback is taken.
const ATTEMPTS: usize = 200;

/// A service area with its busy spots, the busiest first.
#[derive(Clone, Debug)]
pub struct Area {
    outline: Polygon<f64>,
    spots: Vec<LatLon>,
}

impl Area {
    /// From the corners of the area; `spots` busy spots are drawn inside. `None` when no inside can be found.
    pub fn new<R: Rng>(corners: &[LatLon], spots: usize, rng: &mut R) -> Option<Self> {
        let ring: Vec<(f64, f64)> = corners.iter().map(|c| (c.lon, c.lat)).collect();
        let outline = Polygon::new(LineString::from(ring), vec![]);
        let low = LatLon { lat: min(corners, |c| c.lat), lon: min(corners, |c| c.lon) };
        let high = LatLon { lat: -min(corners, |c| -c.lat), lon: -min(corners, |c| -c.lon) };
        if corners.len() < 3 || low.lat >= high.lat || low.lon >= high.lon {
            return None;
        }
        let mut area = Self { outline, spots: vec![] };
        for _ in 0..spots * ATTEMPTS {
            let at = LatLon { lat: rng.random_range(low.lat..high.lat), lon: rng.random_range(low.lon..high.lon) };
            // Not on the very border: trips around a spot should find room.
            let roomy = [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)]
                .iter()
                .all(|(n, e)| area.contains(offset(at, n * 2.0 * PICKUP_SPREAD_M, e * 2.0 * PICKUP_SPREAD_M)));
            if roomy {
                area.spots.push(at);
            }
            if area.spots.len() == spots {
                break;
            }
        }
        if area.spots.is_empty() { None } else { Some(area) }
    }

    /// Whether a position lies inside.
    pub fn contains(&self, at: LatLon) -> bool {
        self.outline.contains(&Point::new(at.lon, at.lat))
    }

    /// A busy spot; the first ones come more often (their weights fall as 1, 1/2, 1/3, ...).
    pub fn busy_spot<R: Rng>(&self, rng: &mut R) -> LatLon {
        let total: f64 = (1..=self.spots.len()).map(|rank| 1.0 / rank as f64).sum();
        let mut left = rng.random_range(0.0..total);
        let mut at = self.spots[0];
        for (index, spot) in self.spots.iter().enumerate() {
            at = *spot;
            left -= 1.0 / (index + 1) as f64;
            if left <= 0.0 {
                break;
            }
        }
        at
    }

    /// A point inside, around another.
    pub fn near<R: Rng>(&self, rng: &mut R, at: LatLon, spread_m: f64) -> LatLon {
        (0..ATTEMPTS).map(|_| scatter(rng, at, spread_m)).find(|p| self.contains(*p)).unwrap_or(at)
    }

    /// A pickup near a busy spot and a drop 1 to 5 km away from it, both inside.
    pub fn trip<R: Rng>(&self, rng: &mut R) -> (LatLon, LatLon) {
        let spot = self.busy_spot(rng);
        let pickup = self.near(rng, spot, PICKUP_SPREAD_M);
        let drop = (0..ATTEMPTS)
            .map(|_| {
                let (metres, angle) = (rng.random_range(TRIP_M), rng.random_range(0.0..std::f64::consts::TAU));
                offset(pickup, metres * angle.cos(), metres * angle.sin())
            })
            .find(|drop| self.contains(*drop))
            .unwrap_or(spot);
        (pickup, drop)
    }
}

fn min(corners: &[LatLon], of: impl Fn(&LatLon) -> f64) -> f64 {
    corners.iter().map(of).fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use dispatch_engine::replay::geometry::{box_around, distance_m};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const HERE: LatLon = LatLon { lat: 12.97, lon: 77.59 };

    #[test]
    fn trips_stay_inside_and_have_their_length() {
        let corners = box_around([HERE].into_iter(), 8_000.0).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let area = Area::new(&corners, 12, &mut rng).unwrap();
        for _ in 0..500 {
            let (pickup, drop) = area.trip(&mut rng);
            assert!(area.contains(pickup) && area.contains(drop));
            assert!((900.0..5_100.0).contains(&distance_m(pickup, drop)));
        }
    }

    #[test]
    fn a_line_is_no_area() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert!(Area::new(&[HERE, HERE, HERE], 3, &mut rng).is_none());
    }
}
