//! The lives of the benchmark's orders: from the offer to the delivery, as the engine would write them down.

use std::time::Duration;

use dispatch_engine::{
    clock::Clock,
    domain::{
        ids::{JobId, MerchantId, OfferId, OrderId, RiderId, TransitionId},
        money::Currency,
        order::{Actor, Custody, OfferState, OrderSpec, OrderStatus, Place},
        position::Position,
        steering::Priority,
        tags::Tags,
        time::Timestamp,
        wallet::settle_order,
    },
    engine::{
        command::PlacementExtras,
        effect::{OfferRecord, OrderEvent, OrderState, OrderWrite, PlaceWrite, Write},
    },
};
use serde_json::{Map, json};
use uuid::Uuid;

const PAYOUT: i64 = 4_000;
const CASH: i64 = 25_050;
const MERCHANT: MerchantId = MerchantId(Uuid::from_u128(7));

/// The transitions of one life after its placement.
pub const STEPS: [OrderStatus; 6] = [
    OrderStatus::Offered,
    OrderStatus::Assigned,
    OrderStatus::AtPickup,
    OrderStatus::PickedUp,
    OrderStatus::AtDropoff,
    OrderStatus::Delivered,
];

/// One order on its way.
pub struct Life {
    id: OrderId,
    rider: RiderId,
    offer: OfferId,
    state: OrderState,
    steps: usize,
}

impl Life {
    /// A new order, and the write that stores it.
    pub fn begin(clock: &Clock) -> (Self, Write) {
        let now = clock.now();
        let (id, rider, offer) = (OrderId(clock.new_id()), RiderId(clock.new_id()), OfferId(clock.new_id()));
        let state = OrderState {
            status: OrderStatus::Queued,
            version: 1,
            next_seq: 3,
            rider: None,
            custody: Custody::Store,
            ready_at: now,
            due_at: None,
            assigned_at: None,
            picked_up_at: None,
            delivered_at: None,
            ended_at: None,
            end_reason: None,
            round: 0,
            offers_tried: 0,
            updated_at: now,
            payout_minor: None,
            parked: false,
            hold: None,
            priority: Priority::default(),
        };
        let write = PlaceWrite {
            transition: TransitionId(clock.new_id()),
            spec: spec(id, now),
            state: state.clone(),
            events: vec![event(1, 1, "placed", now), event(2, 1, "queued", now)],
            extras: PlacementExtras::default(),
        };
        (Self { id, rider, offer, state, steps: 0 }, Write::Place(write))
    }

    /// Whether it is delivered.
    pub const fn is_over(&self) -> bool {
        self.steps >= STEPS.len()
    }

    /// The write of its next transition.
    pub fn next(&mut self, clock: &Clock) -> Write {
        let (now, status) = (clock.now(), STEPS[self.steps]);
        self.steps += 1;
        let (expected_version, seq) = (self.state.version, self.state.next_seq);
        let state = &mut self.state;
        (state.status, state.version, state.next_seq, state.updated_at) = (status, expected_version + 1, seq + 1, now);
        let (mut offer, mut postings) = (None, Vec::new());
        match status {
            OrderStatus::Offered => {
                (state.due_at, state.offers_tried) = (Some(now), 1);
                offer = Some((OfferState::Sent, None));
            }
            OrderStatus::Assigned => {
                (state.rider, state.assigned_at) = (Some(self.rider), Some(now));
                offer = Some((OfferState::Accepted, Some(now)));
            }
            OrderStatus::PickedUp => {
                (state.custody, state.picked_up_at) = (Custody::Rider(self.rider), Some(now));
            }
            OrderStatus::Delivered => {
                (state.custody, state.delivered_at, state.ended_at) = (Custody::Recipient, Some(now), Some(now));
                postings = settle_order(self.id, self.rider, MERCHANT, PAYOUT, CASH);
            }
            _ => {}
        }
        let state = self.state.clone();
        Write::Order(OrderWrite {
            transition: TransitionId(clock.new_id()),
            order: self.id,
            expected_version,
            events: vec![event(seq, state.version, status.as_str(), now)],
            state,
            offers: offer.into_iter().map(|(state, closed_at)| self.record(state, closed_at, now)).collect(),
            postings,
            currency: Currency::INR,
            audit: None,
            idempotency: None,
            frame: None,
            dispute: None,
        })
    }

    fn record(&self, state: OfferState, closed_at: Option<Timestamp>, now: Timestamp) -> OfferRecord {
        OfferRecord {
            id: self.offer,
            job: JobId(self.id.0),
            rider: self.rider,
            orders: vec![self.id],
            state,
            round: 0,
            reason: None,
            payout_minor: PAYOUT,
            currency: Currency::INR,
            pickup_eta: Duration::from_secs(60),
            pickup_distance_m: 512.5,
            sent_at: now,
            seen_at: None,
            hard_cap_at: now + Duration::from_secs(60),
            closed_at,
            pay_policy_version: 1,
        }
    }
}

fn event(seq: i32, version: i32, kind: &'static str, at: Timestamp) -> OrderEvent {
    let mut data = Map::new();
    data.insert("recorded_at".to_owned(), json!(at.to_string()));
    data.insert("lat".to_owned(), json!(12.97));
    data.insert("lon".to_owned(), json!(77.59));
    OrderEvent { seq, version, kind, actor: Actor::ENGINE, reason: None, data, at }
}

fn spec(id: OrderId, now: Timestamp) -> OrderSpec {
    let place = |lat, lon| Place {
        position: Position::new(lat, lon).expect("a place on earth"),
        hint: Some("gate 2".to_owned()),
    };
    OrderSpec {
        id,
        merchant: MERCHANT,
        external_ref: Some(id.to_string()),
        store: Some("s-1".to_owned()),
        pickup: place(12.97, 77.59),
        drop: place(12.98, 77.60),
        ready_at: now,
        promise_at: now + Duration::from_secs(2_700),
        dispatch_at: None,
        size_units: 1,
        vehicle_need: None,
        cash_to_collect_minor: CASH,
        payout_minor: PAYOUT,
        otp_digest: None,
        needs_tags: Tags::NONE,
        pay_policy_version: 1,
        currency: Currency::INR,
        metadata: Map::new(),
        placed_at: now,
    }
}
