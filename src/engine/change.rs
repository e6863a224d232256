//! A change of an order on its way to the journal: everything that is stored together, and the conditions under which it
//! was asked for.

use serde_json::{Map, Value};

use crate::domain::{
    ids::{OrderId, ReplyTo, RiderId, TransitionId},
    order::{Actor, ActorKind, OrderStatus},
    time::Timestamp,
    wallet::Posting,
};

use super::{
    audit::AuditRecord,
    city::City,
    command::{Conditions, IdempotencyRecord, Refusal},
    defects::Defect,
    effect::{Effect, OfferRecord, OrderState, OrderWrite, Write},
    orders::{EventDraft, data, number_events},
    state::{Pending, Then},
};

/// A transition of an order: everything that is stored together, before it has its number.
pub(super) struct Change {
    pub next: OrderState,
    pub events: Vec<EventDraft>,
    pub offers: Vec<OfferRecord>,
    pub postings: Vec<Posting>,
    pub audit: Option<AuditRecord>,
    pub idempotency: Option<Box<IdempotencyRecord>>,
    pub then: Then,
}

impl Change {
    pub const fn new(next: OrderState, events: Vec<EventDraft>, then: Then) -> Self {
        Self { next, events, offers: Vec::new(), postings: Vec::new(), audit: None, idempotency: None, then }
    }
}

impl City {
    /// As [`Self::write_order`], with all that a transition can hold.
    pub(super) fn write_change(&mut self, now: Timestamp, order: OrderId, change: Change) {
        let Change { mut next, events, offers, postings, audit, idempotency, then } = change;
        let Some(live) = self.orders.get_mut(&order) else { return };
        let transition = TransitionId(self.ids.next(now));
        let (expected_version, currency) = (live.state.version, live.spec.currency);
        live.pending = true;
        live.write = Some(transition);
        let tells_early = self.defects.has(Defect::TellsBeforeCommit) && matches!(then, Then::Accepted { .. });
        next.version = expected_version + 1;
        next.updated_at = now;
        // Whoever comes next is promised a payout of their own, and whatever happens to a parked order ends its wait.
        next.payout_minor = next.payout_minor.filter(|_| next.rider.is_some());
        next.parked &= next.status == OrderStatus::Queued;
        let events = number_events(&mut next, now, events);
        let frame = self.frame_of(now, order, &next, &then);
        let dispute = then.dispute_change(now, transition);
        self.pending.insert(transition, Pending { change: Some((order, Box::new(next.clone()))), then });
        let idempotency = idempotency.map(|record| IdempotencyRecord { answer: answer(order, &next), ..*record });
        let write = OrderWrite {
            transition,
            order,
            expected_version,
            state: next,
            events,
            offers,
            postings,
            currency,
            audit,
            idempotency,
            frame,
            dispute,
        };
        self.out.push(Effect::Persist(Box::new(Write::Order(write))));
        self.touch_order(order);
        if tells_early {
            self.committed(now, transition);
        }
    }

    /// What the audit log says of a change, when an operator or an administrator made it.
    pub(super) fn audit(
        &mut self,
        now: Timestamp,
        actor: &Actor,
        action: &'static str,
        rider: Option<RiderId>,
        reason: Option<String>,
        detail: Map<String, Value>,
    ) -> Option<AuditRecord> {
        if !matches!(actor.kind, ActorKind::Operator | ActorKind::Admin) {
            return None;
        }
        let id = self.ids.next(now);
        Some(AuditRecord { id, at: now, actor: actor.clone(), action, rider, reason, detail })
    }

    /// Refuses a change of an order that has moved on since its caller saw it; says whether it did.
    pub(super) fn refuse_moved(&mut self, order: OrderId, given: &Conditions, reply: ReplyTo) -> bool {
        let Some(live) = self.orders.get(&order) else { return false };
        let (status, version) = (live.state.status, live.state.version);
        let moved = given.expected_version.is_some_and(|expected| expected != version);
        if moved {
            self.refuse(reply, Refusal::Moved { status, version });
        }
        moved
    }
}

/// What a caller is told of a changed order, as it is kept under an idempotency key: `id`, `status`, `version`.
fn answer(order: OrderId, state: &OrderState) -> Value {
    let pairs =
        [("id", order.to_string().into()), ("status", state.status.as_str().into()), ("version", state.version.into())];
    Value::Object(data(pairs))
}
