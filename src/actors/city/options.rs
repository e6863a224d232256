//! Settings of the city actors.

use serde::Deserialize;

/// Settings of the city actors.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Messages that may wait for one city; beyond it callers are told `city_busy`. The journal's results do not count.
    pub inbox: usize,
    /// Messages that a city handles before its neighbours on the same thread have a turn.
    pub turn: usize,
    /// Milliseconds of the clock between two ticks; never below 20 real milliseconds.
    pub tick_ms: u64,
    /// Real milliseconds between two publications to operators and the mirror.
    pub publish_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { inbox: 8_192, turn: 64, tick_ms: 1_000, publish_ms: 500 }
    }
}
