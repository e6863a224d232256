//! One actor per watching operator: the socket's shell.

mod outbox;

pub use outbox::{OperatorOutbox, Show, Watched};
