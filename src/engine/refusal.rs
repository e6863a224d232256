//! Why a city does not do what it is told, with a stable code for every reason.

use crate::domain::{
    ids::OrderId,
    order::{IllegalStep, OfferState, OrderStatus},
};

use super::operation::OperatorRefusal;

/// A refusal, with a stable code.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The session is not the rider's (any more).
    #[error("another session has taken over")]
    Superseded,
    /// The rider may not work: status or documents.
    #[error("the rider may not go on duty: not active, or documents not approved")]
    NotAllowed,
    /// The duty asked for is the engine's own.
    #[error("this duty cannot be asked for")]
    BadDuty,
    /// No such offer here, for this rider.
    #[error("no such offer")]
    UnknownOffer,
    /// The offer is closed.
    #[error("the offer is closed: {0}")]
    OfferClosed(OfferState),
    /// No live order of that id in this city.
    #[error("no such order in this city")]
    UnknownOrder,
    /// The order is another rider's.
    #[error("the order is not in this rider's hands")]
    NotYourOrder,
    /// The step does not follow.
    #[error(transparent)]
    IllegalStep(IllegalStep),
    /// A handover without a position, or a failure without a reason.
    #[error("this step needs {0}")]
    StepNeeds(&'static str),
    /// The order has ended.
    #[error("the order has ended: {0}")]
    OrderEnded(OrderStatus),
    /// Too many changes of this order wait for the journal.
    #[error("the order is being changed; try again")]
    OrderBusy,
    /// A place lies outside the service area.
    #[error("the {0} lies outside the service area")]
    OutsideCity(&'static str),
    /// The city takes no new orders.
    #[error("the city takes no new orders now")]
    CityPaused,
    /// A bound of the city is reached.
    #[error("the city is full: {0}")]
    CityFull(&'static str),
    /// The goods are picked up already.
    #[error("the goods are picked up already")]
    PickedUp,
    /// The stored order has moved on.
    #[error("the stored order has moved on")]
    Conflict,
    /// Another process holds the city.
    #[error("this process no longer serves the city")]
    Fenced,
    /// The journal is full.
    #[error("the store cannot take the change now; try again")]
    StorageBusy,
    /// The merchant has an order of that name.
    #[error("external_ref is taken by order {0}")]
    DuplicateRef(OrderId),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The store refused the write itself.
    #[error("the store refused the change")]
    Invalid(String),
    /// The journal takes no more while the database does not answer.
    #[error("the database does not answer; try again")]
    StorageUnavailable,
    /// The offer is closed, because another rider who was asked was faster.
    #[error("another rider has taken it")]
    OfferTaken,
    /// The order has moved on since the caller saw it.
    #[error("the order has moved on: it is {status}, version {version}")]
    Moved {
        /// Where it stands.
        status: OrderStatus,
        /// Its version.
        version: i32,
    },
    /// An operator's action is not done.
    #[error(transparent)]
    Operator(OperatorRefusal),
    /// The device used a frame's id for another request.
    #[error("the id was used for another frame")]
    FrameIdReused,
    /// The report contradicts what is stored. It is stored as a dispute.
    #[error("the report contradicts what is stored; operators decide")]
    Disputed,
    /// The recipient's one-time code is another one.
    #[error("the one-time code is wrong")]
    WrongOtp,
    /// Wrong one-time codes were tried too often. A dispute is stored.
    #[error("wrong one-time codes were tried too often; operators decide")]
    OtpLocked,
    /// The dispute is closed.
    #[error("the dispute is closed")]
    DisputeClosed,
}

impl Refusal {
    /// The stable code that a client sees.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::NotAllowed => "not_allowed",
            Self::BadDuty => "bad_duty",
            Self::UnknownOffer => "unknown_offer",
            Self::OfferClosed(_) | Self::OfferTaken => "offer_closed",
            Self::UnknownOrder => "unknown_order",
            Self::NotYourOrder => "not_your_order",
            Self::IllegalStep(_) => "illegal_step",
            Self::StepNeeds(_) => "step_incomplete",
            Self::OrderEnded(_) => "order_ended",
            Self::OrderBusy => "order_busy",
            Self::OutsideCity(_) => "outside_city",
            Self::CityPaused => "city_paused",
            Self::CityFull(_) => "city_full",
            Self::PickedUp => "picked_up",
            Self::Conflict => "version_conflict",
            Self::Fenced => "city_moved",
            Self::StorageBusy => "storage_busy",
            Self::DuplicateRef(_) => "external_ref_taken",
            Self::KeyReused => "idempotency_key_reused",
            Self::Invalid(_) => "storage_refused",
            Self::StorageUnavailable => "storage_unavailable",
            Self::Moved { .. } => "version_conflict",
            Self::Operator(why) => why.code(),
            Self::FrameIdReused => "frame_id_reused",
            Self::Disputed => "disputed",
            Self::WrongOtp => "wrong_otp",
            Self::OtpLocked => "otp_locked",
            Self::DisputeClosed => "dispute_closed",
        }
    }
}
