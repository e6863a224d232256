//! Known defects that a test can switch on in a city: the simulation or the exhaustive model has to catch each of them, or
//! they prove nothing.
//!
//! They are modelled on bugs that dispatch systems really had. A build without the feature `fault-injection` cannot
//! switch one on, and asks no question on the hot path.

/// One thing that a city does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// An acceptance is answered when it is asked, not when it is stored.
    TellsBeforeCommit,
    /// A rider with an order in hand is offered another one.
    OffersToTheBusy,
    /// A write that the journal refuses leaves its order waiting for the answer for ever.
    LosesRefusedWrites,
    /// Silence takes an order back although its rider holds the goods.
    ForgetsTheHolder,
    /// An acceptance does not wait for the one that is with the journal.
    AcceptsTwice,
}

/// The defect of one city, when it has one.
#[derive(Clone, Debug, Default)]
pub(super) struct Defects {
    #[cfg(feature = "fault-injection")]
    on: Option<Defect>,
}

impl Defects {
    #[cfg(feature = "fault-injection")]
    pub fn has(&self, defect: Defect) -> bool {
        self.on == Some(defect)
    }

    #[cfg(not(feature = "fault-injection"))]
    pub const fn has(&self, _: Defect) -> bool {
        false
    }
}

#[cfg(feature = "fault-injection")]
impl super::City {
    /// Gives this city a defect, from now until it ends.
    pub fn break_with(&mut self, defect: Defect) {
        self.defects.on = Some(defect);
    }
}
