//! The files of the spool. Everything here blocks: it runs on threads that may.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use super::{
    SpoolError,
    frame::{Damage, HEADER, Header},
    ledger::Entry,
};
use crate::{domain::time::Timestamp, store::location_logs::CopyBatch};

/// The end of the name of a batch that is whole.
const BATCH: &str = "points";
/// The end of the name of one that is being written.
const UNFINISHED: &str = "unfinished";
const LOCK: &str = "lock";

/// Why a file is set aside: kept for people to look at, and not drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// Its checksums do not fit.
    Damaged,
    /// Postgres refused its rows.
    Refused,
    /// It is so old that Postgres may have forgotten that it has it.
    Expired,
}

impl Aside {
    /// The label of its figures, and the end of its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Refused => "refused",
            Self::Expired => "expired",
        }
    }
}

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A batch to be drained.
    Batch(Uuid),
    /// The remains of a write that did not come to its end; nobody was told that its points are stored.
    Unfinished(Uuid),
    /// Set aside.
    Aside,
}

/// Why a batch could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk does not answer.
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
    /// The file is not what was written; so many rows are known to be lost.
    #[error("{damage}")]
    Damaged {
        /// What is wrong with it.
        damage: Damage,
        /// Rows, as far as the header tells.
        rows: u64,
    },
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub struct Synced {
    /// Bytes of the file.
    pub bytes: u64,
    /// How long the disk took to confirm it.
    pub sync: Duration,
}

/// The folder, locked as long as this lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The folder itself, to sync what was renamed in it.
    itself: File,
    /// The system gives the lock back when the file is closed, however the process ends.
    _lock: File,
}

impl Folder {
    /// Makes the folder when it is not there, checks that it can be written, and locks it.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn open(path: &Path) -> Result<Self, SpoolError> {
        probe(path)?;
        let itself = File::open(path).map_err(SpoolError::unusable("the folder cannot be opened", path))?;
        let lock_path = path.join(LOCK);
        let unusable = |what| SpoolError::unusable(what, &lock_path);
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(unusable("the lock file cannot be opened"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&lock_path).unwrap_or_default().trim().to_owned();
                return Err(SpoolError::InUse { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(unusable("the lock file cannot be locked")(source)),
        }
        let noted = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        noted.map_err(unusable("the lock file cannot be written"))?;
        Ok(Self { path: path.to_owned(), itself, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a batch and syncs it, the file and its name; with `aside` it is not to be drained.
    ///
    /// # Errors
    /// Whatever the disk says; nothing is left then that would be taken for a batch.
    pub fn put(
        &self,
        number: u64,
        id: Uuid,
        rows: &CopyBatch,
        at: Timestamp,
        aside: Option<Aside>,
    ) -> io::Result<Synced> {
        let unfinished = self.file(number, id, UNFINISHED);
        let whole = self.file(number, id, aside.map_or(BATCH, Aside::as_str));
        let written = self.write(&unfinished, &whole, &Header::of(id, rows, at), rows);
        if written.is_err() {
            // What could not be synced must not be trusted, whatever a later sync says. What cannot be removed either is
            // found unfinished or doubled at the next start.
            let _ = fs::remove_file(&unfinished);
            let _ = fs::remove_file(&whole);
        }
        Ok(Synced { bytes: size(rows), sync: written? })
    }

    fn write(&self, unfinished: &Path, whole: &Path, header: &Header, rows: &CopyBatch) -> io::Result<Duration> {
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(unfinished)?;
        file.write_all(&header.encode())?;
        file.write_all(rows.encoded())?;
        let begun = Instant::now();
        file.sync_all()?;
        fs::rename(unfinished, whole)?;
        self.itself.sync_all()?;
        Ok(begun.elapsed())
    }

    /// Reads a batch.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, entry: &Entry) -> Result<CopyBatch, ReadError> {
        Ok(read(&self.file(entry.number, entry.id, BATCH), entry.id)?.1)
    }

    /// Removes a batch. Not synced: should it be there again after a power cut, Postgres knows its id.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn remove(&self, entry: &Entry) -> io::Result<()> {
        fs::remove_file(self.file(entry.number, entry.id, BATCH))
    }

    /// Takes a batch out of the line. Renamed back, it is drained after the next start.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn set_aside(&self, number: u64, id: Uuid, why: Aside) -> io::Result<()> {
        fs::rename(self.file(number, id, BATCH), self.file(number, id, why.as_str()))
    }

    /// Everything in the folder, with the numbers.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn list(&self) -> io::Result<Vec<(u64, Kind, PathBuf, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if let Some((number, kind)) = entry.file_name().to_str().and_then(kind) {
                found.push((number, kind, entry.path(), entry.metadata()?.len()));
            }
        }
        found.sort_unstable_by_key(|(number, ..)| *number);
        Ok(found)
    }

    /// What was unfinished is whole after all.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn finish(&self, number: u64, id: Uuid) -> io::Result<()> {
        let unfinished = self.file(number, id, UNFINISHED);
        // Its bytes may be in memory only.
        File::open(&unfinished)?.sync_all()?;
        fs::rename(unfinished, self.file(number, id, BATCH))?;
        self.itself.sync_all()
    }

    fn file(&self, number: u64, id: Uuid, end: &str) -> PathBuf {
        self.path.join(format!("{number:016}-{id}.{end}"))
    }
}

/// Bytes that a batch takes in the spool.
#[must_use]
pub fn size(rows: &CopyBatch) -> u64 {
    (HEADER + rows.encoded().len()) as u64
}

/// Reads a file that must hold the batch of an id.
///
/// # Errors
/// [`ReadError`].
pub fn read(path: &Path, id: Uuid) -> Result<(Header, CopyBatch), ReadError> {
    let bytes = fs::read(path)?;
    let header = Header::decode(&bytes).map_err(|damage| ReadError::Damaged { damage, rows: 0 })?;
    if header.id != id {
        return Err(ReadError::Damaged { damage: Damage::Header, rows: header.rows });
    }
    match header.open(bytes) {
        Ok(rows) => Ok((header, rows)),
        Err(damage) => Err(ReadError::Damaged { damage, rows: header.rows }),
    }
}

fn kind(name: &str) -> Option<(u64, Kind)> {
    let (stem, end) = name.rsplit_once('.')?;
    let (number, id) = stem.split_once('-')?;
    let (number, id) = (number.parse().ok()?, Uuid::parse_str(id).ok()?);
    let kind = match end {
        BATCH => Kind::Batch(id),
        UNFINISHED => Kind::Unfinished(id),
        end if [Aside::Damaged, Aside::Refused, Aside::Expired].iter().any(|why| why.as_str() == end) => Kind::Aside,
        _ => return None,
    };
    Some((number, kind))
}

/// Makes the folder when it is not there, and checks that a file in it can be written and synced.
///
/// # Errors
/// [`SpoolError::Unusable`].
pub fn probe(path: &Path) -> Result<(), SpoolError> {
    // The points of riders are nobody else's business.
    let private = || fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| private());
    made.map_err(SpoolError::unusable("the folder cannot be made", path))?;
    let file = path.join("probe");
    let written = File::create(&file).and_then(|mut probe| {
        probe.write_all(b"probe\n")?;
        probe.sync_all()
    });
    written.and_then(|()| fs::remove_file(&file)).map_err(SpoolError::unusable("the folder cannot be written", &file))
}
