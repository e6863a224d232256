//! Settings of the order journal.

use serde::Deserialize;

/// Settings of the order journal. All times are real.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Writes that may wait at once; beyond it a city is told `busy`.
    pub bound: usize,
    /// Writes in one transaction.
    pub max_batch: usize,
    /// Milliseconds that the first write of an idle journal waits for company.
    pub max_wait_ms: u64,
    /// Milliseconds after which a batch that got no answer is given to the database again, over another connection.
    pub attempt_ms: u64,
    /// Milliseconds before the first retry while the database is away; doubles from there.
    pub retry_min_ms: u64,
    /// The longest time between retries, milliseconds.
    pub retry_max_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bound: 16_384,
            max_batch: 512,
            max_wait_ms: 2,
            attempt_ms: 30_000,
            retry_min_ms: 50,
            retry_max_ms: 2_000,
        }
    }
}
