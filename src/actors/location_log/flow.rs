//! Where the next batch goes: to Postgres, or to the spool on disk. Pure: the shell tells it what came of each step and asks
//! for the next one. One batch at a time is being written, and one spooled.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use uuid::Uuid;

use super::{
    buffer::{Batch, Bounds, Buffer, PointBatch},
    retry::backoff,
};
use crate::store::location_logs::CopyBatch;

/// The longest pause between two tries of a live batch while Postgres is away. The drain of the spool tries more often, and
/// its success ends the outage here too; this is for a spool that is empty or has troubles of its own.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a spool that is full or broken is left alone.
const SPOOL_PAUSE: Duration = Duration::from_secs(1);

/// Why a batch goes to the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Postgres did not take it: whether it is stored there is not known.
    Failed,
    /// Postgres did not take an earlier one.
    Away,
    /// Postgres takes batches more slowly than they come.
    Slow,
    /// The engine ends and Postgres did not take it in time.
    Ending,
    /// Postgres will never take it: it is set aside for people to look at.
    Refused,
}

impl Why {
    /// The label of its figures.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Away => "away",
            Self::Slow => "slow",
            Self::Ending => "ending",
            Self::Refused => "refused",
        }
    }
}

/// A batch and its encoded rows.
#[derive(Debug)]
pub struct Sealed {
    /// The batch.
    pub batch: Batch,
    /// Its rows.
    pub rows: Arc<CopyBatch>,
}

/// What is to be done now.
#[derive(Debug)]
pub enum Step {
    /// Write it to Postgres, then [`Flow::written`].
    Write(Sealed),
    /// Write it to the spool, then [`Flow::spooled`].
    Spool(Sealed, Why),
}

/// What a write to Postgres came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Its rows are committed.
    Stored,
    /// It did not answer in time, or not now.
    Failed,
    /// It will never take the batch.
    Refused,
}

/// What a write to the spool came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spooled {
    /// Synced to the disk.
    Kept,
    /// There is no room, or the disk fails.
    Shut,
}

/// The live side of the log. Times are durations since its beginning.
pub struct Flow {
    buffer: Buffer,
    /// Rows that wait beyond which a Postgres that is busy counts as slow.
    spill_rows: usize,
    /// Batches that neither side has taken yet, in order, and why they go to the spool.
    stuck: VecDeque<(Sealed, Why)>,
    writing: bool,
    spooling: bool,
    /// Writes in a row that failed, and when the next may be tried.
    failures: u32,
    retry_at: Duration,
    spool_at: Duration,
    /// Everything held is to be written now.
    flushing: bool,
    /// Postgres has had its time: all goes to the spool.
    ending: bool,
}

impl Flow {
    /// Nothing held, everything well.
    #[must_use]
    pub const fn new(bounds: Bounds, spill_rows: usize) -> Self {
        Self {
            buffer: Buffer::new(bounds),
            spill_rows,
            stuck: VecDeque::new(),
            writing: false,
            spooling: false,
            failures: 0,
            retry_at: Duration::ZERO,
            spool_at: Duration::ZERO,
            flushing: false,
            ending: false,
        }
    }

    /// Takes points in; returns how many old rows had to go.
    pub fn push(&mut self, now: Duration, points: PointBatch) -> usize {
        self.buffer.push(now, points)
    }

    /// Points held.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.buffer.held()
    }

    /// Whether live rows wait for their turn at Postgres: the drain of the spool lets them go first.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.writing && self.buffer.is_full()
    }

    /// Whether Postgres took the last batch.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.failures == 0
    }

    /// The next step, if there is one now.
    pub fn next(&mut self, now: Duration, id: impl FnOnce() -> Uuid) -> Option<Step> {
        let may_write = !self.writing && !self.ending && now >= self.retry_at;
        let may_spool = !self.spooling && now >= self.spool_at;
        if let Some((sealed, why)) = self.stuck.pop_front() {
            // What Postgres did not take goes to the spool, and only while that is shut to Postgres again.
            if may_spool {
                self.spooling = true;
                return Some(Step::Spool(sealed, why));
            }
            if may_write && why != Why::Refused {
                self.writing = true;
                return Some(Step::Write(sealed));
            }
            self.stuck.push_front((sealed, why));
            return None;
        }
        if !self.is_due(now) {
            return None;
        }
        let why = if self.ending {
            Some(Why::Ending)
        } else if !self.is_up() {
            Some(Why::Away)
        } else {
            (self.buffer.waiting() >= self.spill_rows).then_some(Why::Slow)
        };
        if may_write {
            let sealed = self.seal(id)?;
            self.writing = true;
            Some(Step::Write(sealed))
        } else if let Some(why) = why.filter(|_| may_spool) {
            let sealed = self.seal(id)?;
            self.spooling = true;
            Some(Step::Spool(sealed, why))
        } else {
            None
        }
    }

    fn is_due(&self, now: Duration) -> bool {
        self.buffer.is_full() || self.buffer.due_at().is_some_and(|due| self.flushing || now >= due)
    }

    fn seal(&mut self, id: impl FnOnce() -> Uuid) -> Option<Sealed> {
        let batch = self.buffer.form(id)?;
        let rows = Arc::new(batch.encode());
        Some(Sealed { batch, rows })
    }

    /// When to ask again although nothing happened.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        let write = if self.writing || self.ending { Duration::MAX } else { self.retry_at };
        let spool = if self.spooling { Duration::MAX } else { self.spool_at };
        let at = match self.stuck.front() {
            Some((_, Why::Refused)) => spool,
            Some(_) => write.min(spool),
            None => {
                let due = self.buffer.due_at()?;
                let due = if self.flushing || self.buffer.is_full() { Duration::ZERO } else { due };
                let relieved = !self.is_up() || self.ending || self.buffer.waiting() >= self.spill_rows;
                due.max(if relieved { write.min(spool) } else { write })
            }
        };
        (at < Duration::MAX).then_some(at)
    }

    /// What came of a write to Postgres.
    pub fn written(&mut self, now: Duration, sealed: Sealed, result: Written) {
        self.writing = false;
        match result {
            Written::Stored => {
                self.reached();
                self.settle(&sealed);
            }
            Written::Failed => {
                self.failures = self.failures.saturating_add(1);
                self.retry_at = now + backoff(self.failures, LONGEST_PAUSE);
                self.stuck.push_back((sealed, Why::Failed));
            }
            Written::Refused => {
                self.reached();
                self.stuck.push_back((sealed, Why::Refused));
            }
        }
    }

    /// What came of a write to the spool. A refused batch that cannot be set aside is lost; returns the rows that are.
    pub fn spooled(&mut self, now: Duration, sealed: Sealed, why: Why, result: Spooled) -> usize {
        self.spooling = false;
        match result {
            Spooled::Kept => {
                self.settle(&sealed);
                0
            }
            Spooled::Shut if why == Why::Refused => {
                self.buffer.release(&sealed.batch);
                sealed.batch.lose();
                sealed.batch.rows()
            }
            Spooled::Shut => {
                self.spool_at = now + SPOOL_PAUSE;
                self.stuck.push_front((sealed, why));
                0
            }
        }
    }

    fn settle(&mut self, sealed: &Sealed) {
        self.buffer.release(&sealed.batch);
        sealed.batch.settle();
    }

    /// Postgres has answered somebody: live batches may be tried at once.
    pub const fn reached(&mut self) {
        self.failures = 0;
        self.retry_at = Duration::ZERO;
    }

    /// The spool has room again.
    pub const fn spool_has_room(&mut self) {
        self.spool_at = Duration::ZERO;
    }

    /// The log ends: everything held is to be written now.
    pub const fn flush(&mut self) {
        self.flushing = true;
        self.retry_at = Duration::ZERO;
        self.spool_at = Duration::ZERO;
    }

    /// Its end is near: what is left goes to the spool.
    pub const fn hurry(&mut self) {
        self.ending = true;
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
