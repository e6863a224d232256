//! What reaches the location log.

use actix::Message;
use tokio::{sync::oneshot, time::Instant};

use super::buffer::PointBatch;
use crate::actors::gate::Permit;

/// Points of one lane, in the order of their arrival.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Append {
    /// The place in the log's queue.
    pub permit: Permit,
    /// The points.
    pub points: PointBatch,
}

/// Write everything, then end.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Stop {
    /// When Postgres has had its time, and the rest goes to the spool.
    pub hurry_at: Instant,
    /// Told when nothing is left.
    pub done: oneshot::Sender<()>,
}
