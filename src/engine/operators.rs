//! Operators step in: they give orders to riders, take them away, hold them, call them off and move them in the line.
//!
//! An action waits, like every command of an order, while the journal has a write of it; then it is judged by where the
//! order stands. What an operator decides is not asked of the rider: refusals, distance, freshness and, with `force`, the
//! vehicle and the tags do not matter. Documents, duty and room do: nobody can override them.

use serde_json::{Map, Value};

use crate::domain::{
    duty::Duty,
    ids::{OfferId, OrderId, ReplyTo, RiderId},
    order::{Actor, OfferState, OrderStatus},
    steering::Priority,
    time::Timestamp,
};

use super::{
    change::Change,
    city::City,
    command::{Command, Conditions, OperatorAction, OperatorRefusal, Refusal},
    effect::{Effect, Measure, Notice, OfferRecord, OrderState},
    offers::TAKEN,
    order_queue::Urgency,
    orders::{EventDraft, data, receipt},
    state::{Deed, PlanStop, Then},
    view::StopKind,
};

/// What an operator asks.
pub(super) struct Ask {
    pub order: OrderId,
    pub action: OperatorAction,
    pub by: Actor,
    pub reason: String,
    pub given: Conditions,
    pub reply: ReplyTo,
}

impl Ask {
    fn into_command(self) -> Command {
        let Self { order, action, by, reason, given, reply } = self;
        Command::Operate { order, action, by, reason, given, reply }
    }
}

/// The name under which somebody owns a hold.
pub(super) fn name_of(actor: &Actor) -> String {
    actor.id.clone().unwrap_or_else(|| actor.kind.to_string())
}

impl City {
    pub(super) fn operate(&mut self, now: Timestamp, ask: Ask) {
        let (order, reply) = (ask.order, ask.reply);
        let displaced = self.displacing.remove(&reply);
        let Some(Command::Operate { order, action, by, reason, given, reply }) =
            self.defer(order, reply, ask.into_command())
        else {
            return;
        };
        if self.refuse_moved(order, &given, reply) {
            return;
        }
        let ask = Ask { order, action, by, reason, given, reply };
        match action {
            OperatorAction::Assign { rider, force } => self.assign(now, ask, rider, force, displaced),
            OperatorAction::Reassign { rider, force } => self.reassign(now, ask, rider, force, displaced),
            OperatorAction::Unassign => self.unassign(now, ask),
            OperatorAction::Hold { until } => self.hold(now, ask, until),
            OperatorAction::Release => self.release(now, ask),
            OperatorAction::Cancel => self.cancel(now, order, ask.by, ask.reason, ask.given, reply),
            OperatorAction::SetPriority { level } => self.set_priority(now, ask, level),
        }
    }

    fn assign(&mut self, now: Timestamp, ask: Ask, rider: RiderId, force: bool, displaced: bool) {
        let Some(live) = self.orders.get(&ask.order) else { return self.refuse_gone(ask.order, ask.reply) };
        if live.state.rider == Some(rider) {
            let outcome = receipt(live);
            return self.reply(ask.reply, Ok(outcome));
        }
        if !live.state.status.is_waiting() {
            return self.refuse_status(&ask);
        }
        self.give(now, ask, rider, force, displaced);
    }

    fn reassign(&mut self, now: Timestamp, ask: Ask, rider: RiderId, force: bool, displaced: bool) {
        let Some(live) = self.orders.get(&ask.order) else { return self.refuse_gone(ask.order, ask.reply) };
        if live.state.status.is_carried() {
            // A handover is the way: goods change hands where both riders stand.
            return self.refuse(ask.reply, Refusal::PickedUp);
        }
        if live.state.rider == Some(rider) {
            let outcome = receipt(live);
            return self.reply(ask.reply, Ok(outcome));
        }
        if live.state.rider.is_none() {
            return self.refuse_status(&ask);
        }
        self.give(now, ask, rider, force, displaced);
    }

    /// Gives an order to a rider who can take it; an open offer of another order is taken out of the rider's hands first.
    fn give(&mut self, now: Timestamp, ask: Ask, rider: RiderId, force: bool, displaced: bool) {
        if let Err(refusal) = self.can_be_given(ask.order, rider, force) {
            return self.refuse(ask.reply, refusal);
        }
        if let Some((offer, other)) = self.offer_elsewhere(ask.order, rider) {
            return self.displace(now, ask, offer, other, displaced);
        }
        let order = ask.order;
        let Some(live) = self.orders.get(&order) else { return };
        let from = live.state.rider;
        let mut next = live.state.clone();
        next.status = OrderStatus::Assigned;
        next.rider = Some(rider);
        next.assigned_at = Some(now);
        next.hold = None;
        // As an offer made now would pay.
        let payout_minor = self.payout_now(live);
        next.payout_minor = Some(payout_minor);
        let mut particulars =
            data([("rider", rider.to_string().into()), ("payout_minor", payout_minor.into()), ("force", force.into())]);
        if let Some(from) = from {
            particulars.insert("from".to_owned(), from.to_string().into());
        }
        let withdrawn = self.withdrawals(now, order, TAKEN);
        if let Some(live) = self.riders.get_mut(&rider) {
            live.reserved = Some(order);
        }
        self.reindex(now, rider);
        let deed = Deed::Assigned { rider, from };
        self.write_operation(now, ask, "assigned", next, Some(rider), particulars, deed, withdrawn);
    }

    /// Whether an order can be given to a rider.
    fn can_be_given(&self, order: OrderId, rider: RiderId, force: bool) -> Result<(), Refusal> {
        let refuse = |why| Err(Refusal::Operator(why));
        let Some(wanted) = self.orders.get(&order) else { return Err(Refusal::UnknownOrder) };
        let Some(live) = self.riders.get(&rider) else {
            return refuse(OperatorRefusal::RiderUnavailable("not live in this city"));
        };
        if !live.profile.may_work() {
            return refuse(OperatorRefusal::RiderUnavailable("not active, or documents not approved"));
        }
        if live.duty != Duty::On || live.stored_duty != Duty::On || live.next_duty.is_some() {
            return refuse(OperatorRefusal::RiderUnavailable("not on duty"));
        }
        if wanted.state.custody.custodian() == Some(rider) {
            return refuse(OperatorRefusal::RiderUnfit("this rider holds the goods and cannot go on"));
        }
        if self.is_accepting(rider) {
            return refuse(OperatorRefusal::RiderBusy("another order is just being taken"));
        }
        let room = usize::try_from(self.settings.policy.max_active_orders).unwrap_or(usize::MAX);
        if live.orders.len() >= room {
            return refuse(OperatorRefusal::RiderBusy("as many orders in hand as the policy allows"));
        }
        let carried = live.orders.iter().filter_map(|held| self.orders.get(held)).map(|held| held.spec.size_units);
        if carried.fold(wanted.spec.size_units, u32::saturating_add) > live.profile.capacity_units {
            return refuse(OperatorRefusal::RiderUnfit("not enough room"));
        }
        if !force && wanted.spec.vehicle_need.is_some_and(|need| live.profile.vehicle < need) {
            return refuse(OperatorRefusal::RiderUnfit("the vehicle is too small"));
        }
        if !force && !live.profile.tags.cover(&wanted.spec.needs_tags) {
            return refuse(OperatorRefusal::RiderUnfit("a tag that the order needs is missing"));
        }
        Ok(())
    }

    /// The open offer of another order that a rider has.
    fn offer_elsewhere(&self, order: OrderId, rider: RiderId) -> Option<(OfferId, OrderId)> {
        let offer = self.riders.get(&rider)?.offer?;
        let other = *self.offers.get(&offer)?.orders.first()?;
        (other != order).then_some((offer, other))
    }

    /// Takes another order's offer back, and does what was asked once that is stored. Once only: what the journal
    /// refuses, the operator may ask again.
    fn displace(&mut self, now: Timestamp, ask: Ask, offer: OfferId, other: OrderId, displaced: bool) {
        let reply = ask.reply;
        if displaced {
            return self.refuse(reply, Refusal::StorageBusy);
        }
        // While the other order has a write with the journal (the offer itself, say), its answer comes first.
        let closes = self.orders.get(&other).is_some_and(|live| !live.pending);
        if closes {
            self.close_offer(now, offer, OfferState::Withdrawn, None, "assigned_elsewhere", None);
        }
        match self.defer(other, reply, ask.into_command()) {
            // An open offer stands with its order, so there is something to wait for.
            Some(_) => self.refuse(reply, Refusal::OrderBusy),
            None if closes => {
                self.displacing.insert(reply);
            }
            None => {}
        }
    }

    fn unassign(&mut self, now: Timestamp, ask: Ask) {
        let Some(live) = self.orders.get(&ask.order) else { return self.refuse_gone(ask.order, ask.reply) };
        if live.state.status.is_carried() {
            return self.refuse(ask.reply, Refusal::PickedUp);
        }
        let Some(rider) = live.state.rider else {
            let outcome = receipt(live);
            return self.reply(ask.reply, Ok(outcome));
        };
        let mut next = live.state.clone();
        next.status = live.waiting_status(now);
        next.rider = None;
        next.assigned_at = None;
        next.due_at = None;
        let particulars = data([("rider", rider.to_string().into())]);
        self.write_operation(
            now,
            ask,
            "unassigned",
            next,
            Some(rider),
            particulars,
            Deed::Unassigned { rider },
            vec![],
        );
    }

    fn set_priority(&mut self, now: Timestamp, ask: Ask, level: Priority) {
        let Some(live) = self.orders.get(&ask.order) else { return self.refuse_gone(ask.order, ask.reply) };
        if live.state.status.is_carried() {
            return self.refuse(ask.reply, Refusal::PickedUp);
        }
        if live.state.priority == level {
            let outcome = receipt(live);
            return self.reply(ask.reply, Ok(outcome));
        }
        let mut next = live.state.clone();
        next.priority = level;
        let particulars = data([("from", live.state.priority.level().into()), ("to", level.level().into())]);
        self.write_operation(now, ask, "priority_changed", next, None, particulars, Deed::Prioritised, vec![]);
    }

    /// Writes an operator's action down: the change, its event, and the line of the audit log.
    #[expect(clippy::too_many_arguments, reason = "an action is exactly these parts, stored together")]
    pub(super) fn write_operation(
        &mut self,
        now: Timestamp,
        ask: Ask,
        kind: &'static str,
        next: OrderState,
        rider: Option<RiderId>,
        particulars: Map<String, Value>,
        deed: Deed,
        withdrawn: Vec<OfferRecord>,
    ) {
        let Ask { order, action, by, reason, given, reply } = ask;
        let mut events = Vec::new();
        if let Deed::Assigned { from: Some(from), .. } = deed {
            // Nobody has an order of another rider's: it is let go first, in the same write.
            let particulars = data([("rider", from.to_string().into())]);
            events.push(EventDraft {
                reason: Some(reason.clone()),
                data: particulars,
                ..EventDraft::new("unassigned", by.clone())
            });
        }
        events.push(EventDraft {
            reason: Some(reason.clone()),
            data: particulars.clone(),
            ..EventDraft::new(kind, by.clone())
        });
        let audit = self.audit(now, &by, action.as_str(), rider, Some(reason), particulars);
        let then = Then::Operated { deed, withdrawn: withdrawn.clone(), reply: Some(reply) };
        let change = Change::new(next, events, then);
        self.write_change(now, order, Change { offers: withdrawn, audit, idempotency: given.idempotency, ..change });
    }

    /// An operator's action is stored: whoever it concerns is told, and the operator last.
    pub(super) fn operation_stored(
        &mut self,
        now: Timestamp,
        order: OrderId,
        deed: Deed,
        withdrawn: Vec<OfferRecord>,
        reply: Option<ReplyTo>,
    ) {
        match deed {
            Deed::Assigned { rider, from } => self.assignment_stored(now, order, rider, from, withdrawn),
            Deed::Unassigned { rider } => self.take_back_stored(now, order, rider),
            Deed::Held => {
                self.withdrawals_stored(now, withdrawn, "held");
                self.hold_stored(now, order);
            }
            Deed::Released { resumed: false } => self.search_again(order),
            Deed::Released { resumed: true } => self.search_resumed(order),
            Deed::Prioritised => self.priority_stored(order),
        }
        let outcome = self.orders.get(&order).map(receipt);
        if let (Some(reply), Some(outcome)) = (reply, outcome) {
            self.reply(reply, Ok(outcome));
        }
    }

    /// An operator's action is not stored: nothing of it was done but to keep a rider free.
    pub(super) fn undo_operation(&mut self, now: Timestamp, deed: Deed) {
        if let Deed::Assigned { rider, .. } = deed {
            if let Some(live) = self.riders.get_mut(&rider) {
                live.reserved = None;
            }
            self.work_finished(now, rider);
        }
    }

    fn assignment_stored(
        &mut self,
        now: Timestamp,
        order: OrderId,
        rider: RiderId,
        from: Option<RiderId>,
        withdrawn: Vec<OfferRecord>,
    ) {
        let status = OrderStatus::Assigned;
        if let Some(from) = from {
            self.release_rider(now, from, order);
            self.notify(from, Notice::OrderChanged { job: None, order, status, why: "reassigned" });
        }
        if let Some(live) = self.riders.get_mut(&rider) {
            live.reserved = None;
            live.ignored = 0;
            live.orders.push(order);
            live.plan.extend([StopKind::Pickup, StopKind::Drop].map(|kind| PlanStop { kind, order }));
        }
        self.withdrawals_stored(now, withdrawn, TAKEN);
        self.leave_queue(order);
        if let Some(live) = self.orders.get_mut(&order) {
            live.forget_refusals();
            live.exhausted_since = None;
            if let Some(at) = live.spec.dispatch_at {
                self.scheduled.remove(&(at, order));
            }
            if let Some(due) = live.state.due_at.filter(|_| from.is_none()) {
                self.out.push(Effect::Measure(Measure::DueToAssigned(now.since(due))));
            }
        }
        self.plan_changed(now, rider);
        let job = self.job_view(order).map(Box::new);
        self.notify(rider, Notice::OrderChanged { job, order, status, why: "assigned_by_operator" });
    }

    fn priority_stored(&mut self, order: OrderId) {
        let Some(live) = self.orders.get(&order) else { return };
        if let Some(urgency) = self.queue.urgency(order) {
            let urgency = Urgency::new(live.state.priority, urgency.leave_by, urgency.slack_ms);
            self.touched.queue |= self.queue.put(order, urgency);
        }
        self.touch_order(order);
    }

    /// Refuses an action that does not fit where its order stands.
    pub(super) fn refuse_status(&mut self, ask: &Ask) {
        let Some(live) = self.orders.get(&ask.order) else { return self.refuse_gone(ask.order, ask.reply) };
        let (status, version) = (live.state.status, live.state.version);
        let action = ask.action.as_str();
        self.refuse(ask.reply, Refusal::Operator(OperatorRefusal::WrongStatus { action, status, version }));
    }
}
