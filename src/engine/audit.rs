//! What the audit log keeps of an operator's act: stored in the transaction of the act itself, so that neither is there
//! without the other.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::domain::{ids::RiderId, order::Actor, time::Timestamp};

/// One line of the audit log. Its city, order and transition are those of the write that it travels with.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRecord {
    /// Its id.
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What, a stable word: assign, reassign, unassign, hold, release, cancel, priority, ready, track_read.
    pub action: &'static str,
    /// The rider concerned.
    pub rider: Option<RiderId>,
    /// Why, in the operator's own words.
    pub reason: Option<String>,
    /// Particulars, small.
    pub detail: Map<String, Value>,
}
