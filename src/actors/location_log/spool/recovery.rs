//! What an earlier engine left in the spool: the whole batches go on, damaged ones are set aside, and the points of all are
//! told. Blocks: it reads every byte.

use std::{fs, path::Path, time::Duration};

use uuid::Uuid;

use super::{
    Entry, Ledger, SpoolError, SpoolOptions, SpooledTracks,
    files::{Aside, Folder, Kind, ReadError, read},
    frame::{Damage, Header},
};
use crate::{domain::time::Timestamp, store::location_logs::CopyBatch};

/// Between two attempts to read a file.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

/// What was found.
pub struct Recovered {
    /// The batches to be drained.
    pub ledger: Ledger,
    /// Their points.
    pub tracks: SpooledTracks,
    /// Files that were set aside now, and the rows in them as far as they are known.
    pub aside: Vec<(Aside, u64)>,
}

/// Goes through the folder.
///
/// # Errors
/// [`SpoolError::Unusable`] when the folder cannot be read or changed.
pub fn recover(folder: &Folder, options: &SpoolOptions, now: Timestamp) -> Result<Recovered, SpoolError> {
    let oldest = now - Duration::from_secs(u64::from(options.max_age_days) * 86_400);
    let mut found = Recovered {
        ledger: Ledger::new(options.max_bytes, options.when_full),
        tracks: SpooledTracks::default(),
        aside: Vec::new(),
    };
    let files = folder.list().map_err(SpoolError::unusable("the folder cannot be read", folder.path()))?;
    // The newest first, because of too many points the newest are remembered.
    for (number, kind, path, bytes) in files.into_iter().rev() {
        found.ledger.skip_to(number + 1);
        let id = match kind {
            Kind::Batch(id) | Kind::Unfinished(id) => id,
            Kind::Aside => {
                found.ledger.set_aside(bytes);
                continue;
            }
        };
        let finished = matches!(kind, Kind::Batch(_));
        let changed = match read_patiently(&path, id) {
            Ok((header, _)) if finished && header.spooled_at < oldest => {
                found.put_aside(folder, number, &header, Aside::Expired, bytes)
            }
            Ok((header, rows)) => {
                found.keep(number, &header, &rows, bytes);
                if finished { Ok(()) } else { folder.finish(number, id) }
            }
            Err(ReadError::Damaged { damage: Damage::Form, .. }) => {
                tracing::error!(file = %path.display(), "left in the spool: a newer program wrote it");
                found.ledger.set_aside(bytes);
                Ok(())
            }
            Err(ReadError::Io(error)) => {
                // Its bytes may be whole: that a disk does not answer is no damage.
                tracing::error!(file = %path.display(), %error, "left in the spool until the next start: it cannot be read");
                found.ledger.set_aside(bytes);
                Ok(())
            }
            Err(error) if !finished => {
                // Nobody was told that its points are stored: the devices send them again.
                tracing::warn!(file = %path.display(), %error, "removed from the spool: its write was cut short");
                fs::remove_file(&path)
            }
            Err(error) => {
                let rows = if let ReadError::Damaged { rows, .. } = error { rows } else { 0 };
                let error = &error as &dyn std::error::Error;
                tracing::error!(file = %path.display(), error, rows, "a spooled batch is damaged; it was set aside");
                found.aside.push((Aside::Damaged, rows));
                found.ledger.set_aside(bytes);
                folder.set_aside(number, id, Aside::Damaged)
            }
        };
        changed.map_err(SpoolError::unusable("a file cannot be renamed or removed", &path))?;
    }
    Ok(found)
}

/// A disk that is asked again may answer.
fn read_patiently(path: &Path, id: Uuid) -> Result<(Header, CopyBatch), ReadError> {
    for pause in PAUSES {
        match read(path, id) {
            Err(ReadError::Io(error)) => {
                tracing::warn!(file = %path.display(), %error, "a file of the spool cannot be read; trying again");
                std::thread::sleep(pause);
            }
            read => return read,
        }
    }
    read(path, id)
}

impl Recovered {
    fn keep(&mut self, number: u64, header: &Header, rows: &CopyBatch, bytes: u64) {
        self.tracks.add(rows.names());
        let (id, spooled_at) = (header.id, header.spooled_at);
        self.ledger.add(Entry { number, id, rows: header.rows, bytes, spooled_at });
    }

    fn put_aside(
        &mut self,
        folder: &Folder,
        number: u64,
        header: &Header,
        why: Aside,
        bytes: u64,
    ) -> std::io::Result<()> {
        let (id, rows) = (header.id, header.rows);
        tracing::error!(%id, rows, "a spooled batch is so old that it may be stored already; it was set aside");
        self.aside.push((why, rows));
        self.ledger.set_aside(bytes);
        folder.set_aside(number, id, why)
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
