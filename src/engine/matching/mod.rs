//! Which rider for which order: a pure function over a view of the city. The matcher, the estimate of travel times and
//! the rules of eligibility are parameters of a city.

mod eligibility;
mod eta;
mod greedy;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use crate::domain::{
    ids::{OrderId, RiderId},
    policy::DispatchPolicy,
    position::Position,
    rider::{RiderProfile, Vehicle},
    tags::Tags,
    time::Timestamp,
};

use super::{
    rider_index::{Need, RiderIndex},
    view::WaitReason,
};

pub use eligibility::{Ineligible, StandardEligibility};
pub use eta::StraightLineEta;
pub use greedy::Greedy;

/// Estimates travel times.
pub trait EtaModel: fmt::Debug + Send + Sync {
    /// The time a vehicle takes over `distance_m` straight-line metres; never less over more metres.
    fn travel_time(&self, policy: &DispatchPolicy, vehicle: Vehicle, distance_m: f64) -> Duration;
}

/// Says who may be offered what.
pub trait Eligibility: fmt::Debug + Send + Sync {
    /// Whether a rider may be offered an order now.
    ///
    /// # Errors
    /// The reason why not.
    fn check(&self, view: &View<'_>, rider: &RiderFacts, order: &OrderFacts<'_>) -> Result<(), Ineligible>;

    /// What riders must come with for an order: the search leaves those without it out before anything else is asked.
    /// Must let everybody through whom [`Self::check`] would.
    fn need<'a>(&self, _order: &OrderFacts<'a>) -> Need<'a> {
        Need::NOTHING
    }
}

/// The most riders that are looked at for one order in one tick: a bound for a crowd in which hardly anybody will do.
pub const LOOKED_AT: usize = 2_048;

/// Decides.
pub trait Matcher: fmt::Debug + Send + Sync {
    /// One decision per order of the view, in the view's order; a rider is proposed at most once. Every order has its first
    /// rider, if there is one, before any gets a second one, and with those who are asked already none has more than the
    /// policy's `offer_batch`.
    fn decide(&self, view: &View<'_>) -> Vec<Decision>;
}

/// What a city decides with. Its parts remember nothing, so that copies of a city share them.
#[derive(Clone, Debug)]
pub struct Brain {
    /// Decides.
    pub matcher: Arc<dyn Matcher>,
    /// Estimates travel times.
    pub eta: Arc<dyn EtaModel>,
    /// Says who may be offered what.
    pub eligibility: Arc<dyn Eligibility>,
}

impl Default for Brain {
    fn default() -> Self {
        Self { matcher: Arc::new(Greedy), eta: Arc::new(StraightLineEta), eligibility: Arc::new(StandardEligibility) }
    }
}

/// What a matcher sees.
#[derive(Debug)]
pub struct View<'a> {
    /// The time of the decision.
    pub now: Timestamp,
    /// The city's policy.
    pub policy: &'a DispatchPolicy,
    /// Estimates travel times.
    pub eta: &'a dyn EtaModel,
    /// Says who may be offered what.
    pub eligibility: &'a dyn Eligibility,
    /// The riders who may be offered work: where they are.
    pub index: &'a RiderIndex,
    /// The same riders: who they are.
    pub riders: &'a dyn RiderLookup,
    /// The orders to decide on, most urgent first.
    pub orders: Vec<OrderFacts<'a>>,
}

impl View<'_> {
    /// The estimated time to a pickup so many metres from where a rider leaves: the wait until the rider is free, and the
    /// way.
    #[must_use]
    pub fn pickup_eta(&self, rider: &RiderFacts, distance_m: f64) -> Duration {
        let way = self.eta.travel_time(self.policy, rider.vehicle, distance_m);
        rider.free_at.since(self.now).saturating_add(way)
    }

    /// The longest estimated time to its pickup with which a rider may be asked for an order. Goods in the street are
    /// fetched however long it takes.
    #[must_use]
    pub fn longest_eta(&self, order: &OrderFacts<'_>) -> Duration {
        self.policy.max_pickup_eta().filter(|_| order.holder.is_none()).unwrap_or(Duration::MAX)
    }

    /// The time in which any vehicle is over a distance: no rider is at a pickup sooner.
    #[must_use]
    pub fn soonest(&self, distance_m: f64) -> Duration {
        let time = |vehicle: &Vehicle| self.eta.travel_time(self.policy, *vehicle, distance_m);
        Vehicle::ALL.iter().map(time).min().unwrap_or_default()
    }

    /// The radius within which riders are asked for an order now, metres.
    #[must_use]
    pub fn radius_m(&self, order: &OrderFacts<'_>) -> f64 {
        self.policy.radius_after(order.due_at.map_or(Duration::ZERO, |due| self.now.since(due)))
    }

    /// The radius beyond which nobody is ever asked, metres.
    #[must_use]
    pub fn limit_m(&self) -> f64 {
        self.policy.radius_steps_m.last().copied().unwrap_or(0.0)
    }
}

/// Looks riders up.
pub trait RiderLookup: fmt::Debug {
    /// A rider of the index.
    fn facts(&self, rider: RiderId) -> Option<RiderFacts>;
}

/// A rider, as matching sees one.
#[derive(Clone, Debug)]
pub struct RiderFacts {
    /// Who.
    pub id: RiderId,
    /// How the rider moves.
    pub vehicle: Vehicle,
    /// Size units free.
    pub free_units: u32,
    /// When the last fix came in.
    pub heard_at: Timestamp,
    /// When the rider can leave for another order; in the past for who has none in hand.
    pub free_at: Timestamp,
    /// Where the rider leaves from then, which is where the rider stands in the index.
    pub from: Position,
    /// What the rider brings along or may carry.
    pub tags: Tags,
}

impl RiderFacts {
    /// From a profile and the last fix, with all its room and time free.
    #[must_use]
    pub fn idle(profile: &RiderProfile, heard_at: Timestamp, from: Position) -> Self {
        let (vehicle, free_units) = (profile.vehicle, profile.capacity_units);
        Self { id: profile.id, vehicle, free_units, heard_at, free_at: heard_at, from, tags: profile.tags.clone() }
    }
}

/// An order, as matching sees one.
#[derive(Clone, Debug)]
pub struct OrderFacts<'a> {
    /// Which.
    pub id: OrderId,
    /// Where the goods are.
    pub pickup: Position,
    /// When they are ready.
    pub ready_at: Timestamp,
    /// When the order first became due.
    pub due_at: Option<Timestamp>,
    /// How much room they take.
    pub size_units: u32,
    /// The smallest vehicle that will do.
    pub vehicle_need: Option<Vehicle>,
    /// Tags that its rider must have.
    pub needs_tags: &'a Tags,
    /// Riders who are not to be asked before a time.
    pub refusals: &'a BTreeMap<RiderId, Timestamp>,
    /// A rider who holds the goods and cannot go on.
    pub holder: Option<RiderId>,
    /// Riders who are asked already.
    pub asked: usize,
}

/// A rider who could go.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Who.
    pub rider: RiderId,
    /// Straight-line metres to the pickup.
    pub distance_m: f64,
    /// Estimated time to the pickup.
    pub eta: Duration,
}

/// A decision on one order.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Ask these riders.
    Propose {
        /// The order.
        order: OrderId,
        /// Whom to ask, best first; never nobody.
        riders: Vec<Candidate>,
        /// When a rider has to leave.
        leave_by: Timestamp,
    },
    /// Not now.
    Wait {
        /// The order.
        order: OrderId,
        /// Why.
        reason: WaitReason,
        /// When a rider has to leave, as estimated now.
        leave_by: Timestamp,
    },
}
