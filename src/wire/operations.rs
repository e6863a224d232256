//! Bodies of what operators do over REST, version 1.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::problem::Problem;

/// `POST /v1/orders/{id}/unassign` and `/release`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Why, 1 to 200 characters.
    pub reason: String,
    /// The version of the order that the operator saw; refused with `version_conflict` when it has moved on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<i32>,
}

/// `POST /v1/orders/{id}/assign` and `/reassign`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveOrder {
    /// The rider who gets it.
    pub rider_id: Uuid,
    /// Whatever the rider's vehicle; documents, duty and room are never passed over.
    #[serde(default)]
    pub force: bool,
    /// Why, 1 to 200 characters.
    pub reason: String,
    /// The version of the order that the operator saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<i32>,
}

/// `POST /v1/orders/{id}/hold`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldOrder {
    /// When the hold ends by itself; at most the policy's `max_hold_s` from now.
    pub until: DateTime<Utc>,
    /// Why, 1 to 200 characters.
    pub reason: String,
    /// The version of the order that the operator saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<i32>,
}

/// `POST /v1/orders/{id}/priority`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPriority {
    /// -2 to 2; 0 is normal, the higher one goes first.
    pub priority: i64,
    /// Why, 1 to 200 characters.
    pub reason: String,
    /// The version of the order that the operator saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<i32>,
}

/// `POST /v1/cities/{code}/orders/bulk`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkOperation {
    /// `unassign`, `hold`, `release`, `cancel` or `priority`.
    pub action: String,
    /// The orders, 1 to 200 different ones.
    pub orders: Vec<BulkItem>,
    /// Why, 1 to 200 characters.
    pub reason: String,
    /// For `hold`: when it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// For `priority`: -2 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
}

/// One order of many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkItem {
    /// The order.
    pub id: Uuid,
    /// The version of it that the operator saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<i32>,
}

/// What became of many orders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BulkResults {
    /// How many were done, or were so already.
    pub done: usize,
    /// How many were not; they may be sent again under the same key.
    pub failed: usize,
    /// One per order, in the order of the request.
    pub results: Vec<BulkResult>,
}

/// What became of one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BulkResult {
    /// The order.
    pub id: Uuid,
    /// Where it stands; when it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Its version; when it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
    /// Whether it was done for an earlier request under the same key.
    #[serde(default)]
    pub replayed: bool,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditBody {
    /// Its id.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// `operator` or `admin`.
    pub actor_kind: String,
    /// Which one.
    pub actor_id: Option<String>,
    /// `assign`, `reassign`, `unassign`, `hold`, `release`, `cancel`, `priority` or `ready`.
    pub action: String,
    /// The rider concerned.
    pub rider_id: Option<Uuid>,
    /// Why.
    pub reason: Option<String>,
    /// Particulars.
    pub detail: Value,
}
