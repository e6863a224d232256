//! Distances, headings and small displacements on the ground, for people and vehicles that move about a city.

use geo::{Distance, Haversine, Point};
use rand::{Rng, RngExt};

use crate::wire::LatLon;

/// Metres of one degree of latitude.
const DEGREE_M: f64 = 111_195.0;

/// Room around the data of a replayed day, metres.
pub const DAY_MARGIN_M: f64 = 2_000.0;

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

#[cfg(test)]
mod tests {
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
    fn a_box_holds_its_points_with_a_margin() {
        assert!(box_around(std::iter::empty(), 1.0).is_none());
        let corners = box_around([HERE, offset(HERE, 1_000.0, 0.0)].into_iter(), 500.0).unwrap_or_default();
        assert_eq!(corners.len(), 4);
        assert!((distance_m(corners[0], corners[3]) - 2_000.0).abs() < 5.0);
    }
}
