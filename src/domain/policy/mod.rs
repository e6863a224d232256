//! A city's dispatch policy: every number that steers its engine, with its unit in its name.

mod pings;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use pings::{MockPoints, PingPolicy, TopSpeeds};

use super::{rider::Vehicle, text::named_enum};

named_enum! {
    /// What becomes of an order that found no rider, in `when_exhausted`.
    pub enum WhenExhausted as "end of a search" {
        /// It expires, and the merchant is told so.
        Expire = "expire",
        /// It is parked: it waits for an operator, and nobody is asked meanwhile.
        Operator = "operator",
    }
}

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
    /// Active orders a rider may hold, 1 to [`MOST_ACTIVE_ORDERS`]. Beyond one, a rider who will soon be free is offered
    /// the next order ahead (`forward_within_s`).
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
    /// Riders asked at once for one order, 1 to 16; the first to accept has it. One asks one rider after another.
    pub offer_batch: u32,
    /// Seconds between two askings of one order, from the time of the first, so that a rider who declines is not replaced
    /// at once.
    pub offer_hold_s: u32,
    /// Rounds of asking before the search ends; 0 is without a bound.
    pub max_rounds: u32,
    /// What becomes of an order after `max_rounds`, or `expire_after_s`, without a rider.
    pub when_exhausted: WhenExhausted,
    /// Offers that a rider has to see and let pass, one after another, to be taken off duty; 0 is never.
    pub auto_off_after_ignored: u32,
    /// Minor units of the city's currency that an offer pays more in each further round.
    pub round_bonus_minor: u32,
    /// Minor units that this bonus is at most.
    pub max_bonus_minor: u32,
    /// Seconds after which an offer that was sent and not seen wakes the device by push.
    pub wake_after_s: u32,
    /// Seconds before a silent rider is taken off duty at which the device is woken once, at most half of
    /// `auto_off_after_s`; 0 is never.
    pub auto_off_warning_s: u32,
    /// Seconds within which a rider with orders in hand must be expected to have finished them to be offered the next one;
    /// 0 for never.
    pub forward_within_s: u32,
    /// Seconds that taking goods over at a counter is expected to take. Assumed: operators measure their own.
    pub pickup_service_s: u32,
    /// Seconds that handing goods over at a door is expected to take. Assumed as well.
    pub drop_service_s: u32,
    /// The longest estimated time to the pickup with which a rider is asked, seconds; 0 for any. Radii bound metres, this
    /// bounds time: a walker who is as far away as a motorcycle may be is no help. Goods that a rider handed over in the
    /// street are fetched however long it takes.
    pub max_pickup_eta_s: u32,
    /// Seconds between two explanations of why one due order is not assigned, at least; 0 for none.
    pub explain_every_s: u32,
    /// The longest time for which an operator may hold an order, seconds; a hold may be made longer before it ends.
    pub max_hold_s: u32,
    /// Seconds for which the first answer to a device's frame is stored and given again.
    pub frame_memory_s: u32,
    /// Seconds that a step may lie in the past when it is reported; an older one is taken as that old. Riders who lost an
    /// order are remembered as long, in case they come back with its goods.
    pub max_report_age_s: u32,
    /// Seconds after which a report counts as recorded without a network: its rider has left the door.
    pub offline_after_s: u32,
    /// Wrong one-time codes after which operators decide on a delivery.
    pub max_otp_tries: u32,
    /// How points are treated.
    pub pings: PingPolicy,
}

/// The most orders that any policy lets a rider hold at once.
pub const MOST_ACTIVE_ORDERS: u32 = 4;

/// The longest that a stop, or the rest of a plan, is ever expected to take, seconds.
const LONGEST_S: u32 = 3_600;

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
            offer_batch: 1,
            offer_hold_s: 0,
            max_rounds: 0,
            when_exhausted: WhenExhausted::Expire,
            auto_off_after_ignored: 3,
            round_bonus_minor: 0,
            max_bonus_minor: 0,
            wake_after_s: 5,
            auto_off_warning_s: 120,
            forward_within_s: 300,
            pickup_service_s: 90,
            drop_service_s: 90,
            max_pickup_eta_s: 2_700,
            explain_every_s: 60,
            max_hold_s: 3_600,
            frame_memory_s: 24 * 3_600,
            max_report_age_s: 12 * 3_600,
            offline_after_s: 60,
            max_otp_tries: 5,
            pings: PingPolicy::default(),
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
        if !(1..=MOST_ACTIVE_ORDERS).contains(&self.max_active_orders) {
            return bad("max_active_orders", "must lie in 1..=4");
        }
        let stays = [
            ("forward_within_s", self.forward_within_s),
            ("pickup_service_s", self.pickup_service_s),
            ("drop_service_s", self.drop_service_s),
        ];
        if let Some((field, _)) = stays.into_iter().find(|(_, seconds)| *seconds > LONGEST_S) {
            return bad(field, "must not be above 3600");
        }
        if (1..60).contains(&self.max_pickup_eta_s) {
            return bad("max_pickup_eta_s", "must be 0 or at least 60");
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
        if self.max_hold_s == 0 || self.max_hold_s > 86_400 {
            return bad("max_hold_s", "must lie in 1..=86,400");
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
        if !(1..=16).contains(&self.offer_batch) {
            return bad("offer_batch", "must lie in 1..=16");
        }
        if self.offer_hold_s > 3_600 {
            return bad("offer_hold_s", "must not exceed 3,600");
        }
        if self.round_bonus_minor > 0 && self.max_bonus_minor < self.round_bonus_minor {
            return bad("max_bonus_minor", "must not be below round_bonus_minor");
        }
        if self.wake_after_s == 0 {
            return bad("wake_after_s", "must be at least 1");
        }
        self.pings.validate()
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

    /// The shortest time between two askings of one order.
    #[must_use]
    pub const fn offer_hold(&self) -> Duration {
        Duration::from_secs(self.offer_hold_s as u64)
    }

    /// Whether no round follows this one; rounds count from 0.
    #[must_use]
    pub const fn is_last_round(&self, round: u32) -> bool {
        self.max_rounds > 0 && round.saturating_add(1) >= self.max_rounds
    }

    /// What an offer of a round pays beyond the order's own payout, minor units.
    #[must_use]
    pub fn bonus_minor(&self, round: u32) -> i64 {
        i64::from(self.round_bonus_minor.saturating_mul(round).min(self.max_bonus_minor))
    }

    /// How long a device may show no offer before it is woken.
    #[must_use]
    pub const fn wake_after(&self) -> Duration {
        Duration::from_secs(self.wake_after_s as u64)
    }

    /// The silence after which an idle rider's device is woken, because the rider is about to be taken off duty.
    #[must_use]
    pub fn silence_before_warning(&self) -> Option<Duration> {
        let limit = Duration::from_secs(self.auto_off_after_s.into());
        let before = Duration::from_secs(self.auto_off_warning_s.into()).min(limit / 2);
        (!before.is_zero()).then(|| limit - before)
    }

    /// The longest time to a pickup with which a rider is asked.
    #[must_use]
    pub fn max_pickup_eta(&self) -> Option<Duration> {
        (self.max_pickup_eta_s > 0).then(|| Duration::from_secs(self.max_pickup_eta_s.into()))
    }

    /// The longest time for which an order may be held.
    #[must_use]
    pub const fn max_hold(&self) -> Duration {
        Duration::from_secs(self.max_hold_s as u64)
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
    fn a_policy_from_before_batches_asks_one_rider_after_another() {
        let old: DispatchPolicy = serde_json::from_str(r#"{"offer_ttl_s": 20, "auto_off_after_s": 60}"#).unwrap();
        assert_eq!(old.validate(), Ok(()));
        assert_eq!((old.offer_batch, old.max_rounds, old.bonus_minor(9)), (1, 0, 0));
        assert!(!old.is_last_round(u32::MAX));
        assert_eq!(
            old.silence_before_warning(),
            Some(Duration::from_secs(30)),
            "no warning before half of the silence"
        );
    }

    #[test]
    fn the_bonus_grows_with_the_rounds_to_its_limit() {
        let policy = DispatchPolicy { round_bonus_minor: 300, max_bonus_minor: 1_000, ..DispatchPolicy::default() };
        assert_eq!(policy.validate(), Ok(()));
        let paid: Vec<i64> = [0, 1, 3, 4, u32::MAX].map(|round| policy.bonus_minor(round)).into();
        assert_eq!(paid, [0, 300, 900, 1_000, 1_000]);
        let policy = DispatchPolicy { max_rounds: 2, ..policy };
        assert!(!policy.is_last_round(0) && policy.is_last_round(1) && policy.is_last_round(2));
    }

    #[test]
    fn numbers_out_of_bounds_are_named() {
        let policy = DispatchPolicy::default;
        for (policy, field) in [
            (DispatchPolicy { offer_batch: 0, ..policy() }, "offer_batch"),
            (DispatchPolicy { offer_batch: 17, ..policy() }, "offer_batch"),
            (DispatchPolicy { offer_hold_s: 3_601, ..policy() }, "offer_hold_s"),
            (DispatchPolicy { round_bonus_minor: 2, max_bonus_minor: 1, ..policy() }, "max_bonus_minor"),
            (DispatchPolicy { wake_after_s: 0, ..policy() }, "wake_after_s"),
        ] {
            assert_eq!(policy.validate().map_err(|bad| bad.field), Err(field));
        }
    }

    #[test]
    fn capacity_and_bounds_are_judged() {
        let judged = |policy: DispatchPolicy| policy.validate().map_err(|bad| bad.field);
        let default = DispatchPolicy::default;
        assert_eq!(judged(DispatchPolicy { max_active_orders: 4, max_pickup_eta_s: 0, ..default() }), Ok(()));
        for orders in [0, 5] {
            assert_eq!(judged(DispatchPolicy { max_active_orders: orders, ..default() }), Err("max_active_orders"));
        }
        assert_eq!(judged(DispatchPolicy { max_pickup_eta_s: 59, ..default() }), Err("max_pickup_eta_s"));
        assert_eq!(judged(DispatchPolicy { drop_service_s: 3_601, ..default() }), Err("drop_service_s"));
    }

    #[test]
    fn the_radius_widens_to_its_limit() {
        let policy = DispatchPolicy::default();
        assert_eq!(policy.radius_after(Duration::ZERO), 1_500.0);
        assert_eq!(policy.radius_after(Duration::from_secs(20)), 3_000.0);
        assert_eq!(policy.radius_after(Duration::from_secs(9_999)), 12_000.0);
    }
}
