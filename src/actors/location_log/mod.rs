//! The location log: gathers accepted points and copies them into Postgres by count or age. While Postgres is away or too
//! slow they go to a bounded spool on the disk, and from there to Postgres later. A point is settled when it is committed,
//! or synced to the spool.

mod buffer;
mod drain;
mod figures;
mod flow;
mod messages;
mod options;
mod retry;
mod shell;
mod spool;
mod spooling;
#[cfg(test)]
mod test_points;
mod track;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix::Recipient;
use tokio::{sync::oneshot, time::Instant};

pub use buffer::{LogPoint, PointBatch};
use figures::Figures;
use messages::{Append, Stop};
pub use options::Options;
pub use shell::start;
pub use spool::{SpoolError, SpoolOptions, SpooledRun, SpooledTracks, WhenFull, probe};
pub use track::Track;

use super::gate::Gate;

/// The location log, as the lanes see it. Cheap to clone.
#[derive(Clone)]
pub struct LocationLogHandle {
    append: Recipient<Append>,
    stop: Recipient<Stop>,
    gate: Gate,
    figures: Figures,
    max_rows: usize,
    max_spool_bytes: u64,
    /// It was told to stop: what comes now would come too late.
    stopping: Arc<AtomicBool>,
}

impl LocationLogHandle {
    /// Gives points to the log, without waiting. When its queue is full they are dropped and counted, and their tracks
    /// are told, so that the devices send them again; so it is once the log was told to stop.
    pub fn append(&self, points: PointBatch) {
        if points.is_empty() {
            return;
        }
        match self.gate.enter().filter(|_| !self.stopping.load(Ordering::Acquire) && self.append.connected()) {
            Some(permit) => self.append.do_send(Append { permit, points }),
            None => self.figures.drop_rows("queue_full", points.lose() as u64),
        }
    }

    /// How full the log is, 0 to 1: its queue, its memory or its spool, whichever is fullest.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "shares of bounds")]
    pub fn fill(&self) -> f64 {
        let share = |held: i64, most: f64| held as f64 / most.max(1.0);
        let memory = share(self.figures.buffered.get(), self.max_rows as f64);
        let spool = share(self.figures.spool_bytes.get(), self.max_spool_bytes as f64);
        self.gate.fill().max(memory).max(spool)
    }

    /// Ends the log once everything that is held is written: to Postgres, and in the last part of the time to the spool.
    /// `false` when that took longer than the deadline (real time). For a graceful stop, after the sessions are gone.
    pub async fn stop(&self, deadline: Duration) -> bool {
        self.stopping.store(true, Ordering::Release);
        let (done, finished) = oneshot::channel();
        self.stop.do_send(Stop { hurry_at: Instant::now() + deadline / 2, done });
        matches!(tokio::time::timeout(deadline, finished).await, Ok(Ok(())))
    }
}

impl std::fmt::Debug for LocationLogHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocationLogHandle({} inside)", self.gate.inside())
    }
}
