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
    order::{Actor, OrderStatus, Step},
    time::Timestamp,
};

use super::{
    answered::FirstAnswer,
    city::City,
    command::{Refusal, StepReport},
    effect::{Alert, DisputeChange, DisputeRecord, DisputeWrite, Effect, OrderEvent, OrderState, Write},
    orders::{EventDraft, data},
    restore::{StoredClaim, StoredDispute},
    state::{Pending, Then},
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

    /// Whether a rider has exactly this dispute about an order.
    pub fn is_open(&self, order: OrderId, rider: RiderId, dispute: DisputeId) -> bool {
        self.open.get(&(order, rider)).is_some_and(|open| open.id == dispute)
    }

    /// A dispute is decided: the next report of its rider opens another one.
    pub fn closed(&mut self, order: OrderId, rider: RiderId, dispute: DisputeId) {
        if self.is_open(order, rider, dispute) {
            self.open.remove(&(order, rider));
        }
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
