//! Where things happen: distances, a service area, and the busy spots in it around which fleet and orders gather.

use dispatch_engine::wire::LatLon;
use geo::{Contains, Distance, Haversine, LineString, Point, Polygon};
use rand::{Rng, RngExt};

/// Metres of one degree of latitude.
const DEGREE_M: f64 = 111_195.0;

/// Spread of pickups around their busy spot, metres.
const PICKUP_SPREAD_M: f64 = 400.0;

/// Straight-line metres from a pickup to its drop.
const TRIP_M: std::ops::Range<f64> = 1_000.0..5_000.0;

/// Attempts to hit a small or crooked area before the fallback is taken.
const ATTEMPTS: usize = 200;

/// Great-circle metres.
pub fn distance_m(a: LatLon, b: LatLon) -> f64 {
    Haversine.distance(Point::new(a.lon, a.lat), Point::new(b.lon, b.lat))
}

/// The position some metres north and east of another; for city distances.
pub fn offset(at: LatLon, north_m: f64, east_m: f64) -> LatLon {
    let shrink = at.lat.to_radians().cos().max(0.01);
    LatLon { lat: at.lat + north_m / DEGREE_M, lon: at.lon + east_m / (DEGREE_M * shrink) }
}

/// A point around another, scattered like a bell curve of the given standard deviation.
pub fn scatter<R: Rng>(rng: &mut R, at: LatLon, spread_m: f64) -> LatLon {
    // Sum of uniforms: close enough to a bell curve, and bounded.
    let mut bell = || (0..6).map(|_| rng.random_range(-1.0..1.0)).sum::<f64>() / 2.0_f64.sqrt();
    let (north, east) = (bell(), bell());
    offset(at, north * spread_m, east * spread_m)
}

/// Degrees clockwise from north.
pub fn heading_deg(from: LatLon, to: LatLon) -> f64 {
    let east = (to.lon - from.lon) * from.lat.to_radians().cos();
    let north = to.lat - from.lat;
    east.atan2(north).to_degrees().rem_euclid(360.0)
}

/// The corners of a box around points, with a margin in metres. `None` without points.
pub fn box_around(points: impl Iterator<Item = LatLon>, margin_m: f64) -> Option<Vec<LatLon>> {
    let mut bounds: Option<(LatLon, LatLon)> = None;
    for p in points {
        let (low, high) = bounds.get_or_insert((p, p));
        *low = LatLon { lat: low.lat.min(p.lat), lon: low.lon.min(p.lon) };
        *high = LatLon { lat: high.lat.max(p.lat), lon: high.lon.max(p.lon) };
    }
    let (low, high) = bounds?;
    let (low, high) = (offset(low, -margin_m, -margin_m), offset(high, margin_m, margin_m));
    Some(vec![low, LatLon { lat: low.lat, lon: high.lon }, high, LatLon { lat: high.lat, lon: low.lon }])
}

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
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const HERE: LatLon = LatLon { lat: 12.97, lon: 77.59 };

    #[test]
    fn offsets_and_distances_agree() {
        let there = offset(HERE, 3_000.0, 4_000.0);
        assert!((distance_m(HERE, there) - 5_000.0).abs() < 20.0);
        assert!((heading_deg(HERE, offset(HERE, 0.0, 100.0)) - 90.0).abs() < 0.1);
        assert!((heading_deg(HERE, offset(HERE, -100.0, 0.0)) - 180.0).abs() < 0.1);
    }

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
        assert!(box_around(std::iter::empty(), 1.0).is_none());
    }
}
