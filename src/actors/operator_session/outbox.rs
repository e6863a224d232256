//! How a city reaches an operator's session: the frames are shared between all sessions that watch the city.

use std::sync::Arc;

use actix::{Message, Recipient};

use crate::{
    actors::gate::{Gate, Permit},
    domain::time::Timestamp,
    engine::{
        effect::Alert,
        view::{CityChanges, CitySnapshot, Counts},
    },
};

/// What a watched city sends.
#[derive(Clone, Debug)]
pub enum Watched {
    /// The whole city.
    Snapshot(Arc<CitySnapshot>),
    /// What changed since the frame before.
    Delta {
        /// When.
        at: Timestamp,
        /// The figures now.
        counts: Counts,
        /// The changes.
        changes: Arc<CityChanges>,
    },
    /// Something to look at.
    Alert(Alert),
}

/// A frame on its way to an operator.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Show {
    /// The place in the session's queue.
    pub permit: Permit,
    /// What to show.
    pub frame: Watched,
}

/// The sending side of an operator session's queue.
#[derive(Clone)]
pub struct OperatorOutbox {
    inbox: Recipient<Show>,
    gate: Gate,
}

impl OperatorOutbox {
    /// Wraps the inbox of a session.
    #[must_use]
    pub fn new(inbox: Recipient<Show>, gate: Gate) -> Self {
        Self { inbox, gate }
    }

    /// Whether the session still listens.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.inbox.connected()
    }

    /// Queues a frame; `false` when the reader is behind, who then needs a new snapshot.
    #[must_use]
    pub fn show(&self, frame: Watched) -> bool {
        match self.gate.enter() {
            Some(permit) => {
                self.inbox.do_send(Show { permit, frame });
                true
            }
            None => false,
        }
    }
}

impl std::fmt::Debug for OperatorOutbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OperatorOutbox({} inside)", self.gate.inside())
    }
}
