//! What operators can do with an order, under which conditions, and why a city does not do it.

use crate::domain::{ids::RiderId, order::OrderStatus, steering::Priority, time::Timestamp};

use super::command::IdempotencyRecord;

/// What an operator does with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorAction {
    /// Gives a waiting order to a rider, unasked.
    Assign {
        /// To whom.
        rider: RiderId,
        /// Whatever the rider's vehicle. Documents, duty and room cannot be overridden.
        force: bool,
    },
    /// Gives an order that another rider has in hand, but not yet its goods, to a rider.
    Reassign {
        /// To whom.
        rider: RiderId,
        /// As in `Assign`.
        force: bool,
    },
    /// Takes an order whose goods are not picked up away from its rider; it looks for another one.
    Unassign,
    /// Keeps a waiting order from being offered; a second hold of the same operator replaces the first.
    Hold {
        /// Until then, at most the policy's `max_hold_s` from now.
        until: Timestamp,
    },
    /// Ends a hold, whoever's it is.
    Release,
    /// As [`Command::Cancel`](super::command::Command::Cancel).
    Cancel,
    /// Moves the order before or behind others that are due; while nobody holds its goods.
    SetPriority {
        /// Its new priority.
        level: Priority,
    },
}

impl OperatorAction {
    /// The stable name, as in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assign { .. } => "assign",
            Self::Reassign { .. } => "reassign",
            Self::Unassign => "unassign",
            Self::Hold { .. } => "hold",
            Self::Release => "release",
            Self::Cancel => "cancel",
            Self::SetPriority { .. } => "priority",
        }
    }
}

/// Under which conditions a change of an order is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// Only if this is still the order's version.
    pub expected_version: Option<i32>,
    /// The caller's key: a repetition gets the first answer. The engine fills in the answer of a change that it stores;
    /// what changes nothing is not kept under the key.
    pub idempotency: Option<Box<IdempotencyRecord>>,
}

/// Why an operator's action is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorRefusal {
    /// The action does not fit where the order stands.
    #[error("an order that is {status} takes no `{action}`")]
    WrongStatus {
        /// The action.
        action: &'static str,
        /// Where the order stands.
        status: OrderStatus,
        /// Its version.
        version: i32,
    },
    /// The rider has as much work as the policy allows, or is about to.
    #[error("the rider has no hand free: {0}")]
    RiderBusy(&'static str),
    /// The rider is not at work here.
    #[error("the rider cannot be given work: {0}")]
    RiderUnavailable(&'static str),
    /// The order does not suit the rider.
    #[error("the order does not suit the rider: {0}")]
    RiderUnfit(&'static str),
    /// Another operator holds the order.
    #[error("{by} holds the order until {until}")]
    HeldByOther {
        /// The owner of the hold.
        by: String,
        /// When it ends.
        until: Timestamp,
    },
    /// The hold ends in the past, or too late.
    #[error("a hold ends in the future, at most {max_s} s from now")]
    BadHold {
        /// The longest hold, seconds.
        max_s: u32,
    },
}

impl OperatorRefusal {
    /// Every code.
    pub const CODES: [&str; 6] =
        ["wrong_status", "rider_busy", "rider_unavailable", "rider_unfit", "held_by_other", "bad_hold"];

    /// The stable code that a client sees.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        let place = match self {
            Self::WrongStatus { .. } => 0,
            Self::RiderBusy(_) => 1,
            Self::RiderUnavailable(_) => 2,
            Self::RiderUnfit(_) => 3,
            Self::HeldByOther { .. } => 4,
            Self::BadHold { .. } => 5,
        };
        Self::CODES[place]
    }
}
