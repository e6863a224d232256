//! What reaches the location log.

use actix::Message;
use tokio::sync::oneshot;

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

/// Write everything, then say so.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Flush {
    /// Told when nothing is left.
    pub done: oneshot::Sender<()>,
}
