//! Orders come in, change and are called off; every change is written down before anyone is told.

use serde_json::{Map, Value};

use crate::domain::{
    city::CityStatus,
    ids::{OrderId, ReplyTo, RiderId, TransitionId},
    order::{Actor, Custody, OrderSpec, OrderStatus},
    steering::Priority,
    time::Timestamp,
    wallet::Posting,
};

use super::{
    change::Change,
    city::{City, Remembered},
    command::{Command, Conditions, Outcome, PlacementExtras, Refusal},
    counts::OrderShare,
    effect::{Effect, Measure, Notice, OfferRecord, OrderEvent, OrderState, PlaceWrite, Write},
    order_queue::Urgency,
    state::{EndedOrder, LiveOrder, Pending, Then},
    view::WaitReason,
};

/// An event before it has its number.
pub(super) struct EventDraft {
    pub kind: &'static str,
    pub actor: Actor,
    pub reason: Option<String>,
    pub data: Map<String, Value>,
}

impl EventDraft {
    pub fn new(kind: &'static str, actor: Actor) -> Self {
        Self { kind, actor, reason: None, data: Map::new() }
    }
}

/// Particulars of an event.
pub(super) fn data<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

impl City {
    pub(super) fn place(
        &mut self,
        now: Timestamp,
        spec: OrderSpec,
        extras: PlacementExtras,
        actor: Actor,
        reply: ReplyTo,
    ) {
        if self.settings.status != CityStatus::Live {
            return self.refuse(reply, Refusal::CityPaused);
        }
        for (place, name) in [(&spec.pickup, "pickup"), (&spec.drop, "drop")] {
            if !self.settings.boundary.contains(place.position) {
                return self.refuse(reply, Refusal::OutsideCity(name));
            }
        }
        let bound = usize::try_from(self.settings.policy.max_waiting_orders).unwrap_or(usize::MAX);
        if self.queue.len() + self.scheduled.len() + self.placing >= bound {
            return self.refuse(reply, Refusal::CityFull("orders"));
        }
        let status = spec.first_status();
        let mut kinds = vec![EventDraft::new("placed", actor)];
        if status == OrderStatus::Queued {
            kinds.push(EventDraft::new("queued", Actor::ENGINE));
        }
        let mut state = OrderState {
            status,
            version: 1,
            next_seq: 1,
            rider: None,
            custody: Custody::Store,
            ready_at: spec.ready_at,
            due_at: None,
            assigned_at: None,
            picked_up_at: None,
            delivered_at: None,
            ended_at: None,
            end_reason: None,
            round: 0,
            offers_tried: 0,
            updated_at: now,
            payout_minor: None,
            parked: false,
            hold: None,
            priority: Priority::default(),
        };
        let events = number_events(&mut state, now, kinds);
        let transition = TransitionId(self.ids.next(now));
        let order = Box::new(self.live_order(spec.clone(), state.clone()));
        self.placing += 1;
        self.pending.insert(transition, Pending { change: None, then: Then::Placed { order, reply } });
        let write = PlaceWrite { transition, spec, state, events, extras };
        self.out.push(Effect::Persist(Box::new(Write::Place(write))));
    }

    /// A live record with its slack: from the earliest possible delivery (ready, then straight to the drop by
    /// motorcycle, the commonest vehicle) to the promise.
    pub(super) fn live_order(&self, spec: OrderSpec, state: OrderState) -> LiveOrder {
        let ride = self.brain.eta.travel_time(
            &self.settings.policy,
            spec.vehicle_need.unwrap_or(crate::domain::rider::Vehicle::Motorcycle),
            spec.pickup.position.distance_m(spec.drop.position),
        );
        let slack_ms = spec.promise_at.millis_since(state.ready_at + ride);
        let wait = if state.status == OrderStatus::Placed { WaitReason::Scheduled } else { WaitReason::NotDue };
        LiveOrder {
            spec,
            state,
            pending: false,
            offers: Vec::new(),
            refusals: std::collections::BTreeMap::new(),
            wait,
            exhausted_since: None,
            slack_ms,
            counted: OrderShare::default(),
            write: None,
            declined: std::collections::BTreeMap::new(),
            asked_at: None,
            explained: None,
            explained_at: None,
            otp_tries: 0,
        }
    }

    /// The placement is stored: the order joins the city.
    pub(super) fn placement_stored(&mut self, live: LiveOrder, reply: ReplyTo) {
        let (order, outcome) = (live.spec.id, receipt(&live));
        self.orders.insert(order, live);
        self.enter_line(order);
        self.reply(reply, Ok(outcome));
    }

    /// Puts a waiting order where it belongs: among the scheduled ones or into the queue.
    pub(super) fn enter_line(&mut self, order: OrderId) {
        let Some(live) = self.orders.get(&order) else { return };
        match (live.state.status, live.spec.dispatch_at) {
            (OrderStatus::Placed, Some(at)) => {
                self.scheduled.insert((at, order));
            }
            _ => {
                let lead = std::time::Duration::from_secs(self.settings.policy.default_lead_s.into());
                let leave_by = live.state.due_at.unwrap_or(live.state.ready_at - lead);
                let urgency = Urgency::new(live.state.priority, leave_by, live.slack_ms);
                self.touched.queue |= self.queue.put(order, urgency);
            }
        }
        self.touch_order(order);
    }

    pub(super) fn leave_queue(&mut self, order: OrderId) {
        self.touched.queue |= self.queue.remove(order);
        self.touch_order(order);
    }

    /// Sends a transition of an order to the journal; its second half runs when the answer comes.
    pub(super) fn write_order(
        &mut self,
        now: Timestamp,
        order: OrderId,
        next: OrderState,
        events: Vec<EventDraft>,
        offers: Vec<OfferRecord>,
        then: Then,
    ) {
        self.write_order_with_money(now, order, next, events, offers, Vec::new(), then);
    }

    #[expect(clippy::too_many_arguments, reason = "a transition is exactly these parts, stored together")]
    pub(super) fn write_order_with_money(
        &mut self,
        now: Timestamp,
        order: OrderId,
        next: OrderState,
        events: Vec<EventDraft>,
        offers: Vec<OfferRecord>,
        postings: Vec<Posting>,
        then: Then,
    ) {
        self.write_change(now, order, Change { offers, postings, ..Change::new(next, events, then) });
    }

    pub(super) fn cancel(
        &mut self,
        now: Timestamp,
        order: OrderId,
        actor: Actor,
        reason: String,
        given: Conditions,
        reply: ReplyTo,
    ) {
        let command = Command::Cancel { order, actor, reason, reply, given };
        let Some(Command::Cancel { actor, reason, given, .. }) = self.defer(order, reply, command) else { return };
        if self.refuse_moved(order, &given, reply) {
            return;
        }
        let Some(live) = self.orders.get(&order) else { return self.cancel_gone(order, reply) };
        let mut next = live.state.clone();
        next.hold = None;
        let rider = live.state.rider;
        let mut event = EventDraft { reason: Some(reason.clone()), ..EventDraft::new("cancelled", actor.clone()) };
        let mut withdrawn = Vec::new();
        match (live.state.status, live.state.custody) {
            (OrderStatus::Returning, _) => {
                let outcome = receipt(live);
                return self.reply(reply, Ok(outcome));
            }
            // Somebody stands in the street with the goods: they must be taken over before anything else.
            (_, Custody::Handover { .. }) => return self.refuse(reply, Refusal::PickedUp),
            (status, _) if status.is_carried() => {
                // The rider holds the goods: they go back.
                next.status = OrderStatus::Returning;
                next.end_reason = Some(reason.clone());
                event.kind = "cancelled_after_pickup";
            }
            _ => {
                next.status = OrderStatus::Cancelled;
                next.ended_at = Some(now);
                next.end_reason = Some(reason.clone());
                withdrawn = self.withdrawals(now, order, "order_cancelled");
            }
        }
        let audit = self.audit(now, &actor, "cancel", rider, Some(reason), Map::new());
        let then = Then::Cancelled { withdrawn: withdrawn.clone(), reply };
        let change = Change::new(next, vec![event], then);
        self.write_change(now, order, Change { offers: withdrawn, audit, idempotency: given.idempotency, ..change });
    }

    /// The cancellation is stored: whoever had the order is told.
    pub(super) fn cancel_stored(
        &mut self,
        now: Timestamp,
        order: OrderId,
        withdrawn: Vec<OfferRecord>,
        reply: ReplyTo,
    ) {
        let Some(live) = self.orders.get(&order) else { return };
        let (outcome, status, rider) = (receipt(live), live.state.status, live.state.rider);
        self.withdrawals_stored(now, withdrawn, "order_cancelled");
        if status == OrderStatus::Returning {
            if let Some(rider) = rider {
                self.plan_return(rider, order);
                self.plan_changed(now, rider);
                let job = self.job_view(order).map(Box::new);
                self.notify(rider, Notice::OrderChanged { job, order, status, why: "cancelled" });
            }
        } else {
            if let Some(rider) = rider {
                self.notify(rider, Notice::OrderChanged { job: None, order, status, why: "cancelled" });
            }
            self.end_order(now, order);
        }
        self.reply(reply, Ok(outcome));
    }

    pub(super) fn change_ready(
        &mut self,
        now: Timestamp,
        order: OrderId,
        ready_at: Timestamp,
        actor: Actor,
        given: Conditions,
        reply: ReplyTo,
    ) {
        let command = Command::ChangeReady { order, ready_at, actor, reply, given };
        let Some(Command::ChangeReady { actor, given, .. }) = self.defer(order, reply, command) else { return };
        if self.refuse_moved(order, &given, reply) {
            return;
        }
        let Some(live) = self.orders.get(&order) else { return self.refuse_gone(order, reply) };
        let ready_at = ready_at.max(live.spec.placed_at);
        if live.state.ready_at == ready_at {
            // Also after the pickup: who says the same again had a good answer the first time.
            let outcome = receipt(live);
            return self.reply(reply, Ok(outcome));
        }
        if live.state.custody != Custody::Store {
            return self.refuse(reply, Refusal::PickedUp);
        }
        let mut next = live.state.clone();
        let rider = live.state.rider;
        let particulars = data([("from", live.state.ready_at.to_string().into()), ("to", ready_at.to_string().into())]);
        let event = EventDraft { data: particulars.clone(), ..EventDraft::new("ready_changed", actor.clone()) };
        next.ready_at = ready_at;
        if live.state.status.is_waiting() {
            // Nobody is on the way, though one may have been asked: when a rider must leave is found anew.
            next.due_at = None;
        }
        let audit = self.audit(now, &actor, "ready", rider, None, particulars);
        let change = Change::new(next, vec![event], Then::ReadyChanged { reply });
        self.write_change(now, order, Change { audit, idempotency: given.idempotency, ..change });
    }

    /// The new ready time is stored.
    pub(super) fn ready_stored(&mut self, now: Timestamp, order: OrderId, reply: ReplyTo) {
        let Some(live) = self.orders.get_mut(&order) else { return };
        let (outcome, status, rider) = (receipt(live), live.state.status, live.state.rider);
        if status.is_waiting() && live.wait != WaitReason::Scheduled {
            (live.wait, live.exhausted_since) = (WaitReason::NotDue, None);
        }
        if self.queue.contains(order) {
            self.enter_line(order);
        }
        if let Some(rider) = rider {
            self.plan_changed(now, rider);
            let job = self.job_view(order).map(Box::new);
            self.notify(rider, Notice::OrderChanged { job, order, status, why: "ready_changed" });
        }
        self.reply(reply, Ok(outcome));
    }

    /// Takes an ended order out of everything that knows it, and frees its rider.
    pub(super) fn end_order(&mut self, now: Timestamp, order: OrderId) {
        let Some(live) = self.orders.remove(&order) else { return };
        self.uncount_order(&live);
        let status = live.state.status;
        self.touched.queue |= self.queue.remove(order);
        if let Some(at) = live.spec.dispatch_at {
            self.scheduled.remove(&(at, order));
        }
        self.touched.orders.remove(&order);
        self.touched.ended.push((order, status));
        if status == OrderStatus::Delivered {
            self.delivered += 1;
        } else {
            self.ended_otherwise += 1;
        }
        self.measure(Measure::OrderEnded(status));
        self.memory.push_back((now, Remembered::Order(order)));
        let remembered = EndedOrder { status, version: live.state.version, rider: live.state.rider };
        self.ended_orders.insert(order, remembered);
        self.remember_claims(now, order, &live.state);
        if let Some(rider) = live.state.rider {
            self.release_rider(now, rider, order);
        }
    }

    /// Takes an order out of a rider's hands.
    pub(super) fn release_rider(&mut self, now: Timestamp, rider: RiderId, order: OrderId) {
        if self.orders.contains_key(&order) {
            self.contested.lost(order, rider);
        }
        if let Some(live) = self.riders.get_mut(&rider) {
            live.orders.retain(|held| *held != order);
            live.plan.retain(|stop| stop.order != order);
        }
        self.look_ahead(rider);
        self.work_finished(now, rider);
    }

    /// A cancellation of an order that is not live here: what was called off stays called off, however often it is asked.
    fn cancel_gone(&mut self, order: OrderId, reply: ReplyTo) {
        match self.ended_orders.get(&order) {
            Some(EndedOrder { status: status @ OrderStatus::Cancelled, version, .. }) => {
                let outcome = Outcome::Order { order, status: *status, version: *version };
                self.reply(reply, Ok(outcome));
            }
            _ => self.refuse_gone(order, reply),
        }
    }

    /// The refusal for an order that is not live here.
    pub(super) fn refuse_gone(&mut self, order: OrderId, reply: ReplyTo) {
        let refusal =
            self.ended_orders.get(&order).map_or(Refusal::UnknownOrder, |ended| Refusal::OrderEnded(ended.status));
        self.refuse(reply, refusal);
    }
}

/// What a caller is told of an order.
pub(super) fn receipt(live: &LiveOrder) -> Outcome {
    Outcome::Order { order: live.spec.id, status: live.state.status, version: live.state.version }
}

/// Gives events their numbers and the order's version.
pub(super) fn number_events(state: &mut OrderState, now: Timestamp, drafts: Vec<EventDraft>) -> Vec<OrderEvent> {
    drafts
        .into_iter()
        .map(|draft| {
            let seq = state.next_seq;
            state.next_seq += 1;
            OrderEvent {
                seq,
                version: state.version,
                kind: draft.kind,
                actor: draft.actor,
                reason: draft.reason,
                data: draft.data,
                at: now,
            }
        })
        .collect()
}
