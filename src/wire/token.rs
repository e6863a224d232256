//! The claims of a bearer token: a JWT, HS256.

use serde::{Deserialize, Serialize};

/// What a token says. `exp` and `iat` are real time in seconds, whatever the speed of the engine's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The rider's or merchant's id; the name of an operator or administrator.
    pub sub: String,
    /// `rider`, `merchant`, `operator` or `admin`.
    pub role: String,
    /// The cities of an operator; absent or empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cities: Vec<String>,
    /// Issued at.
    pub iat: i64,
    /// Valid until.
    pub exp: i64,
}
