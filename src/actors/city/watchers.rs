//! Who watches a city: operators' sessions, snapshot first and deltas after. A reader that falls behind misses deltas and
//! gets a new snapshot as soon as it takes one.

use std::sync::Arc;

use crate::{
    actors::operator_session::{OperatorOutbox, Watched},
    engine::{effect::Alert, view::CitySnapshot},
};

/// The watchers of one city.
#[derive(Debug, Default)]
pub(super) struct Watchers(Vec<Watcher>);

#[derive(Debug)]
struct Watcher {
    outbox: OperatorOutbox,
    /// Whether it has a snapshot and every delta since.
    follows: bool,
}

impl Watchers {
    /// Takes a new watcher in; it has its snapshot at once.
    pub fn add(&mut self, outbox: OperatorOutbox, snapshot: CitySnapshot) {
        let follows = outbox.show(Watched::Snapshot(Arc::new(snapshot)));
        self.0.push(Watcher { outbox, follows });
    }

    /// Shows a delta to those who follow and a snapshot to those who fell behind; forgets those who left. `delta` is
    /// `None` when nothing changed.
    pub fn publish(&mut self, delta: Option<&Watched>, mut snapshot: impl FnMut() -> Arc<CitySnapshot>) {
        self.0.retain(|watcher| watcher.outbox.is_open());
        for watcher in &mut self.0 {
            watcher.follows = match delta {
                _ if !watcher.follows => watcher.outbox.show(Watched::Snapshot(snapshot())),
                Some(delta) => watcher.outbox.show(delta.clone()),
                None => true,
            };
        }
    }

    /// Shows an alert to those who follow; the others see what it is about in their snapshot.
    pub fn alert(&mut self, alert: &Alert) {
        for watcher in self.0.iter_mut().filter(|watcher| watcher.follows) {
            watcher.follows = watcher.outbox.show(Watched::Alert(alert.clone()));
        }
    }
}
