//! Private servers for `dispatch demo` and the tests: a PostgreSQL cluster and a Redis of our own, from the system's
//! binaries, in a folder of the project. The system's own servers and clusters are never touched.
//!
//! Life cycle: [`DataDir::open`] locks the folder, [`Postgres::start`] and [`Redis::start`] recover what a crash left
//! there and start, `stop` ends them in order. A small watchdog process per server holds the read end of a pipe: when
//! this process dies in whatever way, the pipe closes and the watchdog ends the server, by its pid.

mod binaries;
mod folder;
mod identity;
mod postgres;
mod process;
mod redis;

pub use self::{
    folder::DataDir,
    postgres::{Postgres, PostgresOptions},
    process::Watchdog,
    redis::Redis,
};

use std::{io, path::PathBuf, time::Duration};

/// What to install where binaries are missing.
pub const DEBIAN_PACKAGES: &str = "apt-get install --no-install-recommends postgresql redis-server";

/// Why a private server could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// Another process holds the folder.
    #[error(
        "the data folder {dir} is in use by another dispatch process (pid {pid}); stop it or choose another --data-dir"
    )]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// Who holds it, as noted in the lock file.
        pid: String,
    },
    /// No server binaries.
    #[error(
        "no PostgreSQL server binaries found in {looked}; on Debian: {DEBIAN_PACKAGES}; elsewhere set PGBIN to the folder that holds initdb and postgres"
    )]
    NoPostgres {
        /// Every place that was looked at.
        looked: String,
    },
    /// PostgreSQL does not run as root, and no way to another identity works here.
    #[error(
        "PostgreSQL refuses to run as root, user namespaces are not allowed here and there is neither a user `postgres` nor `nobody`; run this as an ordinary user"
    )]
    NoIdentity,
    /// A file or a process could not be handled.
    #[error("{what} ({path})")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A live process is in the way, and it cannot be told whether it is ours.
    #[error("process {pid} may still be serving {dir}; end it first")]
    Occupied {
        /// Its pid.
        pid: i32,
        /// The folder that it seems to serve.
        dir: PathBuf,
    },
    /// A server ended by itself while it was starting.
    #[error("{program} did not start; the end of its log:\n{log}")]
    DidNotStart {
        /// Which program.
        program: &'static str,
        /// The last lines of its log.
        log: String,
    },
    /// A server did not answer in time.
    #[error("{program} did not answer within {} s; its log is {log}", after.as_secs())]
    NotReady {
        /// Which program.
        program: &'static str,
        /// How long it was given.
        after: Duration,
        /// Its log.
        log: PathBuf,
    },
    /// A server did not end in time.
    #[error("{program} (pid {pid}) did not end")]
    DidNotStop {
        /// Which program.
        program: &'static str,
        /// Its pid.
        pid: i32,
    },
    /// A database could not be made.
    #[error("the database `{name}` could not be made")]
    Database {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
}

impl SupervisorError {
    /// For `map_err`: names what was tried and on which path.
    fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
