//! Errors over REST: RFC 9457 `application/problem+json` with a stable `code`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every REST error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem: `urn:dispatch:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short sentence for people, the same for every problem of the kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable, machine-readable code.
    pub code: String,
    /// What was wrong this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The field at fault, as a JSON pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Where the order stands now, when that is why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<CurrentOrder>,
}

/// Where an order stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CurrentOrder {
    /// Its status.
    pub status: String,
    /// Its version.
    pub version: i32,
}
