//! Riders who may not be offered work now (busy ones, above all) stand aside, in an index of their own: an explanation names
//! who was left out near a pickup, and that need not be true to the metre.
//!
//! So a ping moves such a rider only when it comes from another square of a fixed grid. An explanation looks that much
//! farther, and goes by the last fix.

use crate::domain::position::Position;

use super::{city::City, matching::OrderFacts, state::LiveRider};

/// Squares per degree, so that their sides are at most 217 m: who rides changes squares at every seventh ping.
const PER_DEGREE: f64 = 512.0;

/// No two places of a square are farther apart than this, metres: its diagonal at the equator is 307.1.
pub(super) const SLACK_M: f64 = 310.0;

/// Riders who stand aside and are named in an explanation.
const NAMED_ASIDE: usize = 64;

/// Riders who stand aside and are looked at for it: some stand within the slack of the radius, and beyond it.
const LOOKED_ASIDE: usize = 2 * NAMED_ASIDE;

/// Whether two places are in one square.
pub(super) fn same_square(a: Position, b: Position) -> bool {
    let square = |at: Position| [at.lat(), at.lon()].map(|degrees| (degrees * PER_DEGREE).floor());
    square(a) == square(b)
}

impl City {
    /// Riders who stand aside within so many metres of a pickup, nearest first give or take the slack; a bounded number.
    pub(super) fn aside_around<'a>(
        &'a self,
        order: &OrderFacts<'_>,
        radius_m: f64,
    ) -> impl Iterator<Item = &'a LiveRider> + 'a {
        let pickup = order.pickup;
        self.aside
            .nearest(pickup, radius_m + SLACK_M)
            .take(LOOKED_ASIDE)
            .filter_map(|(rider, _)| self.riders.get(&rider))
            .filter(move |live| live.fix.is_some_and(|fix| fix.position.distance_m(pickup) <= radius_m))
            .take(NAMED_ASIDE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_one_square_are_no_farther_apart_than_the_slack() {
        let corner = |lat: f64, lon: f64| {
            // Just inside the square's far corner.
            let far = 1.0 / PER_DEGREE - 1e-9;
            [Position::new(lat, lon).unwrap(), Position::new(lat + far, lon + far).unwrap()]
        };
        for (lat, lon) in [(0.0, 32.5), (-0.0, 179.5), (60.0, 24.5), (-60.0, -180.0), (89.5, 10.0)] {
            let [near, far] = corner(lat, lon);
            assert!(same_square(near, far) && near.distance_m(far) < SLACK_M, "{lat} {lon}");
            let beyond = Position::new(lat, lon + 1.0 / PER_DEGREE).unwrap();
            assert!(!same_square(near, beyond));
        }
    }
}
