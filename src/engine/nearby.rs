//! Where riders are, for whoever asks: one rider, or the riders around a place who may be offered work. Looks things up and
//! changes nothing; a search goes by the index and never through the city.

use crate::domain::{duty::Duty, ids::RiderId, position::Position, rider::Vehicle, time::Timestamp};

use super::{
    city::City,
    matching::LOOKED_AT,
    rider_index::Need,
    state::{LiveFix, LiveRider},
    view::RiderState,
};

/// A question for riders around a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NearbyQuery {
    /// The place.
    pub around: Position,
    /// How far riders may be, straight-line metres; as far as riders are ever asked when `None`.
    pub radius_m: Option<f64>,
    /// The smallest vehicle that will do, as for an order; any when `None`.
    pub vehicle: Option<Vehicle>,
    /// The most riders that are named.
    pub limit: usize,
}

/// The last fix of a rider.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spot {
    /// Where.
    pub position: Position,
    /// When it was recorded, device time corrected.
    pub recorded_at: Timestamp,
    /// When it was received.
    pub received_at: Timestamp,
}

/// A rider who may be offered work.
#[derive(Clone, Debug, PartialEq)]
pub struct NearbyRider {
    /// Who.
    pub rider: RiderId,
    /// How the rider moves.
    pub vehicle: Vehicle,
    /// The last fix.
    pub spot: Spot,
    /// When the rider can leave for other work; in the past for who has none in hand.
    pub free_at: Timestamp,
    /// Where the rider leaves from then: the place of the fix, or the end of the work in hand.
    pub from: Position,
    /// Straight-line metres from there to the place that was asked for.
    pub distance_m: f64,
}

/// A rider who is live in a city.
#[derive(Clone, Debug, PartialEq)]
pub struct Whereabouts {
    /// The duty in force.
    pub duty: Duty,
    /// What the rider is doing.
    pub state: RiderState,
    /// Whether a socket is open.
    pub connected: bool,
    /// The live dot: `None` before the first fix, and for a rider who is off duty and has nothing in hand.
    pub spot: Option<Spot>,
    /// Whether the fix is young enough for the rider to be offered work by it.
    pub fresh: bool,
}

impl City {
    /// The riders around a place who may be offered work now, nearest first. Exact as long as fewer than [`LOOKED_AT`]
    /// riders nearer than the last one named have gone stale since the city's last tick.
    #[must_use]
    pub fn nearby(&self, now: Timestamp, query: &NearbyQuery) -> Vec<NearbyRider> {
        let reach = self.settings.policy.radius_steps_m.last().copied().unwrap_or(0.0);
        let mut need = Need::NOTHING;
        // The smallest order takes one unit.
        (need.vehicle, need.units) = (query.vehicle, 1);
        self.index
            .nearest_with(query.around, query.radius_m.unwrap_or(reach), need)
            .take(LOOKED_AT)
            .filter_map(|(rider, distance_m)| self.neighbour(now, rider, distance_m))
            .take(query.limit)
            .collect()
    }

    /// A rider of the index, unless something came between that has not reached the index yet.
    fn neighbour(&self, now: Timestamp, rider: RiderId, distance_m: f64) -> Option<NearbyRider> {
        let live = self.riders.get(&rider).filter(|live| self.is_offerable(now, live))?;
        let (facts, fix) = (self.facts(live)?, live.fix?);
        Some(NearbyRider {
            rider,
            vehicle: facts.vehicle,
            spot: fix.into(),
            free_at: facts.free_at,
            from: facts.from,
            distance_m,
        })
    }

    /// Where a rider is and what the rider is doing; `None` for one who is not live here.
    #[must_use]
    pub fn whereabouts(&self, now: Timestamp, rider: RiderId) -> Option<Whereabouts> {
        let live = self.riders.get(&rider)?;
        Some(Whereabouts {
            duty: live.duty,
            state: self.rider_state(now, live),
            connected: live.session.is_some(),
            spot: live.fix.filter(|_| is_at_work(live)).map(Spot::from),
            fresh: is_at_work(live) && self.is_fresh(now, live),
        })
    }
}

/// Whether anybody has any business to know where the rider is.
fn is_at_work(live: &LiveRider) -> bool {
    matches!(live.duty, Duty::On | Duty::Break) || !live.orders.is_empty()
}

impl From<LiveFix> for Spot {
    fn from(fix: LiveFix) -> Self {
        Self { position: fix.position, recorded_at: fix.recorded_at, received_at: fix.received_at }
    }
}
