//! A city that starts knows what the store knows: queue, offers in flight, work in hand and duty, and what has ended so
//! lately that its device may not have heard of it.

use std::time::Duration;

use crate::domain::{
    self,
    duty::Duty,
    ids::{OrderId, RiderId},
    order::{OfferState, OrderSpec, OrderStatus},
    rider::RiderProfile,
    time::Timestamp,
};

use super::{
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
            city.riders.insert(rider, LiveRider::away(stored.profile, stored.duty, now));
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
        let live = self.riders.entry(rider).or_insert_with(|| LiveRider::away(profile, Duty::Off, now));
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
