//! How a city reaches the journal: plain methods, bounded.

use std::time::Duration;

use actix::Recipient;
use prometheus::IntGauge;
use tokio::sync::oneshot;

use super::journal::{Flush, Queued, Submit};
use crate::{
    actors::{city::CityHandle, gate::Gate},
    engine::effect::Write,
    store::journal::JournalEntry,
};

/// The sending side of the journal. Cheap to clone; all clones share one bound.
#[derive(Clone)]
pub struct JournalHandle {
    pub(super) inbox: Recipient<Submit>,
    pub(super) flushes: Recipient<Flush>,
    pub(super) gate: Gate,
    pub(super) unavailable: IntGauge,
}

impl JournalHandle {
    /// Queues the writes of one incarnation of a city, in order; what became of each comes back with
    /// [`CityHandle::journal_results`]. Returned are the writes for which there was no room: none of those is stored.
    #[must_use]
    pub fn submit(&self, city: &CityHandle, epoch: i64, writes: Vec<Write>) -> Vec<Write> {
        if !self.inbox.connected() {
            return writes;
        }
        let mut queued = Vec::with_capacity(writes.len());
        let mut writes = writes.into_iter();
        while let Some(write) = writes.next() {
            let Some(permit) = self.gate.enter() else {
                // The rest waits with it, so that the order of a city's writes is kept.
                let refused = std::iter::once(write).chain(writes).collect();
                self.send(queued);
                return refused;
            };
            let entry = JournalEntry { city: city.code().clone(), epoch, write };
            queued.push(Queued { permit, city: city.clone(), entry });
        }
        self.send(queued);
        Vec::new()
    }

    /// Waits until everything that was submitted before is stored; `false` when that took longer than `deadline`.
    pub async fn flush(&self, deadline: Duration) -> bool {
        let (done, flushed) = oneshot::channel();
        self.flushes.do_send(Flush(done));
        matches!(tokio::time::timeout(deadline, flushed).await, Ok(Ok(())))
    }

    /// Whether the database answered the last time the journal asked.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.inbox.connected() && self.unavailable.get() == 0
    }

    fn send(&self, writes: Vec<Queued>) {
        if !writes.is_empty() {
            self.inbox.do_send(Submit(writes));
        }
    }
}

impl std::fmt::Debug for JournalHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JournalHandle({} inside)", self.gate.inside())
    }
}
