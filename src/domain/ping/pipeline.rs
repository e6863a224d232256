//! The filters in their order. A point goes from one to the next until one refuses it; what none refuses is taken, with
//! their remarks. Each filter has its reason, its counter of that name, and its setting in the city's policy; 0 or the like
//! turns it off where that makes sense.
//!
//! | filter | refuses, as | setting of `pings` |
//! |---|---|---|
//! | bad_seq | numbers that are none, `bad_seq` | |
//! | duplicate | what came before, wherever the rider is by now, `duplicate` | |
//! | off_duty | where nobody may look; before anything could remember it, `off_duty` | |
//! | bad_clock | times that would be guessed, `bad_clock` | `max_skew_s` |
//! | no_fix | no position, or one that the receiver calls invalid, `no_fix` | |
//! | out_of_world | not finite, no place on earth, `out_of_world` | |
//! | null_island | around 0, 0, `null_island` | |
//! | inaccurate | too wide a radius, `inaccurate` | `max_accuracy_m` |
//! | mock | what the platform says was made up, `mock`, or flags it | `mock` |
//! | future | ahead of the clock, `future` | `max_ahead_s` |
//! | too_old | `too_old` | `max_age_s` |
//! | rate | too many, `rate` | `max_per_s`, `burst` |
//! | teleport | implausible speed, `teleport`; flags a jump that is believed | `top_speeds`, `jump_slack_m`, `believe_after` |
//! | area | nothing; flags what lies outside | the boundary |
//! | rest | nothing; flags what is noise at rest, and holds the dot | `rest_radius_m` |
//!
//! Cheap ones come first, and the two that have a memory of their own (rate, teleport) see nothing that another one
//! refuses. Late points pass through the same filters and move neither the dot nor what live points are judged by.

use super::{
    area::{LookedUp, area},
    dating::Dating,
    density::Density,
    duty::{LastPause, off_duty},
    ground::Mark,
    plain::{bad_clock, bad_seq, duplicate, future, inaccurate, mock, no_fix, null_island, out_of_world, too_old},
    point::{Accepted, Facts, RawPoint, Reason, Situation, flags},
    rate::{Rate, rate},
    rest::{Rest, rest},
    teleport::{Believed, teleport},
};
use crate::domain::{position::Position, time::Timestamp};

/// A filter that needs no place.
type Plain = fn(&RawPoint, &Facts<'_>, &Hygiene) -> Result<(), Reason>;
/// A filter that does, and may remember it.
type Placed = fn(&mut Trial, &Facts<'_>, &mut Hygiene) -> Result<(), Reason>;

/// Before a point has a place. [`Position::new`] stands between them and the others.
const PLAIN: [Plain; 5] = [bad_seq, duplicate, off_duty, bad_clock, no_fix];
/// Once it has one.
const PLACED: [Placed; 9] = [null_island, inaccurate, mock, future, too_old, rate, teleport, area, rest];

/// A point on its way through the filters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub raw: RawPoint,
    pub here: Position,
    /// When it was recorded, in server time.
    pub at: Timestamp,
    /// Radius of 68 % confidence, metres; 0 where it is not known.
    pub radius_m: f32,
    /// Older than the live dot.
    pub late: bool,
    pub flags: i16,
    pub dot: Option<Position>,
}

impl Trial {
    pub const fn mark(&self) -> Mark {
        Mark { here: self.here, at: self.at, radius_m: self.radius_m }
    }
}

/// What the filters remember of one rider's device: a few hundred bytes.
#[derive(Clone, Debug, Default)]
pub struct Hygiene {
    situation: Option<Situation>,
    dating: Dating,
    pub(super) pause: LastPause,
    pub(super) rate: Rate,
    pub(super) believed: Believed,
    pub(super) looked_up: Option<LookedUp>,
    pub(super) rest: Option<Rest>,
    density: Density,
}

impl Hygiene {
    /// Judges a point.
    ///
    /// # Errors
    /// The [`Reason`] why it is refused.
    pub fn judge(&mut self, raw: &RawPoint, facts: &Facts<'_>) -> Result<Accepted, Reason> {
        for filter in PLAIN {
            filter(raw, facts, self)?;
        }
        let here = Position::new(raw.lat, raw.lon).map_err(out_of_world)?;
        let at = self.dating.date(raw, facts.now);
        let late = at < facts.live_at;
        let radius_m = raw.radius_m().unwrap_or(0.0);
        let lateness = if late { flags::LATE } else { 0 };
        let mut trial = Trial { raw: *raw, here, at, radius_m, late, flags: lateness, dot: None };
        for filter in PLACED {
            filter(&mut trial, facts, self)?;
        }
        self.dating.note(raw, at, late);
        let mut accepted = Accepted {
            seq: raw.seq,
            created_at: facts.now,
            recorded_at: at,
            device_at: raw.device_at,
            position: here,
            accuracy_m: raw.radius_m(),
            speed_mps: raw.speed_mps.filter(|speed| speed.is_finite() && *speed >= 0.0),
            heading_deg: raw.heading_deg.filter(|degrees| (0.0..=360.0).contains(degrees)),
            flags: trial.flags,
            dot: trial.dot,
            store: true,
        };
        accepted.store = self.density.wants(&accepted, facts.situation.busy, facts.policy);
        Ok(accepted)
    }

    /// What the rider does from now on. Answers the last point before a boundary (an order, the end of a duty) that had
    /// been left out and is to be stored now.
    pub fn situation(&mut self, now: Timestamp, situation: Situation) -> Option<Accepted> {
        let before = self.situation.replace(situation);
        if before == Some(situation) {
            return None;
        }
        let was = before.unwrap_or(Situation { reporting: !situation.reporting, busy: situation.busy });
        let mut kept = None;
        if was.busy && !situation.busy {
            self.density.order_ends(now);
        }
        if (!was.busy && situation.busy) || (was.reporting && !situation.reporting) {
            kept = self.density.take_left_out();
        }
        match (was.reporting, situation.reporting) {
            (true, false) => self.pause.begin(now),
            (false, true) => {
                // Of a device that was never seen before nothing is known.
                if before.is_some() {
                    self.pause.end(now);
                }
                self.density.duty_begins();
            }
            _ => {}
        }
        kept
    }

    /// Takes out the newest point when it was left out: what was remembered of it goes to another run, and the point does not.
    pub fn take_left_out(&mut self) -> Option<Accepted> {
        self.density.take_left_out()
    }

    /// The city's boundary is another one.
    pub const fn forget_area(&mut self) {
        self.looked_up = None;
    }
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
