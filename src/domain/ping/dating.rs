//! When a point was recorded, in server time. The correction of a device's clock may change between two frames; two of
//! its points keep their order all the same.

use super::{point::RawPoint, skew::STEP_MS};
use crate::domain::time::Timestamp;

/// How points were dated before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dating {
    newest: Option<Dated>,
    late: Option<Dated>,
}

#[derive(Clone, Copy, Debug)]
struct Dated {
    device: Timestamp,
    recorded: Timestamp,
    skew_ms: i64,
}

impl Dating {
    /// The time of a point: corrected, never ahead of the clock (or a device that runs fast would make its own next points
    /// late), and in the order of device times with the points before it, unless the clock was set between.
    #[must_use]
    pub fn date(&self, raw: &RawPoint, now: Timestamp) -> Timestamp {
        let mut at = raw.corrected().min(now);
        for known in [self.late, self.newest].into_iter().flatten() {
            // Another correction is another clock, as far as order is concerned.
            if known.skew_ms.abs_diff(raw.skew_ms) > STEP_MS.unsigned_abs() {
                continue;
            }
            at = if raw.device_at >= known.device { at.max(known.recorded) } else { at.min(known.recorded) };
        }
        at
    }

    /// A point was taken with this time.
    pub(super) fn note(&mut self, raw: &RawPoint, recorded: Timestamp, late: bool) {
        let dated = Some(Dated { device: raw.device_at, recorded, skew_ms: raw.skew_ms });
        if late {
            self.late = dated;
        } else {
            self.newest = dated;
        }
    }
}
