//! The mirror of live state: in Redis, or in process when none is configured. Nobody decides by it.

mod commands;
mod in_process;
pub mod keys;

use redis::{
    Client, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

pub use commands::CacheWrite;
use in_process::InProcess;

/// Where the mirror is kept. Cheap to clone.
#[derive(Clone)]
pub enum Cache {
    /// A Redis server; the connection is made anew by itself.
    Redis(ConnectionManager),
    /// This process.
    InProcess(InProcess),
}

/// Why the cache did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The server is away, slow, or refused.
    #[error("the cache does not answer")]
    Unavailable(#[from] RedisError),
    /// A key holds what the mirror never writes.
    #[error("the cache holds an unreadable value")]
    Unreadable,
}

impl Cache {
    /// Connects to a Redis server: `redis://host:port/db` or `redis+unix:///path`. Returns at once when the server is
    /// away: the connection is tried again with every use.
    ///
    /// # Errors
    /// When the address has no valid form.
    pub fn redis(url: &str) -> Result<Self, CacheError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(std::time::Duration::from_secs(2)))
            .set_response_timeout(Some(std::time::Duration::from_secs(2)));
        Ok(Self::Redis(ConnectionManager::new_lazy_with_config(Client::open(url)?, config)?))
    }

    /// An empty cache in this process.
    #[must_use]
    pub fn in_process() -> Self {
        Self::InProcess(InProcess::default())
    }

    /// `redis` or `in_process`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Redis(_) => "redis",
            Self::InProcess(_) => "in_process",
        }
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cache({})", self.kind())
    }
}
