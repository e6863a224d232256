//! Settings of the launcher of cities.

use serde::Deserialize;

/// Settings of the launcher of cities. All times are real.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Threads that the cities share; 0 means one per core.
    pub threads: usize,
    /// Panics of a city within the window that are answered with a restart; one more and it is quarantined.
    pub max_panics: u32,
    /// The window, seconds.
    pub panic_window_s: u64,
    /// Milliseconds before the first restart; doubles with each panic within the window.
    pub restart_min_ms: u64,
    /// The longest time before a restart, milliseconds; also between tries to start while the database is away.
    pub restart_max_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { threads: 0, max_panics: 3, panic_window_s: 60, restart_min_ms: 100, restart_max_ms: 5_000 }
    }
}
