//! What riders report of their orders, and what operators make of a report that contradicts what is stored.

use serde_json::Value;

use crate::domain::{
    ids::{DisputeId, OrderId, RiderId},
    order::Step,
    otp::OtpDigest,
    position::Position,
    time::Timestamp,
};

/// A step as the device reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// The order.
    pub order: OrderId,
    /// What happened.
    pub step: Step,
    /// When, device time corrected.
    pub at: Timestamp,
    /// Where, when the device knew. A handover needs it.
    pub position: Option<Position>,
    /// Why, for a failed attempt, a return or a handover.
    pub reason: Option<String>,
    /// What proves it (photo key, signature key), stored with the event as it is. A one-time code is never in it.
    pub proof: Option<Value>,
    /// The digest of the recipient's one-time code, when the report came with one.
    pub otp: Option<OtpDigest>,
}

/// What operators decided about a rider's report.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The dispute.
    pub dispute: DisputeId,
    /// Who reported.
    pub rider: RiderId,
    /// The step that was reported last.
    pub step: Step,
    /// When it happened, as reported.
    pub at: Timestamp,
    /// Whether the report holds.
    pub upheld: bool,
    /// Why, for the order's events.
    pub reason: String,
    /// What the rider was promised, minor units; the order's own payout when no offer tells.
    pub payout_minor: Option<i64>,
}
