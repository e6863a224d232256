//! Positions as they come by the thousand: one call for what a lane gathered, without a list of its own.

use crate::domain::time::Timestamp;

use super::{city::City, command::Fix, effect::Effect};

impl City {
    /// Takes positions in the order of their arrival; the same as `Command::Fixes`, which needs them in a list. Like there
    /// the newest one of a rider holds, by the time of its recording. Positions want nothing done as a rule, and then the
    /// answer costs no memory.
    pub fn locate(&mut self, now: Timestamp, fixes: impl IntoIterator<Item = Fix>) -> Vec<Effect> {
        self.answered.clock(now);
        self.fixes(now, fixes);
        std::mem::take(&mut self.out)
    }
}
