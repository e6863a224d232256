//! Offers that end otherwise than by acceptance: what their riders and their order may do next.

use std::time::Duration;

use crate::domain::{
    duty::{Duty, DutyReason},
    ids::{OfferId, OrderId, ReplyTo},
    order::{Actor, OfferState, OrderStatus},
    time::Timestamp,
};

use super::{
    city::City,
    command::Outcome,
    effect::{Measure, Notice, OfferRecord},
    orders::{EventDraft, data},
    state::Then,
    view::WaitReason,
};

impl City {
    /// Ends an open offer otherwise than by acceptance; see [`Self::close_offers`].
    pub(super) fn close_offer(
        &mut self,
        now: Timestamp,
        offer: OfferId,
        state: OfferState,
        reason: Option<String>,
        why: &'static str,
        reply: Option<ReplyTo>,
    ) {
        if let Some(order) = self.offers.get(&offer).and_then(|record| record.orders.first().copied()) {
            self.close_offers(now, order, &[offer], state, reason, why, reply);
        }
    }

    /// Ends open offers of one order otherwise than by acceptance, in one write. Does nothing while the journal has a write
    /// of the order: what ends them then comes again (a tick, a commit).
    #[expect(clippy::too_many_arguments, reason = "which offers, how they end, and who is answered")]
    pub(super) fn close_offers(
        &mut self,
        now: Timestamp,
        order: OrderId,
        offers: &[OfferId],
        state: OfferState,
        reason: Option<String>,
        why: &'static str,
        reply: Option<ReplyTo>,
    ) {
        let Some(live) = self.orders.get(&order).filter(|live| !live.pending) else { return };
        let reason = reason.unwrap_or_else(|| why.to_owned());
        let close = |record: &OfferRecord| OfferRecord {
            state,
            closed_at: Some(now),
            reason: Some(reason.clone()),
            ..record.clone()
        };
        // An offer whose alarm went off twice ends once.
        let ending = live.offers.iter().filter(|open| offers.contains(open));
        let records: Vec<OfferRecord> = ending.filter_map(|offer| self.offers.get(offer)).map(close).collect();
        if records.is_empty() {
            return;
        }
        let mut next = live.state.clone();
        if live.offers.len() <= records.len() {
            next.status = OrderStatus::Queued;
        }
        let event = |record: &OfferRecord| {
            let (kind, actor) = match state {
                OfferState::Declined => ("offer_declined", Actor::rider(record.rider)),
                OfferState::Expired => ("offer_expired", Actor::ENGINE),
                _ => ("offer_withdrawn", Actor::ENGINE),
            };
            EventDraft {
                reason: record.reason.clone(),
                data: data([
                    ("offer", record.id.to_string().into()),
                    ("rider", record.rider.to_string().into()),
                    ("seen", record.seen_at.is_some().into()),
                ]),
                ..EventDraft::new(kind, actor)
            }
        };
        let events = records.iter().map(event).collect();
        let then = Then::OffersOver { records: records.clone(), why, reply };
        self.write_order(now, order, next, events, records, then);
    }

    /// The end of offers is stored: riders and order are free again, and know of each other's refusal.
    pub(super) fn offers_over(
        &mut self,
        now: Timestamp,
        order: Option<OrderId>,
        records: Vec<OfferRecord>,
        why: &'static str,
        reply: Option<ReplyTo>,
    ) {
        for record in records {
            self.note_refusal(now, now, &record);
            if let Some(live) = order.and_then(|order| self.orders.get_mut(&order)) {
                live.offers.retain(|open| *open != record.id);
                let held = live.asked_at.is_some_and(|at| now.since(at) < self.settings.policy.offer_hold());
                if held {
                    live.wait = WaitReason::Holding;
                }
            }
            self.release_offer(now, record.rider, record.id);
            match reply {
                Some(reply) => self.reply(reply, Ok(Outcome::Declined)),
                None => self.notify(record.rider, Notice::OfferClosed { offer: record.id, state: record.state, why }),
            }
            self.measure(Measure::OfferClosed(record.state));
            self.note_ignored(now, &record);
            self.remember_offer(now, record);
        }
    }

    /// An offer was closed at a time: its rider is not asked for its order again for a while, or until the next round, or
    /// for more.
    pub(super) fn note_refusal(&mut self, now: Timestamp, closed: Timestamp, record: &OfferRecord) {
        let until = self.refused_until(now, closed, record);
        let Some(live) = record.orders.first().and_then(|order| self.orders.get_mut(order)) else { return };
        if let Some(until) = until {
            live.refusals.insert(record.rider, until);
        }
        if record.state == OfferState::Declined {
            live.declined.insert(record.rider, record.payout_minor);
        } else {
            live.declined.remove(&record.rider);
        }
    }

    /// Until when the rider of an offer that was closed at a time is not asked for its order again.
    fn refused_until(&self, now: Timestamp, closed: Timestamp, record: &OfferRecord) -> Option<Timestamp> {
        let policy = &self.settings.policy;
        let cooldown = |seconds: u32| closed + Duration::from_secs(seconds.into());
        match (record.state, record.seen_at) {
            // Asked again in a new round, or for more.
            (OfferState::Declined, _) => Some(Timestamp::FAR_FUTURE),
            (OfferState::Expired, Some(_)) => Some(cooldown(policy.ignored_cooldown_s)),
            (OfferState::Expired, None) => Some(cooldown(policy.unseen_cooldown_s)),
            _ => None,
        }
        .filter(|until| *until > now)
    }

    /// Counts the offers that a rider saw and let pass, one after another; after so many the rider is taken off duty. Never
    /// seen is not ignored, and a refusal is an answer.
    fn note_ignored(&mut self, now: Timestamp, record: &OfferRecord) {
        let limit = self.settings.policy.auto_off_after_ignored;
        let Some(live) = self.riders.get_mut(&record.rider) else { return };
        match (record.state, record.seen_at) {
            (OfferState::Declined, _) => live.ignored = 0,
            (OfferState::Expired, Some(_)) => live.ignored = live.ignored.saturating_add(1),
            _ => return,
        }
        // Who has work in hand finishes it first, and is looked at after the next offer.
        if limit > 0 && live.ignored >= limit && live.duty == Duty::On && live.orders.is_empty() {
            self.set_duty(now, record.rider, Duty::AutoOff, DutyReason::IgnoredOffers, Vec::new());
        }
    }
}
