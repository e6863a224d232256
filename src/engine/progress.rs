//! A rider's steps with an order, from the counter to the door, and who holds the goods meanwhile.

use crate::domain::{
    ids::{OrderId, ReplyTo, RiderId, SessionId},
    order::{Actor, Custody, OrderStatus, Step, next_status},
    time::Timestamp,
    wallet,
};

use super::{
    city::City,
    command::{Command, Outcome, Refusal, StepReport},
    effect::Measure,
    one_time_code::{Proof, verified},
    orders::{EventDraft, data},
    state::{PlanStop, Then},
    view::StopKind,
};

impl City {
    pub(super) fn progress(
        &mut self,
        now: Timestamp,
        rider: RiderId,
        session: SessionId,
        report: Box<StepReport>,
        reply: ReplyTo,
    ) {
        if !self.hear(now, rider, session) {
            return self.refuse(reply, Refusal::Superseded);
        }
        let order = report.order;
        let command = Command::Progress { rider, session, report, reply };
        let Some(Command::Progress { report, .. }) = self.defer(order, reply, command) else { return };
        let Some(live) = self.orders.get(&order) else { return self.answer_ended(now, rider, &report, reply) };
        if live.state.rider != Some(rider) {
            let handed_over = matches!(live.state.custody, Custody::Handover { holder, .. } if holder == rider);
            if handed_over && report.step == Step::Handover && live.state.rider.is_none() {
                // Said again: the first answer was lost, and nobody has come yet.
                return self.answer_step(order, reply);
            }
            return match self.claims_back(order, rider, report.step) {
                Some(kind) => self.dispute(now, rider, &report, kind, reply),
                None => self.refuse(reply, Refusal::NotYourOrder),
            };
        }
        let to = match next_status(live.state.status, report.step) {
            Ok(Some(to)) => to,
            Ok(None) => return self.answer_step(order, reply),
            Err(illegal) => return self.refuse(reply, Refusal::IllegalStep(illegal)),
        };
        let explains = matches!(report.step, Step::AttemptFailed | Step::Handover);
        if explains && report.reason.as_deref().is_none_or(|reason| reason.trim().is_empty()) {
            return self.refuse(reply, Refusal::StepNeeds("a reason"));
        }
        if report.step == Step::Delivered {
            match self.judge_proof(now, rider, &report) {
                Proof::Holds => {}
                Proof::Refused(refusal) => return self.refuse(reply, refusal),
                Proof::Disputed(kind) => return self.dispute(now, rider, &report, kind, reply),
                Proof::WrongCode => return self.count_wrong_code(now, order, rider, reply),
            }
        }
        if report.step == Step::Handover && report.position.is_none() {
            return self.refuse(reply, Refusal::StepNeeds("a position"));
        }
        self.take_step(now, rider, *report, to, reply);
    }

    fn take_step(&mut self, now: Timestamp, rider: RiderId, report: StepReport, to: OrderStatus, reply: ReplyTo) {
        let (order, step) = (report.order, report.step);
        let Some(live) = self.orders.get(&order) else { return };
        let mut next = live.state.clone();
        next.status = to;
        // A device that was offline reports late; its own time holds between the assignment and now.
        let oldest = next.assigned_at.unwrap_or(now).max(now - self.settings.policy.max_report_age()).min(now);
        let taken_at = report.at.clamp(oldest, now);
        let mut postings = Vec::new();
        match step {
            Step::PickedUp => {
                next.custody = Custody::Rider(rider);
                next.picked_up_at = next.picked_up_at.or(Some(taken_at));
            }
            Step::Delivered => {
                next.custody = Custody::Recipient;
                next.delivered_at = Some(taken_at);
                next.ended_at = Some(now);
                // An earlier failed attempt is in the events; it is not how the order ended.
                next.end_reason = None;
                let cash = live.spec.cash_to_collect_minor;
                postings = wallet::settle_order(order, rider, live.spec.merchant, live.promised_minor(), cash);
            }
            Step::Returned => {
                next.custody = Custody::Merchant;
                next.ended_at = Some(now);
                next.end_reason = next.end_reason.or(Some("returned".to_owned()));
                // The way back is paid like the way there; no cash was taken.
                postings = wallet::settle_order(order, rider, live.spec.merchant, live.promised_minor(), 0);
            }
            Step::AttemptFailed | Step::Returning => {
                next.end_reason = report.reason.clone().or(next.end_reason);
            }
            Step::Handover => {
                if let Some(at) = report.position {
                    next.custody = Custody::Handover { holder: rider, at };
                }
                next.rider = None;
                next.assigned_at = None;
                next.due_at = Some(now);
            }
            Step::AtPickup | Step::AtDropoff => {}
        }
        let mut particulars = data([("recorded_at", report.at.to_string().into())]);
        if let Some(position) = report.position {
            particulars.insert("lat".to_owned(), position.lat().into());
            particulars.insert("lon".to_owned(), position.lon().into());
        }
        let needs_code = live.spec.otp_digest.is_some();
        if let Some(proof) = if needs_code { verified(&report) } else { report.proof } {
            particulars.insert("proof".to_owned(), proof);
        }
        let event = EventDraft {
            reason: report.reason,
            data: particulars,
            ..EventDraft::new(step.as_str(), Actor::rider(rider))
        };
        self.write_order_with_money(
            now,
            order,
            next,
            vec![event],
            vec![],
            postings,
            Then::Progressed { rider, step, reply },
        );
    }

    /// The step is stored: the plan follows.
    pub(super) fn step_stored(&mut self, now: Timestamp, order: OrderId, rider: RiderId, step: Step, reply: ReplyTo) {
        let Some(live) = self.orders.get(&order) else { return };
        let (state, placed_at) = (live.state.clone(), live.spec.placed_at);
        match step {
            Step::PickedUp => {
                self.drop_stop(rider, order, StopKind::Pickup);
                if let Some(at) = state.picked_up_at {
                    self.measure(Measure::ReadyToPickup(at.since(state.ready_at)));
                }
            }
            Step::Returning => self.plan_return(rider, order),
            Step::Delivered => {
                if let Some(at) = state.delivered_at {
                    self.measure(Measure::PlacedToDelivered(at.since(placed_at)));
                }
                self.end_order(now, order);
            }
            Step::Returned => self.end_order(now, order),
            Step::Handover => {
                // The order waits for another rider at the spot; this one asked to be relieved and is done for now.
                if let Some(live) = self.orders.get_mut(&order) {
                    live.forget_refusals();
                }
                self.release_rider(now, rider, order);
                self.enter_line(order);
                self.relieve(now, rider);
            }
            Step::AtPickup | Step::AtDropoff | Step::AttemptFailed => {}
        }
        self.plan_changed(now, rider);
        // An order that ended, or waits for another rider, has left this one's hands.
        let job = self.job_view(order).map(Box::new);
        self.reply(reply, Ok(Outcome::Stepped { order, status: state.status, version: state.version, job }));
    }

    /// The answer to a step that was taken before.
    fn answer_step(&mut self, order: OrderId, reply: ReplyTo) {
        let Some(live) = self.orders.get(&order) else { return };
        let (status, version) = (live.state.status, live.state.version);
        let job = self.job_view(order).map(Box::new);
        self.reply(reply, Ok(Outcome::Stepped { order, status, version, job }));
    }

    fn drop_stop(&mut self, rider: RiderId, order: OrderId, kind: StopKind) {
        if let Some(live) = self.riders.get_mut(&rider) {
            live.plan.retain(|stop| *stop != PlanStop { kind, order });
        }
    }

    /// Replaces what is left of an order's stops by the way back.
    pub(super) fn plan_return(&mut self, rider: RiderId, order: OrderId) {
        if let Some(live) = self.riders.get_mut(&rider) {
            // Where the order's stops were: what was taken first is finished first.
            let place = live.plan.iter().position(|stop| stop.order == order).unwrap_or(live.plan.len());
            live.plan.retain(|stop| stop.order != order);
            live.plan.insert(place, PlanStop { kind: StopKind::Return, order });
        }
    }

    /// A step of an order that has ended: its first answer again, or how the order ended.
    fn answer_ended(&mut self, now: Timestamp, rider: RiderId, report: &StepReport, reply: ReplyTo) {
        if let Some(kind) = self.claims_after_end(report.order, rider, report.step) {
            return self.dispute(now, rider, report, kind, reply);
        }
        let Some(ended) = self.ended_orders.get(&report.order).copied() else {
            return self.refuse(reply, Refusal::UnknownOrder);
        };
        let result = if ended.rider != Some(rider) {
            Err(Refusal::NotYourOrder)
        } else if ended.status.as_str() == report.step.as_str() {
            Ok(Outcome::Stepped { order: report.order, status: ended.status, version: ended.version, job: None })
        } else {
            Err(Refusal::OrderEnded(ended.status))
        };
        self.reply(reply, result);
    }
}
