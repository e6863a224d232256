//! Riders with work in hand who will soon be free: when and where, so that their next order can be offered ahead.
//!
//! Work is sequential: the next job begins where and when the present plan ends, so there is where such a rider stands in
//! the index, and a search by distance ranks the rider like any other. A plan changes with steps, a fix with every ping.
//! Therefore what a plan comes to is worked out when it changes ([`Outlook`]), in a form that a new fix completes with one
//! travel time, however many stops follow. The estimate is a function of the plan and the last fix alone, so that it is
//! known when a rider will be soon free, and an alarm can be set for it.

use std::time::Duration;

use crate::domain::{
    duty::{Duty, DutyReason},
    ids::{OrderId, RiderId},
    order::OrderStatus,
    position::Position,
    time::Timestamp,
};

use super::{
    city::City,
    matching::{OrderFacts, RiderFacts, RiderLookup, View},
    rider_index::Means,
    roster::Slot,
    state::{LiveFix, LiveOrder, LiveRider, PlanStop},
    view::StopKind,
};

/// In which index a rider stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// In none: no fix is known.
    Nowhere,
    /// Among those who may be offered work, at the last fix.
    Ready,
    /// Among those who may be offered work, at the end of the plan.
    Ahead,
    /// Among those who may not be offered work, near the last fix.
    Aside,
}

impl Stands {
    pub const fn in_index(self) -> bool {
        matches!(self, Self::Ready | Self::Ahead)
    }
}

/// Where a rider is to stand, and with what.
pub(super) type Standing = (Stands, Option<(Position, Means)>);

/// What the plan of a rider with work in hand comes to. What follows the next stop is a function of the time of leaving
/// it, `t -> max(t + rest, not_before)`: travel and service add up, and goods that get ready late hold everything up. Such
/// functions follow one another as one of their kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outlook {
    next: Next,
    /// The time that the next stop takes.
    service: Duration,
    /// When the goods at the next stop are ready.
    ready_at: Timestamp,
    rest: Duration,
    not_before: Timestamp,
    /// Where the plan ends.
    ends_at: Position,
    /// Size units in hand.
    units: u32,
}

/// The next stop of a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    /// The rider is on the way there.
    To(Position),
    /// The rider has been there since.
    Here(Timestamp),
}

impl Outlook {
    /// When the plan is finished, as estimated from a fix.
    fn free_at(&self, fix: LiveFix, travel: impl FnOnce(f64) -> Duration) -> Timestamp {
        let arrives = match self.next {
            Next::To(stop) => fix.received_at + travel(fix.position.distance_m(stop)),
            Next::Here(since) => since,
        };
        // Who should have left by now leaves now, and a fix is the last that is known of now.
        let leaves = (arrives + self.service).max(self.ready_at).max(fix.received_at);
        (leaves + self.rest).max(self.not_before)
    }
}

impl City {
    /// What the plan of a rider comes to; `None` for one who is offered nothing ahead of its end in any case.
    pub(super) fn outlook(&self, live: &LiveRider) -> Option<Outlook> {
        let policy = &self.settings.policy;
        if policy.max_active_orders <= 1 || policy.forward_within_s == 0 {
            return None;
        }
        let (first, later) = live.plan.split_first()?;
        let order = self.orders.get(&first.order)?;
        let mut at = stop_position(order, first.kind);
        let mut outlook = Outlook {
            next: next_stop(order, first.kind, at),
            service: self.service(first.kind),
            ready_at: ready_at(order, first.kind),
            rest: Duration::ZERO,
            not_before: Timestamp::default(),
            ends_at: at,
            units: 0,
        };
        for PlanStop { kind, order } in later {
            let order = self.orders.get(order)?;
            let to = stop_position(order, *kind);
            let span = self.travel(live, at.distance_m(to)).saturating_add(self.service(*kind));
            outlook.rest = outlook.rest.saturating_add(span);
            outlook.not_before = (outlook.not_before + span).max(ready_at(order, *kind));
            at = to;
        }
        outlook.ends_at = at;
        outlook.units = live.orders.iter().filter_map(|order| self.orders.get(order)).map(|o| o.spec.size_units).sum();
        Some(outlook)
    }

    fn service(&self, kind: StopKind) -> Duration {
        let policy = &self.settings.policy;
        Duration::from_secs(match kind {
            StopKind::Pickup => policy.pickup_service_s.into(),
            StopKind::Drop | StopKind::Return => policy.drop_service_s.into(),
        })
    }

    fn travel(&self, live: &LiveRider, distance_m: f64) -> Duration {
        self.brain.eta.travel_time(&self.settings.policy, live.profile.vehicle, distance_m)
    }

    /// Works out anew what a rider's plan comes to, after the plan changed; to be followed by `reindex`.
    pub(super) fn look_ahead(&mut self, rider: RiderId) {
        let outlook = self.riders.get(&rider).and_then(|live| self.outlook(live));
        if let Some(live) = self.riders.get_mut(&rider) {
            live.outlook = outlook;
        }
    }

    /// A rider's plan, or what it depends on, changed.
    pub(super) fn plan_changed(&mut self, now: Timestamp, rider: RiderId) {
        self.look_ahead(rider);
        self.reindex(now, rider);
    }

    /// The plans of a city that starts.
    pub(super) fn restore_plans(&mut self, now: Timestamp) {
        let busy: Vec<RiderId> =
            self.riders.iter().filter(|(_, live)| !live.plan.is_empty()).map(|(rider, _)| *rider).collect();
        for rider in busy {
            self.plan_changed(now, rider);
        }
        let most = self.riders.values().map(|live| live.orders.len()).max().unwrap_or(0);
        self.most_active = self.most_active.max(u32::try_from(most).unwrap_or(u32::MAX));
    }

    /// From when on a rider with work in hand, and room for more, is soon free; by the last fix.
    pub(super) fn forward_from(&self, live: &LiveRider) -> Option<Timestamp> {
        let (outlook, fix) = (live.outlook?, live.fix?);
        let room = usize::try_from(self.settings.policy.max_active_orders).unwrap_or(usize::MAX);
        let within = Duration::from_secs(self.settings.policy.forward_within_s.into());
        let free_at = || outlook.free_at(fix, |metres| self.travel(live, metres));
        (live.orders.len() < room).then(|| free_at() - within)
    }

    /// A rider, as matching sees one; `None` without a fix.
    pub(super) fn facts(&self, live: &LiveRider) -> Option<RiderFacts> {
        let fix = live.fix?;
        let idle = RiderFacts::idle(&live.profile, fix.received_at, fix.position);
        let Some(outlook) = live.outlook else { return Some(idle) };
        Some(RiderFacts {
            free_units: idle.free_units.saturating_sub(outlook.units),
            free_at: outlook.free_at(fix, |metres| self.travel(live, metres)),
            from: outlook.ends_at,
            ..idle
        })
    }

    /// Where a rider is to stand.
    pub(super) fn standing(&self, live: &LiveRider, offerable: bool) -> Standing {
        let Some(fix) = live.fix else { return (Stands::Nowhere, None) };
        let (vehicle, room) = (live.profile.vehicle, live.profile.capacity_units);
        let tags = || live.profile.tags.clone();
        let means = |units: u32| Means { vehicle, free_units: room.saturating_sub(units), tags: tags() };
        match (offerable, live.outlook) {
            (true, Some(outlook)) => (Stands::Ahead, Some((outlook.ends_at, means(outlook.units)))),
            (true, None) if live.orders.is_empty() => (Stands::Ready, Some((fix.position, means(0)))),
            (true, None) => (Stands::Ahead, Some((fix.position, means(0)))),
            (false, _) => (Stands::Aside, Some((fix.position, means(0)))),
        }
    }

    /// Puts a rider where the rider is to stand, and takes the rider from where that was.
    pub(super) fn stand(&mut self, slot: Slot, (stands, place): Standing) {
        let Some(live) = self.riders.at_mut(slot) else { return };
        let (rider, before) = (live.profile.id, std::mem::replace(&mut live.stands, stands));
        if let Some((position, means)) = place {
            let index = if stands.in_index() { &mut self.index } else { &mut self.aside };
            live.ticket = index.put(rider, position, means);
        }
        if stands == before {
            return;
        }
        if before.in_index() && !stands.in_index() {
            self.index.remove(rider);
        }
        if before == Stands::Aside {
            self.aside.remove(rider);
        }
        self.ahead += usize::from(stands == Stands::Ahead);
        self.ahead -= usize::from(before == Stands::Ahead);
    }

    /// Takes a rider out of those who may be offered work.
    pub(super) fn step_aside(&mut self, rider: RiderId) {
        if let Some(slot) = self.riders.slot(rider)
            && let Some(live) = self.riders.at(slot)
        {
            let standing = self.standing(live, false);
            self.stand(slot, standing);
        }
    }

    /// A rider cannot go on: what is in hand and not picked up is for somebody else, and then the rider goes off duty.
    pub(super) fn relieve(&mut self, now: Timestamp, rider: RiderId) {
        let Some(live) = self.riders.get_mut(&rider).filter(|live| live.duty == Duty::On) else { return };
        if live.orders.is_empty() {
            return self.set_duty(now, rider, Duty::Off, DutyReason::Breakdown, Vec::new());
        }
        // What is carried must be handed over, or arrive, first.
        self.withdraw_offer_of(now, rider, "off_duty");
        self.plan_duty(now, rider, Duty::Off, None);
        self.take_back_unpicked(now, rider);
    }

    /// Gives back what a rider who cannot go on has not picked up; what the journal has a write of, at a later tick.
    pub(super) fn take_back_unpicked(&mut self, now: Timestamp, rider: RiderId) {
        let Some(live) = self.riders.get(&rider).filter(|live| live.next_duty == Some(Duty::Off)) else { return };
        let waits = |order: &OrderId| self.orders.get(order).is_some_and(|held| !held.state.status.is_carried());
        let held: Vec<OrderId> = live.orders.iter().copied().filter(waits).collect();
        if !held.is_empty() {
            // Until the journal has them all: it may refuse.
            self.unsaved.relieved.insert(rider);
        }
        held.into_iter().for_each(|order| self.take_back(now, rider, order, DutyReason::Breakdown));
        self.reindex(now, rider);
    }

    /// What a matcher sees.
    pub(super) fn view<'a>(&'a self, now: Timestamp, riders: &'a Lookup<'a>, orders: Vec<OrderFacts<'a>>) -> View<'a> {
        View {
            now,
            policy: &self.settings.policy,
            eta: self.brain.eta.as_ref(),
            eligibility: self.brain.eligibility.as_ref(),
            index: &self.index,
            riders,
            orders,
        }
    }
}

/// The riders of a city, as matching sees them.
#[derive(Debug)]
pub(super) struct Lookup<'a>(pub &'a City);

impl RiderLookup for Lookup<'_> {
    fn facts(&self, rider: RiderId) -> Option<RiderFacts> {
        self.0.riders.get(&rider).and_then(|live| self.0.facts(live))
    }
}

impl LiveOrder {
    /// The order, as matching sees it.
    pub(super) fn facts(&self) -> OrderFacts<'_> {
        OrderFacts {
            id: self.spec.id,
            pickup: self.pickup_position(),
            ready_at: self.state.ready_at,
            due_at: self.state.due_at,
            size_units: self.spec.size_units,
            vehicle_need: self.spec.vehicle_need,
            needs_tags: &self.spec.needs_tags,
            refusals: &self.refusals,
            holder: self.state.custody.custodian(),
            asked: self.offers.len(),
        }
    }
}

/// Where a rider is with regard to the first stop of the plan.
const fn next_stop(order: &LiveOrder, kind: StopKind, at: Position) -> Next {
    match (kind, order.state.status) {
        (StopKind::Pickup, OrderStatus::AtPickup)
        | (StopKind::Drop, OrderStatus::AtDropoff | OrderStatus::AttemptFailed) => Next::Here(order.state.updated_at),
        _ => Next::To(at),
    }
}

const fn stop_position(order: &LiveOrder, kind: StopKind) -> Position {
    match kind {
        StopKind::Pickup => order.pickup_position(),
        StopKind::Drop => order.spec.drop.position,
        StopKind::Return => order.spec.pickup.position,
    }
}

/// When a stop can be left at the earliest.
fn ready_at(order: &LiveOrder, kind: StopKind) -> Timestamp {
    match kind {
        StopKind::Pickup => order.state.ready_at,
        StopKind::Drop | StopKind::Return => Timestamp::default(),
    }
}
