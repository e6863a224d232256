//! The end of a search without a rider: by the city's policy the order expires, or it is parked until an operator decides.
//! A parked order stays `queued`, so it is in line and visible, but nobody is asked for it. The store knows it is parked.

use crate::domain::{
    ids::OrderId,
    order::{Actor, Custody, OrderStatus},
    policy::WhenExhausted,
    time::Timestamp,
};

use super::{
    city::City,
    effect::{Alert, OrderState},
    orders::{EventDraft, data},
    state::Then,
    view::WaitReason,
};

impl City {
    /// Whether the search for a rider may end without one. Goods in a rider's hands never expire.
    pub(super) fn may_give_up(&self, custody: Custody) -> bool {
        self.settings.policy.when_exhausted == WhenExhausted::Operator || custody == Custody::Store
    }

    /// Ends the search for a rider. Does nothing while the journal has a write of the order, or an offer is open.
    pub(super) fn give_up(&mut self, now: Timestamp, order: OrderId) {
        let Some(live) = self.orders.get(&order).filter(|live| !live.pending && live.offers.is_empty()) else { return };
        if !self.may_give_up(live.state.custody) {
            return;
        }
        let mut next = live.state.clone();
        let reason = Some(live.wait.as_str().to_owned());
        let (kind, then) = match self.settings.policy.when_exhausted {
            WhenExhausted::Expire => {
                next.status = OrderStatus::Expired;
                next.ended_at = Some(now);
                next.end_reason.clone_from(&reason);
                ("expired", Then::Expired)
            }
            WhenExhausted::Operator => {
                next.parked = true;
                ("parked", Then::Parked)
            }
        };
        let event = EventDraft {
            reason,
            data: data([("round", next.round.into()), ("offers_tried", next.offers_tried.into())]),
            ..EventDraft::new(kind, Actor::ENGINE)
        };
        self.write_order(now, order, next, vec![event], vec![], then);
    }

    /// The order is stored as waiting for an operator: they are told.
    pub(super) fn parked_stored(&mut self, now: Timestamp, order: OrderId) {
        if let Some(live) = self.orders.get_mut(&order) {
            live.exhausted_since = None;
        }
        // The policy may have changed while the journal had it.
        self.watch_round(now, order);
        self.alert(Alert::NeedsOperator(order));
    }

    /// Puts a parked order back into automatic dispatch, with a new round, for which everybody may be asked, and with a
    /// wait that counts anew. Does nothing to an order that is not parked, or while the journal has a write of it.
    pub(super) fn resume_search(&mut self, now: Timestamp, order: OrderId) {
        let Some(live) = self.orders.get(&order).filter(|live| !live.pending && live.state.parked) else { return };
        let mut next = live.state.clone();
        resume(&mut next);
        let event = EventDraft {
            data: data([("round", next.round.into())]),
            ..EventDraft::new("search_resumed", Actor::ENGINE)
        };
        self.write_order(now, order, next, vec![event], vec![], Then::SearchResumed);
    }

    /// The search goes on.
    pub(super) fn search_resumed(&mut self, order: OrderId) {
        let Some(live) = self.orders.get_mut(&order) else { return };
        live.forget_refusals();
        (live.wait, live.exhausted_since, live.asked_at) = (WaitReason::NotDue, None, None);
        self.enter_line(order);
    }

    /// Whether a parked order waits for operators who are not to be asked any more: the policy has changed.
    pub(super) fn is_parked_in_vain(&self, order: OrderId) -> bool {
        self.settings.policy.when_exhausted == WhenExhausted::Expire
            && self.orders.get(&order).is_some_and(|live| live.state.parked)
    }
}

/// Puts a parked order back into automatic dispatch: a new round, and a wait that counts anew.
pub(super) const fn resume(state: &mut OrderState) {
    state.parked = false;
    state.round += 1;
    state.due_at = None;
}
