//! How a city reaches the journal: plain methods, bounded.

use std::time::Duration;

use actix::Recipient;
use prometheus::IntCounterVec;
use tokio::sync::oneshot;

use super::{
    Availability, figures,
    journal::{Flush, Queued, Submit},
};
use crate::{
    actors::{city::CityHandle, gate::Gate},
    domain::ids::TransitionId,
    engine::{command::RejectReason, effect::Write},
    store::journal::JournalEntry,
};

/// The sending side of the journal. Cheap to clone; all clones share one bound.
#[derive(Clone)]
pub struct JournalHandle {
    pub(super) inbox: Recipient<Submit>,
    pub(super) flushes: Recipient<Flush>,
    pub(super) gate: Gate,
    /// Places that new orders may take at most.
    pub(super) placements: usize,
    pub(super) availability: Availability,
    pub(super) refused: IntCounterVec,
}

impl JournalHandle {
    /// Queues the writes of one incarnation of a city, in order; what became of each comes back with
    /// [`CityHandle::journal_results`]. Returned are the writes for which there was no room, with the reason: none of
    /// those is stored. New orders are refused before the journal is full, so that orders under way find room.
    #[must_use]
    pub fn submit(&self, city: &CityHandle, epoch: i64, writes: Vec<Write>) -> Vec<(TransitionId, RejectReason)> {
        let (mut queued, mut refused) = (Vec::with_capacity(writes.len()), Vec::new());
        let mut full = !self.inbox.connected();
        for write in writes {
            let places = matches!(write, Write::Place(_));
            let permit = match places {
                _ if full => None,
                true => self.gate.enter_below(self.placements),
                false => self.gate.enter(),
            };
            let Some(permit) = permit else {
                // Nothing follows a new order, but a later write may follow another that was refused: it must not pass it.
                full |= !places;
                refused.push(self.refuse(&write));
                continue;
            };
            let entry = JournalEntry { city: city.code().clone(), epoch, write };
            queued.push(Queued { permit, city: city.clone(), entry });
        }
        if !queued.is_empty() {
            self.inbox.do_send(Submit(queued));
        }
        refused
    }

    fn refuse(&self, write: &Write) -> (TransitionId, RejectReason) {
        let why = if self.availability.is_up() { RejectReason::Busy } else { RejectReason::Unavailable };
        let kind = match write {
            Write::Place(_) => "place",
            Write::Order(_) => "order",
            Write::Offer { .. } => "offer",
            Write::Duty(_) => "duty",
            Write::Note(_) => "note",
            Write::Dispute(_) => "dispute",
        };
        self.refused.with_label_values(&[kind, figures::word(&why)]).inc();
        (write.transition(), why)
    }

    /// Waits until everything that was submitted before is stored; `false` when that took longer than `deadline`.
    pub async fn flush(&self, deadline: Duration) -> bool {
        let (done, flushed) = oneshot::channel();
        self.flushes.do_send(Flush(done));
        matches!(tokio::time::timeout(deadline, flushed).await, Ok(Ok(())))
    }

    /// Whether the database answers.
    #[must_use]
    pub const fn availability(&self) -> &Availability {
        &self.availability
    }
}

impl std::fmt::Debug for JournalHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JournalHandle({} inside)", self.gate.inside())
    }
}
