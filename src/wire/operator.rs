//! The operator socket: `GET /v1/operator/cities/{code}/socket`, subprotocol `dispatch.operator.v1.json`. The server
//! sends a snapshot, then deltas; it takes no frames.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::LatLon;

/// The subprotocol of the JSON encoding.
pub const SUBPROTOCOL_OPERATOR_JSON: &str = "dispatch.operator.v1.json";

/// A frame to an operator's page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OperatorDown {
    /// The whole city; the first frame, and again after this reader fell behind.
    Snapshot(CityState),
    /// What changed since the frame before.
    Delta(CityDelta),
    /// Something to look at.
    Alert {
        /// A stable word: `silent_carrier`, `order_expired`, `write_rejected`.
        kind: String,
        /// The order concerned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order: Option<Uuid>,
        /// The rider concerned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rider: Option<Uuid>,
        /// For people.
        detail: String,
    },
    /// The server ends the connection.
    Bye {
        /// Why.
        why: String,
        /// When to come back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reconnect_after_ms: Option<u64>,
    },
}

/// A whole city. Also the body of `GET /v1/cities/{code}/snapshot`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CityState {
    /// Which city.
    pub city: String,
    /// Server time, milliseconds since 1970.
    pub at: i64,
    /// How fast the server's clock runs against real time.
    pub clock_speed: f64,
    /// Its figures.
    pub counts: CityCounts,
    /// Every live order: waiting ones oldest-due first, then those in hand.
    pub orders: Vec<OrderRow>,
    /// Every live rider.
    pub riders: Vec<RiderRow>,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CityDelta {
    /// Server time, milliseconds since 1970.
    pub at: i64,
    /// The city's figures now.
    pub counts: CityCounts,
    /// Orders that changed or appeared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderRow>,
    /// Orders that ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<EndedOrder>,
    /// Riders that changed or appeared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub riders: Vec<RiderRow>,
    /// Riders that are no longer live here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Uuid>,
}

/// An order that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndedOrder {
    /// The order.
    pub order: Uuid,
    /// How it ended.
    pub status: String,
}

/// Figures of a city.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CityCounts {
    /// Riders on duty.
    pub riders_on_duty: u32,
    /// Riders on duty, fresh and free.
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
    /// Orders delivered since the city's engine started.
    pub delivered: u64,
    /// Orders cancelled, expired or returned since the city's engine started.
    pub ended_otherwise: u64,
}

/// An order, as operators see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OrderRow {
    /// Its id.
    pub order: Uuid,
    /// Whose it is.
    pub merchant: Uuid,
    /// The merchant's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_ref: Option<String>,
    /// Where it stands.
    pub status: String,
    /// Its version.
    pub version: i32,
    /// Why it waits: `scheduled`, `not_due`, `no_rider_in_reach`, `all_refused`, `offered`, `committing`,
    /// `holding`, `needs_operator`, `pickup_too_long`, `held`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Its rider, or the one who is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rider: Option<Uuid>,
    /// Where the goods are to be fetched.
    pub pickup: LatLon,
    /// Where they go.
    pub drop: LatLon,
    /// When it was placed.
    pub placed_at: i64,
    /// When the goods are ready.
    pub ready_at: i64,
    /// When the recipient expects them.
    pub promise_at: i64,
    /// When a rider must leave, as estimated now.
    pub leave_by: i64,
    /// When it first became due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<i64>,
    /// Offers made.
    pub offers_tried: u32,
    /// Everybody who is asked now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Uuid>,
    /// -2 to 2: of the orders that are due, the higher one goes first.
    #[serde(default)]
    pub priority: i8,
    /// The operator who holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
    /// When the hold ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<i64>,
    /// Why it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_reason: Option<String>,
}

/// A rider, as operators see one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RiderRow {
    /// Who.
    pub rider: Uuid,
    /// `ON`, `BREAK`, `OFF` or `AUTO_OFF`.
    pub duty: String,
    /// `idle`, `offered`, `busy`, `stale`, `break` or `off`.
    pub state: String,
    /// How the rider moves.
    pub vehicle: String,
    /// Whether a socket is open.
    pub connected: bool,
    /// The live dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<LatLon>,
    /// The time of the live dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix_at: Option<i64>,
    /// Orders in hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<Uuid>,
}
