//! Offers: one open offer per rider, up to the policy's batch per order; the row is stored before the device sees it.

use crate::domain::{
    duty::Duty,
    ids::{OfferId, OrderId, ReplyTo, RiderId, SessionId},
    order::{Actor, OfferState, OrderStatus},
    time::Timestamp,
};

use super::{
    city::{City, Remembered},
    command::{Answer, Command, Outcome, Refusal},
    defects::Defect,
    effect::{Effect, Measure, Notice, OfferRecord},
    matching::{Candidate, Decision},
    orders::{EventDraft, data},
    state::{ClosedOffer, PlanStop, Then},
    view::StopKind,
};

/// Why offers are closed when another rider was faster.
pub(super) const TAKEN: &str = "taken";

impl City {
    /// Asks riders: reserves both sides and stores the offers; the devices hear of them after the commit.
    pub(super) fn open_offers(&mut self, now: Timestamp, decision: Decision) {
        let Decision::Propose { order, riders, .. } = decision else { return };
        let chosen: Vec<RiderId> = riders.iter().map(|candidate| candidate.rider).collect();
        let mut why = Some(self.explain_choice(now, order, &chosen));
        let Some(live) = self.orders.get(&order) else { return };
        let (payout_minor, bonus_minor) = (self.payout_now(live), self.payout_now(live) - live.spec.payout_minor);
        let mut next = live.state.clone();
        let (mut records, mut events) = (Vec::with_capacity(riders.len()), Vec::with_capacity(riders.len()));
        for Candidate { rider, distance_m, eta } in riders {
            let record = OfferRecord {
                id: OfferId(self.ids.next(now)),
                job: live.job(),
                rider,
                orders: vec![order],
                state: OfferState::Sent,
                round: live.state.round,
                reason: None,
                payout_minor,
                currency: live.spec.currency,
                pickup_eta: eta,
                pickup_distance_m: distance_m,
                sent_at: now,
                seen_at: None,
                hard_cap_at: now + self.settings.policy.offer_hard_cap(),
                closed_at: None,
                pay_policy_version: live.spec.pay_policy_version,
            };
            let mut particulars = data([
                ("offer", record.id.to_string().into()),
                ("rider", rider.to_string().into()),
                ("pickup_eta_ms", u64::try_from(eta.as_millis()).unwrap_or(u64::MAX).into()),
                ("distance_m", distance_m.round().into()),
                ("round", record.round.into()),
            ]);
            if bonus_minor > 0 {
                particulars.insert("bonus_minor".to_owned(), bonus_minor.into());
                particulars.insert("policy_version".to_owned(), self.settings.policy_version.into());
            }
            if let Some(why) = why.take() {
                // One explanation for all who are asked together.
                particulars.insert("why".to_owned(), why);
            }
            events.push(EventDraft { data: particulars, ..EventDraft::new("offered", Actor::ENGINE) });
            records.push(record);
        }
        next.status = OrderStatus::Offered;
        next.offers_tried += u32::try_from(records.len()).unwrap_or(u32::MAX);
        let offers: Vec<OfferId> = records.iter().map(|record| record.id).collect();
        if let Some(live) = self.orders.get_mut(&order) {
            live.offers.extend(&offers);
            live.exhausted_since = None;
            live.explained = None;
        }
        for record in &records {
            if let Some(live) = self.riders.get_mut(&record.rider) {
                live.offer = Some(record.id);
            }
            self.offers.insert(record.id, record.clone());
            self.watch_offer(now, record.id);
            self.reindex(now, record.rider);
        }
        self.write_order(now, order, next, events, records, Then::Offered { offers });
    }

    /// The offers are stored: the devices may see them, of riders who still want work.
    pub(super) fn offers_stored(&mut self, now: Timestamp, offers: Vec<OfferId>) {
        let mut stale = Vec::new();
        let mut order = None;
        for offer in offers {
            let Some(record) = self.offers.get(&offer) else { continue };
            let (rider, sent_at, over) = (record.rider, record.sent_at, record.hard_cap_at <= now);
            order = record.orders.first().copied();
            if let Some(live) = order.and_then(|order| self.orders.get_mut(&order)) {
                live.asked_at = Some(sent_at);
            }
            if !self.is_willing(rider) {
                // Taken back by `withdraw_if_unwilling`, as soon as this commit is dealt with.
                continue;
            }
            if over || self.riders.get(&rider).is_some_and(|live| !self.is_fresh(now, live)) {
                // The journal took its time: the offer's is over, or the rider fell silent meanwhile.
                stale.push(offer);
                continue;
            }
            if let Some(view) = self.offer_view(now, offer) {
                self.notify(rider, Notice::Offer(Box::new(view)));
            }
            self.wake_or_watch(now, offer);
            self.touch_rider(rider);
        }
        if let Some(order) = order {
            self.close_offers(now, order, &stale, OfferState::Withdrawn, None, "stale", None);
        }
    }

    /// Whether a rider wants work and may work.
    fn is_willing(&self, rider: RiderId) -> bool {
        self.riders
            .get(&rider)
            .is_some_and(|live| live.duty == Duty::On && live.next_duty.is_none() && live.profile.may_work())
    }

    /// Takes open offers back whose riders went off duty, or were barred, while the journal had a write of their order.
    pub(super) fn withdraw_if_unwilling(&mut self, now: Timestamp, order: OrderId) {
        let Some(live) = self.orders.get(&order).filter(|live| !live.pending) else { return };
        let unwilling = |offer: &&OfferId| self.offers.get(offer).is_some_and(|record| !self.is_willing(record.rider));
        let offers: Vec<OfferId> = live.offers.iter().filter(unwilling).copied().collect();
        self.close_offers(now, order, &offers, OfferState::Withdrawn, None, "off_duty", None);
    }

    /// Whether the offer itself is still on its way to the journal.
    pub(super) fn is_uncommitted(&self, offer: OfferId) -> bool {
        matches!(self.write_about(offer), Some(Then::Offered { offers }) if offers.contains(&offer))
    }

    /// Whether an acceptance of the rider's open offer, or an operator's assignment, is with the journal.
    pub(super) fn is_accepting(&self, rider: RiderId) -> bool {
        if self.riders.get(&rider).is_some_and(|live| live.reserved.is_some()) {
            return true;
        }
        let Some(offer) = self.riders.get(&rider).and_then(|live| live.offer) else { return false };
        matches!(self.write_about(offer), Some(Then::Accepted { offer: id, .. }) if *id == offer)
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
            self.note_offer(now, record);
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
        if answer == Answer::Accept && self.defects.has(Defect::AcceptsTwice) {
            return self.accept(now, offer, order, session, reply);
        }
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
        if !self.is_willing(record.rider) {
            // It is to be taken back, and the journal had no room for that yet.
            self.refuse(reply, Refusal::OfferClosed(OfferState::Withdrawn));
            return self.close_offer(now, offer, OfferState::Withdrawn, None, "off_duty", None);
        }
        let Some(live) = self.orders.get(&order) else { return };
        let mut record = record.clone();
        record.state = OfferState::Accepted;
        record.closed_at = Some(now);
        let mut next = live.state.clone();
        next.status = OrderStatus::Assigned;
        next.rider = Some(record.rider);
        next.assigned_at = Some(now);
        next.payout_minor = Some(record.payout_minor);
        let event = EventDraft {
            data: data([("offer", offer.to_string().into()), ("payout_minor", record.payout_minor.into())]),
            ..EventDraft::new("assigned", Actor::rider(record.rider))
        };
        let mut others = self.withdrawals(now, order, TAKEN);
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
            live.forget_refusals();
            if let Some(due) = live.state.due_at {
                self.out.push(Effect::Measure(Measure::DueToAssigned(now.since(due))));
            }
        }
        if let Some(live) = self.riders.get_mut(&rider) {
            live.offer = None;
            live.ignored = 0;
            live.orders.push(order);
            live.plan.push(PlanStop { kind: StopKind::Pickup, order });
            live.plan.push(PlanStop { kind: StopKind::Drop, order });
        }
        self.leave_queue(order);
        self.plan_changed(now, rider);
        let Some(job) = self.job_view(order) else { return };
        if self.riders.get(&rider).is_some_and(|live| live.session != Some(session)) {
            // Whoever accepted is gone, and the session that came after it was shown an open offer.
            let (job, status) = (Some(Box::new(job.clone())), OrderStatus::Assigned);
            self.notify(rider, Notice::OrderChanged { job, order, status, why: "assigned" });
        }
        self.reply(reply, Ok(Outcome::Accepted(Box::new(job))));
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
            _ => Err(closed_as(record)),
        };
        self.reply(reply, result);
    }

    fn refuse_closed(&mut self, rider: RiderId, offer: OfferId, reply: ReplyTo) {
        let refusal = self
            .closed_offers
            .get(&offer)
            .filter(|closed| closed.record.rider == rider)
            .map_or(Refusal::UnknownOffer, |closed| closed_as(&closed.record));
        self.refuse(reply, refusal);
    }
}

/// Why an offer that is closed cannot be answered.
fn closed_as(record: &OfferRecord) -> Refusal {
    let taken = record.state == OfferState::Withdrawn && record.reason.as_deref() == Some(TAKEN);
    if taken { Refusal::OfferTaken } else { Refusal::OfferClosed(record.state) }
}
