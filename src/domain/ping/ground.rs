//! Distances between points of one rider: mostly metres apart, and measured several times per point.

use crate::domain::{position::Position, time::Timestamp};

/// Metres of a degree of latitude on the sphere of [`Position::distance_m`].
pub const DEGREE_M: f64 = 6_371_008.8 * std::f64::consts::PI / 180.0;

/// Degrees up to which the ground counts as flat.
const FLAT_DEG: f64 = 0.5;
/// Degrees of latitude beyond which meridians run together too fast for that.
const POLAR_DEG: f64 = 80.0;

/// A place and time that a later point is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// Where.
    pub here: Position,
    /// When, corrected.
    pub at: Timestamp,
    /// Radius of 68 % confidence, metres; 0 where it is not known.
    pub radius_m: f32,
}

/// Degrees of longitude between two meridians, the short way round.
#[must_use]
pub fn east_deg(from: f64, to: f64) -> f64 {
    let east = to - from;
    if east > 180.0 {
        east - 360.0
    } else if east < -180.0 {
        east + 360.0
    } else {
        east
    }
}

/// Metres between two positions. Within half a degree the ground is taken as flat, with meridians as far apart as in the
/// middle (the equirectangular approximation: within 0.1 % up to 80 degrees, and one cosine instead of six functions);
/// farther apart it is the great circle.
#[must_use]
pub fn metres(a: Position, b: Position) -> f64 {
    let (north, east) = (b.lat() - a.lat(), east_deg(a.lon(), b.lon()));
    if north.abs() > FLAT_DEG || east.abs() > FLAT_DEG || a.lat().abs() > POLAR_DEG {
        return a.distance_m(b);
    }
    let east = east * f64::midpoint(a.lat(), b.lat()).to_radians().cos();
    DEGREE_M * north.mul_add(north, east * east).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_flat_ground_agrees_with_the_sphere(
            lat in -90.0..=90.0_f64, lon in -180.0..=180.0_f64, north in -0.7..0.7_f64, east in -0.7..0.7_f64,
        ) {
            let there = ((lat + north).clamp(-90.0, 90.0), (lon + east + 540.0).rem_euclid(360.0) - 180.0);
            let (Ok(a), Ok(b)) = (Position::new(lat, lon), Position::new(there.0, there.1)) else { return Ok(()) };
            let (flat, round) = (metres(a, b), a.distance_m(b));
            prop_assert!((flat - round).abs() <= 0.001 * round + 0.001, "{flat} {round}");
        }
    }
}
