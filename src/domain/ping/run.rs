//! One run of one device: between two starts of the app its points count up, so a run and a number name a point.

use super::ranges::Ranges;
use crate::domain::{
    ids::{BootId, RiderId},
    time::Timestamp,
};

/// One run of one device of one rider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Whose.
    pub rider: RiderId,
    /// The device.
    pub device: String,
    /// The run of its app.
    pub boot: BootId,
    /// The lowest number that the device holds, if it said so.
    pub oldest: Option<u64>,
}

/// What is stored of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredRun {
    /// Points of the run that are stored, the newest ones at least.
    pub settled: Ranges,
    /// The time of the rider's live dot, of whatever run.
    pub live_at: Option<Timestamp>,
}
