//! A device that must be woken by push, because its socket is silent or gone: what the city wants said, and no more.

use crate::domain::{
    ids::{OfferId, RiderId},
    time::Timestamp,
};

/// One device to wake. It carries nothing about the order or its customer: the device connects and asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Whose device.
    pub rider: RiderId,
    /// What for.
    pub why: WakeWhy,
    /// The offer that waits, under the id with which it was made.
    pub offer: Option<OfferId>,
    /// From then on waking is of no use any more.
    pub until: Timestamp,
}

/// Why a device is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeWhy {
    /// An offer waits for an answer.
    Offer,
    /// The rider is about to be taken off duty for silence.
    AutoOffWarning,
}
