//! Which interval in which situation, when it is told, and who stands still.

use super::*;

const PACE: Pace = Pace { base_s: 5, pickup_s: 3, still_s: 15, freshness_s: 60, auto_off_s: 600 };
const ALL: [Situation; 7] = [
    Situation::Asked,
    Situation::ToPickup,
    Situation::Working,
    Situation::Moving,
    Situation::Still,
    Situation::Break,
    Situation::Off,
];

fn intervals(pace: Pace, factor: f64) -> [u64; 7] {
    ALL.map(|situation| pace.interval_ms(situation, factor))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1_000)
}

#[test]
fn the_more_depends_on_a_rider_the_more_often_the_device_reports() {
    assert_eq!(intervals(PACE, 1.0), [3_000, 3_000, 5_000, 5_000, 15_000, 15_000, 15_000]);
}

#[test]
fn numbers_that_do_not_go_together_are_brought_into_line() {
    // Neither slower before a pickup than usually, nor faster at rest.
    let odd = Pace { pickup_s: 9, still_s: 2, ..PACE };
    assert_eq!(intervals(odd, 1.0), [5_000; 7]);
    // Who may be offered work stays fresh at rest; who pauses, on duty; who is off may sleep.
    let slow = Pace { still_s: 1_000, ..PACE };
    assert_eq!(intervals(slow, 1.0)[4..], [20_000, 200_000, 1_000_000]);
    // A city whose usual interval is as long as its bound has decided so.
    let late = Pace { base_s: 60, ..PACE };
    assert_eq!(intervals(late, 1.0), [3_000, 3_000, 60_000, 60_000, 60_000, 60_000, 60_000]);
    assert_eq!(
        Pace { base_s: 0, pickup_s: 0, still_s: 0, freshness_s: 0, auto_off_s: 0 }.interval_ms(ALL[0], 1.0),
        1_000
    );
}

#[test]
fn pressure_slows_everybody_down_and_makes_nobody_stale() {
    assert_eq!(intervals(PACE, 2.0), [6_000, 6_000, 10_000, 10_000, 30_000, 30_000, 30_000]);
    assert_eq!(intervals(PACE, 4.0)[..5], [12_000, 12_000, 20_000, 20_000, 30_000]);
    for factor in [1.0, 1.5, 4.0, 1_000.0, f64::INFINITY] {
        let pressed = intervals(PACE, factor);
        assert!(pressed[..5].iter().all(|ms| *ms <= 30_000), "{factor}: {pressed:?} is at most half of the freshness");
        assert!(pressed[5] <= 300_000, "{factor}: a break ends by the rider's word only");
        assert!(pressed.iter().zip(intervals(PACE, 1.0)).all(|(slow, calm)| *slow >= calm));
    }
    // No more than the city's own interval, and never less.
    let late = Pace { base_s: 60, ..PACE };
    assert_eq!(intervals(late, 4.0)[2..5], [60_000; 3]);
    assert_eq!(PACE.interval_ms(Situation::Moving, 0.1), 5_000, "pressure is no way to hurry");
    assert_eq!(PACE.interval_ms(Situation::Moving, f64::NAN), 5_000);
}

#[test]
fn offers_come_before_work_and_work_before_duty() {
    let of = |asked, to_pickup, working, still| Situation::of(Duty::On, asked, to_pickup, working, still);
    assert_eq!(of(true, true, true, true), Situation::Asked);
    assert_eq!(of(false, true, true, true), Situation::ToPickup);
    assert_eq!(of(false, false, true, true), Situation::Working);
    assert_eq!(of(false, false, false, true), Situation::Still);
    assert_eq!(of(false, false, false, false), Situation::Moving);
    assert_eq!(Situation::of(Duty::Break, false, false, false, false), Situation::Break);
    assert_eq!(Situation::of(Duty::AutoOff, false, false, true, false), Situation::Working);
    assert_eq!(Situation::of(Duty::AutoOff, false, false, false, true), Situation::Off);
}

#[test]
fn faster_is_told_at_once_and_slower_after_a_while() {
    let patience = Duration::from_secs(4);
    let mut cadence = Cadence::new(5_000);
    assert_eq!(cadence.turn(at(0), 5_000, patience), None);
    assert_eq!(cadence.turn(at(1), 3_000, patience), Some(3_000));
    assert_eq!(cadence.turn(at(1), 3_000, patience), None);
    assert_eq!(cadence.turn(at(2), 5_000, patience), None);
    assert_eq!(cadence.turn(at(5), 5_000, patience), None);
    // Wanted all the time since, in whatever measure: the last word counts.
    assert_eq!(cadence.turn(at(6), 15_000, patience), Some(15_000));
    assert_eq!(cadence.told_ms(), 15_000);
}

#[test]
fn what_comes_and_goes_is_not_told() {
    let patience = Duration::from_secs(4);
    let mut cadence = Cadence::new(5_000);
    for second in [0, 3, 6, 9] {
        assert_eq!(cadence.turn(at(second), 15_000, patience), None);
        assert_eq!(cadence.turn(at(second + 1), 5_000, patience), None);
    }
    // Slower and slower: one frame per patience.
    let told: Vec<i64> = (10_u64..30)
        .filter_map(|second| {
            let now = i64::try_from(second).unwrap();
            cadence.turn(at(now), second * 1_000, patience).map(|_| now)
        })
        .collect();
    assert_eq!(told, [14, 19, 24, 29]);
}

#[test]
fn a_rider_is_at_rest_after_a_while_within_a_few_metres() {
    let (after, here) = (Duration::from_secs(120), Position::new(12.9, 77.5).unwrap());
    let north = |metres: f64| Position::new(12.9 + metres / 111_195.0, 77.5).unwrap();
    let mut rest = Rest::default();
    assert!(!rest.is_still(at(1_000), after), "nothing is known");
    rest.note(here, at(0), 10.0);
    rest.note(north(9.0), at(60), 10.0);
    rest.note(north(-9.0), at(119), 10.0);
    assert!(!rest.is_still(at(119), after) && rest.is_still(at(120), after));
    // Slowly away: the place is where the rest began.
    rest.note(north(12.0), at(121), 10.0);
    assert!(!rest.is_still(at(240), after) && rest.is_still(at(241), after));
}
