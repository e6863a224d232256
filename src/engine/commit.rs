//! The journal's answers: the second half of every transition.

use crate::domain::{
    ids::{OrderId, TransitionId},
    time::Timestamp,
};

use super::{
    city::City,
    command::{Refusal, RejectReason},
    defects::Defect,
    effect::Alert,
    offers::TAKEN,
    state::{Pending, Then},
};

impl City {
    /// A write is stored: what it promised may now be told.
    pub(super) fn committed(&mut self, now: Timestamp, transition: TransitionId) {
        let Some(pending) = self.take_pending(transition) else { return };
        let order = pending.change.map(|(order, state)| {
            if let Some(live) = self.orders.get_mut(&order) {
                // A note leaves the order as it is, and what runs ahead in it.
                if matches!(pending.then, Then::Explained) {
                    live.state.next_seq = state.next_seq;
                } else {
                    live.state = *state;
                }
                live.pending = false;
            }
            self.touch_order(order);
            order
        });
        match (pending.then, order) {
            (Then::Placed { order, reply }, _) => self.placement_stored(*order, reply),
            (Then::Queued, Some(order)) => self.schedule_stored(order),
            (Then::Offered { offers }, _) => self.offers_stored(now, offers),
            (Then::Accepted { offer, others, session, reply }, Some(order)) => {
                self.accept_stored(now, order, offer, session, reply);
                self.withdrawals_stored(now, others, TAKEN);
            }
            (Then::OffersOver { records, why, reply }, order) => self.offers_over(now, order, records, why, reply),
            (Then::Progressed { rider, step, reply }, Some(order)) => self.step_stored(now, order, rider, step, reply),
            (Then::Cancelled { withdrawn, reply }, Some(order)) => self.cancel_stored(now, order, withdrawn, reply),
            (Then::ReadyChanged { reply }, Some(order)) => self.ready_stored(now, order, reply),
            (Then::TakenBack { rider }, Some(order)) => self.take_back_stored(now, order, rider),
            (Then::Expired, Some(order)) => {
                self.end_order(now, order);
                self.alert(Alert::OrderExpired(order));
            }
            (Then::Duty { rider, duty, reason, asked, .. }, _) => self.duty_stored(now, rider, duty, reason, asked),
            (Then::OfferNoted { .. }, _) => {}
            (Then::Parked, Some(order)) => self.parked_stored(now, order),
            (Then::SearchResumed, Some(order)) => self.search_resumed(order),
            (Then::Explained, _) => {}
            (Then::Operated { deed, withdrawn, reply }, Some(order)) => {
                self.operation_stored(now, order, deed, withdrawn, reply);
            }
            (Then::NextDuty { rider, next, reply, .. }, _) => self.next_duty_stored(rider, next, reply),
            (Then::Disputed { record, reply }, _) => self.dispute_stored(*record, reply),
            (Then::OtpWrong { reply }, Some(order)) => self.wrong_code_stored(order, reply),
            (Then::DisputeClosed { verdict, before, withdrawn, reply, taker, .. }, Some(order)) => {
                self.verdict_stored(now, order, &verdict, before, taker, withdrawn, reply);
            }
            // Every transition of an order names its order.
            (
                Then::Queued
                | Then::Accepted { .. }
                | Then::Progressed { .. }
                | Then::Cancelled { .. }
                | Then::ReadyChanged { .. }
                | Then::TakenBack { .. }
                | Then::Parked
                | Then::SearchResumed
                | Then::Operated { .. }
                | Then::OtpWrong { .. }
                | Then::DisputeClosed { .. }
                | Then::Expired,
                None,
            ) => {}
        }
        if let Some(order) = order {
            if let Some(rider) = self.orders.get(&order).and_then(|live| live.state.rider) {
                // Whatever was stored of an order in hand may change what its rider's plan comes to.
                self.plan_changed(now, rider);
            }
            self.withdraw_if_unwilling(now, order);
            self.resume(now, order);
        }
    }

    /// A write will never be stored: everything is as before it, and whoever waits is told why.
    pub(super) fn rejected(&mut self, now: Timestamp, transition: TransitionId, why: &RejectReason) {
        let Some(pending) = self.take_pending(transition) else { return };
        let order = pending.change.map(|(order, _)| {
            if let Some(live) = self.orders.get_mut(&order) {
                live.pending = self.defects.has(Defect::LosesRefusedWrites);
            }
            self.touch_order(order);
            order
        });
        if matches!(why, RejectReason::Conflict | RejectReason::Invalid(_)) {
            self.alert(Alert::WriteRejected { transition, reason: format!("{why:?}") });
        }
        match pending.then {
            Then::Offered { offers } => offers.into_iter().for_each(|offer| self.forget_offer(now, offer)),
            Then::Placed { reply, .. }
            | Then::Accepted { reply, .. }
            | Then::Progressed { reply, .. }
            | Then::Cancelled { reply, .. }
            | Then::ReadyChanged { reply }
            | Then::Disputed { reply, .. }
            | Then::OtpWrong { reply }
            | Then::OffersOver { reply: Some(reply), .. } => self.answer_rejected(reply, why),
            Then::Operated { deed, reply, .. } => {
                self.undo_operation(now, deed);
                reply.into_iter().for_each(|reply| self.answer_rejected(reply, why));
            }
            Then::DisputeClosed { taker, reply, .. } => {
                self.verdict_refused(now, taker);
                self.answer_rejected(reply, why);
            }
            Then::NextDuty { rider, next, before, reply } => {
                self.next_duty_refused(now, rider, next, before, reply.is_some());
                reply.into_iter().for_each(|reply| self.answer_rejected(reply, why));
            }
            Then::Duty { rider, number, duty, reason, asked } => {
                // The frame that is known is the first one's; whoever asked the same beside it has not been answered.
                let known = matches!(why, RejectReason::Replay(_) | RejectReason::KeyReused);
                let (told, beside) = asked.split_at(if known { asked.len().min(1) } else { asked.len() });
                for (_, reply) in told {
                    self.answer_rejected(*reply, why);
                }
                self.duty_refused(now, rider, number, reason);
                for (session, reply) in beside {
                    self.ask_duty(now, rider, *session, duty, *reply);
                }
            }
            Then::Explained => {
                // Tried again when its time comes.
                if let Some(live) = order.and_then(|order| self.orders.get_mut(&order)) {
                    live.explained = None;
                }
            }
            // The next tick tries again.
            Then::Queued
            | Then::Expired
            | Then::TakenBack { .. }
            | Then::OffersOver { reply: None, .. }
            | Then::Parked
            | Then::SearchResumed => {}
            Then::OfferNoted { record } => self.offer_not_noted(*record, why),
        }
        if let Some(order) = order {
            if why.is_passing() {
                // A journal that has no room now would refuse at once what an unwilling rider gives back.
                self.unsaved.withdrawals.insert(order);
            } else {
                self.withdraw_if_unwilling(now, order);
            }
            self.resume(now, order);
        }
    }

    /// Takes a write out of those that wait; an answer that comes twice finds nothing.
    fn take_pending(&mut self, transition: TransitionId) -> Option<Pending> {
        let pending = self.pending.remove(&transition)?;
        self.placing -= usize::from(matches!(pending.then, Then::Placed { .. }));
        if let Then::Duty { rider, .. } = pending.then {
            self.duty_writes.remove(&(rider, transition));
        }
        Some(pending)
    }

    /// Goes on with what waited for the journal's answer about an order, until the next write.
    fn resume(&mut self, now: Timestamp, order: OrderId) {
        while !self.orders.get(&order).is_some_and(|live| live.pending) {
            let Some(command) = self.deferred.get_mut(&order).and_then(std::collections::VecDeque::pop_front) else {
                self.deferred.remove(&order);
                return;
            };
            self.dispatch(now, command);
        }
    }
}

/// What a caller is told when the journal refuses.
pub(super) fn refusal(why: &RejectReason) -> Refusal {
    match why {
        RejectReason::Conflict => Refusal::Conflict,
        RejectReason::Fenced => Refusal::Fenced,
        // A replay is answered as such; nothing else has a key.
        RejectReason::Busy | RejectReason::Replay(_) => Refusal::StorageBusy,
        RejectReason::DuplicateRef(order) => Refusal::DuplicateRef(*order),
        RejectReason::KeyReused => Refusal::KeyReused,
        RejectReason::Invalid(reason) => Refusal::Invalid(reason.clone()),
        RejectReason::Unavailable => Refusal::StorageUnavailable,
    }
}
