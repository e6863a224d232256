//! How a rider moves: straight legs whose length is stretched by a detour factor, at the speed of the vehicle, with a
//! receiver that is some metres off. Pure: times are arguments, milliseconds of the engine's clock.

use rand::{Rng, RngExt};

use super::geometry::{distance_m, heading_deg, scatter};
use crate::{domain::rider::Vehicle, wire::LatLon};

/// Metres per second that a vehicle really makes along the street, in city traffic. The world's truth; what the engine
/// believes is in its policy.
#[must_use]
pub const fn street_speed_mps(vehicle: Vehicle) -> f64 {
    match vehicle {
        Vehicle::Walking => 1.4,
        Vehicle::Bicycle => 4.2,
        Vehicle::Motorcycle => 6.1,
        Vehicle::Car => 5.5,
    }
}

/// How much faster or slower than usual one leg may be.
pub const PACE: std::ops::Range<f64> = 0.85..1.18;

/// A way from one place to another.
#[derive(Clone, Copy, Debug)]
struct Leg {
    from: LatLon,
    to: LatLon,
    start: i64,
    end: i64,
}

/// Where a rider is.
#[derive(Clone, Debug)]
pub struct Motion {
    vehicle: Vehicle,
    detour: f64,
    leg: Leg,
    /// Metres along the street of the legs before this one.
    ridden_m: f64,
}

/// What the device's receiver says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fix {
    /// Where, some metres off.
    pub at: LatLon,
    /// Radius of 68 % confidence, metres.
    pub accuracy_m: f32,
    /// Metres per second.
    pub speed_mps: f32,
    /// Degrees clockwise from north, while moving.
    pub heading_deg: Option<f32>,
}

impl Motion {
    /// Stands somewhere.
    pub fn standing(at: LatLon, vehicle: Vehicle, detour: f64) -> Self {
        Self { vehicle, detour, leg: Leg { from: at, to: at, start: 0, end: 0 }, ridden_m: 0.0 }
    }

    /// Where the rider really is.
    pub fn position(&self, now: i64) -> LatLon {
        let Leg { from, to, start, end } = self.leg;
        if now >= end {
            return to;
        }
        let share = (now - start).max(0) as f64 / (end - start).max(1) as f64;
        LatLon { lat: from.lat + (to.lat - from.lat) * share, lon: from.lon + (to.lon - from.lon) * share }
    }

    /// Where the rider goes, or stands.
    pub fn heads_for(&self) -> LatLon {
        self.leg.to
    }

    /// When the rider arrives.
    pub fn arrives(&self) -> i64 {
        self.leg.end
    }

    /// Sets out for a place at a share of the usual speed, give or take a sixth ([`PACE`]); answers when the rider arrives.
    pub fn go<R: Rng>(&mut self, now: i64, to: LatLon, pace: f64, rng: &mut R) -> i64 {
        let from = self.position(now);
        self.ridden_m += self.leg_so_far_m(now);
        let metres = distance_m(from, to) * self.detour;
        let mps = street_speed_mps(self.vehicle) * pace * rng.random_range(PACE);
        let end = now + (metres / mps * 1_000.0).ceil() as i64;
        self.leg = Leg { from, to, start: now, end };
        end
    }

    /// Metres along the street since the start.
    #[must_use]
    pub fn ridden_m(&self, now: i64) -> f64 {
        self.ridden_m + self.leg_so_far_m(now)
    }

    /// Metres along the street of the leg up to now.
    fn leg_so_far_m(&self, now: i64) -> f64 {
        distance_m(self.leg.from, self.position(now)) * self.detour
    }

    /// Stops where the rider is.
    pub fn stop(&mut self, now: i64) {
        let at = self.position(now);
        self.ridden_m += self.leg_so_far_m(now);
        self.leg = Leg { from: at, to: at, start: now, end: now };
    }

    /// What the receiver says now.
    pub fn fix<R: Rng>(&self, now: i64, rng: &mut R) -> Fix {
        let accuracy: f64 = rng.random_range(4.0..18.0);
        let at = scatter(rng, self.position(now), accuracy / 3.0);
        let Leg { from, to, start, end } = self.leg;
        let moving = now < end;
        let speed =
            if moving { distance_m(from, to) * self.detour * 1_000.0 / (end - start).max(1) as f64 } else { 0.0 };
        Fix {
            at,
            accuracy_m: accuracy as f32,
            speed_mps: speed as f32,
            heading_deg: moving.then(|| heading_deg(from, to) as f32),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::replay::geometry::offset;

    const HERE: LatLon = LatLon { lat: 7.1, lon: -73.1 };

    #[test]
    fn a_leg_takes_its_time_and_stays_on_the_line() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut motion = Motion::standing(HERE, Vehicle::Motorcycle, 1.4);
        let there = offset(HERE, 610.0, 0.0);
        let end = motion.go(1_000, there, 1.0, &mut rng);
        // 610 m x 1.4 at 6.1 m/s: 140 s, give or take.
        assert!((118_000..166_000).contains(&(end - 1_000)), "{end}");
        let half = motion.position(1_000 + (end - 1_000) / 2);
        assert!((distance_m(HERE, half) - 305.0).abs() < 2.0);
        assert_eq!(motion.position(end + 5), there);
        assert_eq!((motion.arrives(), motion.heads_for()), (end, there));
        // 610 m of straight line are 854 m of street.
        assert!((motion.ridden_m(end) - 854.0).abs() < 3.0);
        motion.stop(end + 9);
        motion.go(end + 9, HERE, 1.0, &mut rng);
        assert!((motion.ridden_m(end + 9) - 854.0).abs() < 3.0);
        assert!((motion.ridden_m(i64::MAX) - 1_708.0).abs() < 6.0);
    }

    #[test]
    fn a_turn_starts_from_where_the_rider_is() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut motion = Motion::standing(HERE, Vehicle::Bicycle, 1.0);
        let end = motion.go(0, offset(HERE, 0.0, 1_000.0), 1.0, &mut rng);
        let turn = motion.position(end / 2);
        motion.go(end / 2, HERE, 1.0, &mut rng);
        assert!(distance_m(motion.position(end / 2), turn) < 0.1);
        motion.stop(end / 2 + 1_000);
        let stopped = motion.position(end / 2 + 1_000);
        assert_eq!(motion.position(end * 10), stopped);
    }

    #[test]
    fn the_receiver_is_near_and_knows_the_course() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut motion = Motion::standing(HERE, Vehicle::Car, 1.4);
        assert_eq!(motion.fix(5, &mut rng).heading_deg, None);
        let end = motion.go(0, offset(HERE, 0.0, 2_000.0), 1.0, &mut rng);
        for share in 0..100 {
            let fix = motion.fix(end * share / 100, &mut rng);
            assert!(distance_m(fix.at, motion.position(end * share / 100)) < 60.0);
            assert!((fix.heading_deg.unwrap() - 90.0).abs() < 1.0);
            assert!((4.0..8.0).contains(&fix.speed_mps));
        }
    }
}
