//! How a city treats the points of its riders' devices: what is believed, what is stored, and how often they come.

use serde::{Deserialize, Serialize};

use super::BadPolicy;
use crate::domain::{rider::Vehicle, text::named_enum};

named_enum! {
    /// What becomes of a point that its platform says was made up.
    pub enum MockPoints as "treatment of mock points" {
        /// It is taken and flagged.
        Flag = "flag",
        /// It is refused.
        Refuse = "refuse",
    }
}

/// Speeds between two points beyond which the second is not believed, metres per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopSpeeds {
    /// On foot; people on foot take buses: 72 km/h.
    pub walking_mps: f64,
    /// By bicycle, on a train between two places: 108 km/h.
    pub bicycle_mps: f64,
    /// By motorcycle: 162 km/h.
    pub motorcycle_mps: f64,
    /// By car: 198 km/h.
    pub car_mps: f64,
}

impl Default for TopSpeeds {
    fn default() -> Self {
        Self { walking_mps: 20.0, bicycle_mps: 30.0, motorcycle_mps: 45.0, car_mps: 55.0 }
    }
}

impl TopSpeeds {
    /// The bound of a vehicle, metres per second.
    #[must_use]
    pub const fn of(&self, vehicle: Vehicle) -> f64 {
        match vehicle {
            Vehicle::Walking => self.walking_mps,
            Vehicle::Bicycle => self.bicycle_mps,
            Vehicle::Motorcycle => self.motorcycle_mps,
            Vehicle::Car => self.car_mps,
        }
    }
}

/// The part of a city's policy that is about points. Missing fields take the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PingPolicy {
    /// The largest radius of 68 % confidence of a point that is taken, metres; 0 for any. Receivers under the sky are
    /// within 5 m and between houses within some tens; a fix by radio masts is off by hundreds.
    pub max_accuracy_m: u32,
    /// Seconds after which a point is too old to be kept: what a shift without a network may last.
    pub max_age_s: u32,
    /// Seconds that a point may lie in the future, for clocks that are not quite right.
    pub max_ahead_s: u32,
    /// Seconds by which a device's clock may be wrong and still be corrected.
    pub max_skew_s: u32,
    /// Speeds beyond which a point is not believed.
    pub top_speeds: TopSpeeds,
    /// Metres that a jump may have at any speed, beside both reported radii: reflections between houses put a receiver a
    /// street or two away.
    pub jump_slack_m: u32,
    /// Points that agree with each other after which a rider who jumped is believed to have moved.
    pub believe_after: u32,
    /// Metres within which a rider at rest is not moved by a point, at least: points of a less exact receiver have one and a
    /// half of its radius. 0 moves the dot with every point.
    pub rest_radius_m: u32,
    /// What becomes of points that were made up.
    pub mock: MockPoints,
    /// Points per second of device time that are taken, in the long run.
    pub max_per_s: f64,
    /// Points that may come at once beyond that, in server time: the backlog of a device that had no network.
    pub burst: u32,
    /// Whether refused points are kept with their reason; never those of riders off duty.
    pub keep_refused: bool,
    /// Seconds between two stored points of a rider who carries nothing, at least, unless `idle_store_move_m` apart; 0
    /// stores every point.
    pub idle_store_every_s: u32,
    /// Metres after which the next point of a rider who carries nothing is stored in any case; 0 looks at the time only.
    pub idle_store_move_m: u32,
    /// Seconds between the pings of a rider with an open offer or on the way to a pickup; the city's `ping_interval_s` when
    /// that is shorter.
    pub pickup_interval_s: u32,
    /// Seconds between the pings of a rider who is free and stands still, or pauses; not less than `ping_interval_s`, and
    /// at most a third of `fix_freshness_s` for a rider who may be offered work.
    pub still_interval_s: u32,
    /// Seconds within `rest_radius_m` after which a rider stands still.
    pub still_after_s: u32,
    /// Days for which refused points are kept.
    pub keep_refused_days: u32,
}

impl Default for PingPolicy {
    fn default() -> Self {
        Self {
            max_accuracy_m: 500,
            max_age_s: 24 * 3_600,
            max_ahead_s: 30,
            max_skew_s: 48 * 3_600,
            top_speeds: TopSpeeds::default(),
            jump_slack_m: 200,
            believe_after: 3,
            rest_radius_m: 10,
            mock: MockPoints::Flag,
            max_per_s: 5.0,
            // A day without a network, one point every 5 s, and room for a denser one.
            burst: 20_000,
            keep_refused: false,
            idle_store_every_s: 30,
            idle_store_move_m: 100,
            pickup_interval_s: 3,
            still_interval_s: 15,
            still_after_s: 120,
            keep_refused_days: 7,
        }
    }
}

impl PingPolicy {
    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// [`BadPolicy`] naming the first field at fault.
    pub fn validate(&self) -> Result<(), BadPolicy> {
        let bad = |field, problem| Err(BadPolicy { field, problem });
        let tops = &self.top_speeds;
        let speeds = [tops.walking_mps, tops.bicycle_mps, tops.motorcycle_mps, tops.car_mps];
        if speeds.iter().any(|v| !(1.0..=500.0).contains(v)) {
            return bad("pings.top_speeds", "must lie in 1..=500 metres per second");
        }
        if !(60..=7 * 86_400).contains(&self.max_age_s) {
            return bad("pings.max_age_s", "must lie in 60..=604,800");
        }
        if self.max_ahead_s > 3_600 {
            return bad("pings.max_ahead_s", "must not exceed 3,600");
        }
        if !(1..=100).contains(&self.believe_after) {
            return bad("pings.believe_after", "must lie in 1..=100");
        }
        if !(0.01..=100.0).contains(&self.max_per_s) {
            return bad("pings.max_per_s", "must lie in 0.01..=100");
        }
        if self.burst == 0 {
            return bad("pings.burst", "must be at least 1");
        }
        if self.max_skew_s > 7 * 86_400 {
            return bad("pings.max_skew_s", "must not exceed 604,800");
        }
        if self.jump_slack_m > 100_000 {
            return bad("pings.jump_slack_m", "must not exceed 100,000");
        }
        if self.rest_radius_m > 1_000 {
            return bad("pings.rest_radius_m", "must not exceed 1,000");
        }
        if self.idle_store_every_s > 3_600 {
            return bad("pings.idle_store_every_s", "must not exceed 3,600");
        }
        if !(1..=365).contains(&self.keep_refused_days) {
            return bad("pings.keep_refused_days", "must lie in 1..=365");
        }
        if self.idle_store_move_m > 100_000 {
            return bad("pings.idle_store_move_m", "must not exceed 100,000");
        }
        if !(1..=3_600).contains(&self.pickup_interval_s) {
            return bad("pings.pickup_interval_s", "must lie in 1..=3,600");
        }
        if !(1..=3_600).contains(&self.still_interval_s) {
            return bad("pings.still_interval_s", "must lie in 1..=3,600");
        }
        if self.still_after_s > 86_400 {
            return bad("pings.still_after_s", "must not exceed 86,400");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_was_stored_before_loads_and_takes_the_defaults_for_the_rest() {
        let old: PingPolicy =
            serde_json::from_str(r#"{"max_accuracy_m": 100, "burst": 500, "mock": "refuse"}"#).unwrap();
        assert_eq!(old.validate(), Ok(()));
        assert_eq!((old.max_accuracy_m, old.burst, old.mock), (100, 500, MockPoints::Refuse));
        assert_eq!((old.keep_refused_days, old.keep_refused), (7, false));
        assert_eq!(PingPolicy::default().validate(), Ok(()));
    }

    #[test]
    fn numbers_out_of_bounds_are_named() {
        let policy = PingPolicy::default;
        for (policy, field) in [
            (PingPolicy { max_skew_s: 604_801, ..policy() }, "pings.max_skew_s"),
            (PingPolicy { jump_slack_m: 100_001, ..policy() }, "pings.jump_slack_m"),
            (PingPolicy { rest_radius_m: 1_001, ..policy() }, "pings.rest_radius_m"),
            (PingPolicy { idle_store_every_s: 3_601, ..policy() }, "pings.idle_store_every_s"),
            (PingPolicy { keep_refused_days: 0, ..policy() }, "pings.keep_refused_days"),
            (PingPolicy { idle_store_move_m: 100_001, ..policy() }, "pings.idle_store_move_m"),
            (PingPolicy { pickup_interval_s: u32::MAX, ..policy() }, "pings.pickup_interval_s"),
            (PingPolicy { pickup_interval_s: 0, ..policy() }, "pings.pickup_interval_s"),
            (PingPolicy { still_interval_s: 3_601, ..policy() }, "pings.still_interval_s"),
            (PingPolicy { still_after_s: 86_401, ..policy() }, "pings.still_after_s"),
            (PingPolicy { max_per_s: f64::NAN, ..policy() }, "pings.max_per_s"),
        ] {
            assert_eq!(policy.validate().map_err(|bad| bad.field), Err(field));
        }
    }
}
