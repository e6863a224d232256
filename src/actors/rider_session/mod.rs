//! One actor per connected rider device: the socket's shell.

mod outbox;

pub use outbox::{CutOff, Deliver, RiderOutbox};
