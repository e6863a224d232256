//! Outside the service area: flagged, never refused. A boundary has up to 10,000 corners, so a rider is looked up once and
//! then not again before having moved as far as the border was away.

use super::{
    ground::{DEGREE_M, metres},
    pipeline::{Hygiene, Trial},
    point::{Facts, Reason, flags},
};
use crate::domain::{city::Boundary, position::Position};

/// Metres within which a rider is not looked up again however near the border is: receivers are less exact.
const BLUR_M: f64 = 10.0;
/// Metres up to which the ground around a rider is flat enough.
const FAR_M: f64 = 20_000.0;
/// What is left of a distance on flat ground wherever it is measured, up to 80 degrees of latitude.
const SURE: f64 = 0.9;

/// Where a rider was looked up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LookedUp {
    here: Position,
    inside: bool,
    /// Metres within which the answer holds.
    holds_m: f64,
}

impl LookedUp {
    fn new(area: &Boundary, here: Position) -> Self {
        let holds_m = (border_m(area, here) * SURE).clamp(BLUR_M, FAR_M);
        Self { here, inside: area.contains(here), holds_m }
    }
}

/// Metres to the nearest side, on the plane that touches the ground here.
fn border_m(area: &Boundary, here: Position) -> f64 {
    let shrink = here.lat().to_radians().cos();
    let mut corners = area.corners().map(|(lon, lat)| ((lon - here.lon()) * shrink, lat - here.lat()));
    let Some(mut from) = corners.next() else { return 0.0 };
    let mut nearest = f64::INFINITY;
    for to in corners {
        let (east, north) = (to.0 - from.0, to.1 - from.1);
        let length = east.mul_add(east, north * north);
        // The share of the side at which it comes nearest.
        let share = if length > 0.0 { (-(from.0 * east + from.1 * north) / length).clamp(0.0, 1.0) } else { 0.0 };
        let (east, north) = (share.mul_add(east, from.0), share.mul_add(north, from.1));
        nearest = nearest.min(east.mul_add(east, north * north));
        from = to;
    }
    nearest.sqrt() * DEGREE_M
}

/// Flags what lies outside; refuses nothing.
pub(super) fn area(trial: &mut Trial, facts: &Facts<'_>, state: &mut Hygiene) -> Result<(), Reason> {
    let Some(area) = facts.area else { return Ok(()) };
    let known = state.looked_up.filter(|known| metres(known.here, trial.here) < known.holds_m);
    let looked_up = known.unwrap_or_else(|| LookedUp::new(area, trial.here));
    state.looked_up = Some(looked_up);
    if !looked_up.inside {
        trial.flags |= flags::OUTSIDE;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn square() -> Boundary {
        let corner = |(lat, lon)| Position::new(lat, lon).unwrap();
        Boundary::new(&[(12.90, 77.52), (12.90, 77.68), (13.05, 77.68), (13.05, 77.52)].map(corner)).unwrap()
    }

    #[test]
    fn the_border_is_as_far_as_it_is() {
        let here = Position::new(12.95, 77.53).unwrap();
        assert!((border_m(&square(), here) - 0.01 * DEGREE_M * 12.95_f64.to_radians().cos()).abs() < 1.0);
    }

    proptest! {
        #[test]
        fn what_is_remembered_is_what_would_be_looked_up(
            lat in 12.85..13.10_f64, lon in 77.47..77.73_f64, angle in 0.0..std::f64::consts::TAU, share in 0.0..1.0_f64,
        ) {
            let (area, here) = (square(), Position::new(lat, lon).unwrap());
            let known = LookedUp::new(&area, here);
            let go = known.holds_m * share / DEGREE_M;
            let (north, east) = (go * angle.cos(), go * angle.sin() / lat.to_radians().cos());
            let there = Position::new(lat + north, lon + east).unwrap();
            prop_assert!(area.contains(there) == known.inside || known.holds_m <= BLUR_M);
        }
    }
}
