//! Travel times from straight lines: distance times the city's detour factor, at the vehicle's speed.

use std::time::Duration;

use crate::domain::{policy::DispatchPolicy, rider::Vehicle};

use super::EtaModel;

/// `distance x detour / speed`, both from the policy.
#[derive(Clone, Copy, Debug)]
pub struct StraightLineEta;

impl EtaModel for StraightLineEta {
    fn travel_time(&self, policy: &DispatchPolicy, vehicle: Vehicle, distance_m: f64) -> Duration {
        let seconds = distance_m * policy.detour_factor / policy.speeds.of(vehicle);
        // A validated policy has positive speeds, so this only guards a distance that is no number.
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}
