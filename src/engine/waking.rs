//! When a device is woken by push: its socket died after the offer was made, or is silent. Only riders with a socket and a
//! fresh fix are made offers, so a wake is for what happened since.
//!
//! An offer wakes once: when it is stored and its rider has no session, or when it was sent and not seen for a while. A
//! restart forgets whom it woke, and watches the unseen offers anew. A silent rider is woken once before AUTO_OFF; a sign
//! of life begins the silence anew.

use crate::domain::{
    ids::{OfferId, OrderId, RiderId},
    time::Timestamp,
};

use super::{
    alarms::INSTANT,
    city::City,
    effect::Effect,
    state::LiveRider,
    wake::{Wake, WakeWhy},
};

impl City {
    /// An offer was stored, or read from the store: its device is woken if it cannot have heard of it, and watched if it can.
    pub(super) fn wake_or_watch(&mut self, now: Timestamp, offer: OfferId) {
        let Some(record) = self.offers.get(&offer).filter(|record| record.seen_at.is_none()) else { return };
        if self.riders.get(&record.rider).is_some_and(|live| live.session.is_none()) {
            return self.wake_for(offer);
        }
        self.wake_alarms.set(now + self.settings.policy.wake_after(), offer);
    }

    /// Watches an unseen offer whose device may be on its way back to us.
    pub(super) fn watch_unseen(&mut self, now: Timestamp, offer: OfferId) {
        if self.offers.get(&offer).is_some_and(|record| record.seen_at.is_none()) {
            self.wake_alarms.set(now + self.settings.policy.wake_after(), offer);
        }
    }

    /// Wakes the devices that have shown their offers to nobody.
    pub(super) fn wake_unseen(&mut self, now: Timestamp) {
        for offer in self.wake_alarms.take_due(now) {
            let Some(record) = self.offers.get(&offer).filter(|record| record.seen_at.is_none()) else { continue };
            let of_order = |order: &OrderId| self.orders.get(order).is_some_and(|live| live.pending);
            if record.orders.iter().any(of_order) {
                // What the journal is about to store may end the offer.
                self.wake_alarms.set(now + INSTANT, offer);
            } else {
                self.wake_for(offer);
            }
        }
    }

    fn wake_for(&mut self, offer: OfferId) {
        let Some(record) = self.offers.get(&offer) else { return };
        let until = record.answer_due(self.settings.policy.offer_ttl());
        self.out.push(Effect::Wake(Wake { rider: record.rider, why: WakeWhy::Offer, offer: Some(offer), until }));
    }

    /// When an idle rider's silence has lasted so long that the device must be woken; `None` when it was, or never is.
    pub(super) fn warning_due(&self, live: &LiveRider) -> Option<Timestamp> {
        let silence = self.settings.policy.silence_before_warning()?;
        // After a pause of the engine nobody is warned of a silence that was not theirs.
        (!live.warned && live.orders.is_empty() && live.may_fall_silent())
            .then(|| (live.heard_at + silence + INSTANT).max(self.grace_until))
    }

    /// Wakes the device of a rider who is about to be taken off duty.
    pub(super) fn warn_if_silent(&mut self, now: Timestamp, rider: RiderId) {
        let Some(live) = self.riders.get(&rider) else { return };
        let (due, until) = (self.warning_due(live), self.silent_at(live));
        let (Some(due), Some(until)) = (due, until) else { return };
        // Who is off duty with this very tick needs no warning any more.
        if due > now || until <= now {
            return;
        }
        if let Some(live) = self.riders.get_mut(&rider) {
            live.warned = true;
        }
        self.out.push(Effect::Wake(Wake { rider, why: WakeWhy::AutoOffWarning, offer: None, until }));
    }
}
