//! Waking a device by push: what the engine asks for, without saying how it is sent.

use crate::domain::{
    ids::{OfferId, RiderId},
    time::Timestamp,
};

/// A device that should be woken by push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Whose device.
    pub rider: RiderId,
    /// What for.
    pub why: WakeWhy,
    /// The open offer that the device should show.
    pub offer: Option<OfferId>,
    /// From then on it is of no use.
    pub until: Timestamp,
}

/// What a device is woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeWhy {
    /// An open offer that the device does not show.
    Offer,
    /// The rider is about to be taken off duty for silence.
    AutoOffWarning,
}
