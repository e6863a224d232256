//! When something must be looked at again: riders who may have fallen silent, offers that may have run out, orders whose
//! round may be over. So a tick costs what is due, not what is there.
//!
//! An alarm may be early, never late: what pushes a deadline back (a ping, above all) leaves the alarm where it is, and
//! whoever looks finds nothing to do and sets the next one. So a ping costs no more than a comparison.

use std::{collections::BTreeSet, time::Duration};

use crate::domain::{
    duty::Duty,
    ids::{OfferId, OrderId, RiderId},
    time::Timestamp,
};

use super::{city::City, state::LiveRider};

/// The shortest time there is: what may last a span is over so much after it. Also how soon something is looked at again
/// that is overdue and waits for the journal: at the next tick.
pub(super) const INSTANT: Duration = Duration::from_millis(1);

/// Alarms in the order of their times.
#[derive(Clone, Debug)]
pub(super) struct Alarms<K> {
    line: BTreeSet<(Timestamp, K)>,
}

impl<K> Default for Alarms<K> {
    fn default() -> Self {
        Self { line: BTreeSet::new() }
    }
}

impl<K: Copy + Ord> Alarms<K> {
    /// Sets an alarm; something may have several.
    pub fn set(&mut self, at: Timestamp, key: K) {
        self.line.insert((at, key));
    }

    /// Takes an alarm back.
    pub fn unset(&mut self, at: Timestamp, key: K) {
        self.line.remove(&(at, key));
    }

    /// What is due, earliest first.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = K> + '_ {
        self.line.iter().take_while(move |(at, _)| *at <= now).map(|(_, key)| *key)
    }

    /// Takes out what is due, earliest first.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<K> {
        let due: Vec<K> = self.due(now).collect();
        for _ in &due {
            self.line.pop_first();
        }
        due
    }

    /// How many alarms are set.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether something has an alarm at a time.
    pub fn is_set(&self, at: Timestamp, key: K) -> bool {
        self.line.contains(&(at, key))
    }

    /// Whether something has an alarm by a time.
    pub fn is_set_by(&self, at: Timestamp, key: K) -> bool {
        self.is_set(at, key) || self.due(at).any(|due| due == key)
    }
}

impl City {
    /// When a rider must be looked at: when the fix goes stale of one in the index, when one who wants work has been
    /// silent for long, and for too long, when one with work in hand will soon be free, which is at `from`.
    pub(super) fn rider_due(&self, live: &LiveRider, in_index: bool, from: Option<Timestamp>) -> Option<Timestamp> {
        let policy = &self.settings.policy;
        let stale = live.fix.filter(|_| in_index).map(|fix| fix.received_at + policy.fix_freshness() + INSTANT);
        // Who could have been offered more work at the last tick was looked at by it.
        let soon = from.filter(|from| !in_index && self.last_tick.is_none_or(|tick| *from > tick));
        [stale, self.silent_at(live), self.warning_due(live), soon].into_iter().flatten().min()
    }

    /// When a rider has been silent for longer than the policy allows.
    pub(super) fn silent_at(&self, live: &LiveRider) -> Option<Timestamp> {
        let limit = Duration::from_secs(self.settings.policy.auto_off_after_s.into());
        live.may_fall_silent().then(|| (live.heard_at + limit + INSTANT).max(self.grace_until))
    }

    /// Sets a rider's alarm, unless it goes off early enough.
    pub(super) fn watch_rider(&mut self, now: Timestamp, rider: RiderId, due: Option<Timestamp>) {
        let Some(at) = due.map(|due| due.max(now + INSTANT)) else { return };
        let Some(live) = self.riders.get_mut(&rider).filter(|live| live.look_at.is_none_or(|set| set > at)) else {
            return;
        };
        if let Some(before) = live.look_at.replace(at) {
            self.rider_alarms.unset(before, rider);
        }
        self.rider_alarms.set(at, rider);
    }

    /// Sets a rider's alarm anew.
    pub(super) fn watch_rider_again(&mut self, now: Timestamp, rider: RiderId) {
        let due_of = |live| self.rider_due(live, live.stands.in_index(), self.forward_from(live));
        let due = self.riders.get(&rider).and_then(due_of);
        self.watch_rider(now, rider, due);
    }

    /// Sets the alarm of an open offer, for when its answer is due.
    pub(super) fn watch_offer(&mut self, now: Timestamp, offer: OfferId) {
        if let Some(record) = self.offers.get(&offer) {
            let due = record.answer_due(self.settings.policy.offer_ttl());
            self.offer_alarms.set(due.max(now + INSTANT), offer);
        }
    }

    /// Sets the alarm of an order that everybody in reach has refused, for when its next round begins; and of one that is
    /// parked in vain, for the next tick.
    pub(super) fn watch_round(&mut self, now: Timestamp, order: OrderId) {
        if self.is_parked_in_vain(order) {
            return self.round_alarms.set(now + INSTANT, order);
        }
        let every = Duration::from_secs(self.settings.policy.round_every_s.into());
        if let Some(since) = self.orders.get(&order).and_then(|live| live.exhausted_since) {
            self.round_alarms.set((since + every).max(now + INSTANT), order);
        }
    }

    /// Another policy has other deadlines: everything is looked at once.
    pub(super) fn watch_everything(&mut self, now: Timestamp) {
        let riders: Vec<RiderId> = self.riders.keys().copied().collect();
        riders.into_iter().for_each(|rider| self.plan_changed(now, rider));
        let offers: Vec<OfferId> = self.offers.keys().copied().collect();
        offers.into_iter().for_each(|offer| self.watch_offer(now, offer));
        let orders: Vec<OrderId> = self.queue.iter().map(|(order, _)| order).collect();
        orders.into_iter().for_each(|order| self.watch_round(now, order));
    }
}

impl LiveRider {
    /// Whether silence changes anything: not for one who wants no work, nor again for a carrier whose silence was told.
    pub(super) fn may_fall_silent(&self) -> bool {
        matches!(self.duty, Duty::On | Duty::Break) && (!self.silence_told || self.orders.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_go_off_in_the_order_of_their_times_and_once() {
        let at = Timestamp::from_millis;
        let mut alarms = Alarms::default();
        alarms.set(at(30), 'c');
        alarms.set(at(10), 'b');
        alarms.set(at(20), 'a');
        alarms.set(at(20), 'd');
        alarms.unset(at(20), 'd');
        assert!(alarms.take_due(at(9)).is_empty());
        assert_eq!(alarms.take_due(at(20)), ['b', 'a']);
        assert!(alarms.take_due(at(20)).is_empty());
        assert!(alarms.len() == 1 && alarms.is_set(at(30), 'c'));
        assert!(alarms.is_set_by(at(31), 'c') && !alarms.is_set_by(at(29), 'c') && !alarms.is_set_by(at(31), 'a'));
    }
}
