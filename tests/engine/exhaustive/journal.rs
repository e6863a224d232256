//! The journal between a city and the store: a queue whose writes carry the epoch under which they were decided.

use std::collections::VecDeque;

use dispatch_engine::engine::{command::RejectReason, effect::Write};

use crate::simulation::store::Store;

/// What became of a write.
pub type Answer = Result<(), RejectReason>;

/// A write with the epoch of its incarnation.
#[derive(Clone, Debug)]
struct Entry {
    epoch: u32,
    write: Write,
}

/// The journal, and beside it the stored epoch, which a new incarnation claims before it reads anything.
#[derive(Clone, Debug)]
pub struct Journal {
    queue: VecDeque<Entry>,
    epoch: u32,
    /// Whether the store looks at epochs at all.
    fenced: bool,
}

impl Journal {
    pub fn new(fenced: bool) -> Self {
        Self { queue: VecDeque::new(), epoch: 0, fenced }
    }

    /// A new incarnation claims the city; returns its epoch.
    pub fn claim(&mut self) -> u32 {
        self.epoch += 1;
        self.epoch
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn submit(&mut self, epoch: u32, write: Write) {
        self.queue.push_back(Entry { epoch, write });
    }

    /// The next write of the incarnation that holds the city.
    pub fn head(&self) -> Option<&Write> {
        self.queue.iter().find(|entry| entry.epoch == self.epoch).map(|entry| &entry.write)
    }

    /// The last one, when it is of that incarnation.
    pub fn tail(&self) -> Option<&Write> {
        self.queue.back().filter(|entry| entry.epoch == self.epoch).map(|entry| &entry.write)
    }

    /// Stores the next write; what the incarnations before left behind comes first, and is to be refused. Returns the
    /// writes that were taken, with their answers. An error is a broken rule.
    pub fn commit_next(&mut self, store: &mut Store) -> Result<Vec<(Write, Answer)>, String> {
        let mut taken = Vec::new();
        while let Some(Entry { epoch, write }) = self.queue.pop_front() {
            let answer = self.commit(store, epoch, &write)?;
            taken.push((write, answer));
            if epoch == self.epoch {
                break;
            }
        }
        Ok(taken)
    }

    /// Stores the next write of the incarnation that holds the city, and leaves it in its place.
    pub fn commit_unheard(&mut self, store: &mut Store) -> Result<Option<(Write, Answer)>, String> {
        let Some(write) = self.head().cloned() else { return Ok(None) };
        let answer = self.commit(store, self.epoch, &write)?;
        Ok(Some((write, answer)))
    }

    /// As the real statements do: the epoch is looked at first, and a write that was stored before is recognised.
    fn commit(&self, store: &mut Store, epoch: u32, write: &Write) -> Result<Answer, String> {
        if self.fenced && epoch != self.epoch {
            return Ok(Err(RejectReason::Fenced));
        }
        if store.holds(write.transition()) {
            return Ok(Ok(()));
        }
        store.commit(write)
    }

    /// Takes the next write of the incarnation that holds the city out, unstored.
    pub fn take_head(&mut self) -> Option<Write> {
        let place = self.queue.iter().position(|entry| entry.epoch == self.epoch)?;
        self.queue.remove(place).map(|entry| entry.write)
    }

    /// Takes the last write out, unstored.
    pub fn take_tail(&mut self) -> Option<Write> {
        self.queue.pop_back().map(|entry| entry.write)
    }

    /// The process is gone, and with it what was not stored.
    pub fn lose_everything(&mut self) {
        self.queue.clear();
    }

    /// Writes down what the future depends on.
    pub fn describe(&self, store: &Store, out: &mut impl std::fmt::Write) -> std::fmt::Result {
        for Entry { epoch, write } in &self.queue {
            let late = epoch != &self.epoch;
            write!(out, "{late}{}{write:?}", store.holds(write.transition()))?;
        }
        Ok(())
    }
}
