//! How densely points are stored: every one of a rider with an order in hand, and thinned by time and distance when idle
//! (6,000 pings a second are billions of rows a month). The live dot sees every point.
//!
//! The first and the last point of a duty are stored, and the last one before an order was in hand: the newest point that
//! was left out is kept at hand until another one is stored, although its device may forget it.

use std::time::Duration;

use super::{
    ground::{Mark, metres},
    point::Accepted,
};
use crate::domain::{policy::PingPolicy, time::Timestamp};

/// What was stored of one rider.
#[derive(Clone, Copy, Debug, Default)]
pub struct Density {
    stored: Option<Mark>,
    /// Of late points: a backlog is thinned by itself, in whichever order it comes.
    stored_late: Option<Mark>,
    left_out: Option<Accepted>,
    /// The last order left the rider's hands: points recorded before belong to it.
    idle_since: Timestamp,
}

impl Density {
    /// Whether a point is to be stored.
    pub(super) fn wants(&mut self, point: &Accepted, busy: bool, policy: &PingPolicy) -> bool {
        let mark = Mark { here: point.position, at: point.recorded_at, radius_m: 0.0 };
        let late = point.is_late();
        let lane = if late { &mut self.stored_late } else { &mut self.stored };
        let idle = !busy && mark.at >= self.idle_since;
        let wanted = !idle || lane.is_none_or(|stored| is_due(&stored, &mark, policy));
        if wanted {
            *lane = Some(mark);
        }
        if !late {
            self.left_out = (!wanted).then_some(*point);
        }
        wanted
    }

    /// The rider goes on duty: the next point is the first of it.
    pub(super) const fn duty_begins(&mut self) {
        self.stored = None;
        self.left_out = None;
    }

    /// The last order is out of hand.
    pub(super) const fn order_ends(&mut self, now: Timestamp) {
        self.idle_since = now;
    }

    /// The newest point, when it was left out: something begins or ends here.
    pub(super) fn take_left_out(&mut self) -> Option<Accepted> {
        let point = self.left_out.take()?;
        self.stored = Some(Mark { here: point.position, at: point.recorded_at, radius_m: 0.0 });
        // It moved the dot when it came.
        Some(Accepted { store: true, dot: None, ..point })
    }
}

fn is_due(stored: &Mark, mark: &Mark, policy: &PingPolicy) -> bool {
    let every = Duration::from_secs(policy.idle_store_every_s.into());
    let apart = mark.at.since(stored.at).max(stored.at.since(mark.at));
    let far = policy.idle_store_move_m > 0 && metres(stored.here, mark.here) >= f64::from(policy.idle_store_move_m);
    apart >= every || far
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ping::point::flags, position::Position};

    fn point(second: i64, metres: f64, flags: i16) -> Accepted {
        let at = Timestamp::from_millis(second * 1_000);
        let position = Position::new(12.9 + metres / 111_195.0, 77.6).unwrap();
        Accepted {
            seq: u64::try_from(second).unwrap(),
            created_at: at,
            recorded_at: at,
            device_at: at,
            position,
            accuracy_m: None,
            speed_mps: None,
            heading_deg: None,
            flags,
            dot: Some(position),
            store: true,
        }
    }

    fn stored(density: &mut Density, points: &[Accepted], busy: bool) -> Vec<u64> {
        let policy = PingPolicy { idle_store_every_s: 30, idle_store_move_m: 100, ..PingPolicy::default() };
        points.iter().filter(|point| density.wants(point, busy, &policy)).map(|point| point.seq).collect()
    }

    fn still(seconds: std::ops::RangeInclusive<i64>) -> Vec<Accepted> {
        seconds.step_by(5).map(|second| point(second, 0.0, 0)).collect()
    }

    #[test]
    fn idle_points_are_thinned_by_time_or_distance_and_busy_ones_are_not() {
        let mut density = Density::default();
        assert_eq!(stored(&mut density, &still(0..=65), false), [0, 30, 60]);
        assert_eq!(stored(&mut density, &[point(70, 99.0, 0), point(75, 101.0, 0), point(80, 150.0, 0)], false), [75]);
        assert_eq!(stored(&mut density, &still(85..=100), true), [85, 90, 95, 100]);
    }

    #[test]
    fn the_point_before_a_boundary_is_at_hand_and_the_first_of_a_duty_is_stored() {
        let mut density = Density::default();
        stored(&mut density, &still(0..=40), false);
        let kept = density.take_left_out().unwrap();
        assert_eq!((kept.seq, kept.store, kept.dot), (40, true, None));
        assert!(density.take_left_out().is_none());
        density.duty_begins();
        assert_eq!(stored(&mut density, &still(45..=50), false), [45]);
        stored(&mut density, &still(55..=55), true);
        assert!(density.take_left_out().is_none(), "the newest is stored");
    }

    #[test]
    fn a_backlog_of_an_order_is_stored_in_full_after_it_and_an_idle_one_is_thinned_in_any_order() {
        let mut density = Density::default();
        density.order_ends(Timestamp::from_millis(100_000));
        assert_eq!(stored(&mut density, &still(50..=110), false), [50, 55, 60, 65, 70, 75, 80, 85, 90, 95]);
        let late: Vec<Accepted> = (200..=260).rev().step_by(5).map(|second| point(second, 0.0, flags::LATE)).collect();
        assert_eq!(stored(&mut density, &late, false), [260, 230, 200]);
        assert_eq!(density.take_left_out().map(|point| point.seq), Some(110), "a late point is no boundary");
    }

    #[test]
    fn a_city_may_want_all_points() {
        let policy = PingPolicy { idle_store_every_s: 0, ..PingPolicy::default() };
        let mut density = Density::default();
        assert!(still(0..=50).iter().all(|point| density.wants(point, false, &policy)));
    }
}
