//! A rider at rest is not moved by the noise of the receiver. Points around the place of rest are taken, flagged and count
//! as fresh fixes; the live dot stays at their running mean, so that it settles on the true place instead of dancing.
//! (Amazon Location's accuracy-based filter and Traccar's `filter.distance` leave such points out; here they are the sign
//! that the rider is still there.)

use super::{
    ground::{Mark, east_deg, metres},
    pipeline::{Hygiene, Trial},
    point::{Facts, Reason, flags},
};
use crate::domain::{policy::PingPolicy, position::Position};

/// Reported radii of 68 % that a place of rest is wide: nine of ten points of a receiver at rest lie within.
const WIDE: f64 = 1.5;
/// It is at most so wide, metres: inside a building a radius of 30 to 50 m is usual.
const WIDEST_M: f64 = 75.0;
/// Farther away than so many times its width a point is of another place; nearer, one alone is an outlier.
const OUTLIER: f64 = 3.0;
/// Speed from which a rider moves, metres per second, whatever the position says: it is measured by Doppler shift, which at
/// rest is off by some tenths; people walk at 1.4.
const MOVES_MPS: f32 = 1.0;
/// Points that the mean is of; from then on the older ones fade.
const MEAN_OF: u32 = 8;

/// Where a rider rests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rest {
    here: Position,
    points: u32,
    /// The point before was an outlier.
    strayed: bool,
}

/// How a point lies to a rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lies {
    /// Of it.
    Within,
    /// Of it perhaps: if the next one is there too, the rider has moved.
    Astray,
    /// The rider has moved.
    Away,
}

impl Rest {
    const fn begin(point: &Mark) -> Self {
        Self { here: point.here, points: 1, strayed: false }
    }

    fn sees(&self, point: &Mark, speed_mps: Option<f32>, policy: &PingPolicy) -> Lies {
        if policy.rest_radius_m == 0 || speed_mps.is_some_and(|speed| speed >= MOVES_MPS) {
            return Lies::Away;
        }
        let width = f64::from(policy.rest_radius_m).max((f64::from(point.radius_m) * WIDE).min(WIDEST_M));
        match metres(self.here, point.here) {
            off if off <= width => Lies::Within,
            off if off <= width * OUTLIER && !self.strayed => Lies::Astray,
            _ => Lies::Away,
        }
    }

    fn add(&mut self, point: &Mark) {
        self.points = (self.points + 1).min(MEAN_OF);
        let share = 1.0 / f64::from(self.points);
        let lat = (point.here.lat() - self.here.lat()).mul_add(share, self.here.lat());
        let lon = east_deg(self.here.lon(), point.here.lon()).mul_add(share, self.here.lon());
        let lon = east_deg(0.0, lon);
        // Between two places on earth there is one.
        self.here = Position::new(lat, lon).unwrap_or(point.here);
    }
}

/// Puts the dot where the rider is, or rests; refuses nothing.
pub(super) fn rest(trial: &mut Trial, facts: &Facts<'_>, state: &mut Hygiene) -> Result<(), Reason> {
    if trial.late {
        return Ok(());
    }
    let point = trial.mark();
    let known = state.rest.as_mut().map(|rest| (rest.sees(&point, trial.raw.speed_mps, facts.policy), rest));
    let Some((lies @ (Lies::Within | Lies::Astray), rest)) = known else {
        state.rest = Some(Rest::begin(&point));
        trial.dot = Some(point.here);
        return Ok(());
    };
    rest.strayed = lies == Lies::Astray;
    if lies == Lies::Within {
        rest.add(&point);
    }
    trial.flags |= flags::AT_REST;
    trial.dot = Some(rest.here);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

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
        let wide = |radius_m, metres: f64| Mark { radius_m, ..north(metres) };
        for (point, speed, lies) in [
            (north(17.0), None, Lies::Within),
            (north(19.0), None, Lies::Astray),
            (north(53.0), None, Lies::Astray),
            (north(55.0), None, Lies::Away),
            (wide(0.0, 11.0), None, Lies::Astray),
            (wide(40.0, 59.0), Some(0.3), Lies::Within),
            (wide(400.0, 77.0), None, Lies::Astray),
            (north(1.0), Some(1.4), Lies::Away),
        ] {
            assert_eq!(rest.sees(&point, speed, &policy), lies, "{point:?}");
        }
        let strayed = Rest { strayed: true, ..rest };
        assert_eq!(strayed.sees(&north(19.0), None, &policy), Lies::Away, "the second in a row");
        assert_eq!(rest.sees(&north(0.0), None, &PingPolicy { rest_radius_m: 0, ..policy }), Lies::Away);
    }
}
