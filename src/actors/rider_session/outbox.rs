//! How a city reaches a rider's session: bounded, never waiting.

use actix::{Message, Recipient};
use tokio::time::Instant;

use crate::{
    actors::gate::{Gate, Permit},
    engine::effect::Notice,
};

/// A notice on its way to a device; the permit is given back when the session has written it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Deliver {
    /// The place in the session's queue.
    pub permit: Permit,
    /// What to tell.
    pub notice: Notice,
    /// When the city told it, for the metrics.
    pub queued: Instant,
}

/// The sending side of a session's queue.
#[derive(Clone)]
pub struct RiderOutbox {
    inbox: Recipient<Deliver>,
    gate: Gate,
    /// Called when the queue overflows: the reader is too slow and gets cut off.
    cut_off: CutOff,
}

/// Marks a session whose device does not read. A client that never reads stops the actor's own context, so nothing can
/// be asked of the actor: it ends as soon as it runs again, and if it never does, the kernel ends the connection
/// (`TCP_USER_TIMEOUT`, see `http::connection`).
pub type CutOff = std::sync::Arc<dyn Fn() + Send + Sync>;

impl RiderOutbox {
    /// Wraps the inbox of a session.
    #[must_use]
    pub fn new(inbox: Recipient<Deliver>, gate: Gate, cut_off: CutOff) -> Self {
        Self { inbox, gate, cut_off }
    }

    /// Whether the session still runs.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.inbox.connected()
    }

    /// Queues a notice; a full queue means a reader that does not read, and ends the connection.
    pub fn deliver(&self, notice: Notice) {
        match self.gate.enter() {
            // A session that is gone misses nothing: a reconnect brings the whole state.
            Some(permit) => self.inbox.do_send(Deliver { permit, notice, queued: Instant::now() }),
            None => (self.cut_off)(),
        }
    }
}

impl std::fmt::Debug for RiderOutbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RiderOutbox({} inside)", self.gate.inside())
    }
}
