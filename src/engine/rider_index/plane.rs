//! Positions as points in metres, so that distances cost three subtractions and squares of ground are squares.
//!
//! The earth is a sphere; a point is given in a frame that lies on the sphere at the city: metres east, north and up of
//! the earth's centre, turned so that the city is on top. The straight chord between two points grows with their
//! great-circle distance, so the nearest by chord is the nearest by haversine: at any latitude, at the poles and across
//! the antimeridian. East and north alone never exceed the chord (leaving a coordinate out only shortens), and within a
//! city they fall short of it by less than a part in a thousand: they bound distances from below, tightly.

use crate::domain::position::Position;

/// Mean earth radius in metres, as in `geo::Haversine` (IUGG mean radius R1).
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// Metres east, north and up.
pub(super) type Point = [f64; 3];

/// A frame of coordinates that touches the sphere at one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    axes: [Point; 3],
}

impl Frame {
    /// The frame at a place in degrees. Distances are exact in every frame; squares of ground are tight near the place.
    pub fn at(lat: f64, lon: f64) -> Self {
        let ((sin_lat, cos_lat), (sin_lon, cos_lon)) = (lat.to_radians().sin_cos(), lon.to_radians().sin_cos());
        let east = [-sin_lon, cos_lon, 0.0];
        let north = [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat];
        let up = [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat];
        Self { axes: [east, north, up].map(|axis| axis.map(|part| part * EARTH_RADIUS_M)) }
    }

    /// A position in this frame.
    pub fn point(&self, position: Position) -> Point {
        let (sin_lat, cos_lat) = position.lat().to_radians().sin_cos();
        let (sin_lon, cos_lon) = position.lon().to_radians().sin_cos();
        let unit = [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat];
        self.axes.map(|axis| axis[0] * unit[0] + axis[1] * unit[1] + axis[2] * unit[2])
    }
}

/// The squared chord between two points, square metres.
pub(super) fn chord_2(a: &Point, b: &Point) -> f64 {
    let [x, y, z] = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
    x * x + y * y + z * z
}

/// The great-circle distance that belongs to a squared chord: arc = 2 R asin(chord / 2R). Metres.
pub(super) fn arc_from_chord_2(chord_2: f64) -> f64 {
    2.0 * EARTH_RADIUS_M * (chord_2.sqrt() / (2.0 * EARTH_RADIUS_M)).min(1.0).asin()
}

/// A squared chord that no point within a great-circle distance exceeds: rounding is on the safe side.
pub(super) fn chord_2_within(arc_m: f64) -> f64 {
    let chord = 2.0 * EARTH_RADIUS_M * (arc_m / (2.0 * EARTH_RADIUS_M)).clamp(0.0, std::f64::consts::FRAC_PI_2).sin();
    let safe = chord * (1.0 + 1e-9) + 1e-6;
    safe * safe
}
