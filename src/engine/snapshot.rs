//! What a city shows of itself.

use crate::domain::{
    duty::Duty,
    ids::{OfferId, OrderId, RiderId},
    money::Money,
    order::{OrderStatus, Place},
    time::Timestamp,
};

use super::{
    city::City,
    state::{LiveOrder, LiveRider, PlanStop},
    view::{
        CityChanges, CitySnapshot, JobOrder, JobView, OfferView, OrderView, RiderState, RiderView, Stop, StopKind,
        WaitReason,
    },
};

impl City {
    /// The whole city.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> CitySnapshot {
        let waiting = self.queue.iter().map(|(order, _)| order);
        let scheduled = self.scheduled.iter().map(|(_, order)| *order);
        let in_hand = self.orders.iter().filter(|(_, live)| live.state.status.has_rider()).map(|(order, _)| *order);
        CitySnapshot {
            city: self.settings.code.clone(),
            at: now,
            counts: self.counts(now),
            orders: waiting.chain(scheduled).chain(in_hand).filter_map(|order| self.order_view(order)).collect(),
            riders: self.riders.keys().filter_map(|rider| self.rider_view(now, *rider)).collect(),
        }
    }

    /// The orders that wait for a rider, most urgent first.
    pub fn queue(&self) -> impl Iterator<Item = OrderId> + '_ {
        self.queue.iter().map(|(order, _)| order)
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self, now: Timestamp) -> CityChanges {
        self.settle_counts();
        let touched = std::mem::take(&mut self.touched);
        CityChanges {
            orders: touched.orders.into_iter().filter_map(|order| self.order_view(order)).collect(),
            ended: touched.ended,
            riders: touched.riders.into_iter().filter_map(|rider| self.rider_view(now, rider)).collect(),
            gone: touched.gone.into_iter().filter(|rider| !self.riders.contains_key(rider)).collect(),
            queue_changed: touched.queue,
        }
    }

    pub(super) fn order_view(&self, order: OrderId) -> Option<OrderView> {
        let live = self.orders.get(&order)?;
        let waiting_for = live.state.status.is_waiting().then_some(match (live.pending, live.offers.is_empty()) {
            (true, _) => WaitReason::Committing,
            (_, false) => WaitReason::Offered,
            _ if live.state.parked => WaitReason::NeedsOperator,
            _ if live.state.hold.is_some() => WaitReason::Held,
            _ => live.wait,
        });
        let asked: Vec<RiderId> =
            live.offers.iter().filter_map(|offer| self.offers.get(offer)).map(|record| record.rider).collect();
        let leave_by = self.queue.urgency(order).map_or(live.state.ready_at, |urgency| urgency.leave_by);
        Some(OrderView {
            order,
            merchant: live.spec.merchant,
            external_ref: live.spec.external_ref.clone(),
            status: live.state.status,
            version: live.state.version,
            waiting_for,
            rider: live.state.rider.or(asked.first().copied()),
            pickup: live.pickup_position(),
            drop: live.spec.drop.position,
            placed_at: live.spec.placed_at,
            ready_at: live.state.ready_at,
            promise_at: live.spec.promise_at,
            leave_by,
            due_at: live.state.due_at,
            offers_tried: live.state.offers_tried,
            asked,
            hold: live.state.hold.clone(),
            priority: live.state.priority,
        })
    }

    fn rider_view(&self, now: Timestamp, rider: RiderId) -> Option<RiderView> {
        let live = self.riders.get(&rider)?;
        Some(RiderView {
            rider,
            duty: live.duty,
            state: self.rider_state(now, live),
            vehicle: live.profile.vehicle,
            connected: live.session.is_some(),
            fix: live.fix.map(|fix| (fix.position, fix.recorded_at)),
            orders: live.orders.clone(),
        })
    }

    pub(super) fn rider_state(&self, now: Timestamp, live: &LiveRider) -> RiderState {
        match live.duty {
            _ if !live.orders.is_empty() => RiderState::Busy,
            Duty::Off | Duty::AutoOff => RiderState::Off,
            Duty::Break => RiderState::Break,
            Duty::On if live.offer.is_some() => RiderState::Offered,
            Duty::On if live.session.is_none() || !self.is_fresh(now, live) => RiderState::Stale,
            Duty::On => RiderState::Idle,
        }
    }

    /// An open offer, as its rider sees it.
    pub(super) fn offer_view(&self, now: Timestamp, offer: OfferId) -> Option<OfferView> {
        let record = self.offers.get(&offer)?;
        let live = self.orders.get(record.orders.first()?)?;
        let due = record.answer_due(self.settings.policy.offer_ttl());
        let stops = [StopKind::Pickup, StopKind::Drop].map(|kind| stop(live, kind));
        Some(OfferView {
            offer,
            job: JobView { job: record.job, orders: vec![job_order(live)], stops: stops.into() },
            expires_in_ms: u64::try_from(due.since(now).as_millis()).unwrap_or(u64::MAX),
            pickup_eta: record.pickup_eta,
            pickup_distance_m: record.pickup_distance_m,
            payout: Money { minor: record.payout_minor, currency: record.currency },
        })
    }

    /// The job of an order in hand, with the stops still to be made.
    pub(super) fn job_view(&self, order: OrderId) -> Option<JobView> {
        let live = self.orders.get(&order)?;
        let rider = self.riders.get(&live.state.rider?)?;
        let of_order = |stop: &&PlanStop| stop.order == order;
        Some(JobView {
            job: live.job(),
            orders: vec![job_order(live)],
            stops: rider.plan.iter().filter(of_order).map(|planned| stop(live, planned.kind)).collect(),
        })
    }
}

fn job_order(live: &LiveOrder) -> JobOrder {
    JobOrder {
        order: live.spec.id,
        status: live.state.status,
        version: live.state.version,
        merchant: live.spec.merchant,
        external_ref: live.spec.external_ref.clone(),
        store: live.spec.store.clone(),
        ready_at: live.state.ready_at,
        promise_at: live.spec.promise_at,
        cash_to_collect: Money { minor: live.spec.cash_to_collect_minor, currency: live.spec.currency },
        needs_otp: live.spec.otp_digest.is_some(),
    }
}

fn stop(live: &LiveOrder, kind: StopKind) -> Stop {
    let place: Place = match kind {
        StopKind::Pickup => live.pickup(),
        StopKind::Drop => live.spec.drop.clone(),
        StopKind::Return => live.spec.pickup.clone(),
    };
    let at = match kind {
        StopKind::Pickup => live.state.ready_at,
        StopKind::Drop | StopKind::Return => live.spec.promise_at,
    };
    Stop { kind, order: live.spec.id, place, at }
}

/// The stops that an order in hand still needs, for a plan that is rebuilt.
pub(super) fn stops_left(status: OrderStatus, order: OrderId) -> Vec<PlanStop> {
    let kinds: &[StopKind] = match status {
        OrderStatus::Assigned | OrderStatus::AtPickup => &[StopKind::Pickup, StopKind::Drop],
        OrderStatus::PickedUp | OrderStatus::AtDropoff | OrderStatus::AttemptFailed => &[StopKind::Drop],
        OrderStatus::Returning => &[StopKind::Return],
        _ => &[],
    };
    kinds.iter().map(|kind| PlanStop { kind: *kind, order }).collect()
}
