//! What operators decide about a report that contradicts what is stored, while the order is live: a report that holds moves
//! the order to where its rider says that it is.

use crate::domain::{
    ids::{OrderId, ReplyTo, RiderId},
    order::{Actor, Custody, OrderStatus, Step},
    time::Timestamp,
    wallet,
};

use super::{
    city::City,
    command::{Command, OperatorRefusal, Refusal, Verdict},
    effect::{Measure, Notice, OfferRecord},
    orders::{EventDraft, data, receipt},
    state::{PlanStop, Then},
    view::StopKind,
};

impl City {
    /// Operators have decided. A report that holds moves a live order to where the rider says that it is, unless another
    /// rider carries the goods; then the verdict is noted, and whoever brings them is paid.
    pub(super) fn close_dispute(
        &mut self,
        now: Timestamp,
        order: OrderId,
        verdict: Box<Verdict>,
        actor: Actor,
        reply: ReplyTo,
    ) {
        let command = Command::CloseDispute { order, verdict, actor, reply };
        let Some(Command::CloseDispute { verdict, actor, .. }) = self.defer(order, reply, command) else { return };
        let Some(live) = self.orders.get(&order) else { return self.refuse_gone(order, reply) };
        let (rider, before) = (verdict.rider, live.state.rider);
        if !self.contested.is_open(order, rider, verdict.dispute) {
            // Another operator was faster: what was decided is done, and is done once.
            return self.refuse(reply, Refusal::DisputeClosed);
        }
        let moves = verdict.upheld && live.state.custody.custodian().is_none_or(|holder| holder == rider);
        let ends = matches!(verdict.step, Step::Delivered | Step::Returned);
        // He holds the goods and goes on with them.
        let taker = (moves && !ends && before != Some(rider)).then_some(rider);
        if let Some(busy) = taker.and_then(|rider| self.has_no_room(rider)) {
            // Closed, the dispute would say that he has the order, and he would not.
            return self.refuse(reply, Refusal::Operator(busy));
        }
        let mut next = live.state.clone();
        let mut postings = Vec::new();
        let taken_at = verdict.at.clamp(live.spec.placed_at.min(now), now);
        let payout = if before == Some(rider) {
            live.promised_minor()
        } else {
            verdict.payout_minor.unwrap_or(live.spec.payout_minor)
        };
        let mut settle = |cash| postings = wallet::settle_order(order, rider, live.spec.merchant, payout, cash);
        match verdict.step {
            Step::Delivered if moves => {
                (next.status, next.custody, next.end_reason) = (OrderStatus::Delivered, Custody::Recipient, None);
                (next.delivered_at, next.ended_at) = (Some(taken_at), Some(now));
                settle(live.spec.cash_to_collect_minor);
            }
            Step::Returned if moves => {
                (next.status, next.custody, next.ended_at) = (OrderStatus::Returned, Custody::Merchant, Some(now));
                next.end_reason = next.end_reason.or(Some("returned".to_owned()));
                settle(0);
            }
            _ if taker.is_some() => {
                (next.status, next.custody) = (OrderStatus::PickedUp, Custody::Rider(rider));
                next.picked_up_at = next.picked_up_at.or(Some(taken_at));
            }
            _ => {}
        }
        let moved = taker.is_some() || next.status != live.state.status;
        if moved {
            next.rider = Some(rider);
            next.assigned_at = next.assigned_at.or(Some(taken_at));
            next.payout_minor = Some(payout);
            next.hold = None;
        }
        let withdrawn = if moved { self.withdrawals(now, order, "dispute_upheld") } else { Vec::new() };
        if let Some(live) = taker.and_then(|rider| self.riders.get_mut(&rider)) {
            live.reserved = Some(order);
        }
        taker.into_iter().for_each(|rider| self.reindex(now, rider));
        let event = EventDraft {
            reason: Some(verdict.reason.clone()),
            data: data([
                ("dispute", verdict.dispute.to_string().into()),
                ("upheld", verdict.upheld.into()),
                ("step", verdict.step.as_str().into()),
                ("rider", rider.to_string().into()),
            ]),
            ..EventDraft::new("dispute_closed", actor.clone())
        };
        let by = format!("{}:{}", actor.kind, actor.id.as_deref().unwrap_or_default());
        let before = before.filter(|before| moved && *before != rider);
        let then = Then::DisputeClosed { verdict, by, before, withdrawn: withdrawn.clone(), reply, taker };
        self.write_order_with_money(now, order, next, vec![event], withdrawn, postings, then);
    }

    /// Why a rider cannot take another order in hand now.
    fn has_no_room(&self, rider: RiderId) -> Option<OperatorRefusal> {
        let Some(live) = self.riders.get(&rider) else {
            return Some(OperatorRefusal::RiderUnavailable("not live in this city"));
        };
        let room = usize::try_from(self.settings.policy.max_active_orders).unwrap_or(usize::MAX);
        if live.orders.len() >= room {
            return Some(OperatorRefusal::RiderBusy("as many orders in hand as the policy allows"));
        }
        let asked = live.offer.is_some() || live.reserved.is_some();
        asked.then_some(OperatorRefusal::RiderBusy("another order is just being offered or taken"))
    }

    /// The verdict is stored: whoever has to do with the order is told.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of the pending transition")]
    pub(super) fn verdict_stored(
        &mut self,
        now: Timestamp,
        order: OrderId,
        verdict: &Verdict,
        before: Option<RiderId>,
        taker: Option<RiderId>,
        withdrawn: Vec<OfferRecord>,
        reply: ReplyTo,
    ) {
        let rider = verdict.rider;
        self.contested.closed(order, rider, verdict.dispute);
        self.withdrawals_stored(now, withdrawn, "dispute_upheld");
        let Some(live) = self.orders.get(&order) else { return };
        let (outcome, status) = (receipt(live), live.state.status);
        if let Some(before) = before {
            self.release_rider(now, before, order);
            self.notify(before, Notice::OrderChanged { job: None, order, status, why: "dispute_upheld" });
        }
        if status.is_end() {
            if self.riders.get(&rider).is_some_and(|live| live.orders.contains(&order)) {
                self.notify(rider, Notice::OrderChanged { job: None, order, status, why: "dispute_upheld" });
            }
            if status == OrderStatus::Delivered
                && let Some((placed, delivered)) =
                    self.orders.get(&order).and_then(|live| Some((live.spec.placed_at, live.state.delivered_at?)))
            {
                self.measure(Measure::PlacedToDelivered(delivered.since(placed)));
            }
            self.end_order(now, order);
        } else if let Some(taker) = taker {
            if let Some(live) = self.riders.get_mut(&taker) {
                live.reserved = None;
                live.orders.push(order);
                live.plan.push(PlanStop { kind: StopKind::Drop, order });
            }
            self.leave_queue(order);
            self.plan_changed(now, taker);
            let job = self.job_view(order).map(Box::new);
            self.notify(taker, Notice::OrderChanged { job, order, status, why: "dispute_upheld" });
        }
        self.reply(reply, Ok(outcome));
    }

    /// The verdict is not stored: the dispute stays open, and whoever was kept free for the order is free.
    pub(super) fn verdict_refused(&mut self, now: Timestamp, taker: Option<RiderId>) {
        let Some(taker) = taker else { return };
        if let Some(live) = self.riders.get_mut(&taker) {
            live.reserved = None;
        }
        self.work_finished(now, taker);
    }
}
