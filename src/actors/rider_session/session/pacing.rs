//! How often the device should ping is looked at whenever something happens to its session: a frame, a notice, an answer,
//! or the beat. So a change for everybody reaches devices one after another, as their own frames come.

use super::{Context, RiderSession};
use crate::domain::time::Timestamp;

impl RiderSession {
    /// The interval that the device learns with its `welcome`, milliseconds.
    pub(super) fn first_interval_ms(&mut self, usual_ms: u64) -> u64 {
        let Some(rules) = self.city.as_ref().map(|city| city.rules()) else { return usual_ms };
        self.protocol.first_interval_ms(self.deps.0.clock.now(), &rules, self.deps.0.pressure.factor())
    }

    /// Tells the device another interval when it is time to.
    pub(super) fn pace(&mut self, now: Timestamp, ctx: &mut Context) {
        let Some(rules) = self.city.as_ref().map(|city| city.rules()) else { return };
        let factor = self.deps.0.pressure.factor();
        if let Some(change) = self.protocol.pace(now, &rules, factor) {
            let figures = &self.deps.0.figures;
            if change.is_faster {
                figures.ping_faster.inc()
            } else {
                figures.ping_slower.inc()
            }
            self.say(&change.down, ctx);
        }
    }
}
