//! A city that starts knows what the store knows: queue, offers in flight, work in hand and duty, and what has ended so
//! lately that its device may not have heard of it.

use std::time::Duration;

use crate::domain::{
    self,
    dispute::DisputeKind,
    duty::{Duty, DutyReason},
    ids::{DisputeId, OrderId, RiderId},
    order::{Custody, OfferState, OrderSpec, OrderStatus, Step},
    rider::RiderProfile,
    time::Timestamp,
};

use super::{
    answered::{FirstAnswer, FrameKey},
    city::{City, Remembered},
    effect::{Effect, OfferRecord, OrderState},
    matching::Brain,
    snapshot::stops_left,
    state::{ClosedOffer, EndedOrder, LiveRider},
};

/// How long closed offers and ended orders are remembered for repeated reports.
pub const MEMORY: Duration = Duration::from_secs(15 * 60);

/// What the store knows of a city when its engine starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CityImage {
    /// Every order that has not ended.
    pub orders: Vec<(OrderSpec, OrderState)>,
    /// Every open offer.
    pub offers: Vec<OfferRecord>,
    /// Every rider who is on duty or on a break here, or has an order of this city in hand.
    pub riders: Vec<StoredRider>,
    /// Orders that ended within [`MEMORY`].
    pub ended: Vec<StoredEnd>,
    /// Offers that closed within [`MEMORY`], of riders who may ask for them.
    pub closed: Vec<OfferRecord>,
    /// Offers of open orders that ended in the order's round of asking, accepted ones included, oldest first.
    pub refused: Vec<OfferRecord>,
    /// Frames that were answered within [`MEMORY`], oldest first.
    pub frames: Vec<StoredFrame>,
    /// Riders who lost an order that they had in hand: open ones, and such that ended within the policy's report age.
    pub claims: Vec<StoredClaim>,
    /// Open disputes.
    pub disputes: Vec<StoredDispute>,
    /// Wrong one-time codes tried at the doors of open orders.
    pub wrong_codes: Vec<(OrderId, u32)>,
}

/// The first answer to a frame, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredFrame {
    /// Whose frame.
    pub rider: RiderId,
    /// Which.
    pub key: FrameKey,
    /// What was answered.
    pub answer: FirstAnswer,
    /// When.
    pub at: Timestamp,
}

/// Riders who may come back with the goods of an order that is no longer theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredClaim {
    /// The order.
    pub order: OrderId,
    /// How and when it ended, when it has.
    pub end: Option<(OrderStatus, Timestamp)>,
    /// Who had it in hand and lost it.
    pub riders: Vec<RiderId>,
}

/// A dispute that waits for a decision.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDispute {
    /// Its id.
    pub id: DisputeId,
    /// The order.
    pub order: OrderId,
    /// Who reports.
    pub rider: RiderId,
    /// What contradicts what.
    pub kind: DisputeKind,
    /// The step that was reported last.
    pub step: Step,
}

/// An order that ended, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEnd {
    /// Which.
    pub order: OrderId,
    /// How it ended.
    pub status: OrderStatus,
    /// Its last version.
    pub version: i32,
    /// Who had it in hand.
    pub rider: Option<RiderId>,
    /// When it ended.
    pub at: Timestamp,
}

/// A rider as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRider {
    /// Who.
    pub profile: RiderProfile,
    /// The committed duty.
    pub duty: Duty,
    /// What follows it once the work in hand is finished.
    pub next_duty: Option<Duty>,
    /// Why it is in force.
    pub duty_why: Option<DutyReason>,
}

impl City {
    /// An engine for a city, with what the store knows of it. `seed` feeds the ids it makes and nothing else.
    /// The effects are to be carried out like those of any command.
    ///
    /// A restored rider has no socket and no fix, and so is offered nothing before reconnecting and pinging; silence
    /// counts from `now`, because the pause was the engine's own.
    #[must_use]
    pub fn restore(settings: domain::city::City, seed: u64, now: Timestamp, image: CityImage) -> (Self, Vec<Effect>) {
        let mut city = Self::new(settings, seed, Brain::default());
        for stored in image.riders {
            let rider = stored.profile.id;
            let (next_duty, duty_why) = (stored.next_duty, stored.duty_why);
            let away = LiveRider::away(stored.profile, stored.duty, now);
            let restored = LiveRider { next_duty, stored_next: next_duty, duty_why, ..away };
            city.riders.get_or_insert_with(rider, || restored);
            city.watch_rider_again(now, rider);
            city.touch_rider(rider);
        }
        // A rider goes on with the orders in hand as they were taken.
        let mut orders = image.orders;
        orders.sort_by_key(|(spec, state)| (state.assigned_at, spec.id));
        for (spec, state) in orders {
            city.restore_order(now, spec, state);
        }
        city.restore_plans(now);
        for offer in image.offers {
            city.restore_offer(now, offer);
        }
        // A waiting order whose offer was not found open waits for a new one.
        for live in city.orders.values_mut() {
            if live.state.status == OrderStatus::Offered && live.offers.is_empty() {
                live.state.status = OrderStatus::Queued;
            }
        }
        city.restore_memory(now, image.ended, image.closed);
        city.restore_refusals(now, &image.refused);
        city.answered.restore(image.frames);
        city.contested.restore(image.claims, image.disputes);
        for (order, tries) in image.wrong_codes {
            if let Some(live) = city.orders.get_mut(&order) {
                live.otp_tries = tries;
            }
        }
        city.restore_next_duties(now);
        let effects = std::mem::take(&mut city.out);
        (city, effects)
    }

    /// A device whose answer went down with the last incarnation asks again, and has it.
    fn restore_memory(&mut self, now: Timestamp, ended: Vec<StoredEnd>, closed: Vec<OfferRecord>) {
        let mut memory = Vec::with_capacity(ended.len() + closed.len());
        for StoredEnd { order, status, version, rider, at } in ended {
            memory.push((at, Remembered::Order(order)));
            self.ended_orders.insert(order, EndedOrder { status, version, rider });
        }
        for record in closed {
            memory.push((record.closed_at.unwrap_or(now), Remembered::Offer(record.id)));
            self.closed_offers.insert(record.id, ClosedOffer { record });
        }
        memory.sort_by_key(|(at, _)| *at);
        self.memory.extend(memory);
    }

    /// Whoever was asked in this round and did not want is not asked again at once, because the city was away. Records are
    /// in the order in which they were closed.
    fn restore_refusals(&mut self, now: Timestamp, refused: &[OfferRecord]) {
        for record in refused {
            if record.state != OfferState::Accepted {
                self.note_refusal(now, record.closed_at.unwrap_or(now), record);
                continue;
            }
            for order in &record.orders {
                let Some(live) = self.orders.get_mut(order) else { continue };
                // Refusals end with an acceptance. Whoever accepted and has lost the order since is not asked again.
                live.forget_refusals();
                if live.state.status.is_waiting() && live.state.custody == Custody::Store {
                    live.refusals.insert(record.rider, Timestamp::FAR_FUTURE);
                }
            }
        }
    }

    /// Who had asked for another duty after the work in hand gets it, if the work ended with the last incarnation.
    fn restore_next_duties(&mut self, now: Timestamp) {
        let idle = |live: &&LiveRider| live.next_duty.is_some() && live.orders.is_empty();
        let waiting: Vec<_> = self.riders.values().filter(idle).map(|live| (live.profile.id, live.offer)).collect();
        for (rider, offer) in waiting {
            match offer.and_then(|offer| self.offers.get(&offer)).and_then(|record| record.orders.first()).copied() {
                Some(order) => self.withdraw_if_unwilling(now, order),
                None => self.work_finished(now, rider),
            }
        }
    }

    fn restore_order(&mut self, now: Timestamp, spec: OrderSpec, state: OrderState) {
        let order = spec.id;
        let live = self.live_order(spec, state);
        let (status, rider) = (live.state.status, live.state.rider);
        self.orders.insert(order, live);
        self.watch_hold(now, order);
        if !status.has_rider() {
            self.watch_round(now, order);
            return self.enter_line(order);
        }
        self.touch_order(order);
        let Some(rider) = rider else { return };
        let profile = self.unknown_profile(rider);
        let live = self.riders.get_or_insert_with(rider, || LiveRider::away(profile, Duty::Off, now));
        live.orders.push(order);
        live.plan.extend(stops_left(status, order));
        self.touch_rider(rider);
    }

    fn restore_offer(&mut self, now: Timestamp, mut record: OfferRecord) {
        let order = record.orders.first().copied();
        let fits = order
            .and_then(|order| self.orders.get(&order))
            .is_some_and(|live| live.state.status == OrderStatus::Offered)
            && self.riders.get(&record.rider).is_some_and(|live| live.offer.is_none());
        let (true, Some(order)) = (fits, order) else {
            record.state = OfferState::Withdrawn;
            record.reason = Some("restart".to_owned());
            record.closed_at = Some(now);
            return self.note_offer(now, record);
        };
        if let Some(live) = self.orders.get_mut(&order) {
            live.offers.push(record.id);
            live.asked_at = live.asked_at.max(Some(record.sent_at));
        }
        if let Some(live) = self.riders.get_mut(&record.rider) {
            live.offer = Some(record.id);
        }
        let offer = record.id;
        self.offers.insert(offer, record);
        self.watch_offer(now, offer);
        self.watch_unseen(now, offer);
    }
}
