//! The bound of a queue. An actix mailbox is no bound (`do_send`, every ask and every clone of an address slip past it),
//! so each typed handle takes a permit from a gate that all its clones share; the permit travels in the message.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use prometheus::{IntCounter, IntGauge};

/// Counts what is inside a queue and refuses more than its limit. Clones share the count.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    inside: AtomicUsize,
    depth: Option<IntGauge>,
    refused: Option<IntCounter>,
}

/// A place in a queue; given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<Inner>);

impl Gate {
    /// A gate for at most `limit` messages, with its depth and its refusals shown as metrics.
    #[must_use]
    pub fn new(limit: usize, depth: IntGauge, refused: IntCounter) -> Self {
        Self(Arc::new(Inner { limit, inside: AtomicUsize::new(0), depth: Some(depth), refused: Some(refused) }))
    }

    /// A gate without metrics, for queues that exist by the thousand (one per session).
    #[must_use]
    pub fn unmetered(limit: usize) -> Self {
        Self(Arc::new(Inner { limit, inside: AtomicUsize::new(0), depth: None, refused: None }))
    }

    /// Takes a place, or says that the queue is full.
    #[must_use]
    pub fn enter(&self) -> Option<Permit> {
        self.enter_below(self.0.limit)
    }

    /// Takes a place as long as fewer than `limit` are taken: what may wait leaves room for what must not.
    #[must_use]
    pub fn enter_below(&self, limit: usize) -> Option<Permit> {
        let limit = limit.min(self.0.limit);
        let taken = self
            .0
            .inside
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |inside| (inside < limit).then_some(inside + 1));
        if taken.is_err() {
            if let Some(refused) = &self.0.refused {
                refused.inc();
            }
            return None;
        }
        if let Some(depth) = &self.0.depth {
            depth.inc();
        }
        Some(Permit(self.0.clone()))
    }

    /// How many places are taken.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.0.inside.load(Ordering::Acquire)
    }

    /// How much of the queue is taken, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share of a queue")]
    pub fn fill(&self) -> f64 {
        self.inside() as f64 / self.0.limit.max(1) as f64
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::AcqRel);
        if let Some(depth) = &self.0.depth {
            depth.dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_bound() {
        let gate = Gate::unmetered(2);
        let first = gate.enter().unwrap();
        let _second = gate.clone().enter().unwrap();
        assert!(gate.clone().enter().is_none());
        drop(first);
        assert_eq!((gate.inside(), gate.fill()), (1, 0.5));
        assert!(gate.enter().is_some());
    }

    #[test]
    fn a_lower_limit_leaves_room_for_others() {
        let gate = Gate::unmetered(2);
        let _first = gate.enter_below(1).unwrap();
        assert!(gate.enter_below(1).is_none());
        let _second = gate.enter().unwrap();
        assert!(gate.enter_below(3).is_none(), "it is no way around the bound");
    }
}
