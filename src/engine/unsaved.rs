//! What a full journal refused and nobody waits for: kept, and given to it again at the next tick, so that nothing that
//! was decided is forgotten. Whoever waits for a write is told instead, and asks again.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    ids::{OfferId, OrderId, RiderId, TransitionId},
    time::Timestamp,
};

use super::{
    city::City,
    command::RejectReason,
    effect::{Effect, OfferRecord, Write},
    state::{Pending, Then},
};

/// What is tried again. Duties have a place of their own (`City::duty_unsaved`).
#[derive(Clone, Debug, Default)]
pub(super) struct Unsaved {
    /// Records of offers.
    pub notes: BTreeMap<OfferId, OfferRecord>,
    /// Orders whose open offer may have to be taken back.
    pub withdrawals: BTreeSet<OrderId>,
    /// Riders whose next duty the engine decided on.
    pub next_duties: BTreeSet<RiderId>,
    /// Riders who cannot go on, and from whom work is to be taken that is not picked up.
    pub relieved: BTreeSet<RiderId>,
}

impl City {
    /// Stores the record of an offer alone; nobody waits for it.
    pub(super) fn note_offer(&mut self, now: Timestamp, record: OfferRecord) {
        self.unsaved.notes.remove(&record.id);
        let transition = TransitionId(self.ids.next(now));
        let then = Then::OfferNoted { record: Box::new(record.clone()) };
        self.pending.insert(transition, Pending { change: None, then });
        self.out.push(Effect::Persist(Box::new(Write::Offer { transition, offer: record })));
    }

    /// The journal did not take the record of an offer.
    pub(super) fn offer_not_noted(&mut self, record: OfferRecord, why: &RejectReason) {
        if why.is_passing() {
            self.unsaved.notes.insert(record.id, record);
        }
    }

    /// Tries again what the journal could not take.
    pub(super) fn save_again(&mut self, now: Timestamp) {
        for (offer, record) in std::mem::take(&mut self.unsaved.notes) {
            match self.offers.get(&offer) {
                // It must not overtake the write that is under way, which may close the offer.
                Some(_) if self.write_about(offer).is_some() => drop(self.unsaved.notes.insert(offer, record)),
                Some(open) => {
                    let open = open.clone();
                    self.note_offer(now, open);
                }
                // An orphan of a restart is closed in the record itself; an offer that ended since was stored with its end.
                None if record.state.is_open() => {}
                None => self.note_offer(now, record),
            }
        }
        for rider in std::mem::take(&mut self.unsaved.next_duties) {
            if let Some(next) = self.riders.get(&rider).and_then(|live| live.next_duty) {
                self.plan_duty(now, rider, next, None);
            }
        }
        for rider in std::mem::take(&mut self.unsaved.relieved) {
            self.take_back_unpicked(now, rider);
        }
        for order in std::mem::take(&mut self.unsaved.withdrawals) {
            self.withdraw_if_unwilling(now, order);
        }
    }

    /// The write that the journal has of an open offer's order.
    pub(super) fn write_about(&self, offer: OfferId) -> Option<&Then> {
        let order = self.offers.get(&offer)?.orders.first()?;
        let write = self.orders.get(order)?.write?;
        self.pending.get(&write).map(|pending| &pending.then)
    }
}
