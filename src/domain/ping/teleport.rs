//! Implausible speed. A point is believed when the vehicle could have come there from the last believed one: at its top
//! speed for the time between, plus a slack for what two receivers may be off (the city's, and both reported radii). So
//! after a long silence a far point is plausible by its own time.
//!
//! A rider who really moved, by ferry or by truck, is believed again after some points in a row that agree with each
//! other; a receiver that is wrong now and then never gives so many. (Traccar's `filter.maxSpeed` compares with the last
//! stored point as well and lets everything through after `filter.skipLimit` of silence; Kalman filters of trackers in the
//! field begin anew after three outliers in a row.)
//!
//! A late point is judged against its neighbours in time. It changes nothing that live points are judged by.

use std::time::Duration;

use super::{
    ground::{Mark, metres},
    pipeline::{Hygiene, Trial},
    point::{Facts, Reason, flags},
};

/// Believed points that are remembered for late ones.
const REMEMBERED: usize = 4;
/// Between two of them, at least: together with the edges of every gap they reach back some minutes.
const APART: Duration = Duration::from_secs(60);

/// What a vehicle can do.
#[derive(Clone, Copy, Debug)]
struct Reach {
    top_mps: f64,
    slack_m: f64,
}

impl Reach {
    /// Whether a vehicle could have been at both.
    fn holds(self, a: &Mark, b: &Mark) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a ride")]
        let seconds = b.at.millis_since(a.at).unsigned_abs() as f64 / 1_000.0;
        let slack = self.slack_m + f64::from(a.radius_m) + f64::from(b.radius_m);
        metres(a.here, b.here) <= self.top_mps.mul_add(seconds, slack)
    }
}

/// What is believed of one rider.
#[derive(Clone, Copy, Debug, Default)]
pub struct Believed {
    last: Option<Mark>,
    /// The newest of some points that agree with each other and not with `last`, and how many they are.
    doubted: Option<(Mark, u32)>,
    /// Believed points before `last`, newest first.
    recent: [Option<Mark>; REMEMBERED],
    /// The late point before this one: backlogs come in a row.
    late: Option<Mark>,
}

impl Believed {
    /// Judges a live point: `Some(true)` when it was far away and is believed because others agreed.
    fn live(&mut self, here: Mark, reach: Reach, believe_after: u32) -> Option<bool> {
        let Some(last) = self.last else {
            self.last = Some(here);
            return Some(false);
        };
        if reach.holds(&last, &here) {
            self.believe(last, here);
            return Some(false);
        }
        let agreeing = match self.doubted {
            // One fix that is sent over and over is one.
            Some((before, n)) if here.at == before.at => n,
            Some((before, n)) if reach.holds(&before, &here) => n + 1,
            _ => 1,
        };
        if agreeing < believe_after {
            self.doubted = Some((here, agreeing));
            return None;
        }
        self.believe(last, here);
        Some(true)
    }

    fn believe(&mut self, last: Mark, here: Mark) {
        if self.recent[0].is_none_or(|newest| here.at.since(newest.at) >= APART) {
            self.recent.rotate_right(1);
            self.recent[0] = Some(last);
        }
        self.last = Some(here);
        self.doubted = None;
    }

    /// Judges a late point.
    fn late(&mut self, here: Mark, reach: Reach) -> bool {
        let (mut before, mut after) = (None::<Mark>, None::<Mark>);
        for known in self.recent.iter().copied().chain([self.late, self.last]).flatten() {
            if known.at <= here.at && before.is_none_or(|best| known.at > best.at) {
                before = Some(known);
            }
            if known.at >= here.at && after.is_none_or(|best| known.at < best.at) {
                after = Some(known);
            }
        }
        let plausible = match (before, after) {
            (None, None) => true,
            (Some(one), None) | (None, Some(one)) => reach.holds(&one, &here),
            // Where the neighbours themselves are a jump apart, the point lies on either side of it.
            (Some(a), Some(b)) if !reach.holds(&a, &b) => reach.holds(&a, &here) || reach.holds(&b, &here),
            (Some(a), Some(b)) => reach.holds(&a, &here) && reach.holds(&b, &here),
        };
        if plausible {
            self.late = Some(here);
        }
        plausible
    }
}

/// Farther from its neighbours than the vehicle comes.
pub(super) fn teleport(trial: &mut Trial, facts: &Facts<'_>, state: &mut Hygiene) -> Result<(), Reason> {
    let reach = Reach { top_mps: facts.top_mps, slack_m: f64::from(facts.policy.jump_slack_m) };
    if trial.late {
        return if state.believed.late(trial.mark(), reach) { Ok(()) } else { Err(Reason::Teleport) };
    }
    let jumped = state.believed.live(trial.mark(), reach, facts.policy.believe_after).ok_or(Reason::Teleport)?;
    if jumped {
        trial.flags |= flags::JUMPED;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ping::ground::DEGREE_M, position::Position, time::Timestamp};

    const REACH: Reach = Reach { top_mps: 20.0, slack_m: 100.0 };

    /// Metres north of the equator, at a second.
    fn mark(metres: f64, second: i64) -> Mark {
        let here = Position::new(metres / DEGREE_M, 30.0).unwrap();
        Mark { here, at: Timestamp::from_millis(second * 1_000), radius_m: 10.0 }
    }

    #[test]
    fn speed_and_slack_bound_what_is_believed() {
        let mut believed = Believed::default();
        assert_eq!(believed.live(mark(0.0, 0), REACH, 3), Some(false));
        // 20 m/s for 5 s, 100 m, and two radii.
        assert_eq!(believed.live(mark(221.0, 5), REACH, 3), None);
        assert_eq!(believed.live(mark(219.0, 5), REACH, 3), Some(false));
        assert_eq!(believed.live(mark(100_000.0, 5_010), REACH, 3), Some(false), "after a silence, by its own time");
    }

    #[test]
    fn a_rider_who_moved_is_believed_after_so_many_points_that_agree() {
        let mut believed = Believed::default();
        let judged: Vec<_> = [(0.0, 0), (9_000.0, 5), (9_010.0, 10), (9_020.0, 15), (9_030.0, 20), (0.0, 25)]
            .map(|(metres, second)| believed.live(mark(metres, second), REACH, 3))
            .into();
        assert_eq!(judged, [Some(false), None, None, Some(true), Some(false), None]);
    }

    #[test]
    fn outliers_that_do_not_agree_are_never_believed_and_one_fix_counts_once() {
        let mut believed = Believed::default();
        believed.live(mark(0.0, 0), REACH, 3);
        for n in 1..50_i64 {
            let far = if n % 2 == 0 { 9_000.0 } else { -9_000.0 };
            assert_eq!(believed.live(mark(far, n), REACH, 3), None);
        }
        assert_eq!(believed.live(mark(5.0, 60), REACH, 3), Some(false));
        for _ in 0..50 {
            assert_eq!(believed.live(mark(9_000.0, 61), REACH, 3), None);
        }
    }

    #[test]
    fn a_late_point_is_judged_by_its_neighbours_and_changes_nothing() {
        let mut believed = Believed::default();
        believed.live(mark(0.0, 0), REACH, 3);
        believed.live(mark(6_000.0, 600), REACH, 3);
        let before = believed;
        assert!(believed.late(mark(3_000.0, 300), REACH));
        assert!(believed.late(mark(3_050.0, 305), REACH));
        assert!(!believed.late(mark(9_000.0, 310), REACH), "too far from the late one before it");
        assert!(!believed.late(mark(3_000.0, 595), REACH), "too far from the next");
        assert_eq!((believed.last, believed.doubted, believed.recent), (before.last, before.doubted, before.recent));
    }

    #[test]
    fn between_a_jump_that_was_believed_a_late_point_lies_on_either_side() {
        let mut believed = Believed::default();
        for (metres, second) in [(0.0, 0), (90_000.0, 70), (90_000.0, 75), (90_000.0, 80)] {
            believed.live(mark(metres, second), REACH, 3);
        }
        assert!(believed.late(mark(50.0, 20), REACH));
        assert!(believed.late(mark(89_950.0, 60), REACH));
        assert!(!believed.late(mark(45_000.0, 61), REACH));
    }
}
