//! What a city wants done. The engine does no IO: its shell carries these out, in order.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::domain::{
    dispute::{DisputeKind, DisputeStatus},
    duty::{Duty, DutyReason},
    ids::{CityCode, DisputeId, JobId, OfferId, OrderId, ReplyTo, RiderId, SessionId, TransitionId},
    money::Currency,
    order::{Actor, Custody, OfferState, OrderSpec, OrderStatus, Step},
    steering::{Hold, Priority},
    time::Timestamp,
    wallet::Posting,
};

use super::{
    answered::FrameRecord,
    audit::AuditRecord,
    command::{IdempotencyRecord, Outcome, PlacementExtras, Refusal},
    view::{JobView, OfferView},
    wake::Wake,
};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Store this; the result comes back as `Committed` or `Rejected`.
    Persist(Box<Write>),
    /// Answer a command.
    Reply {
        /// Whose command.
        to: ReplyTo,
        /// The answer.
        result: Result<Outcome, Refusal>,
    },
    /// Tell a device; dropped when the session is gone, because a reconnect brings the whole state.
    Notify {
        /// The rider.
        rider: RiderId,
        /// The rider's session.
        session: SessionId,
        /// What to tell.
        notice: Notice,
    },
    /// Tell the operators.
    Alert(Alert),
    /// A figure for the metrics.
    Measure(Measure),
    /// Wake a device by push.
    Wake(Wake),
}

/// What a device is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// Will you take this?
    Offer(Box<OfferView>),
    /// The offer is over.
    OfferClosed {
        /// The offer.
        offer: OfferId,
        /// How it ended.
        state: OfferState,
        /// Why, a stable word.
        why: &'static str,
    },
    /// An order in hand changed, or left the rider's hands.
    OrderChanged {
        /// The job after the change; `None` when it is no longer the rider's.
        job: Option<Box<JobView>>,
        /// The order.
        order: OrderId,
        /// Where it stands.
        status: OrderStatus,
        /// Why, a stable word.
        why: &'static str,
    },
    /// The duty changed without being asked for, or after the work in hand.
    DutyChanged {
        /// The duty in force.
        duty: Duty,
        /// Why.
        reason: DutyReason,
    },
    /// A newer session of the same rider took over; do not reconnect by yourself.
    TakenOver,
}

/// What operators should look at.
#[derive(Clone, Debug, PartialEq)]
pub enum Alert {
    /// A rider who carries goods has been silent for longer than the auto-off time.
    SilentCarrier {
        /// The rider.
        rider: RiderId,
        /// An order in hand.
        order: OrderId,
    },
    /// An order expired for want of a rider.
    OrderExpired(OrderId),
    /// A write was refused by the store: memory and store disagreed, and the store won.
    WriteRejected {
        /// The write.
        transition: TransitionId,
        /// Its reason.
        reason: String,
    },
    /// No rider was found for an order: it waits for an operator.
    NeedsOperator(OrderId),
    /// A rider's report contradicts what is stored.
    Disputed {
        /// The dispute.
        dispute: DisputeId,
        /// The order.
        order: OrderId,
        /// Who reports.
        rider: RiderId,
        /// What contradicts what.
        kind: DisputeKind,
    },
}

/// A figure that only the engine knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// From due to assigned (committed).
    DueToAssigned(Duration),
    /// From placed to delivered (committed).
    PlacedToDelivered(Duration),
    /// From ready to picked up; zero when the rider came early.
    ReadyToPickup(Duration),
    /// An offer ended.
    OfferClosed(OfferState),
    /// An order ended.
    OrderEnded(OrderStatus),
}

/// One unit of the journal: stored whole or not at all, exactly once under its transition id.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A new order.
    Place(PlaceWrite),
    /// A change of an order.
    Order(OrderWrite),
    /// A change of an offer alone.
    Offer {
        /// The write.
        transition: TransitionId,
        /// The offer after it.
        offer: OfferRecord,
    },
    /// A change of duty.
    Duty(DutyWrite),
    /// An event of an order that leaves the order as it is.
    Note(NoteWrite),
    /// A dispute about an order that has ended: the order stays as it is.
    Dispute(DisputeWrite),
}

impl Write {
    /// The id under which it is stored once.
    #[must_use]
    pub const fn transition(&self) -> TransitionId {
        match self {
            Self::Place(write) => write.transition,
            Self::Order(write) => write.transition,
            Self::Offer { transition, .. } => *transition,
            Self::Duty(write) => write.transition,
            Self::Note(write) => write.transition,
            Self::Dispute(write) => write.record.transition,
        }
    }
}

/// Inserts an order with its first events, contact, reference and idempotency key.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaceWrite {
    /// The write.
    pub transition: TransitionId,
    /// The order.
    pub spec: OrderSpec,
    /// Its first state, version 1.
    pub state: OrderState,
    /// Its first events.
    pub events: Vec<OrderEvent>,
    /// What travels with it.
    pub extras: PlacementExtras,
}

/// Changes an order whose stored version is `expected_version`.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderWrite {
    /// The write.
    pub transition: TransitionId,
    /// The order.
    pub order: OrderId,
    /// The version before.
    pub expected_version: i32,
    /// The state after; its version is one higher.
    pub state: OrderState,
    /// What happened.
    pub events: Vec<OrderEvent>,
    /// The offers that change with it.
    pub offers: Vec<OfferRecord>,
    /// Money that moves with it, balanced; their `transaction_id` is the transition's.
    pub postings: Vec<Posting>,
    /// Currency of the postings.
    pub currency: Currency,
    /// What the audit log says of it, when an operator caused it.
    pub audit: Option<AuditRecord>,
    /// The key of the request that caused it, stored with it: a repetition gets the same answer.
    pub idempotency: Option<IdempotencyRecord>,
    /// The frame of the device that asked for it, with its answer.
    pub frame: Option<Box<FrameRecord>>,
    /// A dispute that begins, goes on or ends with it.
    pub dispute: Option<Box<DisputeChange>>,
}

/// Adds an event to an order whose stored version is `version`, and leaves the version as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct NoteWrite {
    /// The write.
    pub transition: TransitionId,
    /// The order.
    pub order: OrderId,
    /// Its version, before and after.
    pub version: i32,
    /// What is to be remembered, under the order's next number.
    pub event: OrderEvent,
}

/// Opens a dispute about an ended order, or adds to it.
#[derive(Clone, Debug, PartialEq)]
pub struct DisputeWrite {
    /// The dispute.
    pub record: DisputeRecord,
    /// Its event; the number and the version are the stored order's, and are given to it when it is stored.
    pub event: OrderEvent,
    /// The frame of the device that reported, with its answer.
    pub frame: Option<Box<FrameRecord>>,
}

/// What becomes of a dispute.
#[derive(Clone, Debug, PartialEq)]
pub enum DisputeChange {
    /// It is opened, or has a further report.
    Open(DisputeRecord),
    /// It is closed.
    Close {
        /// Which.
        dispute: DisputeId,
        /// Upheld or dismissed.
        status: DisputeStatus,
        /// Who decided.
        by: String,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

/// A dispute as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct DisputeRecord {
    /// Its id.
    pub id: DisputeId,
    /// The order.
    pub order: OrderId,
    /// The rider who reports.
    pub rider: RiderId,
    /// What contradicts what.
    pub kind: DisputeKind,
    /// The step that is reported.
    pub step: Step,
    /// The report: step, time, place, reason, proof.
    pub report: Map<String, Value>,
    /// When it came in.
    pub at: Timestamp,
    /// The write that stores it.
    pub transition: TransitionId,
}

/// Sets a rider's duty and adds it to the log.
#[derive(Clone, Debug, PartialEq)]
pub struct DutyWrite {
    /// The write.
    pub transition: TransitionId,
    /// The rider.
    pub rider: RiderId,
    /// The city in which it happened.
    pub city: CityCode,
    /// The duty in force from `at` on.
    pub duty: Duty,
    /// Why.
    pub reason: DutyReason,
    /// When.
    pub at: Timestamp,
    /// What follows once the work in hand is finished; then the duty itself stays as it is.
    pub next: Option<Duty>,
    /// The frame of the device that asked for it, with its answer.
    pub frame: Option<Box<FrameRecord>>,
}

/// The changeable half of an order: all of it is stored with each transition.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderState {
    /// Where it stands.
    pub status: OrderStatus,
    /// Counts the transitions, from 1.
    pub version: i32,
    /// The number of the next event.
    pub next_seq: i32,
    /// The rider who has it in hand, or had it at its end.
    pub rider: Option<RiderId>,
    /// Who holds the goods.
    pub custody: Custody,
    /// When the goods are ready.
    pub ready_at: Timestamp,
    /// When a rider first had to leave for it.
    pub due_at: Option<Timestamp>,
    /// When a rider took it (the last one).
    pub assigned_at: Option<Timestamp>,
    /// When the goods were first picked up.
    pub picked_up_at: Option<Timestamp>,
    /// When the recipient had them.
    pub delivered_at: Option<Timestamp>,
    /// When it ended, in any way.
    pub ended_at: Option<Timestamp>,
    /// Why it ended otherwise than delivered.
    pub end_reason: Option<String>,
    /// Rounds of asking, from 0.
    pub round: u32,
    /// Offers made.
    pub offers_tried: u32,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// What the rider who has it in hand, or had it at its end, is paid, minor units: what the accepted offer promised.
    /// `None` while it has no rider, and when no offer was accepted for it: then the order's own payout holds.
    pub payout_minor: Option<i64>,
    /// It found no rider and waits for an operator; only while `queued`.
    pub parked: bool,
    /// The operator's hold that keeps it from being offered.
    pub hold: Option<Hold>,
    /// How it stands to others that are due.
    pub priority: Priority,
}

/// One line of an order's history.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderEvent {
    /// Its number within the order.
    pub seq: i32,
    /// The version after it.
    pub version: i32,
    /// A stable word: placed, queued, offered, offer_declined, assigned, ..., ready_changed, cancelled.
    pub kind: &'static str,
    /// Who.
    pub actor: Actor,
    /// Why.
    pub reason: Option<String>,
    /// Particulars, small.
    pub data: Map<String, Value>,
    /// When.
    pub at: Timestamp,
}

/// An offer as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferRecord {
    /// Its id.
    pub id: OfferId,
    /// What it is about.
    pub job: JobId,
    /// The rider who is asked.
    pub rider: RiderId,
    /// The orders of the job.
    pub orders: Vec<OrderId>,
    /// Where it stands.
    pub state: OfferState,
    /// The round of asking.
    pub round: u32,
    /// The rider's or the engine's reason.
    pub reason: Option<String>,
    /// What the rider will be paid.
    pub payout_minor: i64,
    /// In which currency.
    pub currency: Currency,
    /// Estimated time to the pickup.
    pub pickup_eta: Duration,
    /// Straight-line metres to the pickup.
    pub pickup_distance_m: f64,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// When the rider saw it.
    pub seen_at: Option<Timestamp>,
    /// When it ends in any case.
    pub hard_cap_at: Timestamp,
    /// When it ended.
    pub closed_at: Option<Timestamp>,
    /// The version of the pay policy behind `payout_minor`.
    pub pay_policy_version: u32,
}

impl OfferRecord {
    /// When the answer is due: the time to answer counts from `seen`, within the hard cap.
    #[must_use]
    pub fn answer_due(&self, ttl: Duration) -> Timestamp {
        self.seen_at.map_or(self.hard_cap_at, |seen| (seen + ttl).min(self.hard_cap_at))
    }
}
