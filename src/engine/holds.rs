//! Holds: an operator keeps a waiting order from being offered, for a while. Every hold has an owner and an end.

use serde_json::Map;

use crate::domain::{
    ids::OrderId,
    order::{Actor, OrderStatus},
    steering::Hold,
    time::Timestamp,
};

use super::{
    alarms::INSTANT,
    change::Change,
    city::City,
    command::{OperatorRefusal, Refusal},
    operators::{Ask, name_of},
    orders::{EventDraft, data, receipt},
    search_end::resume,
    state::{Deed, Then},
    view::WaitReason,
};

impl City {
    pub(super) fn hold(&mut self, now: Timestamp, ask: Ask, until: Timestamp) {
        let (order, reply) = (ask.order, ask.reply);
        let Some(live) = self.orders.get(&order) else { return self.refuse_gone(order, reply) };
        if !live.state.status.is_waiting() {
            return self.refuse_status(&ask);
        }
        let policy = &self.settings.policy;
        if until <= now || until > now + policy.max_hold() {
            let max_s = policy.max_hold_s;
            return self.refuse(reply, Refusal::Operator(OperatorRefusal::BadHold { max_s }));
        }
        let hold = Hold { by: name_of(&ask.by), until, reason: ask.reason.clone() };
        match &live.state.hold {
            Some(held) if held.by != hold.by => {
                let (by, until) = (held.by.clone(), held.until);
                return self.refuse(reply, Refusal::Operator(OperatorRefusal::HeldByOther { by, until }));
            }
            Some(held) if *held == hold => {
                let outcome = receipt(live);
                return self.reply(reply, Ok(outcome));
            }
            _ => {}
        }
        let mut next = live.state.clone();
        if next.status == OrderStatus::Offered {
            next.status = OrderStatus::Queued;
        }
        // While it is held nobody has to leave for it.
        next.due_at = None;
        let particulars = data([("by", hold.by.clone().into()), ("until", until.to_string().into())]);
        next.hold = Some(hold);
        let withdrawn = self.withdrawals(now, order, "held");
        self.write_operation(now, ask, "held", next, None, particulars, Deed::Held, withdrawn);
    }

    /// The hold is stored: whoever was asked is free again.
    pub(super) fn hold_stored(&mut self, now: Timestamp, order: OrderId) {
        self.search_again(order);
        self.watch_hold(now, order);
    }

    pub(super) fn release(&mut self, now: Timestamp, ask: Ask) {
        let Some(live) = self.orders.get(&ask.order) else { return self.refuse_gone(ask.order, ask.reply) };
        let resumed = live.state.parked;
        if live.state.hold.is_none() && !resumed {
            let outcome = receipt(live);
            return self.reply(ask.reply, Ok(outcome));
        }
        let mut next = live.state.clone();
        let mut particulars = Map::new();
        if let Some(hold) = next.hold.take() {
            particulars = data([("by", hold.by.into()), ("until", hold.until.to_string().into())]);
        }
        if resumed {
            resume(&mut next);
            particulars.insert("round".to_owned(), next.round.into());
        }
        self.write_operation(now, ask, "released", next, None, particulars, Deed::Released { resumed }, vec![]);
    }

    /// The order may be offered again, unless it is parked: that ends by a word only.
    pub(super) fn search_again(&mut self, order: OrderId) {
        let Some(live) = self.orders.get_mut(&order) else { return };
        live.exhausted_since = None;
        if live.wait != WaitReason::Scheduled {
            live.wait = WaitReason::NotDue;
        }
        if self.queue.contains(order) {
            self.enter_line(order);
        }
    }

    /// Ends the holds whose time is over.
    pub(super) fn end_holds(&mut self, now: Timestamp) {
        for order in self.hold_alarms.take_due(now) {
            let Some(live) = self.orders.get(&order) else { continue };
            if let Some(hold) = live.state.hold.as_ref().filter(|hold| hold.until <= now && !live.pending) {
                let event = EventDraft {
                    reason: Some(hold.reason.clone()),
                    data: data([("by", hold.by.clone().into()), ("until", hold.until.to_string().into())]),
                    ..EventDraft::new("hold_expired", Actor::ENGINE)
                };
                let mut next = live.state.clone();
                next.hold = None;
                let then =
                    Then::Operated { deed: Deed::Released { resumed: false }, withdrawn: Vec::new(), reply: None };
                self.write_change(now, order, Change::new(next, vec![event], then));
            }
            // It is held until the journal has its end; it may also have been made longer.
            self.watch_hold(now, order);
        }
    }

    /// Sets the alarm of a hold, for when it ends.
    pub(super) fn watch_hold(&mut self, now: Timestamp, order: OrderId) {
        if let Some(hold) = self.orders.get(&order).and_then(|live| live.state.hold.as_ref()) {
            self.hold_alarms.set(hold.until.max(now + INSTANT), order);
        }
    }
}
