//! A path of positions in time, as a map draws it: cut where the times have gaps, and thinned to the points that matter.
//!
//! A path is thinned by the algorithm of Douglas and Peucker, in metres. The plane in which it measures stretches every
//! distance or keeps it (longitudes count as on the parallel of the path that is nearest to the equator), so no point that
//! was left out is farther from the thinned line than asked for, at any latitude and across the antimeridian. The line
//! between two points is straight in degrees, as in GeoJSON (RFC 7946, 3.1.1), and takes the shorter way round the earth.

use std::time::Duration;

use geo::{Coord, LineString, SimplifyIdx};

use super::{
    position::{EARTH_RADIUS_M, Position},
    time::Timestamp,
};

/// Points that are thinned at once; where one piece ends and the next begins a point survives. The algorithm is quadratic
/// in bad cases, and recursive: devices choose the points, and must not choose the depth of the stack.
const PIECE: usize = 1_024;

/// A point that is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// Its number among the points of the path.
    pub index: usize,
    /// Whether a leg begins here: no line is drawn from the point before.
    pub starts: bool,
}

/// The points of a path, ordered by time, that are drawn. Two points more than `gap` apart are not connected: with the
/// later one a new leg begins. `before` is the time of the point before the first one, when there is one.
///
/// With a tolerance in metres each leg is thinned: its first and its last point survive, and so many others that none that
/// was left out is farther than the tolerance from the line. Of points that are equally far off, the later one survives.
#[must_use]
pub fn outline(
    points: &[(Timestamp, Position)],
    before: Option<Timestamp>,
    gap: Duration,
    tolerance_m: Option<f64>,
) -> Vec<Vertex> {
    let mut drawn = Vec::with_capacity(points.len());
    let mut from = 0;
    for leg in points.chunk_by(|(earlier, _), (later, _)| later.since(*earlier) <= gap) {
        let starts = from > 0 || before.is_none_or(|before| leg[0].0.since(before) > gap);
        let indices = match tolerance_m {
            Some(tolerance_m) => thinned(leg, tolerance_m),
            None => (0..leg.len()).collect(),
        };
        drawn.extend(indices.iter().map(|index| Vertex { index: from + index, starts: starts && *index == 0 }));
        from += leg.len();
    }
    drawn
}

/// The points of a leg that survive.
fn thinned(leg: &[(Timestamp, Position)], tolerance_m: f64) -> Vec<usize> {
    let mut survivors: Vec<usize> = Vec::new();
    let mut from = 0;
    loop {
        let piece = &leg[from..leg.len().min(from + PIECE)];
        // The border of two pieces is in both of them.
        survivors.pop();
        survivors.extend(flat(piece).simplify_idx(tolerance_m).iter().map(|index| from + index));
        from += piece.len().saturating_sub(1);
        if from + 1 >= leg.len() {
            return survivors;
        }
    }
}

/// Positions in a plane, metres.
fn flat(points: &[(Timestamp, Position)]) -> LineString<f64> {
    let lats = points.iter().map(|(_, at)| at.lat());
    let (south, north) = lats.fold((f64::INFINITY, f64::NEG_INFINITY), |(s, n), lat| (s.min(lat), n.max(lat)));
    // The latitude nearest to the equator.
    let widest = south.max(0.0) + north.min(0.0);
    let metres = EARTH_RADIUS_M.to_radians();
    let (mut x, mut last) = (0.0, points.first().map_or(0.0, |(_, at)| at.lon()));
    let place = |(_, at): &(Timestamp, Position)| {
        x += eastwards(last, at.lon());
        last = at.lon();
        Coord { x: x * metres * widest.to_radians().cos(), y: at.lat() * metres }
    };
    points.iter().map(place).collect()
}

/// Degrees from one longitude to another, the shorter way.
fn eastwards(from: f64, to: f64) -> f64 {
    match to - from {
        east if east > 180.0 => east - 360.0,
        west if west < -180.0 => west + 360.0,
        near => near,
    }
}

#[cfg(test)]
#[path = "polyline_tests.rs"]
mod tests;
