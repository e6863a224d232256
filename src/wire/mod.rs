//! The bytes that two programs share: REST bodies, socket frames, problems. No rule stands here; conversion to and from
//! the domain is explicit, at the edge. The load tester uses this module and nothing else of the engine.
//!
//! Times are whole milliseconds since 1970-01-01 UTC on sockets (field names end in nothing but `at` or `_at`), and
//! RFC 3339 text in REST bodies. Durations carry their unit in their name. Positions are WGS 84 degrees.

pub mod codes;
pub mod explain;
pub mod frames;
pub mod json;
mod lenient;
pub mod msgpack;
pub mod operations;
pub mod operator;
pub mod positions;
pub mod problem;
pub mod rest;
pub mod rider;
pub mod token;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A position in degrees, unchecked: the edge checks it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LatLon {
    /// Degrees north, -90 to 90.
    pub lat: f64,
    /// Degrees east, -180 to 180.
    pub lon: f64,
}

/// Where goods change hands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlaceBody {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// What helps the rider to find it, at most 200 characters; never a customer's name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// An amount in minor units of a currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MoneyBody {
    /// Minor units (paise of a rupee).
    pub minor: i64,
    /// ISO 4217 code.
    pub currency: String,
}
