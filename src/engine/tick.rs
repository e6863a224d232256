//! Time passes: what ran out is closed, silent riders are taken off duty, waiting orders look for riders.

use std::{collections::BTreeMap, time::Duration};

use crate::domain::{
    duty::{Duty, DutyReason},
    ids::{OfferId, OrderId, RiderId},
    order::{Actor, Custody, OfferState, OrderStatus},
    time::Timestamp,
};

use super::{
    city::{City, Remembered},
    defects::Defect,
    effect::{Alert, Notice},
    forward::Lookup,
    matching::Decision,
    order_queue::Urgency,
    orders::{EventDraft, data},
    restore::MEMORY,
    state::{LiveOrder, LiveRider, Then},
    view::WaitReason,
};

/// A gap between two ticks beyond this is a pause of the engine itself, not of its riders.
const PAUSE: Duration = Duration::from_secs(10);

impl City {
    pub(super) fn tick(&mut self, now: Timestamp) {
        if self.last_tick.is_some_and(|last| now.since(last) > PAUSE) {
            // As after a restart, silence counts from now: devices gave the connection up meanwhile and come back spread
            // over a while, not within one ping.
            self.grace_until = now + Duration::from_secs(self.settings.policy.auto_off_after_s.into());
        }
        self.last_tick = Some(now);
        self.forget(now);
        self.expire_offers(now);
        self.wake_unseen(now);
        self.release_scheduled(now);
        self.save_again(now);
        self.end_holds(now);
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
        let due = self.offer_alarms.take_due(now);
        // Those of one order end in one write.
        let mut over: BTreeMap<OrderId, Vec<OfferId>> = BTreeMap::new();
        for (offer, record) in due.iter().filter_map(|offer| Some((*offer, self.offers.get(offer)?))) {
            if let Some(order) = record.orders.first().filter(|_| record.answer_due(ttl) <= now) {
                over.entry(*order).or_default().push(offer);
            }
        }
        for (order, offers) in over {
            self.close_offers(now, order, &offers, OfferState::Expired, None, "expired", None);
        }
        // They are open until the journal has their end.
        due.into_iter().for_each(|offer| self.watch_offer(now, offer));
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
            let other = |live: &LiveRider| self.is_offerable(now, live) != live.stands.in_index();
            if self.riders.get(&rider).is_some_and(other) {
                self.reindex(now, rider);
            }
            if silent {
                self.silent(now, rider);
            } else {
                self.warn_if_silent(now, rider);
            }
            self.watch_rider_again(now, rider);
        }
    }

    fn silent(&mut self, now: Timestamp, rider: RiderId) {
        let forgets = self.defects.has(Defect::ForgetsTheHolder);
        let Some(live) = self.riders.get(&rider) else { return };
        let waits =
            |order: &OrderId| self.orders.get(order).is_some_and(|held| !held.state.status.is_carried() || forgets);
        let (waiting, carried): (Vec<_>, Vec<_>) = live.orders.iter().copied().partition(waits);
        if !waiting.is_empty() {
            // They were not picked up: somebody else can fetch them. What else there is follows at a later tick.
            return waiting.into_iter().for_each(|order| self.take_back(now, rider, order, DutyReason::Silent));
        }
        if let (Some(order), Some(live)) = (carried.first().copied(), self.riders.get_mut(&rider)) {
            // Silence never takes an order away from who may hold the goods: people decide.
            live.silence_told = true;
            return self.alert(Alert::SilentCarrier { rider, order });
        }
        let Some(live) = self.riders.get(&rider) else { return };
        // An open offer runs out by itself first, and an assignment that is with the journal is answered.
        if live.offer.is_none() && live.reserved.is_none() {
            self.set_duty(now, rider, Duty::AutoOff, DutyReason::Silent, Vec::new());
        }
    }

    /// Takes an order that was not picked up away from a rider who is silent or cannot go on; it looks for another one.
    pub(super) fn take_back(&mut self, now: Timestamp, rider: RiderId, order: OrderId, why: DutyReason) {
        let Some(live) = self.orders.get(&order).filter(|live| !live.pending) else { return };
        let mut next = live.state.clone();
        next.status = live.waiting_status(now);
        next.rider = None;
        next.assigned_at = None;
        next.due_at = None;
        let event = EventDraft {
            reason: Some(why.to_string()),
            data: data([("rider", rider.to_string().into())]),
            ..EventDraft::new("unassigned", Actor::ENGINE)
        };
        self.write_order(now, order, next, vec![event], vec![], Then::TakenBack { rider });
    }

    /// The order is stored as waiting again; the rider hears of it when the device comes back.
    pub(super) fn take_back_stored(&mut self, now: Timestamp, order: OrderId, rider: RiderId) {
        let Some(live) = self.orders.get_mut(&order) else { return };
        let scheduled = live.state.status == OrderStatus::Placed;
        live.wait = if scheduled { WaitReason::Scheduled } else { WaitReason::NotDue };
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
        let batch = usize::try_from(self.settings.policy.offer_batch).unwrap_or(usize::MAX);
        let hold = self.settings.policy.offer_hold();
        self.explained = 0;
        self.renew_refusals(now);
        let decisions = {
            let orders = self
                .queue
                // No order is ready before a rider must leave for it, so nothing beyond this time can be in reach.
                .within(horizon)
                .filter_map(|(order, _)| self.orders.get(&order))
                .filter(|live| {
                    matches!(live.state.status, OrderStatus::Queued | OrderStatus::Offered)
                        && live.state.hold.is_none()
                        && !live.pending
                        && !live.state.parked
                        && live.offers.len() < batch
                        && live.asked_at.is_none_or(|asked| now.since(asked) >= hold)
                        // Goods that a rider handed over are ready, whatever the merchant says of them.
                        && (live.state.ready_at <= horizon || live.state.custody != Custody::Store)
                })
                .map(LiveOrder::facts)
                .collect();
            let lookup = Lookup(self);
            self.brain.matcher.decide(&self.view(now, &lookup, orders))
        };
        for decision in decisions {
            self.carry_out(now, decision);
        }
    }

    fn carry_out(&mut self, now: Timestamp, decision: Decision) {
        let (order, leave_by, reason) = match &decision {
            Decision::Propose { order, leave_by, .. } => (*order, *leave_by, None),
            Decision::Wait { order, reason, leave_by } => (*order, *leave_by, Some(*reason)),
        };
        let Some(live) = self.orders.get_mut(&order) else { return };
        if reason.is_some() && !live.offers.is_empty() {
            // Somebody is asked already; that nobody else can be is no reason to wait.
            return;
        }
        let due = leave_by <= now;
        if due && live.state.due_at.is_none() {
            live.state.due_at = Some(now);
            self.touched.orders.insert(order);
        }
        let leave_by = live.state.due_at.unwrap_or(leave_by);
        let urgency = Urgency::new(live.state.priority, leave_by, live.slack_ms);
        if self.queue.put(order, urgency) {
            self.touched.queue = true;
            self.touched.orders.insert(order);
        }
        let Some(reason) = reason else { return self.open_offers(now, decision) };
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
        self.give_up_if_hopeless(now, order);
        self.explain_wait(now, order, reason);
    }

    /// Begins a new round for orders that everybody in reach has refused for a while: refusals are forgotten.
    fn renew_refusals(&mut self, now: Timestamp) {
        let every = Duration::from_secs(self.settings.policy.round_every_s.into());
        for order in self.round_alarms.take_due(now) {
            let Some(live) = self.orders.get_mut(&order) else { continue };
            let over = live.exhausted_since.is_some_and(|since| now.since(since) >= every);
            let (round, custody, parked) = (live.state.round, live.state.custody, live.state.parked);
            if !self.queue.contains(order) {
                live.exhausted_since = None;
            } else if parked {
                if self.is_parked_in_vain(order) {
                    self.resume_search(now, order);
                }
            } else if over && self.settings.policy.is_last_round(round) && self.may_give_up(custody) {
                self.give_up(now, order);
            } else if over && let Some(live) = self.orders.get_mut(&order).filter(|live| !live.pending) {
                // A write that is with the journal would bring the old round back.
                live.forget_refusals();
                live.exhausted_since = None;
                live.state.round += 1;
            }
            self.watch_round(now, order);
        }
    }

    fn give_up_if_hopeless(&mut self, now: Timestamp, order: OrderId) {
        let limit = Duration::from_secs(self.settings.policy.expire_after_s.into());
        let due = self.orders.get(&order).and_then(|live| live.state.due_at);
        if due.is_some_and(|due| now.since(due) > limit) {
            self.give_up(now, order);
        }
    }
}
