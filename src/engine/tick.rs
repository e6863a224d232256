//! Time passes: what ran out is closed, silent riders are taken off duty, waiting orders look for riders.

use std::time::Duration;

use crate::domain::{
    duty::{Duty, DutyReason},
    ids::{OrderId, RiderId},
    order::{Actor, Custody, OfferState, OrderStatus},
    time::Timestamp,
};

use super::{
    city::{City, Remembered},
    defects::Defect,
    effect::{Alert, Notice},
    matching::{Decision, OrderFacts, RiderFacts, RiderLookup, View},
    order_queue::Urgency,
    orders::{EventDraft, data},
    restore::MEMORY,
    state::{LiveRider, Then},
    view::WaitReason,
};

/// A gap between two ticks beyond this is a pause of the engine itself, not of its riders.
const PAUSE: Duration = Duration::from_secs(10);

impl City {
    pub(super) fn tick(&mut self, now: Timestamp) {
        if self.last_tick.is_some_and(|last| now.since(last) > PAUSE) {
            self.grace_until = now + Duration::from_secs(u64::from(self.settings.policy.ping_interval_s) * 2);
        }
        self.last_tick = Some(now);
        self.forget(now);
        self.expire_offers(now);
        self.release_scheduled(now);
        self.sweep_riders(now);
        self.match_orders(now);
    }

    fn forget(&mut self, now: Timestamp) {
        self.answered.forget(now);
        self.contested.forget(now, self.settings.policy.max_report_age());
        while let Some((since, what)) = self.memory.front().copied() {
            if now.since(since) <= MEMORY {
                break;
            }
            self.memory.pop_front();
            match what {
                Remembered::Offer(offer) => drop(self.closed_offers.remove(&offer)),
                Remembered::Order(order) => drop(self.ended_orders.remove(&order)),
            }
        }
    }

    fn expire_offers(&mut self, now: Timestamp) {
        let ttl = self.settings.policy.offer_ttl();
        for offer in self.offer_alarms.take_due(now) {
            if self.offers.get(&offer).is_some_and(|record| record.answer_due(ttl) <= now) {
                self.close_offer(now, offer, OfferState::Expired, None, "expired", None);
            }
            // It is open until the journal has its end.
            self.watch_offer(now, offer);
        }
    }

    fn release_scheduled(&mut self, now: Timestamp) {
        let due: Vec<OrderId> = self.scheduled.range(..=(now, OrderId(uuid::Uuid::max()))).map(|(_, id)| *id).collect();
        for order in due {
            let Some(live) = self.orders.get(&order).filter(|live| !live.pending) else { continue };
            let mut next = live.state.clone();
            next.status = OrderStatus::Queued;
            self.write_order(now, order, next, vec![EventDraft::new("queued", Actor::ENGINE)], vec![], Then::Queued);
        }
    }

    /// A scheduled order is stored as queued.
    pub(super) fn schedule_stored(&mut self, order: OrderId) {
        let Some(live) = self.orders.get_mut(&order) else { return };
        live.wait = WaitReason::NotDue;
        if let Some(at) = live.spec.dispatch_at {
            self.scheduled.remove(&(at, order));
        }
        self.enter_line(order);
    }

    /// Takes stale riders out of the index and silent ones off duty.
    fn sweep_riders(&mut self, now: Timestamp) {
        for (rider, reason) in std::mem::take(&mut self.duty_unsaved) {
            if let Some(duty) = self.riders.get(&rider).map(|live| live.duty) {
                self.set_duty(now, rider, duty, reason, Vec::new());
            }
        }
        let due = self.rider_alarms.take_due(now);
        let limit = Duration::from_secs(self.settings.policy.auto_off_after_s.into());
        for rider in due {
            let Some(live) = self.riders.get_mut(&rider) else { continue };
            live.look_at = None;
            let silent = live.may_fall_silent() && now.since(live.heard_at) > limit && now >= self.grace_until;
            if self.riders.get(&rider).is_some_and(|live| !self.is_offerable(now, live)) && self.index.contains(rider) {
                self.reindex(now, rider);
            }
            if silent {
                self.silent(now, rider);
            }
            self.watch_rider_again(now, rider);
        }
    }

    fn silent(&mut self, now: Timestamp, rider: RiderId) {
        let Some(live) = self.riders.get_mut(&rider) else { return };
        if let Some(order) = live.orders.first().copied() {
            let forgets = self.defects.has(Defect::ForgetsTheHolder);
            if self.orders.get(&order).is_some_and(|held| !held.state.status.is_carried() || forgets) {
                // Nothing was picked up: somebody else can fetch it. The rider goes off duty at a later tick.
                return self.take_back(now, rider, order);
            }
            // Silence never takes an order away from who may hold the goods: people decide.
            live.silence_told = true;
            return self.alert(Alert::SilentCarrier { rider, order });
        }
        // An open offer runs out by itself first.
        if live.offer.is_none() {
            self.set_duty(now, rider, Duty::AutoOff, DutyReason::Silent, Vec::new());
        }
    }

    /// Takes an order that was not picked up away from a silent rider; it looks for another one.
    fn take_back(&mut self, now: Timestamp, rider: RiderId, order: OrderId) {
        let Some(live) = self.orders.get(&order).filter(|live| !live.pending) else { return };
        let mut next = live.state.clone();
        next.status = OrderStatus::Queued;
        next.rider = None;
        next.assigned_at = None;
        next.due_at = None;
        let event = EventDraft {
            reason: Some(DutyReason::Silent.to_string()),
            data: data([("rider", rider.to_string().into())]),
            ..EventDraft::new("unassigned", Actor::ENGINE)
        };
        self.write_order(now, order, next, vec![event], vec![], Then::TakenBack { rider });
    }

    /// The order is stored as waiting again; the rider hears of it when the device comes back.
    pub(super) fn take_back_stored(&mut self, now: Timestamp, order: OrderId, rider: RiderId) {
        let Some(live) = self.orders.get_mut(&order) else { return };
        live.wait = WaitReason::NotDue;
        let (status, until) = (live.state.status, Timestamp::FAR_FUTURE);
        // Asked again only in a new round, like a refusal.
        live.refusals.insert(rider, until);
        self.release_rider(now, rider, order);
        self.notify(rider, Notice::OrderChanged { job: None, order, status, why: "unassigned" });
        self.enter_line(order);
    }

    fn match_orders(&mut self, now: Timestamp) {
        let max_lead = Duration::from_secs(self.settings.policy.max_lead_s.into());
        let horizon = now + max_lead;
        self.renew_refusals(now);
        let decisions = {
            let orders = self
                .queue
                .iter()
                // No order is ready before a rider must leave for it, so nothing behind this point can be in reach.
                .take_while(|(_, urgency)| urgency.leave_by <= horizon)
                .filter_map(|(order, _)| self.orders.get(&order))
                .filter(|live| {
                    live.state.status == OrderStatus::Queued
                        && !live.pending
                        && live.offers.is_empty()
                        // Goods that a rider handed over are ready, whatever the merchant says of them.
                        && (live.state.ready_at <= horizon || live.state.custody != Custody::Store)
                })
                .map(|live| OrderFacts {
                    id: live.spec.id,
                    pickup: live.pickup_position(),
                    ready_at: live.state.ready_at,
                    due_at: live.state.due_at,
                    size_units: live.spec.size_units,
                    vehicle_need: live.spec.vehicle_need,
                    refusals: &live.refusals,
                    holder: live.state.custody.custodian(),
                })
                .collect();
            let lookup = Lookup(&self.riders);
            let view = View {
                now,
                policy: &self.settings.policy,
                eta: self.brain.eta.as_ref(),
                eligibility: self.brain.eligibility.as_ref(),
                index: &self.index,
                riders: &lookup,
                orders,
            };
            self.brain.matcher.decide(&view)
        };
        for decision in decisions {
            self.carry_out(now, decision);
        }
    }

    fn carry_out(&mut self, now: Timestamp, decision: Decision) {
        let (order, leave_by, reason) = match decision {
            Decision::Propose { order, leave_by, .. } => (order, leave_by, None),
            Decision::Wait { order, reason, leave_by } => (order, leave_by, Some(reason)),
        };
        let Some(live) = self.orders.get_mut(&order) else { return };
        let due = leave_by <= now;
        if due && live.state.due_at.is_none() {
            live.state.due_at = Some(now);
            self.touched.orders.insert(order);
        }
        let urgency = Urgency { leave_by: live.state.due_at.unwrap_or(leave_by), slack_ms: live.slack_ms };
        if self.queue.put(order, urgency) {
            self.touched.queue = true;
            self.touched.orders.insert(order);
        }
        let Some(reason) = reason else { return self.open_offer(now, decision) };
        if live.wait != reason {
            live.wait = reason;
            self.touched.orders.insert(order);
        }
        live.exhausted_since = match reason {
            WaitReason::AllRefused => live.exhausted_since.or(Some(now)),
            _ => None,
        };
        if live.exhausted_since == Some(now) {
            self.watch_round(now, order);
        }
        self.expire_if_hopeless(now, order);
    }

    /// Begins a new round for orders that everybody in reach has refused for a while: refusals are forgotten.
    fn renew_refusals(&mut self, now: Timestamp) {
        let every = Duration::from_secs(self.settings.policy.round_every_s.into());
        for order in self.round_alarms.take_due(now) {
            let Some(live) = self.orders.get_mut(&order) else { continue };
            if !self.queue.contains(order) {
                live.exhausted_since = None;
            } else if live.exhausted_since.is_some_and(|since| now.since(since) >= every) {
                live.refusals.clear();
                live.exhausted_since = None;
                live.state.round += 1;
            }
            self.watch_round(now, order);
        }
    }

    fn expire_if_hopeless(&mut self, now: Timestamp, order: OrderId) {
        let limit = Duration::from_secs(self.settings.policy.expire_after_s.into());
        let Some(live) = self.orders.get(&order).filter(|live| !live.pending && live.offers.is_empty()) else { return };
        let hopeless = live.state.due_at.is_some_and(|due| now.since(due) > limit);
        // Goods in a rider's hands never expire.
        if !hopeless || live.state.custody != Custody::Store {
            return;
        }
        let mut next = live.state.clone();
        let reason = live.wait.as_str();
        next.status = OrderStatus::Expired;
        next.ended_at = Some(now);
        next.end_reason = Some(reason.to_owned());
        let event = EventDraft { reason: Some(reason.to_owned()), ..EventDraft::new("expired", Actor::ENGINE) };
        self.write_order(now, order, next, vec![event], vec![], Then::Expired);
    }
}

/// The riders of a city, as matching sees them.
#[derive(Debug)]
struct Lookup<'a>(&'a std::collections::BTreeMap<RiderId, LiveRider>);

impl RiderLookup for Lookup<'_> {
    fn facts(&self, rider: RiderId) -> Option<RiderFacts> {
        let live = self.0.get(&rider)?;
        Some(RiderFacts::idle(&live.profile, live.fix?.received_at))
    }
}
