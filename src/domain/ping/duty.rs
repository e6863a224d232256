//! Where a rider is while off duty and carrying nothing is nobody's business: such a point is refused, and nothing about
//! it is kept. A point that was recorded then and is sent later, on duty, is refused as well, as far as it is remembered
//! when the rider was off.

use std::time::Duration;

use super::{
    pipeline::Hygiene,
    point::{Facts, RawPoint, Reason},
};
use crate::domain::time::Timestamp;

/// At the edges of a pause a point counts as of the duty: clocks are not corrected to the last second, and the answer to
/// a change of duty takes its time.
const EDGE: Duration = Duration::from_secs(5);

/// The last pause: from when to when the rider had no business to report positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastPause {
    from: Timestamp,
    to: Timestamp,
}

impl LastPause {
    /// The rider stops reporting.
    pub(super) const fn begin(&mut self, now: Timestamp) {
        self.from = now;
        self.to = Timestamp::FAR_FUTURE;
    }

    /// The rider reports again.
    pub(super) const fn end(&mut self, now: Timestamp) {
        self.to = now;
    }

    fn holds(self, at: Timestamp) -> bool {
        at > self.from + EDGE && at + EDGE < self.to
    }
}

/// Off duty and with nothing in hand, now or when the point was recorded.
pub(super) fn off_duty(raw: &RawPoint, facts: &Facts<'_>, state: &Hygiene) -> Result<(), Reason> {
    let off = !facts.situation.reporting || state.pause.holds(raw.corrected());
    if off { Err(Reason::OffDuty) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_holds_what_is_inside_it_but_for_its_edges() {
        let at = |s: i64| Timestamp::from_millis(s * 1_000);
        let mut pause = LastPause::default();
        assert!(!pause.holds(at(0)) && !pause.holds(at(50)));
        pause.begin(at(100));
        assert!(!pause.holds(at(104)) && pause.holds(at(106)));
        pause.end(at(200));
        assert!(pause.holds(at(194)) && !pause.holds(at(196)) && !pause.holds(at(300)));
    }
}
