//! The limits of the REST interface.

use std::time::Duration;

use serde::Deserialize;

/// Limits, each with its default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Real milliseconds that a request waits for its city; 5,000.
    pub ask_ms: u64,
    /// Largest body in bytes; 65,536.
    pub body_limit_bytes: usize,
    /// Real milliseconds in which a body must have arrived; 10,000.
    pub body_deadline_ms: u64,
    /// Real milliseconds that the readiness check waits for the database; 2,000.
    pub ready_deadline_ms: u64,
    /// Entries of a page when the client does not say; 50.
    pub page_size: u32,
    /// Most entries of a page; 200.
    pub page_size_max: u32,
    /// Seconds (of the engine's clock) for which an idempotency key is kept; 86,400.
    pub idempotency_ttl_s: u32,
    /// Seconds (of the engine's clock) after the promise for which a contact is kept; 604,800.
    pub contact_ttl_s: u32,
    /// Furthest time ahead at which an order may be ready or promised, seconds (of the engine's clock); 604,800.
    pub horizon_s: u32,
    /// Whether `/metrics` answers without a token; true, because scrapers reach it over a private network.
    pub open_metrics: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ask_ms: 5_000,
            body_limit_bytes: 65_536,
            body_deadline_ms: 10_000,
            ready_deadline_ms: 2_000,
            page_size: 50,
            page_size_max: 200,
            idempotency_ttl_s: 86_400,
            contact_ttl_s: 604_800,
            horizon_s: 604_800,
            open_metrics: true,
        }
    }
}

impl Options {
    /// How long a request waits for its city, in real time.
    #[must_use]
    pub const fn ask(&self) -> Duration {
        Duration::from_millis(self.ask_ms)
    }
}
