//! What a city shows of itself: to devices, to operators and to the mirror. Plain copies, no references into the engine.

use std::time::Duration;

use serde_json::Value;

use crate::domain::{
    duty::Duty,
    ids::{CityCode, JobId, MerchantId, OfferId, OrderId, RiderId},
    money::Money,
    order::{OrderStatus, Place},
    position::Position,
    rider::Vehicle,
    steering::{Hold, Priority},
    text::named_enum,
    time::Timestamp,
};

named_enum! {
    /// What a stop of a plan is for.
    pub enum StopKind as "stop" {
        /// Take goods over.
        Pickup = "pickup",
        /// Hand goods over.
        Drop = "drop",
        /// Bring goods back.
        Return = "return",
    }
}

/// One stop of a rider's plan, in the order in which they are to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    /// What for.
    pub kind: StopKind,
    /// For which order.
    pub order: OrderId,
    /// Where.
    pub place: Place,
    /// When: the ready time of a pickup, the promise of a drop.
    pub at: Timestamp,
}

/// An order within a job, as its rider sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobOrder {
    /// The order.
    pub order: OrderId,
    /// Where it stands.
    pub status: OrderStatus,
    /// Its version.
    pub version: i32,
    /// Whose it is.
    pub merchant: MerchantId,
    /// The merchant's name for it, which the rider says at the counter.
    pub external_ref: Option<String>,
    /// The merchant's own name for the store.
    pub store: Option<String>,
    /// When the goods are ready.
    pub ready_at: Timestamp,
    /// When the recipient expects them.
    pub promise_at: Timestamp,
    /// Cash to collect.
    pub cash_to_collect: Money,
    /// Whether the recipient gives the rider a one-time code, without which nothing is delivered.
    pub needs_otp: bool,
}

/// A job: orders that are taken together, with their stops in order.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// Its id.
    pub job: JobId,
    /// Its orders.
    pub orders: Vec<JobOrder>,
    /// Its stops that are still to be made.
    pub stops: Vec<Stop>,
}

/// An offer, as its rider sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferView {
    /// Its id.
    pub offer: OfferId,
    /// What it is about.
    pub job: JobView,
    /// Milliseconds left to answer, as of now.
    pub expires_in_ms: u64,
    /// Estimated time to the pickup.
    pub pickup_eta: Duration,
    /// Straight-line metres to the pickup.
    pub pickup_distance_m: f64,
    /// What it pays.
    pub payout: Money,
}

named_enum! {
    /// Why an order waits, for operators.
    pub enum WaitReason as "wait reason" {
        /// Its dispatch time has not come.
        Scheduled = "scheduled",
        /// No rider has to leave yet.
        NotDue = "not_due",
        /// Due, and no eligible rider within the radius.
        NoRiderInReach = "no_rider_in_reach",
        /// Due, and everybody in reach refused or cools down.
        AllRefused = "all_refused",
        /// A rider has been asked.
        Offered = "offered",
        /// A change waits for the journal.
        Committing = "committing",
        /// Somebody was asked a moment ago; the next rider is asked after the hold time.
        Holding = "holding",
        /// The search ended without a rider; an operator has to decide.
        NeedsOperator = "needs_operator",
        /// Due, and nobody within the limit can be at the pickup soon enough.
        PickupTooLong = "pickup_too_long",
        /// An operator holds it.
        Held = "held",
    }
}

/// An order, as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderView {
    /// Its id.
    pub order: OrderId,
    /// Whose it is.
    pub merchant: MerchantId,
    /// The merchant's name for it.
    pub external_ref: Option<String>,
    /// Where it stands.
    pub status: OrderStatus,
    /// Its version.
    pub version: i32,
    /// Why it waits, while it does.
    pub waiting_for: Option<WaitReason>,
    /// Its rider, or the one who is asked.
    pub rider: Option<RiderId>,
    /// Where the goods are to be fetched.
    pub pickup: Position,
    /// Where they go.
    pub drop: Position,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When the goods are ready.
    pub ready_at: Timestamp,
    /// When the recipient expects them.
    pub promise_at: Timestamp,
    /// When a rider must leave, as estimated now.
    pub leave_by: Timestamp,
    /// When it first became due.
    pub due_at: Option<Timestamp>,
    /// Offers made.
    pub offers_tried: u32,
    /// Everybody who is asked now.
    pub asked: Vec<RiderId>,
    /// The hold that keeps it from being offered.
    pub hold: Option<Hold>,
    /// How it stands to others that are due.
    pub priority: Priority,
}

named_enum! {
    /// What a rider is doing, for operators: one word from duty, presence, freshness and work.
    pub enum RiderState as "rider state" {
        /// On duty, fresh, free.
        Idle = "idle",
        /// Has an open offer.
        Offered = "offered",
        /// Has an order in hand.
        Busy = "busy",
        /// On duty, but the last fix is too old or the socket is gone.
        Stale = "stale",
        /// Pauses.
        Break = "break",
        /// Off duty.
        Off = "off",
    }
}

/// A rider, as operators see one.
#[derive(Clone, Debug, PartialEq)]
pub struct RiderView {
    /// Who.
    pub rider: RiderId,
    /// The duty in force.
    pub duty: Duty,
    /// What the rider is doing.
    pub state: RiderState,
    /// How the rider moves.
    pub vehicle: Vehicle,
    /// Whether a socket is open.
    pub connected: bool,
    /// The live dot and its time.
    pub fix: Option<(Position, Timestamp)>,
    /// Orders in hand.
    pub orders: Vec<OrderId>,
}

/// Figures of a city at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Riders on duty.
    pub riders_on_duty: u32,
    /// Riders who may be offered work: on duty, fresh and free. Busy ones who will soon be free are not among them.
    pub riders_idle: u32,
    /// Riders with an order in hand.
    pub riders_busy: u32,
    /// Riders with an open socket.
    pub riders_connected: u32,
    /// Orders that wait for a rider, not yet due ones included.
    pub orders_waiting: u32,
    /// Of those, orders that are due.
    pub orders_due: u32,
    /// Orders in a rider's hands.
    pub orders_active: u32,
    /// Open offers.
    pub offers_open: u32,
    /// Writes the journal has not answered yet.
    pub writes_pending: u32,
    /// Orders delivered since this incarnation started.
    pub delivered: u64,
    /// Orders cancelled, expired or returned since this incarnation started.
    pub ended_otherwise: u64,
}

/// A whole city.
#[derive(Clone, Debug, PartialEq)]
pub struct CitySnapshot {
    /// Which city.
    pub city: CityCode,
    /// When.
    pub at: Timestamp,
    /// Its figures.
    pub counts: Counts,
    /// Every live order: waiting ones oldest-due first, then those in hand.
    pub orders: Vec<OrderView>,
    /// Every live rider.
    pub riders: Vec<RiderView>,
}

/// What changed since the last time somebody asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CityChanges {
    /// Orders that changed or appeared.
    pub orders: Vec<OrderView>,
    /// Orders that are no longer live, with how they ended.
    pub ended: Vec<(OrderId, OrderStatus)>,
    /// Riders that changed or appeared.
    pub riders: Vec<RiderView>,
    /// Riders that are no longer live here.
    pub gone: Vec<RiderId>,
    /// Whether the order of the queue changed.
    pub queue_changed: bool,
}

/// Where an order stands at a moment, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderExplained {
    /// When.
    pub at: Timestamp,
    /// Where it stands.
    pub order: OrderView,
    /// Who could be asked now and who could not, in the form of an event's `why`; absent unless it waits to be assigned.
    pub why: Option<Value>,
}
