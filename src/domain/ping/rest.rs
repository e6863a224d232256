//! A rider at rest is not moved by the noise of the receiver. Points around the place of rest are taken, flagged and count
//! as fresh fixes; the live dot stays at their running mean, so that it settles on the true place instead of dancing.
//! (Amazon Location's accuracy-based filter and Traccar's `filter.distance` leave such points out; here they are the sign
//! that the rider is still there.)

use std::time::Duration;

use super::{
    ground::{Mark, east_deg, metres},
    pipeline::{Hygiene, Trial},
    point::{Facts, Reason, flags},
};
use crate::domain::{policy::PingPolicy, position::Position, time::Timestamp};

/// A reported radius widens the place of rest, up to so many metres: inside a building 30 m are usual.
const WIDEST_M: f64 = 50.0;
/// Speed from which a rider moves, metres per second, whatever the position says: it is measured by Doppler shift, which at
/// rest is off by some tenths; people walk at 1.4.
const MOVES_MPS: f32 = 1.0;
/// Points that the mean is of; from then on the older ones fade.
const MEAN_OF: u32 = 8;

/// Where a rider rests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rest {
    here: Position,
    since: Timestamp,
    last: Timestamp,
    points: u32,
}

impl Rest {
    const fn begin(point: &Mark) -> Self {
        Self { here: point.here, since: point.at, last: point.at, points: 1 }
    }

    /// Whether a point is of the same rest.
    fn holds(&self, point: &Mark, speed_mps: Option<f32>, policy: &PingPolicy) -> bool {
        let radius = f64::from(policy.rest_radius_m);
        radius > 0.0
            && speed_mps.is_none_or(|speed| speed < MOVES_MPS)
            && metres(self.here, point.here) <= radius.max(f64::from(point.radius_m).min(WIDEST_M))
    }

    fn add(&mut self, point: &Mark) {
        self.points = (self.points + 1).min(MEAN_OF);
        let share = 1.0 / f64::from(self.points);
        let lat = (point.here.lat() - self.here.lat()).mul_add(share, self.here.lat());
        let lon = east_deg(self.here.lon(), point.here.lon()).mul_add(share, self.here.lon());
        let lon = east_deg(0.0, lon);
        // Between two places on earth there is one.
        self.here = Position::new(lat, lon).unwrap_or(point.here);
        self.last = point.at;
    }

    /// Whether the rider has stood here for `still_after_s`, and was heard of within that time.
    pub(super) fn is_still(&self, now: Timestamp, policy: &PingPolicy) -> bool {
        let after = Duration::from_secs(policy.still_after_s.into());
        policy.rest_radius_m > 0 && now.since(self.since) >= after && now.since(self.last) <= after
    }
}

/// Puts the dot where the rider is, or rests; refuses nothing.
pub(super) fn rest(trial: &mut Trial, facts: &Facts<'_>, state: &mut Hygiene) -> Result<(), Reason> {
    if trial.late {
        return Ok(());
    }
    let point = trial.mark();
    match &mut state.rest {
        Some(rest) if rest.holds(&point, trial.raw.speed_mps, facts.policy) => {
            rest.add(&point);
            trial.flags |= flags::AT_REST;
            trial.dot = Some(rest.here);
        }
        rest => {
            *rest = Some(Rest::begin(&point));
            trial.dot = Some(point.here);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(lat: f64, lon: f64, second: i64) -> Mark {
        Mark { here: Position::new(lat, lon).unwrap(), at: Timestamp::from_millis(second * 1_000), radius_m: 12.0 }
    }

    #[test]
    fn the_mean_settles_and_crosses_the_antimeridian() {
        let mut rest = Rest::begin(&mark(1.0, 179.999_99, 0));
        for n in 1..40 {
            rest.add(&mark(1.0, if n % 2 == 0 { 179.999_99 } else { -179.999_99 }, n));
        }
        assert!(metres(rest.here, Position::new(1.0, 180.0).unwrap()) < 0.5, "{rest:?}");
    }

    #[test]
    fn the_radius_is_the_citys_or_the_receivers_and_speed_ends_a_rest() {
        let policy = PingPolicy::default();
        let rest = Rest::begin(&mark(12.9, 77.6, 0));
        let north = |metres: f64| mark(12.9 + metres / 111_195.0, 77.6, 5);
        assert!(rest.holds(&north(11.0), None, &policy) && !rest.holds(&north(13.0), None, &policy));
        assert!(rest.holds(&Mark { radius_m: 40.0, ..north(39.0) }, Some(0.3), &policy));
        assert!(!rest.holds(&Mark { radius_m: 400.0, ..north(60.0) }, None, &policy));
        assert!(!rest.holds(&north(1.0), Some(1.4), &policy));
        assert!(!rest.holds(&north(0.0), None, &PingPolicy { rest_radius_m: 0, ..policy }));
    }

    #[test]
    fn a_rider_is_still_after_a_while_and_as_long_as_there_are_points() {
        let policy = PingPolicy::default();
        let at = |s: i64| Timestamp::from_millis(s * 1_000);
        let mut rest = Rest::begin(&mark(12.9, 77.6, 0));
        rest.add(&mark(12.9, 77.6, 110));
        assert!(!rest.is_still(at(119), &policy) && rest.is_still(at(120), &policy));
        assert!(rest.is_still(at(230), &policy) && !rest.is_still(at(231), &policy), "nothing was heard since");
    }
}
