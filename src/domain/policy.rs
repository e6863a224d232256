//! A city's dispatch policy: every number that steers its engine, with its unit in its name.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rider::Vehicle;

/// Ground speeds in metres per second of straight-line distance already stretched by `detour_factor`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Speeds {
    /// On foot; 1.4 m/s is the usual pedestrian design speed.
    pub walking_mps: f64,
    /// By bicycle: 15 km/h.
    pub bicycle_mps: f64,
    /// By motorcycle in city traffic: 22 km/h.
    pub motorcycle_mps: f64,
    /// By car in city traffic: 20 km/h.
    pub car_mps: f64,
}

impl Default for Speeds {
    fn default() -> Self {
        Self { walking_mps: 1.4, bicycle_mps: 4.2, motorcycle_mps: 6.1, car_mps: 5.5 }
    }
}

impl Speeds {
    /// The speed of a vehicle, metres per second.
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

/// The versioned policy of one city, stored as JSON in `city_policies.policy`. Missing fields take the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DispatchPolicy {
    /// Seconds that a rider has to answer, from the moment the offer was seen.
    pub offer_ttl_s: u32,
    /// Seconds after which an unanswered offer ends in any case, from the moment it was sent.
    pub offer_hard_cap_s: u32,
    /// Search radii in metres, widening; the last one is the city's limit.
    pub radius_steps_m: Vec<f64>,
    /// Seconds a due order waits before its radius widens by one step.
    pub radius_step_every_s: u32,
    /// Riders considered per order, nearest first.
    pub candidates: u32,
    /// The longest time before `ready_at` at which a rider may be sent off, seconds.
    pub max_lead_s: u32,
    /// The pickup time assumed while no eligible rider is in reach, seconds.
    pub default_lead_s: u32,
    /// Seconds added to an estimated pickup time, so that the rider rather than the goods waits.
    pub arrival_buffer_s: u32,
    /// Seconds since the last fix after which a rider is offered nothing.
    pub fix_freshness_s: u32,
    /// Seconds of silence after which an idle rider is taken off duty.
    pub auto_off_after_s: u32,
    /// Active orders a rider may hold. One in this version.
    pub max_active_orders: u32,
    /// Seconds before a rider who let an offer pass unanswered is offered the same order again.
    pub ignored_cooldown_s: u32,
    /// Seconds before a rider whose device never showed the offer is offered it again.
    pub unseen_cooldown_s: u32,
    /// Seconds without any candidate left after which a new round begins and refusals of the last one are forgotten.
    pub round_every_s: u32,
    /// Seconds after it became due at which an order that found no rider expires.
    pub expire_after_s: u32,
    /// Seconds between the pings of a device.
    pub ping_interval_s: u32,
    /// Street distance over straight-line distance; 1.4 is the factor of the road networks in our replay data's reports.
    pub detour_factor: f64,
    /// Ground speeds per vehicle.
    pub speeds: Speeds,
    /// Orders that may wait at once; beyond it placing is refused with `city_full`.
    pub max_waiting_orders: u32,
    /// Riders that may be live at once; beyond it going on duty is refused with `city_full`.
    pub max_live_riders: u32,
    /// Seconds for which the first answer to a device's frame is stored and given again.
    pub frame_memory_s: u32,
    /// Seconds that a step may lie in the past when it is reported; an older one is taken as that old. Riders who lost an
    /// order are remembered as long, in case they come back with its goods.
    pub max_report_age_s: u32,
    /// Seconds after which a report counts as recorded without a network: its rider has left the door.
    pub offline_after_s: u32,
    /// Wrong one-time codes after which operators decide on a delivery.
    pub max_otp_tries: u32,
}

impl Default for DispatchPolicy {
    fn default() -> Self {
        Self {
            offer_ttl_s: 30,
            offer_hard_cap_s: 60,
            radius_steps_m: vec![1_500.0, 3_000.0, 6_000.0, 12_000.0],
            radius_step_every_s: 20,
            candidates: 16,
            max_lead_s: 900,
            default_lead_s: 480,
            arrival_buffer_s: 60,
            fix_freshness_s: 60,
            auto_off_after_s: 600,
            max_active_orders: 1,
            ignored_cooldown_s: 120,
            unseen_cooldown_s: 30,
            round_every_s: 120,
            expire_after_s: 3_600,
            ping_interval_s: 5,
            detour_factor: 1.4,
            speeds: Speeds::default(),
            max_waiting_orders: 20_000,
            max_live_riders: 200_000,
            frame_memory_s: 24 * 3_600,
            max_report_age_s: 12 * 3_600,
            offline_after_s: 60,
            max_otp_tries: 5,
        }
    }
}

/// A policy that no engine should run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct BadPolicy {
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl DispatchPolicy {
    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    /// [`BadPolicy`] naming the first field at fault.
    pub fn validate(&self) -> Result<(), BadPolicy> {
        let bad = |field, problem| Err(BadPolicy { field, problem });
        let speeds =
            [self.speeds.walking_mps, self.speeds.bicycle_mps, self.speeds.motorcycle_mps, self.speeds.car_mps];
        if self.offer_ttl_s == 0 {
            return bad("offer_ttl_s", "must be at least 1");
        }
        if self.offer_hard_cap_s < self.offer_ttl_s {
            return bad("offer_hard_cap_s", "must not be below offer_ttl_s");
        }
        if self.radius_steps_m.is_empty() || self.radius_steps_m.len() > 16 {
            return bad("radius_steps_m", "must hold 1 to 16 radii");
        }
        if self.radius_steps_m.iter().any(|r| !r.is_finite() || *r <= 0.0 || *r > 200_000.0) {
            return bad("radius_steps_m", "radii must lie in 0..=200,000 metres");
        }
        if self.radius_steps_m.windows(2).any(|pair| pair[0] >= pair[1]) {
            return bad("radius_steps_m", "radii must rise");
        }
        if !(1..=256).contains(&self.candidates) {
            return bad("candidates", "must lie in 1..=256");
        }
        if self.max_active_orders != 1 {
            return bad("max_active_orders", "this version dispatches one order per rider");
        }
        if self.fix_freshness_s < self.ping_interval_s {
            return bad("fix_freshness_s", "must not be below ping_interval_s");
        }
        if self.ping_interval_s == 0 {
            return bad("ping_interval_s", "must be at least 1");
        }
        if !(1.0..=5.0).contains(&self.detour_factor) {
            return bad("detour_factor", "must lie in 1..=5");
        }
        if !(900..=30 * 86_400).contains(&self.frame_memory_s) {
            return bad("frame_memory_s", "must lie in 900..=2,592,000");
        }
        if !(900..=7 * 86_400).contains(&self.max_report_age_s) {
            return bad("max_report_age_s", "must lie in 900..=604,800");
        }
        if self.offline_after_s == 0 {
            return bad("offline_after_s", "must be at least 1");
        }
        if !(1..=20).contains(&self.max_otp_tries) {
            return bad("max_otp_tries", "must lie in 1..=20");
        }
        if speeds.iter().any(|v| !(0.1..=60.0).contains(v)) {
            return bad("speeds", "must lie in 0.1..=60 metres per second");
        }
        Ok(())
    }

    /// Time to answer once seen.
    #[must_use]
    pub const fn offer_ttl(&self) -> Duration {
        Duration::from_secs(self.offer_ttl_s as u64)
    }

    /// Time to answer from sending, at most.
    #[must_use]
    pub const fn offer_hard_cap(&self) -> Duration {
        Duration::from_secs(self.offer_hard_cap_s as u64)
    }

    /// The oldest fix of a rider who may be offered work.
    #[must_use]
    pub const fn fix_freshness(&self) -> Duration {
        Duration::from_secs(self.fix_freshness_s as u64)
    }

    /// How long a first answer is stored.
    #[must_use]
    pub const fn frame_memory(&self) -> Duration {
        Duration::from_secs(self.frame_memory_s as u64)
    }

    /// How far back a report may reach.
    #[must_use]
    pub const fn max_report_age(&self) -> Duration {
        Duration::from_secs(self.max_report_age_s as u64)
    }

    /// The search radius after an order has been due for `waited`.
    #[must_use]
    pub fn radius_after(&self, waited: Duration) -> f64 {
        let every = u64::from(self.radius_step_every_s.max(1));
        let step = usize::try_from(waited.as_secs() / every).unwrap_or(usize::MAX);
        let last = self.radius_steps_m.len().saturating_sub(1);
        self.radius_steps_m.get(step.min(last)).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_reads_back() {
        let policy = DispatchPolicy::default();
        assert_eq!(policy.validate(), Ok(()));
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<DispatchPolicy>(&json).unwrap(), policy);
        assert_eq!(serde_json::from_str::<DispatchPolicy>("{}").unwrap(), policy);
    }

    #[test]
    fn the_radius_widens_to_its_limit() {
        let policy = DispatchPolicy::default();
        assert_eq!(policy.radius_after(Duration::ZERO), 1_500.0);
        assert_eq!(policy.radius_after(Duration::from_secs(20)), 3_000.0);
        assert_eq!(policy.radius_after(Duration::from_secs(9_999)), 12_000.0);
    }
}
