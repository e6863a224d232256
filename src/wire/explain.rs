//! The answer to "why this rider, why nobody yet": `GET /v1/orders/{id}/explain`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{operator::OrderRow, rest::OrderEventBody};

/// Why an order went to whom it went, and why it stands where it stands.
///
/// A `why` names in `candidates` who could be asked within `radius_m`, soonest first: `eta_s` is the estimated time to the
/// pickup in seconds, `distance_m` the straight line to it, `free_in_s` the part of the time in which the rider finishes the
/// work in hand. `more` counts the candidates who are not named, `chosen` who was asked, `excluded` the riders around the
/// pickup who could not be, by reason. `cooling` names some of those who refused, with the time before which they are not
/// asked again (`null`: not in this round). `soonest_s` is the time in which somebody could be there who was excluded
/// because that is too long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainBody {
    /// The order.
    pub id: Uuid,
    /// Where it stands, as stored.
    pub status: String,
    /// Its version.
    pub version: i32,
    /// The rider who has or had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rider_id: Option<Uuid>,
    /// What happened between the order and the riders, oldest first; `data.why` of `offered` and `not_assigned` explains.
    pub story: Vec<OrderEventBody>,
    /// How it stands this moment; absent for an order that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<ExplainedNow>,
    /// The code of the problem because of which an open order's city could not say how it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now_problem: Option<String>,
    /// The names of the riders above.
    pub riders: BTreeMap<Uuid, String>,
}

/// How an order stands at a moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedNow {
    /// When, milliseconds since 1970.
    pub at: i64,
    /// The order, as its city has it.
    pub order: OrderRow,
    /// Who could be asked and who could not; absent unless it waits for a rider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Value>,
}
