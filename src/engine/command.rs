//! What a city can be told, and what it answers.

use serde_json::Value;

use crate::domain::{
    city::City,
    duty::{Duty, DutyReason},
    ids::{BootId, DisputeId, OfferId, OrderId, ReplyTo, RiderId, SessionId, TransitionId},
    order::{Actor, OrderSpec, OrderStatus},
    position::Position,
    rider::RiderProfile,
    time::Timestamp,
};

pub use super::operation::{Conditions, OperatorAction, OperatorRefusal};
use super::{
    answered::FrameKey,
    view::{JobView, OfferView, OrderExplained},
};
pub use super::{
    refusal::Refusal,
    report::{StepReport, Verdict},
};

/// Everything that happens to a city. The time comes beside it, as an argument of `City::apply`.
#[derive(Clone, Debug)]
pub enum Command {
    /// Time has passed: close what ran out, look for riders.
    Tick,
    /// A rider's device said hello; an older session of the rider is superseded.
    Connect {
        /// The rider as the store knows one now.
        rider: RiderProfile,
        /// The new session.
        session: SessionId,
        /// Answered with [`Outcome::Connected`].
        reply: ReplyTo,
    },
    /// A session ended; ignored when it is no longer the rider's.
    Disconnect {
        /// The rider.
        rider: RiderId,
        /// The session that ended.
        session: SessionId,
    },
    /// The rider wants another duty.
    SetDuty {
        /// The rider.
        rider: RiderId,
        /// The session that asks.
        session: SessionId,
        /// `On`, `Break` or `Off`; `AutoOff` is refused.
        duty: Duty,
        /// Answered with [`Outcome::Duty`].
        reply: ReplyTo,
    },
    /// Accepted positions, one batch of a lane; the order within the batch is the order of arrival.
    Fixes(Vec<Fix>),
    /// The device showed the offer to the rider.
    OfferSeen {
        /// The rider.
        rider: RiderId,
        /// The session that reports.
        session: SessionId,
        /// The offer.
        offer: OfferId,
        /// Answered with [`Outcome::OfferSeen`].
        reply: ReplyTo,
    },
    /// The rider answered an offer.
    AnswerOffer {
        /// The rider.
        rider: RiderId,
        /// The session that answers.
        session: SessionId,
        /// The offer.
        offer: OfferId,
        /// Yes or no.
        answer: Answer,
        /// Answered with [`Outcome::Accepted`] or [`Outcome::Declined`], after the commit.
        reply: ReplyTo,
    },
    /// The rider reports a step of an order.
    Progress {
        /// The rider.
        rider: RiderId,
        /// The session that reports.
        session: SessionId,
        /// What happened.
        report: Box<StepReport>,
        /// Answered with [`Outcome::Stepped`], after the commit.
        reply: ReplyTo,
    },
    /// The store's view of a rider changed (status, documents, vehicle).
    UpdateProfile(RiderProfile),
    /// A merchant places an order.
    Place {
        /// The order.
        spec: Box<OrderSpec>,
        /// What the journal stores beside it and the engine never reads.
        extras: Box<PlacementExtras>,
        /// Who places it.
        actor: Actor,
        /// Answered with [`Outcome::Order`], after the commit.
        reply: ReplyTo,
    },
    /// Calls an order off; after pickup that means return.
    Cancel {
        /// The order.
        order: OrderId,
        /// Who calls it off.
        actor: Actor,
        /// Why, for its events.
        reason: String,
        /// Answered with [`Outcome::Order`], after the commit.
        reply: ReplyTo,
        /// Under which conditions.
        given: Conditions,
    },
    /// The goods will be ready at another time.
    ChangeReady {
        /// The order.
        order: OrderId,
        /// The new time.
        ready_at: Timestamp,
        /// Who says so.
        actor: Actor,
        /// Answered with [`Outcome::Order`], after the commit.
        reply: ReplyTo,
        /// Under which conditions.
        given: Conditions,
    },
    /// The journal stored a write.
    Committed {
        /// The write.
        transition: TransitionId,
    },
    /// The journal could not store a write, and never will.
    Rejected {
        /// The write.
        transition: TransitionId,
        /// Why.
        why: RejectReason,
    },
    /// The city's own settings changed (policy, status, boundary).
    SetCity(Box<City>),
    /// Somebody wants to know why an order stands where it stands. Changes nothing.
    Explain {
        /// The order.
        order: OrderId,
        /// Answered with [`Outcome::Explained`].
        reply: ReplyTo,
    },
    /// An operator steps in.
    Operate {
        /// The order.
        order: OrderId,
        /// What to do with it.
        action: OperatorAction,
        /// Who.
        by: Actor,
        /// Why, for its events and the audit log.
        reason: String,
        /// Under which conditions.
        given: Conditions,
        /// Answered with [`Outcome::Order`], after the commit.
        reply: ReplyTo,
    },
    /// A request of a device with the key of its frame; one that comes again gets its first answer.
    Framed {
        /// The name of the frame and what it asks for.
        key: FrameKey,
        /// `SetDuty`, `OfferSeen`, `AnswerOffer` or `Progress`.
        command: Box<Self>,
    },
    /// Operators have decided a dispute about a live order.
    CloseDispute {
        /// The order.
        order: OrderId,
        /// What they decided.
        verdict: Box<Verdict>,
        /// Who decided.
        actor: Actor,
        /// Answered with [`Outcome::Order`], after the commit.
        reply: ReplyTo,
    },
    /// A dispute about an order that has ended was closed in the store: a further report opens another one.
    DisputeClosed {
        /// The order.
        order: OrderId,
        /// Who reported.
        rider: RiderId,
        /// The dispute.
        dispute: DisputeId,
    },
}

/// A rider's answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Takes the job.
    Accept,
    /// Does not take it.
    Decline {
        /// The rider's reason, at most 200 characters.
        reason: String,
    },
}

/// One accepted position of a rider: the live dot only; the log keeps the rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fix {
    /// The rider.
    pub rider: RiderId,
    /// The session it came through.
    pub session: SessionId,
    /// Where.
    pub position: Position,
    /// When it was recorded, device time corrected.
    pub recorded_at: Timestamp,
}

/// What travels with a placement into the same transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlacementExtras {
    /// The sealed contact of the recipient.
    pub contact: Option<SealedContact>,
    /// The caller's idempotency key.
    pub idempotency: Option<IdempotencyRecord>,
}

/// A contact that was encrypted before it came here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedContact {
    /// Names the key.
    pub key_id: String,
    /// Nonce and ciphertext.
    pub sealed: Vec<u8>,
    /// When the row may be deleted.
    pub expires_at: Timestamp,
}

/// One request of one caller, for `idempotency_keys`.
#[derive(Clone, Debug, PartialEq)]
pub struct IdempotencyRecord {
    /// Who called: role and id.
    pub caller: String,
    /// The caller's key.
    pub key: String,
    /// SHA-256 of the request's canonical body.
    pub digest: Vec<u8>,
    /// The answer to give again.
    pub answer: Value,
    /// When the key is forgotten.
    pub expires_at: Timestamp,
}

/// The device and its app's run that a session speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// The device's own lasting id.
    pub device_id: String,
    /// The run of its app.
    pub boot_id: BootId,
}

/// Why the journal will never store a write.
#[derive(Clone, Debug, PartialEq)]
pub enum RejectReason {
    /// The stored version is not the expected one.
    Conflict,
    /// Another process holds the city.
    Fenced,
    /// The journal is full; the same request may be made again.
    Busy,
    /// The merchant has an order of that name.
    DuplicateRef(OrderId),
    /// The same request was stored before: this was its answer.
    Replay(Value),
    /// The key was used for another request.
    KeyReused,
    /// The database refused the write for itself.
    Invalid(String),
    /// The journal takes no more while the database does not answer; the same request may be made again.
    Unavailable,
}

impl RejectReason {
    /// Whether the same write may be taken later.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable)
    }
}

/// A good answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The rider is live here; everything the device must know.
    Connected(Box<RiderSync>),
    /// The duty is stored.
    Duty {
        /// The duty in force.
        duty: Duty,
        /// What follows once the work in hand is finished.
        next: Option<Duty>,
    },
    /// Noted; the time to answer now counts from here.
    OfferSeen {
        /// Milliseconds left to answer.
        expires_in_ms: u64,
    },
    /// The job is the rider's.
    Accepted(Box<JobView>),
    /// The offer is closed.
    Declined,
    /// The order after the change.
    Order {
        /// The order.
        order: OrderId,
        /// Where it stands.
        status: OrderStatus,
        /// Its version.
        version: i32,
    },
    /// The step is taken, or was taken before.
    Stepped {
        /// The order.
        order: OrderId,
        /// Where it stands.
        status: OrderStatus,
        /// Its version.
        version: i32,
        /// The job after the step; `None` when it is no longer the rider's.
        job: Option<Box<JobView>>,
    },
    /// A request that was stored before: the answer that it got.
    Replayed(Value),
    /// Why an order stands where it stands.
    Explained(Box<OrderExplained>),
}

/// What a device needs to resume.
#[derive(Clone, Debug, PartialEq)]
pub struct RiderSync {
    /// The committed duty.
    pub duty: Duty,
    /// What follows once the work in hand is finished.
    pub next_duty: Option<Duty>,
    /// The jobs in hand.
    pub jobs: Vec<JobView>,
    /// The offer that waits for an answer.
    pub open_offer: Option<OfferView>,
    /// Milliseconds between pings.
    pub ping_interval_ms: u64,
    /// Why the duty is in force, where it is known.
    pub duty_why: Option<DutyReason>,
}
