//! What a rider's decision leads to: frames to send, and perhaps the end of the connection.

use std::time::Duration;

use dispatch_engine::{replay::manners::Outage, wire::rider::Up};
use tokio_tungstenite::tungstenite::Message;

/// Why the device leaves its connection.
#[derive(Debug, PartialEq)]
pub enum Ending {
    /// The network is gone until this time.
    Outage(Outage, i64),
    /// The device and the engine disagree: `welcome` brings the whole state.
    Resync,
    /// The engine said `bye`; when to come back, real time.
    Bye(Option<Duration>),
}

/// What a decision leads to.
#[derive(Debug, Default)]
pub struct Out {
    /// Frames to send, in order.
    pub frames: Vec<Up>,
    /// Messages that are no such frames: keep-alives, garbage.
    pub raw: Vec<Message>,
    /// Whether to leave the connection after that.
    pub ending: Option<Ending>,
}

impl Out {
    /// Adds what another decision leads to.
    pub fn append(&mut self, other: Self) {
        self.frames.extend(other.frames);
        self.raw.extend(other.raw);
        self.ending = self.ending.take().or(other.ending);
    }
}
