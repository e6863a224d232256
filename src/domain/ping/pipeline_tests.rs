//! The pipeline as a whole: every reason, and what holds for any points.

use proptest::prelude::*;

use super::*;
use crate::domain::{
    city::Boundary,
    ping::ground::{DEGREE_M, metres},
    policy::{MockPoints, PingPolicy},
};

const NOW: i64 = 1_900_000_000_000;
const TOP_MPS: f64 = 20.0;
const ON: Situation = Situation { reporting: true, busy: false };

fn facts(policy: &PingPolicy) -> Facts<'_> {
    Facts {
        now: Timestamp::from_millis(NOW),
        situation: ON,
        policy,
        top_mps: TOP_MPS,
        area: None,
        live_at: Timestamp::default(),
    }
}

/// A good point so many metres north of a place, so many milliseconds ago.
fn raw(north_m: f64, age_ms: i64) -> RawPoint {
    RawPoint {
        seq: 1,
        device_at: Timestamp::from_millis(NOW - age_ms),
        skew_ms: 0,
        lat: 12.95 + north_m / DEGREE_M,
        lon: 77.6,
        accuracy_m: Some(8.0),
        speed_mps: None,
        heading_deg: None,
        mock: false,
        seen: false,
    }
}

fn one(point: RawPoint, policy: &PingPolicy) -> Result<Accepted, Reason> {
    Hygiene::default().judge(&point, &facts(policy))
}

#[test]
fn every_filter_has_its_reason() {
    let policy = PingPolicy { mock: MockPoints::Refuse, ..PingPolicy::default() };
    let good = raw(0.0, 0);
    assert!(one(good, &policy).is_ok());
    for (bad, reason) in [
        (RawPoint { seq: 0, ..good }, Reason::BadSeq),
        (RawPoint { seq: 1 << 63, ..good }, Reason::BadSeq),
        (RawPoint { seen: true, ..good }, Reason::Duplicate),
        (RawPoint { skew_ms: 3 * 86_400_000, ..good }, Reason::BadClock),
        (RawPoint { skew_ms: i64::MIN, ..good }, Reason::BadClock),
        (RawPoint { accuracy_m: Some(-1.0), ..good }, Reason::NoFix),
        (RawPoint { lat: 90.1, ..good }, Reason::OutOfWorld),
        (RawPoint { lon: f64::NAN, ..good }, Reason::NoFix),
        (RawPoint { lat: f64::INFINITY, ..good }, Reason::OutOfWorld),
        (RawPoint { accuracy_m: Some(f32::INFINITY), ..good }, Reason::Inaccurate),
        (RawPoint { lat: f64::NEG_INFINITY, ..good }, Reason::OutOfWorld),
        (RawPoint { lat: 0.0, lon: 0.0, ..good }, Reason::NullIsland),
        (RawPoint { lat: -0.0002, lon: 0.0009, ..good }, Reason::NullIsland),
        (RawPoint { accuracy_m: Some(501.0), ..good }, Reason::Inaccurate),
        (RawPoint { mock: true, ..good }, Reason::Mock),
        (raw(0.0, -31_000), Reason::Future),
        (RawPoint { device_at: Timestamp::from_millis(i64::MAX), ..good }, Reason::Future),
        (raw(0.0, 86_401_000), Reason::TooOld),
        (RawPoint { device_at: Timestamp::from_millis(i64::MIN), ..good }, Reason::TooOld),
    ] {
        assert_eq!(one(bad, &policy), Err(reason), "{bad:?}");
    }
    for (good, flag) in [
        (RawPoint { lat: 0.0, lon: 77.0, ..good }, 0),
        (RawPoint { accuracy_m: Some(0.0), ..good }, 0),
        (RawPoint { accuracy_m: Some(f32::NAN), heading_deg: Some(400.0), speed_mps: Some(-1.0), ..good }, 0),
        (RawPoint { mock: true, ..good }, flags::MOCK),
    ] {
        let taken = one(good, &PingPolicy { max_accuracy_m: 500, ..PingPolicy::default() }).unwrap();
        assert_eq!(taken.flags, flag);
        assert!(taken.accuracy_m.is_none_or(|metres| metres > 0.0) && taken.heading_deg.is_none());
        assert!(taken.speed_mps.is_none());
    }
    assert!(one(RawPoint { accuracy_m: Some(9e9), ..good }, &PingPolicy { max_accuracy_m: 0, ..policy }).is_ok());
}

#[test]
fn nothing_is_kept_of_a_rider_off_duty() {
    let policy = PingPolicy::default();
    let off = Facts { situation: Situation { reporting: false, busy: false }, ..facts(&policy) };
    let mut state = Hygiene::default();
    let empty = format!("{state:?}");
    for bad in [raw(0.0, 0), RawPoint { lat: f64::NAN, ..raw(0.0, 0) }] {
        assert_eq!(state.judge(&bad, &off), Err(Reason::OffDuty));
    }
    // Sent again after the duty: it was taken then, and its device is not told that it was not.
    assert_eq!(state.judge(&RawPoint { seen: true, ..raw(0.0, 0) }, &off), Err(Reason::Duplicate));
    assert_eq!(format!("{state:?}"), empty);
}

#[test]
fn what_was_recorded_in_a_pause_is_not_taken_afterwards() {
    let policy = PingPolicy::default();
    let mut state = Hygiene::default();
    let at = |ago: i64| Timestamp::from_millis(NOW - ago);
    let off = Situation { reporting: false, busy: false };
    assert_eq!(state.situation(at(7_200_000), ON), None);
    state.situation(at(3_600_000), off);
    state.situation(at(1_800_000), ON);
    assert!(state.judge(&raw(0.0, 4_000_000), &facts(&policy)).is_ok(), "before the pause");
    assert_eq!(state.judge(&raw(0.0, 2_700_000), &facts(&policy)), Err(Reason::OffDuty));
    assert!(state.judge(&raw(0.0, 1_000), &facts(&policy)).is_ok());
}

#[test]
fn outside_is_flagged_and_never_refused() {
    let policy = PingPolicy::default();
    let corners = [(12.90, 77.52), (12.90, 77.68), (13.05, 77.68), (13.05, 77.52)];
    let area = Boundary::new(&corners.map(|(lat, lon)| Position::new(lat, lon).unwrap())).unwrap();
    let facts = Facts { area: Some(&area), ..facts(&policy) };
    let mut state = Hygiene::default();
    let flagged: Vec<bool> = [(0.0, 4_000_000), (-5_000.0, 3_000_000), (-6_000.0, 2_000_000), (-5_000.0, 1_000_000)]
        .map(|(north, age)| state.judge(&raw(north, age), &facts).unwrap().flags & flags::OUTSIDE != 0)
        .into();
    assert_eq!(flagged, [false, false, true, false]);
}

#[test]
fn a_rider_at_rest_stays_where_the_dot_is() {
    let policy = PingPolicy::default();
    let mut state = Hygiene::default();
    let mut dots = Vec::new();
    for n in 0..60_i64 {
        let noise = [0.0, 4.0, -3.0, 6.0, -5.0, 2.0][n as usize % 6];
        let point = state.judge(&raw(noise, 300_000 - n * 5_000), &facts(&policy)).unwrap();
        assert_eq!(point.flags & flags::AT_REST != 0, n > 0);
        dots.push(point.dot.unwrap());
    }
    let truth = Position::new(12.95, 77.6).unwrap();
    assert!(dots[8..].iter().all(|dot| metres(*dot, truth) < 3.0), "the dot moves by less");
    let away = state.judge(&raw(60.0, 0), &facts(&policy)).unwrap();
    assert_eq!((away.flags, away.dot), (0, Some(away.position)));
}

#[test]
fn a_late_point_moves_nothing() {
    let policy = PingPolicy::default();
    let mut state = Hygiene::default();
    state.judge(&raw(0.0, 10_000), &facts(&policy)).unwrap();
    let facts = Facts { live_at: Timestamp::from_millis(NOW - 10_000), ..facts(&policy) };
    let before = format!("{:?} {:?}", state.rest, state.looked_up);
    let late = state.judge(&raw(80.0, 20_000), &facts).unwrap();
    assert_eq!((late.flags, late.dot), (flags::LATE, None));
    assert_eq!(format!("{:?} {:?}", state.rest, state.looked_up), before);
    assert_eq!(state.judge(&raw(5_000.0, 12_000), &facts), Err(Reason::Teleport));
}

#[test]
fn two_points_keep_their_order_when_the_correction_changes() {
    let policy = PingPolicy::default();
    let mut state = Hygiene::default();
    // The estimate becomes 3 s better between two points that are 1 s apart.
    let first = RawPoint { skew_ms: -7_000, ..raw(0.0, -1_000) };
    let second = RawPoint { skew_ms: -10_000, ..raw(0.0, -2_000) };
    let third = RawPoint { skew_ms: -10_000, ..raw(0.0, -500) };
    let at = [first, second, third].map(|point| state.judge(&point, &facts(&policy)).unwrap().recorded_at);
    assert_eq!(at[0], at[1]);
    assert!(at[2] <= at[0], "an older one is not newer");
    // A clock that was set begins anew.
    let set = RawPoint { skew_ms: 3_600_000, ..raw(0.0, 3_601_000) };
    assert_eq!(state.judge(&set, &facts(&policy)).unwrap().recorded_at, Timestamp::from_millis(NOW - 1_000));
}

/// Numbers of any kind, the nasty ones often.
fn any_point() -> impl Strategy<Value = RawPoint> {
    let number = || prop_oneof![any::<f64>(), -180.0..180.0_f64, Just(0.0), Just(f64::NAN), Just(f64::INFINITY)];
    let small = || proptest::option::of(prop_oneof![any::<f32>(), -1.0..600.0_f32]);
    let time = prop_oneof![any::<i64>(), NOW - 90_000_000..NOW + 60_000];
    let skew = prop_oneof![any::<i64>(), -5_000..5_000_i64];
    let rest = (any::<u64>(), time, skew, any::<bool>(), any::<bool>());
    (number(), number(), small(), small(), small(), rest).prop_map(
        |(lat, lon, accuracy_m, speed_mps, heading_deg, rest)| {
            let (seq, at, skew_ms, mock, seen) = rest;
            let device_at = Timestamp::from_millis(at);
            RawPoint { seq, device_at, skew_ms, lat, lon, accuracy_m, speed_mps, heading_deg, mock, seen }
        },
    )
}

/// Feeds points one after the other as the session does: the newest taken time is the live one.
fn feed(points: &[RawPoint], policy: &PingPolicy) -> Vec<Result<Accepted, Reason>> {
    let (mut state, mut live_at) = (Hygiene::default(), Timestamp::default());
    let judge = |point: &RawPoint| {
        let judged = state.judge(point, &Facts { live_at, ..facts(policy) });
        if let Ok(taken) = &judged
            && !taken.is_late()
        {
            live_at = taken.recorded_at;
        }
        judged
    };
    points.iter().map(judge).collect()
}

proptest! {
    #[test]
    fn no_numbers_break_it_and_what_is_taken_is_sound(points in proptest::collection::vec(any_point(), 1..40)) {
        for taken in feed(&points, &PingPolicy::default()).into_iter().flatten() {
            prop_assert!((-90.0..=90.0).contains(&taken.position.lat()));
            prop_assert!(taken.recorded_at <= taken.created_at);
            prop_assert!(taken.accuracy_m.is_none_or(|metres| metres > 0.0 && metres <= 500.0));
            prop_assert_eq!(taken.dot.is_none(), taken.is_late());
        }
    }

    #[test]
    fn points_that_are_taken_do_not_teleport(
        hops in proptest::collection::vec((-3_000.0..3_000.0_f64, 0..60_000_i64), 2..60),
    ) {
        let policy = PingPolicy { believe_after: 100, max_per_s: 100.0, ..PingPolicy::default() };
        let mut age = 80_000_000;
        let points: Vec<RawPoint> = hops.iter().map(|(north, later)| { age -= later; raw(*north, age) }).collect();
        let taken: Vec<Accepted> = feed(&points, &policy).into_iter().flatten().collect();
        for pair in taken.windows(2) {
            let seconds = pair[1].recorded_at.millis_since(pair[0].recorded_at) as f64 / 1_000.0;
            let bound = TOP_MPS * seconds + f64::from(policy.jump_slack_m) + 16.0;
            prop_assert!(metres(pair[0].position, pair[1].position) <= bound + 0.01);
        }
    }

    #[test]
    fn a_rider_who_moved_is_believed_again_after_so_many_points(
        before in 1..20_usize, far in 5_000.0..9_000_000.0_f64, every in 1_000..30_000_i64, believe_after in 1..10_u32,
    ) {
        let policy = PingPolicy { believe_after, ..PingPolicy::default() };
        let mut age = 30_000_000;
        let mut points: Vec<RawPoint> = Vec::new();
        for n in 0..before + 20 {
            // So fast that it could not have come there by its own time.
            age -= if n == before { 10 } else { every };
            points.push(raw(if n < before { n as f64 } else { n as f64 - far.min(10_000_000.0) }, age));
        }
        let judged = feed(&points, &policy);
        let refused = judged.iter().filter(|one| one.is_err()).count();
        prop_assert_eq!(refused, believe_after as usize - 1);
        prop_assert!(judged[before + refused].unwrap().flags & flags::JUMPED != 0);
        prop_assert!(judged[before + refused + 1..].iter().all(Result::is_ok));
    }

    #[test]
    fn a_plausible_track_is_taken_whole_in_any_order(
        steps in proptest::collection::vec(-60.0..60.0_f64, 10..80), seed in any::<u64>(),
    ) {
        let policy = PingPolicy { max_per_s: 1.0, ..PingPolicy::default() };
        let mut north = 0.0;
        let mut age = 5_000 * steps.len() as i64;
        let mut points: Vec<RawPoint> = steps.iter().map(|step| { north += step; age -= 5_000; raw(north, age) }).collect();
        let newest = points[points.len() - 1];
        let mut state = seed;
        for n in (1..points.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            points.swap(n, (state >> 33) as usize % (n + 1));
        }
        let judged = feed(&points, &policy);
        prop_assert!(judged.iter().all(Result::is_ok), "{judged:?}");
        let last = judged.iter().flatten().rfind(|one| !one.is_late()).unwrap();
        prop_assert_eq!(last.device_at, newest.device_at, "the dot is at the newest point");
    }
}
