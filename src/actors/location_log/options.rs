//! The limits of the location log. All times are real.

use serde::Deserialize;

use super::spool::SpoolOptions;

/// The limits of the location log.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Rows that are written at once.
    pub flush_rows: usize,
    /// Milliseconds after which fewer rows are written too.
    pub flush_age_ms: u64,
    /// Points held in memory at most; beyond them the oldest batch is dropped and counted. A point takes about 100 bytes.
    pub max_rows: usize,
    /// Messages from the lanes that may wait for the log.
    pub max_messages: usize,
    /// Milliseconds after which a write counts as failed; its batch goes to the spool.
    pub write_timeout_ms: u64,
    /// Rows that wait behind a write beyond which Postgres counts as too slow: more of them go to the spool.
    pub spill_rows: usize,
    /// Where batches wait on the disk.
    pub spool: SpoolOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            flush_rows: 10_000,
            flush_age_ms: 5_000,
            max_rows: 1_000_000,
            max_messages: 1_024,
            write_timeout_ms: 10_000,
            spill_rows: 100_000,
            spool: SpoolOptions::default(),
        }
    }
}

impl Options {
    /// What makes no sense, as a key and the problem with it.
    ///
    /// # Errors
    /// The first such key.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.flush_rows == 0 {
            return Err(("location_log.flush_rows", "must be at least 1"));
        }
        if self.max_rows < self.flush_rows {
            return Err(("location_log.max_rows", "must be at least location_log.flush_rows"));
        }
        if self.spool.dir.as_os_str().is_empty() {
            return Err(("location_log.spool.dir", "is not set"));
        }
        if !(self.spool.drain_share > 0.0 && self.spool.drain_share <= 1.0) {
            return Err(("location_log.spool.drain_share", "must lie above 0 and at 1 at most"));
        }
        if self.spool.max_age_days == 0 {
            return Err(("location_log.spool.max_age_days", "must be at least 1"));
        }
        Ok(())
    }
}
