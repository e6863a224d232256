//! Riders come, go, report where they are and say whether they want work.

use std::collections::BTreeSet;

use crate::domain::{
    duty::{Duty, DutyReason},
    ids::{ReplyTo, RiderId, SessionId, TransitionId},
    order::OfferState,
    rider::RiderProfile,
    time::Timestamp,
};

use super::{
    answered::FirstAnswer,
    city::City,
    command::{Outcome, Refusal, RiderSync},
    effect::{DutyWrite, Effect, Notice, Write},
    state::{LiveRider, Pending, Then},
};

impl City {
    pub(super) fn connect(&mut self, now: Timestamp, profile: RiderProfile, session: SessionId, reply: ReplyTo) {
        let rider = profile.id;
        if let Some(older) = self.riders.get(&rider).and_then(|live| live.session) {
            if older > session {
                return self.refuse(reply, Refusal::Superseded);
            }
            if older != session {
                self.notify(rider, Notice::TakenOver);
            }
        } else if !self.riders.contains_key(&rider)
            && self.riders.len() >= usize::try_from(self.settings.policy.max_live_riders).unwrap_or(usize::MAX)
        {
            return self.refuse(reply, Refusal::CityFull("riders"));
        }
        let live = self.riders.get_or_insert_with(rider, || LiveRider::away(profile.clone(), Duty::Off, now));
        live.session = Some(session);
        live.heard_at = now;
        live.silence_told = false;
        live.warned = false;
        if self.touched.gone.remove(&rider) {
            // Who has come back at once is noted anew.
            self.touched.riders.retain(|touched| *touched != rider);
        }
        self.update_profile(now, profile);
        if let Some(sync) = self.sync(now, rider) {
            self.reply(reply, Ok(Outcome::Connected(Box::new(sync))));
        }
    }

    /// Everything that a device needs to resume.
    fn sync(&self, now: Timestamp, rider: RiderId) -> Option<RiderSync> {
        let live = self.riders.get(&rider)?;
        Some(RiderSync {
            duty: live.stored_duty,
            next_duty: live.next_duty,
            jobs: live.orders.iter().filter_map(|order| self.job_view(*order)).collect(),
            // An offer that is still on its way to the journal must not be seen yet.
            open_offer: live
                .offer
                .filter(|offer| !self.is_uncommitted(*offer))
                .and_then(|offer| self.offer_view(now, offer)),
            ping_interval_ms: u64::from(self.settings.policy.ping_interval_s) * 1_000,
            duty_why: live.duty_why,
        })
    }

    pub(super) fn disconnect(&mut self, rider: RiderId, session: SessionId) {
        let Some(live) = self.riders.get_mut(&rider) else { return };
        if live.session != Some(session) {
            return;
        }
        live.session = None;
        // Away, but still here: an open offer and the work in hand wait for the reconnect.
        self.step_aside(rider);
        self.touch_rider(rider);
        self.forget_if_gone(rider);
    }

    /// A rider who is off duty, away and without work needs no memory here, unless the journal has yet to answer for a
    /// duty: until then nobody knows which one is stored.
    fn forget_if_gone(&mut self, rider: RiderId) {
        let gone = self.riders.get(&rider).is_some_and(|live| {
            live.session.is_none()
                && matches!(live.duty, Duty::Off | Duty::AutoOff)
                && live.stored_duty == live.duty
                && live.duties_pending == 0
                && live.next_pending == 0
                && live.orders.is_empty()
                && live.offer.is_none()
                && live.reserved.is_none()
        });
        if gone {
            if let Some(live) = self.riders.remove(&rider) {
                self.uncount_rider(&live);
                live.look_at.into_iter().for_each(|at| self.rider_alarms.unset(at, rider));
            }
            self.index.remove(rider);
            self.aside.remove(rider);
            self.touched.gone.insert(rider);
        }
    }

    /// Whether a session speaks for a rider; everything it says counts as a sign of life.
    pub(super) fn hear(&mut self, now: Timestamp, rider: RiderId, session: SessionId) -> bool {
        match self.riders.get_mut(&rider) {
            Some(live) if live.session == Some(session) => {
                if live.heard(now) {
                    // Silence counts again.
                    self.watch_rider_again(now, rider);
                }
                true
            }
            _ => false,
        }
    }

    pub(super) fn update_profile(&mut self, now: Timestamp, profile: RiderProfile) {
        let rider = profile.id;
        let Some(live) = self.riders.get_mut(&rider) else { return };
        live.profile = profile;
        let barred = !live.profile.may_work() && matches!(live.duty, Duty::On | Duty::Break);
        if barred && live.orders.is_empty() && live.reserved.is_none() {
            self.withdraw_offer_of(now, rider, "not_allowed");
            self.set_duty(now, rider, Duty::Off, DutyReason::NotAllowed, Vec::new());
        } else if barred {
            // The goods in hand must arrive first.
            self.withdraw_offer_of(now, rider, "not_allowed");
            self.plan_duty(now, rider, Duty::Off, None);
        }
        // Another vehicle takes another time.
        self.plan_changed(now, rider);
    }

    pub(super) fn ask_duty(&mut self, now: Timestamp, rider: RiderId, session: SessionId, duty: Duty, reply: ReplyTo) {
        if !self.hear(now, rider, session) {
            return self.refuse(reply, Refusal::Superseded);
        }
        if duty == Duty::AutoOff {
            return self.refuse(reply, Refusal::BadDuty);
        }
        let accepting = self.is_accepting(rider);
        let Some(live) = self.riders.get_mut(&rider) else { return };
        if duty == Duty::On && !live.profile.may_work() {
            return self.refuse(reply, Refusal::NotAllowed);
        }
        if duty != Duty::On && (!live.orders.is_empty() || accepting) {
            if !accepting {
                // What is in hand is finished; nothing more is taken.
                self.withdraw_offer_of(now, rider, "off_duty");
            }
            return self.plan_duty(now, rider, duty, Some(reply));
        }
        live.next_duty = None;
        // Where something else is stored to follow, or about to be, the same duty is stored once more.
        if live.duty == duty && live.stored_next.is_none() && live.next_pending == 0 {
            if live.stored_duty == duty {
                self.reply(reply, Ok(Outcome::Duty { duty, next: None }));
                return self.reindex(now, rider);
            }
            if let Some(asked) = self.duty_on_its_way(rider, duty) {
                // The same again, and the first one is not stored yet: both hear of the same commit.
                asked.push((session, reply));
                return self.reindex(now, rider);
            }
        }
        if duty != Duty::On {
            self.withdraw_offer_of(now, rider, "off_duty");
        }
        self.set_duty(now, rider, duty, DutyReason::Rider, vec![(session, reply)]);
    }

    /// Who waits for a duty that is with the journal.
    fn duty_on_its_way(&mut self, rider: RiderId, duty: Duty) -> Option<&mut Vec<(SessionId, ReplyTo)>> {
        let is_same = |id: &TransitionId| match self.pending.get(id).map(|pending| &pending.then) {
            Some(Then::Duty { duty: to, .. }) => *to == duty,
            _ => false,
        };
        let transition = duty_writes_of(&self.duty_writes, rider).rev().find(is_same)?;
        match &mut self.pending.get_mut(&transition)?.then {
            Then::Duty { asked, .. } => Some(asked),
            _ => None,
        }
    }

    /// Takes back the open offer of a rider, unless its answer is already with the journal.
    pub(super) fn withdraw_offer_of(&mut self, now: Timestamp, rider: RiderId, why: &'static str) {
        let Some(offer) = self.riders.get(&rider).and_then(|live| live.offer) else { return };
        // An offer on its way to the journal is taken back when the commit arrives and finds the rider unwilling.
        self.close_offer(now, offer, OfferState::Withdrawn, None, why, None);
    }

    /// Sets a duty at once and stores it; the device is told after the commit.
    pub(super) fn set_duty(
        &mut self,
        now: Timestamp,
        rider: RiderId,
        duty: Duty,
        reason: DutyReason,
        asked: Vec<(SessionId, ReplyTo)>,
    ) {
        let transition = TransitionId(self.ids.next(now));
        let Some(live) = self.riders.get_mut(&rider) else { return };
        live.duty = duty;
        live.duty_number = live.duty_number.wrapping_add(1);
        live.duties_pending += 1;
        live.next_duty = None;
        live.heard_at = now;
        live.warned = false;
        live.ignored = 0;
        let number = live.duty_number;
        self.duty_unsaved.remove(&rider);
        self.duty_writes.insert((rider, transition));
        let first = asked.first().map(|(_, reply)| *reply);
        self.pending
            .insert(transition, Pending { change: None, then: Then::Duty { rider, number, duty, reason, asked } });
        let city = self.settings.code.clone();
        let frame = first.and_then(|reply| self.frame_record(now, reply, FirstAnswer::Duty { duty, next: None }));
        let write = DutyWrite { transition, rider, city, duty, reason, at: now, next: None, frame };
        self.out.push(Effect::Persist(Box::new(Write::Duty(write))));
        self.reindex(now, rider);
    }

    /// The duty is stored: who asked is answered, and a session that did not ask itself hears of it.
    pub(super) fn duty_stored(
        &mut self,
        now: Timestamp,
        rider: RiderId,
        duty: Duty,
        reason: DutyReason,
        asked: Vec<(SessionId, ReplyTo)>,
    ) {
        let (mut next, mut knows) = (None, true);
        if let Some(live) = self.riders.get_mut(&rider) {
            live.stored_duty = duty;
            live.duties_pending = live.duties_pending.saturating_sub(1);
            live.stored_next = None;
            live.duty_why = Some(reason);
            next = live.next_duty;
            knows = asked.iter().any(|(asker, _)| Some(*asker) == live.session);
        }
        for (_, reply) in asked {
            self.reply(reply, Ok(Outcome::Duty { duty, next }));
        }
        if !knows {
            self.notify(rider, Notice::DutyChanged { duty, reason });
        }
        self.reindex(now, rider);
        self.forget_if_gone(rider);
    }

    /// The journal could not take a duty: what the rider asked for is undone, what the engine decided is tried again. A
    /// full journal refuses at once, so the refusal of a duty may overtake the answers to older ones.
    pub(super) fn duty_refused(&mut self, now: Timestamp, rider: RiderId, number: u32, reason: DutyReason) {
        let Some(live) = self.riders.get_mut(&rider) else { return };
        live.duties_pending = live.duties_pending.saturating_sub(1);
        if live.duty_number != number {
            // An older refusal does not undo what was decided since.
            return self.forget_if_gone(rider);
        }
        if reason == DutyReason::Rider {
            let on_its_way = |pending: &Pending| match pending.then {
                Then::Duty { rider: of, number, duty, .. } if of == rider => Some((number, duty)),
                _ => None,
            };
            (live.duty_number, live.duty) = duty_writes_of(&self.duty_writes, rider)
                .filter_map(|transition| self.pending.get(&transition))
                .filter_map(on_its_way)
                .max_by_key(|(number, _)| *number)
                .unwrap_or((number, live.stored_duty));
            live.next_duty = live.stored_next;
        } else {
            self.duty_unsaved.insert(rider, reason);
        }
        self.reindex(now, rider);
        self.forget_if_gone(rider);
    }

    /// The rider wants another duty once the work in hand is finished: stored, so that a restart keeps the promise.
    /// Nobody asked for what the engine decided by itself.
    pub(super) fn plan_duty(&mut self, now: Timestamp, rider: RiderId, next: Duty, reply: Option<ReplyTo>) {
        let Some(live) = self.riders.get_mut(&rider) else { return };
        let before = live.next_duty.replace(next);
        let duty = live.stored_duty;
        if before == Some(next) && live.stored_next == Some(next) && live.next_pending == 0 {
            reply.into_iter().for_each(|reply| self.reply(reply, Ok(Outcome::Duty { duty, next: Some(next) })));
            return self.reindex(now, rider);
        }
        live.next_pending += 1;
        let (transition, city) = (TransitionId(self.ids.next(now)), self.settings.code.clone());
        let answer = FirstAnswer::Duty { duty, next: Some(next) };
        let frame = reply.and_then(|reply| self.frame_record(now, reply, answer));
        self.pending.insert(transition, Pending { change: None, then: Then::NextDuty { rider, next, before, reply } });
        let reason = DutyReason::Rider;
        let write = DutyWrite { transition, rider, city, duty, reason, at: now, next: Some(next), frame };
        self.out.push(Effect::Persist(Box::new(Write::Duty(write))));
        self.reindex(now, rider);
    }

    /// What follows the duty in force is stored.
    pub(super) fn next_duty_stored(&mut self, rider: RiderId, next: Duty, reply: Option<ReplyTo>) {
        let Some(live) = self.riders.get_mut(&rider) else { return };
        live.stored_next = Some(next);
        live.next_pending = live.next_pending.saturating_sub(1);
        let duty = live.stored_duty;
        reply.into_iter().for_each(|reply| self.reply(reply, Ok(Outcome::Duty { duty, next: Some(next) })));
    }

    /// It could not be stored: as before, unless the rider has thought again. What the engine decided is tried again.
    pub(super) fn next_duty_refused(
        &mut self,
        now: Timestamp,
        rider: RiderId,
        next: Duty,
        before: Option<Duty>,
        asked: bool,
    ) {
        if let Some(live) = self.riders.get_mut(&rider) {
            live.next_pending = live.next_pending.saturating_sub(1);
            if live.next_duty == Some(next) && asked {
                live.next_duty = before;
            } else if live.next_duty == Some(next) {
                self.unsaved.next_duties.insert(rider);
            }
        }
        self.reindex(now, rider);
    }

    /// The rider has finished the work in hand: what was asked for meanwhile takes effect.
    pub(super) fn work_finished(&mut self, now: Timestamp, rider: RiderId) {
        let idle = |live: &&LiveRider| live.orders.is_empty() && live.reserved.is_none();
        let next = self.riders.get(&rider).filter(idle).and_then(|live| live.next_duty);
        if let Some(duty) = next {
            self.set_duty(now, rider, duty, DutyReason::Finished, Vec::new());
        }
        self.reindex(now, rider);
        self.forget_if_gone(rider);
    }
}

/// The writes of a rider's duties that are with the journal, oldest first.
fn duty_writes_of(
    writes: &BTreeSet<(RiderId, TransitionId)>,
    rider: RiderId,
) -> impl DoubleEndedIterator<Item = TransitionId> {
    let (first, last) = (TransitionId(uuid::Uuid::nil()), TransitionId(uuid::Uuid::max()));
    writes.range((rider, first)..=(rider, last)).map(|(_, transition)| *transition)
}
