//! The spool: batches on the disk while Postgres is away, a file each. Bounded, checksummed and synced before anybody is told
//! that a point is stored; drained in order afterwards.

mod files;
mod frame;
mod ledger;
mod recovery;
mod tracks;

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

pub use files::probe;
pub(super) use files::{Aside, Folder, ReadError, size as file_size};
pub use ledger::WhenFull;
pub(super) use ledger::{Entry, Ledger};
pub(super) use recovery::{Recovered, recover};
pub use tracks::{SpooledRun, SpooledTracks};

/// The limits of the spool.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolOptions {
    /// Its folder; made when it is not there. Of one engine alone, and on a disk that keeps what it synced.
    pub dir: PathBuf,
    /// Bytes that it takes at most. A row takes about 180 bytes.
    pub max_bytes: u64,
    /// What happens to a batch for which there is no room.
    pub when_full: WhenFull,
    /// The share of the time, 0 to 1, in which draining it may keep one connection of the database busy.
    pub drain_share: f64,
    /// Days after which a batch that is found at the start is set aside, because the database does not remember any more
    /// whether it has stored it.
    pub max_age_days: u32,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            dir: ".dispatch/spool".into(),
            max_bytes: 4 << 30,
            when_full: WhenFull::Refuse,
            drain_share: 0.5,
            max_age_days: 7,
        }
    }
}

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder cannot be used.
    #[error("location_log.spool.dir: {what}: {}", path.display())]
    Unusable {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Another engine uses the folder; two of them would store each other's batches.
    #[error("location_log.spool.dir: {} is used by another engine, process {pid}", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process that holds it.
        pid: String,
    },
}

impl SpoolError {
    fn unusable(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Unusable { what, path, source }
    }
}
