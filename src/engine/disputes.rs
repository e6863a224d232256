//! Reports that contradict what is stored: a rider who was away comes back with goods of an order that was taken from him,
//! or says delivered where nothing proves it. The report is stored and people decide; the device has a definite answer.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde_json::{Map, Value};

use crate::domain::{
    dispute::{DisputeKind, DisputeStatus, claims_goods},
    ids::{DisputeId, OrderId, ReplyTo, RiderId, TransitionId},
    order::{Actor, Custody, OrderStatus, Step},
    time::Timestamp,
    wallet,
};

use super::{
    answered::FirstAnswer,
    city::City,
    command::{Command, Refusal, StepReport, Verdict},
    effect::{
        Alert, DisputeChange, DisputeRecord, DisputeWrite, Effect, Measure, Notice, OfferRecord, OrderEvent,
        OrderState, Write,
    },
    orders::{EventDraft, data, receipt},
    restore::{StoredClaim, StoredDispute},
    state::{Pending, PlanStop, Then},
    view::StopKind,
};

/// What may be contradicted, and what was.
#[derive(Clone, Debug, Default)]
pub(super) struct Contested {
    /// Riders who had a live order in hand and lost it.
    lost: BTreeMap<OrderId, Vec<RiderId>>,
    /// Ended orders whose goods somebody else than their last holder may have.
    claims: BTreeMap<OrderId, Claim>,
    /// When claims, and disputes about ended orders, may be forgotten; oldest first.
    line: VecDeque<(Timestamp, OrderId)>,
    open: BTreeMap<(OrderId, RiderId), Open>,
}

#[derive(Clone, Debug)]
struct Claim {
    status: OrderStatus,
    riders: Vec<RiderId>,
}

/// A dispute that is stored.
#[derive(Clone, Debug)]
struct Open {
    id: DisputeId,
    kind: DisputeKind,
    /// What was reported so far.
    steps: Vec<Step>,
}

impl Contested {
    /// A rider lost a live order.
    pub fn lost(&mut self, order: OrderId, rider: RiderId) {
        let riders = self.lost.entry(order).or_default();
        if !riders.contains(&rider) {
            riders.push(rider);
        }
    }

    fn has_lost(&self, order: OrderId, rider: RiderId) -> bool {
        self.lost.get(&order).is_some_and(|riders| riders.contains(&rider))
    }

    pub fn forget(&mut self, now: Timestamp, age: Duration) {
        while let Some((_, order)) = self.line.front().filter(|(since, _)| now.since(*since) > age).copied() {
            self.line.pop_front();
            self.claims.remove(&order);
            self.open.retain(|(of, _), _| *of != order);
        }
    }

    /// Takes in what the store knows.
    pub fn restore(&mut self, claims: Vec<StoredClaim>, disputes: Vec<StoredDispute>) {
        let mut ended = Vec::new();
        for StoredClaim { order, end, riders } in claims {
            match end {
                None => riders.into_iter().for_each(|rider| self.lost(order, rider)),
                Some((status, at)) => {
                    ended.push((at, order));
                    self.claims.insert(order, Claim { status, riders });
                }
            }
        }
        ended.sort_unstable();
        self.line.extend(ended);
        for StoredDispute { id, order, rider, kind, step } in disputes {
            self.open.insert((order, rider), Open { id, kind, steps: vec![step] });
        }
    }
}

impl DisputeKind {
    /// What the device is told once the dispute is stored.
    pub(super) const fn first_answer(self) -> FirstAnswer {
        match self {
            Self::OtpLocked => FirstAnswer::OtpLocked,
            _ => FirstAnswer::Disputed,
        }
    }

    pub(super) const fn refusal(self) -> Refusal {
        match self {
            Self::OtpLocked => Refusal::OtpLocked,
            _ => Refusal::Disputed,
        }
    }
}

impl Then {
    /// What is stored of a dispute with a transition.
    pub(super) fn dispute_change(&self, now: Timestamp, transition: TransitionId) -> Option<Box<DisputeChange>> {
        Some(Box::new(match self {
            Self::Disputed { record, .. } => DisputeChange::Open(DisputeRecord { transition, ..(**record).clone() }),
            Self::DisputeClosed { verdict, by, .. } => DisputeChange::Close {
                dispute: verdict.dispute,
                status: if verdict.upheld { DisputeStatus::Upheld } else { DisputeStatus::Dismissed },
                by: by.clone(),
                reason: verdict.reason.clone(),
                at: now,
            },
            _ => return None,
        }))
    }
}

impl City {
    /// An order has ended: riders who may yet come back with its goods are remembered.
    pub(super) fn remember_claims(&mut self, now: Timestamp, order: OrderId, state: &OrderState) {
        let mut riders = self.contested.lost.remove(&order).unwrap_or_default();
        if state.status == OrderStatus::Cancelled {
            riders.extend(state.rider);
        } else {
            riders.retain(|rider| Some(*rider) != state.rider);
        }
        let contested = self.contested.open.range((order, RiderId(uuid::Uuid::nil()))..).next();
        if !riders.is_empty() || contested.is_some_and(|((of, _), _)| *of == order) {
            self.contested.line.push_back((now, order));
        }
        if !riders.is_empty() {
            self.contested.claims.insert(order, Claim { status: state.status, riders });
        }
    }

    /// The dispute that a step of a live order begins, when its rider is not the one who has the order.
    pub(super) fn claims_back(&self, order: OrderId, rider: RiderId, step: Step) -> Option<DisputeKind> {
        (claims_goods(step) && self.contested.has_lost(order, rider)).then_some(DisputeKind::GoodsClaimed)
    }

    /// The dispute that a step of an ended order begins.
    pub(super) fn claims_after_end(&self, order: OrderId, rider: RiderId, step: Step) -> Option<DisputeKind> {
        let claim = self.contested.claims.get(&order)?;
        let before_pickup = matches!(claim.status, OrderStatus::Cancelled | OrderStatus::Expired);
        (claims_goods(step) && claim.riders.contains(&rider)).then_some(if before_pickup {
            DisputeKind::AfterEnd
        } else {
            DisputeKind::GoodsClaimed
        })
    }

    /// The kind of the dispute that a rider has about an order.
    pub(super) fn dispute_of(&self, order: OrderId, rider: RiderId) -> Option<DisputeKind> {
        self.contested.open.get(&(order, rider)).map(|open| open.kind)
    }

    /// Stores a report as a dispute, or adds it to the one that is there; the device hears of it after the commit.
    pub(super) fn dispute(
        &mut self,
        now: Timestamp,
        rider: RiderId,
        report: &StepReport,
        kind: DisputeKind,
        reply: ReplyTo,
    ) {
        let (order, step) = (report.order, report.step);
        let open = self.contested.open.get(&(order, rider));
        if let Some(open) = open.filter(|open| open.steps.contains(&step) && open.kind == kind) {
            return self.refuse(reply, open.kind.refusal());
        }
        let id = open.map_or_else(|| DisputeId(self.ids.next(now)), |open| open.id);
        let told = particulars(report);
        let mut noted = data([("dispute", id.to_string().into()), ("kind", kind.as_str().into())]);
        noted.extend(told.clone());
        let event = EventDraft {
            reason: report.reason.clone(),
            data: noted,
            ..EventDraft::new("disputed", Actor::rider(rider))
        };
        let transition = TransitionId(self.ids.next(now));
        let record = DisputeRecord { id, order, rider, kind, step, report: told, at: now, transition };
        if let Some(live) = self.orders.get(&order) {
            let next = live.state.clone();
            let then = Then::Disputed { record: Box::new(record), reply };
            return self.write_order(now, order, next, vec![event], vec![], then);
        }
        let waits = |pending: &Pending| matches!(&pending.then, Then::Disputed { record, .. } if record.order == order);
        if self.pending.values().any(waits) {
            // Nothing defers the commands of an ended order; two reports of one rider would open two disputes.
            return self.refuse(reply, Refusal::OrderBusy);
        }
        let frame = self.frame_record(now, reply, kind.first_answer());
        let EventDraft { kind: word, actor, reason, data } = event;
        let event = OrderEvent { seq: 0, version: 0, kind: word, actor, reason, data, at: now };
        let then = Then::Disputed { record: Box::new(record.clone()), reply };
        self.pending.insert(transition, Pending { change: None, then });
        self.out.push(Effect::Persist(Box::new(Write::Dispute(DisputeWrite { record, event, frame }))));
    }

    /// The dispute is stored: operators hear of it, and the device has its answer.
    pub(super) fn dispute_stored(&mut self, record: DisputeRecord, reply: ReplyTo) {
        let DisputeRecord { id, order, rider, kind, step, .. } = record;
        let open = self.contested.open.entry((order, rider)).or_insert(Open { id, kind, steps: Vec::new() });
        open.kind = kind;
        open.steps.push(step);
        self.alert(Alert::Disputed { dispute: id, order, rider, kind });
        self.refuse(reply, kind.refusal());
    }

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
        let mut next = live.state.clone();
        let mut postings = Vec::new();
        let moves = verdict.upheld && live.state.custody.custodian().is_none_or(|holder| holder == rider);
        let taken_at = verdict.at.clamp(live.spec.placed_at.min(now), now);
        let payout = verdict.payout_minor.unwrap_or(live.spec.payout_minor);
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
            // He holds the goods and goes on with them.
            _ if moves && before != Some(rider) && self.has_room(rider) => {
                (next.status, next.custody) = (OrderStatus::PickedUp, Custody::Rider(rider));
                next.picked_up_at = next.picked_up_at.or(Some(taken_at));
            }
            _ => {}
        }
        let moved = next.status != live.state.status;
        if moved {
            next.rider = Some(rider);
            next.assigned_at = next.assigned_at.or(Some(taken_at));
            next.payout_minor = Some(payout);
            next.hold = None;
        }
        let withdrawn = if moved { self.withdrawals(now, order, "dispute_upheld") } else { Vec::new() };
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
        let then = Then::DisputeClosed { verdict, by, before, withdrawn: withdrawn.clone(), reply };
        self.write_order_with_money(now, order, next, vec![event], withdrawn, postings, then);
    }

    /// Whether a rider is live here and may take another order in hand.
    fn has_room(&self, rider: RiderId) -> bool {
        let room = usize::try_from(self.settings.policy.max_active_orders).unwrap_or(usize::MAX);
        self.riders
            .get(&rider)
            .is_some_and(|live| live.orders.len() < room && live.offer.is_none() && live.reserved.is_none())
    }

    /// The verdict is stored: whoever has to do with the order is told.
    pub(super) fn verdict_stored(
        &mut self,
        now: Timestamp,
        order: OrderId,
        verdict: &Verdict,
        before: Option<RiderId>,
        withdrawn: Vec<OfferRecord>,
        reply: ReplyTo,
    ) {
        let rider = verdict.rider;
        self.contested.open.remove(&(order, rider));
        self.withdrawals_stored(now, withdrawn, "dispute_upheld");
        let Some(live) = self.orders.get(&order) else { return };
        let (outcome, status) = (receipt(live), live.state.status);
        if let Some(before) = before {
            self.release_rider(now, before, order);
            self.notify(before, Notice::OrderChanged { job: None, order, status, why: "dispute_upheld" });
        }
        let held = self.riders.get(&rider).is_some_and(|live| live.orders.contains(&order));
        if status.is_end() {
            if held {
                self.notify(rider, Notice::OrderChanged { job: None, order, status, why: "dispute_upheld" });
            }
            if status == OrderStatus::Delivered
                && let Some((placed, delivered)) =
                    self.orders.get(&order).and_then(|live| Some((live.spec.placed_at, live.state.delivered_at?)))
            {
                self.measure(Measure::PlacedToDelivered(delivered.since(placed)));
            }
            self.end_order(now, order);
        } else if status == OrderStatus::PickedUp && !held && verdict.upheld && verdict_moves(self, order, rider) {
            if let Some(live) = self.riders.get_mut(&rider) {
                live.orders.push(order);
                live.plan.push(PlanStop { kind: StopKind::Drop, order });
            }
            self.leave_queue(order);
            self.plan_changed(now, rider);
            let job = self.job_view(order).map(Box::new);
            self.notify(rider, Notice::OrderChanged { job, order, status, why: "dispute_upheld" });
        }
        self.reply(reply, Ok(outcome));
    }
}

/// Whether a verdict has brought an order into its rider's hands.
fn verdict_moves(city: &City, order: OrderId, rider: RiderId) -> bool {
    city.orders.get(&order).is_some_and(|live| live.state.rider == Some(rider))
}

/// A report as it is stored.
fn particulars(report: &StepReport) -> Map<String, Value> {
    let mut told = data([("step", report.step.as_str().into()), ("recorded_at", report.at.to_string().into())]);
    if let Some(position) = report.position {
        told.insert("lat".to_owned(), position.lat().into());
        told.insert("lon".to_owned(), position.lon().into());
    }
    if let Some(reason) = &report.reason {
        told.insert("reason".to_owned(), reason.clone().into());
    }
    if let Some(proof) = &report.proof {
        told.insert("proof".to_owned(), proof.clone());
    }
    told
}
