//! Settings of the launcher of cities.

use std::{net::SocketAddr, time::Duration};

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
    /// The lasting name of this process, by which it takes its cities back at once after a restart; no other process on
    /// the same database may have it. The host's name and the configured listening address when absent.
    pub instance: Option<String>,
    /// Seconds for which a city is held unless that is renewed; renewed every third of it. After a crash another process
    /// waits this long before it takes the city over.
    pub lease_s: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 0,
            max_panics: 3,
            panic_window_s: 60,
            restart_min_ms: 100,
            restart_max_ms: 5_000,
            instance: None,
            lease_s: 15,
        }
    }
}

impl Options {
    /// The name under which cities are claimed. `listen` is the address as configured, so that it stays the same when a
    /// free port is chosen at each start.
    #[must_use]
    pub fn instance(&self, listen: SocketAddr) -> String {
        self.instance.clone().unwrap_or_else(|| {
            let host =
                nix::unistd::gethostname().map_or_else(|_| "host".into(), |name| name.to_string_lossy().into_owned());
            format!("{host}/{listen}")
        })
    }

    /// How long a city is held unless that is renewed.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_s.max(1))
    }
}
