//! Offers: one open offer per rider and per order; the row is stored before the device sees it.

use crate::domain::{
    duty::Duty,
    ids::{OfferId, OrderId, ReplyTo, RiderId, SessionId, TransitionId},
    order::{Actor, OfferState, OrderStatus},
    time::Timestamp,
};

use super::{
    city::{City, Remembered},
    command::{Answer, Command, Outcome, Refusal},
    effect::{Effect, Measure, Notice, OfferRecord, Write},
    matching::Decision,
    orders::{EventDraft, data},
    state::{ClosedOffer, Pending, PlanStop, Then},
    view::StopKind,
};

impl City {
    /// Asks a rider: reserves both sides and stores the offer; the device hears of it after the commit.
    pub(super) fn open_offer(&mut self, now: Timestamp, decision: Decision) {
        let Decision::Propose { order, rider, distance_m, eta, .. } = decision else { return };
        let offer = OfferId(self.ids.next(now));
        let hard_cap_at = now + self.settings.policy.offer_hard_cap();
        let Some(live) = self.orders.get_mut(&order) else { return };
        let record = OfferRecord {
            id: offer,
            job: live.job(),
            rider,
            orders: vec![order],
            state: OfferState::Sent,
            round: live.state.round,
            reason: None,
            payout_minor: live.spec.payout_minor,
            currency: live.spec.currency,
            pickup_eta: eta,
            pickup_distance_m: distance_m,
            sent_at: now,
            seen_at: None,
            hard_cap_at,
            closed_at: None,
        };
        live.offers.push(offer);
        live.exhausted_since = None;
        let mut next = live.state.clone();
        next.status = OrderStatus::Offered;
        next.offers_tried += 1;
        let event = EventDraft {
            data: data([
                ("offer", offer.to_string().into()),
                ("rider", rider.to_string().into()),
                ("pickup_eta_ms", u64::try_from(eta.as_millis()).unwrap_or(u64::MAX).into()),
                ("distance_m", distance_m.round().into()),
                ("round", record.round.into()),
            ]),
            ..EventDraft::new("offered", Actor::ENGINE)
        };
        if let Some(live) = self.riders.get_mut(&rider) {
            live.offer = Some(offer);
        }
        self.offers.insert(offer, record.clone());
        self.watch_offer(now, offer);
        self.reindex(now, rider);
        self.write_order(now, order, next, vec![event], vec![record], Then::Offered { offers: vec![offer] });
    }

    /// The offer is stored: the device may see it, if the rider still wants work.
    pub(super) fn offer_stored(&mut self, now: Timestamp, offer: OfferId) {
        let Some(rider) = self.offers.get(&offer).map(|record| record.rider) else { return };
        if !self.is_willing(rider) {
            // Taken back by `withdraw_if_unwilling`, as soon as this commit is dealt with.
            return;
        }
        if self.riders.get(&rider).is_some_and(|live| !self.is_fresh(now, live)) {
            // The journal took its time, and the rider fell silent meanwhile.
            return self.close_offer(now, offer, OfferState::Withdrawn, None, "stale", None);
        }
        if let Some(view) = self.offer_view(now, offer) {
            self.notify(rider, Notice::Offer(Box::new(view)));
        }
        self.touch_rider(rider);
    }

    /// Whether a rider wants work and may work.
    fn is_willing(&self, rider: RiderId) -> bool {
        self.riders
            .get(&rider)
            .is_some_and(|live| live.duty == Duty::On && live.next_duty.is_none() && live.profile.may_work())
    }

    /// Takes an open offer back whose rider went off duty, or was barred, while the journal had a write of its order.
    pub(super) fn withdraw_if_unwilling(&mut self, now: Timestamp, order: OrderId) {
        let Some(live) = self.orders.get(&order).filter(|live| !live.pending) else { return };
        let unwilling = |offer: &&OfferId| self.offers.get(offer).is_some_and(|record| !self.is_willing(record.rider));
        // One at a time: the next one follows the commit of the first.
        if let Some(offer) = live.offers.iter().find(unwilling).copied() {
            self.close_offer(now, offer, OfferState::Withdrawn, None, "off_duty", None);
        }
    }

    /// Whether the offer itself is still on its way to the journal.
    pub(super) fn is_uncommitted(&self, offer: OfferId) -> bool {
        self.pending
            .values()
            .any(|pending| matches!(&pending.then, Then::Offered { offers } if offers.contains(&offer)))
    }

    /// Whether an acceptance of the rider's open offer is with the journal.
    pub(super) fn is_accepting(&self, rider: RiderId) -> bool {
        let Some(offer) = self.riders.get(&rider).and_then(|live| live.offer) else { return false };
        self.pending.values().any(|pending| matches!(pending.then, Then::Accepted { offer: id, .. } if id == offer))
    }

    pub(super) fn offer_seen(
        &mut self,
        now: Timestamp,
        rider: RiderId,
        session: SessionId,
        offer: OfferId,
        reply: ReplyTo,
    ) {
        if !self.hear(now, rider, session) {
            return self.refuse(reply, Refusal::Superseded);
        }
        let ttl = self.settings.policy.offer_ttl();
        let Some(record) = self.offers.get_mut(&offer).filter(|record| record.rider == rider) else {
            return self.refuse_closed(rider, offer, reply);
        };
        let first = record.seen_at.is_none();
        if first {
            record.seen_at = Some(now);
            record.state = OfferState::Seen;
        }
        let (record, due) = (record.clone(), record.answer_due(ttl));
        if first {
            self.watch_offer(now, offer);
            let transition = TransitionId(self.ids.next(now));
            self.pending.insert(transition, Pending { change: None, then: Then::Noted });
            self.out.push(Effect::Persist(Box::new(Write::Offer { transition, offer: record })));
        }
        let expires_in_ms = u64::try_from(due.since(now).as_millis()).unwrap_or(u64::MAX);
        self.reply(reply, Ok(Outcome::OfferSeen { expires_in_ms }));
    }

    pub(super) fn answer_offer(
        &mut self,
        now: Timestamp,
        rider: RiderId,
        session: SessionId,
        offer: OfferId,
        answer: Answer,
        reply: ReplyTo,
    ) {
        if !self.hear(now, rider, session) {
            return self.refuse(reply, Refusal::Superseded);
        }
        let Some(order) =
            self.offers.get(&offer).filter(|record| record.rider == rider).and_then(|record| record.orders.first())
        else {
            return self.answer_closed(rider, offer, &answer, reply);
        };
        let order = *order;
        let command = Command::AnswerOffer { rider, session, offer, answer, reply };
        let Some(Command::AnswerOffer { answer, .. }) = self.defer(order, reply, command) else { return };
        match answer {
            Answer::Decline { reason } => {
                self.close_offer(now, offer, OfferState::Declined, Some(reason), "declined", Some(reply));
            }
            Answer::Accept => self.accept(now, offer, order, session, reply),
        }
    }

    fn accept(&mut self, now: Timestamp, offer: OfferId, order: OrderId, session: SessionId, reply: ReplyTo) {
        let ttl = self.settings.policy.offer_ttl();
        let Some(record) = self.offers.get(&offer) else { return };
        if record.answer_due(ttl) <= now {
            // The tick has not come by yet, but the time is over.
            self.refuse(reply, Refusal::OfferClosed(OfferState::Expired));
            return self.close_offer(now, offer, OfferState::Expired, None, "expired", None);
        }
        let Some(live) = self.orders.get(&order) else { return };
        let mut record = record.clone();
        record.state = OfferState::Accepted;
        record.closed_at = Some(now);
        let mut next = live.state.clone();
        next.status = OrderStatus::Assigned;
        next.rider = Some(record.rider);
        next.assigned_at = Some(now);
        let event = EventDraft {
            data: data([("offer", offer.to_string().into()), ("payout_minor", record.payout_minor.into())]),
            ..EventDraft::new("assigned", Actor::rider(record.rider))
        };
        let mut others = self.withdrawals(now, order, "taken");
        others.retain(|other| other.id != offer);
        let records = std::iter::once(record).chain(others.iter().cloned()).collect();
        self.write_order(now, order, next, vec![event], records, Then::Accepted { offer, others, session, reply });
    }

    /// The acceptance is stored: the job is the rider's.
    pub(super) fn accept_stored(
        &mut self,
        now: Timestamp,
        order: OrderId,
        offer: OfferId,
        session: SessionId,
        reply: ReplyTo,
    ) {
        let Some(record) = self.offers.remove(&offer) else { return };
        let rider = record.rider;
        self.remember_offer(now, OfferRecord { state: OfferState::Accepted, closed_at: Some(now), ..record });
        self.measure(Measure::OfferClosed(OfferState::Accepted));
        if let Some(live) = self.orders.get_mut(&order) {
            live.offers.retain(|open| *open != offer);
            live.refusals.clear();
            if let Some(due) = live.state.due_at {
                self.out.push(Effect::Measure(Measure::DueToAssigned(now.since(due))));
            }
        }
        if let Some(live) = self.riders.get_mut(&rider) {
            live.offer = None;
            live.orders.push(order);
            live.plan.push(PlanStop { kind: StopKind::Pickup, order });
            live.plan.push(PlanStop { kind: StopKind::Drop, order });
        }
        self.leave_queue(order);
        self.reindex(now, rider);
        let Some(job) = self.job_view(order) else { return };
        if self.riders.get(&rider).is_some_and(|live| live.session != Some(session)) {
            // Whoever accepted is gone, and the session that came after it was shown an open offer.
            let (job, status) = (Some(Box::new(job.clone())), OrderStatus::Assigned);
            self.notify(rider, Notice::OrderChanged { job, order, status, why: "assigned" });
        }
        self.reply(reply, Ok(Outcome::Accepted(Box::new(job))));
    }

    /// Ends an open offer otherwise than by acceptance. Does nothing while the journal has a write of its order: what
    /// ends it then comes again (a tick, a commit).
    pub(super) fn close_offer(
        &mut self,
        now: Timestamp,
        offer: OfferId,
        state: OfferState,
        reason: Option<String>,
        why: &'static str,
        reply: Option<ReplyTo>,
    ) {
        let Some(record) = self.offers.get(&offer) else { return };
        let Some(order) = record.orders.first().copied() else { return };
        let mut record = record.clone();
        let Some(live) = self.orders.get(&order).filter(|live| !live.pending) else { return };
        let mut next = live.state.clone();
        if live.offers.len() <= 1 {
            next.status = OrderStatus::Queued;
        }
        record.state = state;
        record.closed_at = Some(now);
        record.reason = Some(reason.unwrap_or_else(|| why.to_owned()));
        let (kind, actor) = match state {
            OfferState::Declined => ("offer_declined", Actor::rider(record.rider)),
            OfferState::Expired => ("offer_expired", Actor::ENGINE),
            _ => ("offer_withdrawn", Actor::ENGINE),
        };
        let event = EventDraft {
            reason: record.reason.clone(),
            data: data([
                ("offer", offer.to_string().into()),
                ("rider", record.rider.to_string().into()),
                ("seen", record.seen_at.is_some().into()),
            ]),
            ..EventDraft::new(kind, actor)
        };
        let then = Then::OfferOver { record: Box::new(record.clone()), why, reply };
        self.write_order(now, order, next, vec![event], vec![record], then);
    }

    /// The end of an offer is stored: rider and order are free again, and know of each other's refusal.
    pub(super) fn offer_over(
        &mut self,
        now: Timestamp,
        record: OfferRecord,
        why: &'static str,
        reply: Option<ReplyTo>,
    ) {
        self.note_refusal(now, now, &record);
        for order in &record.orders {
            if let Some(live) = self.orders.get_mut(order) {
                live.offers.retain(|open| *open != record.id);
            }
        }
        self.release_offer(now, record.rider, record.id);
        match reply {
            Some(reply) => self.reply(reply, Ok(Outcome::Declined)),
            None => self.notify(record.rider, Notice::OfferClosed { offer: record.id, state: record.state, why }),
        }
        self.measure(Measure::OfferClosed(record.state));
        self.remember_offer(now, record);
    }

    /// An offer was closed at a time: its rider is not asked for its orders again for a while, or until the next round.
    pub(super) fn note_refusal(&mut self, now: Timestamp, closed: Timestamp, record: &OfferRecord) {
        let policy = &self.settings.policy;
        let until = match (record.state, record.seen_at) {
            // Asked again only in a new round.
            (OfferState::Declined, _) => Timestamp::FAR_FUTURE,
            (OfferState::Expired, Some(_)) => closed + std::time::Duration::from_secs(policy.ignored_cooldown_s.into()),
            (OfferState::Expired, None) => closed + std::time::Duration::from_secs(policy.unseen_cooldown_s.into()),
            _ => closed,
        };
        for order in record.orders.iter().filter(|_| until > now) {
            if let Some(live) = self.orders.get_mut(order) {
                live.refusals.insert(record.rider, until);
            }
        }
    }

    /// Every open offer of an order, taken back: to be stored with whatever ends them.
    pub(super) fn withdrawals(&self, now: Timestamp, order: OrderId, why: &'static str) -> Vec<OfferRecord> {
        let open = self.orders.get(&order).map_or(&[][..], |live| &live.offers);
        let taken_back = |record: &OfferRecord| OfferRecord {
            state: OfferState::Withdrawn,
            closed_at: Some(now),
            reason: Some(why.to_owned()),
            ..record.clone()
        };
        open.iter().filter_map(|offer| self.offers.get(offer)).map(taken_back).collect()
    }

    /// Offers that were taken back are stored so: their riders are told, and free again.
    pub(super) fn withdrawals_stored(&mut self, now: Timestamp, records: Vec<OfferRecord>, why: &'static str) {
        for record in records {
            let (rider, offer, state) = (record.rider, record.id, record.state);
            self.remember_offer(now, record);
            self.forget_offer(now, offer);
            self.notify(rider, Notice::OfferClosed { offer, state, why });
            self.measure(Measure::OfferClosed(state));
        }
    }

    /// Takes an offer that is over, or never was, out of its orders' and its rider's hands.
    pub(super) fn forget_offer(&mut self, now: Timestamp, offer: OfferId) {
        let Some(record) = self.offers.get(&offer) else { return };
        let rider = record.rider;
        for order in &record.orders {
            if let Some(live) = self.orders.get_mut(order) {
                live.offers.retain(|open| *open != offer);
            }
        }
        self.release_offer(now, rider, offer);
    }

    /// Frees the rider of an offer that is over.
    pub(super) fn release_offer(&mut self, now: Timestamp, rider: RiderId, offer: OfferId) {
        self.offers.remove(&offer);
        if let Some(live) = self.riders.get_mut(&rider).filter(|live| live.offer == Some(offer)) {
            live.offer = None;
        }
        self.work_finished(now, rider);
    }

    pub(super) fn remember_offer(&mut self, now: Timestamp, record: OfferRecord) {
        self.memory.push_back((now, Remembered::Offer(record.id)));
        self.closed_offers.insert(record.id, ClosedOffer { record });
    }

    /// The answer to an offer that is closed: the first answer again, or how it ended.
    fn answer_closed(&mut self, rider: RiderId, offer: OfferId, answer: &Answer, reply: ReplyTo) {
        let Some(record) =
            self.closed_offers.get(&offer).map(|closed| &closed.record).filter(|record| record.rider == rider)
        else {
            return self.refuse(reply, Refusal::UnknownOffer);
        };
        let state = record.state;
        let job = record
            .orders
            .first()
            .filter(|order| self.orders.get(order).is_some_and(|live| live.state.rider == Some(rider)))
            .and_then(|order| self.job_view(*order));
        let result = match (answer, state, job) {
            (Answer::Accept, OfferState::Accepted, Some(job)) => Ok(Outcome::Accepted(Box::new(job))),
            (Answer::Decline { .. }, OfferState::Declined, _) => Ok(Outcome::Declined),
            _ => Err(Refusal::OfferClosed(state)),
        };
        self.reply(reply, result);
    }

    fn refuse_closed(&mut self, rider: RiderId, offer: OfferId, reply: ReplyTo) {
        let refusal = self
            .closed_offers
            .get(&offer)
            .filter(|closed| closed.record.rider == rider)
            .map_or(Refusal::UnknownOffer, |closed| Refusal::OfferClosed(closed.record.state));
        self.refuse(reply, refusal);
    }
}
