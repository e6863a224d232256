//! Tracks of riders whose apps, telephones and servers are started again.

use uuid::Uuid;

use super::*;

fn run(rider: u128, boot: u128) -> Run {
    let (rider, boot) = (RiderId(Uuid::from_u128(rider)), BootId(Uuid::from_u128(boot)));
    Run { rider, device: "d".to_owned(), boot, oldest: None }
}

fn city() -> CityCode {
    CityCode::parse("blr").unwrap()
}

fn open(tracks: &Tracks, rider: u128, boot: u128) -> (Arc<Track>, bool) {
    opened(tracks, &run(rider, boot), None)
}

fn opened(tracks: &Tracks, run: &Run, stored: Option<&StoredRun>) -> (Arc<Track>, bool) {
    let Opened { track, was_here, .. } = tracks.open(run, &city(), stored);
    (track, was_here)
}

fn seed(tracks: &Tracks, run: &Run, device: &str, numbers: &[(u64, u64)], live_at: Option<i64>) {
    let (numbers, live_at) = (ranges(numbers), live_at.map(Timestamp::from_millis));
    tracks.seed(&SpooledRun { rider: run.rider, device, boot: run.boot, numbers: &numbers, live_at });
}

fn ranges(of: &[(u64, u64)]) -> Ranges {
    let mut ranges = Ranges::new();
    of.iter().for_each(|(first, last)| ranges.insert(*first, *last));
    ranges
}

#[test]
fn a_run_goes_on_where_it_was_and_a_new_run_begins_anew() {
    let tracks = Tracks::new(10);
    let (track, known) = open(&tracks, 1, 1);
    assert!(!known);
    track.note_accepted(5, Some(Timestamp::from_millis(99)));
    let (again, known) = open(&tracks, 1, 1);
    assert!(known && again.received_to() == 5);
    let (fresh, known) = open(&tracks, 1, 2);
    assert!(!known && fresh.received_to() == 0);
    assert_eq!(fresh.live_at(), Timestamp::from_millis(99), "the dot is the rider's, not the run's");
}

#[test]
fn a_run_that_lost_points_begins_behind_what_is_stored() {
    let tracks = Tracks::new(10);
    let (track, _) = open(&tracks, 1, 1);
    (4..=5).for_each(|seq| track.note_accepted(seq, None));
    (4..=5).for_each(|seq| track.note_stored(seq));
    track.note_accepted(9, None);
    track.note_dropped(9);
    let (again, known) = open(&tracks, 1, 1);
    assert!(known);
    assert_eq!((again.received_to(), again.stored_to()), (8, 8));
}

#[test]
fn a_run_in_another_city_begins_with_what_is_settled() {
    let tracks = Tracks::new(10);
    let (track, _) = open(&tracks, 1, 1);
    (1..=3).for_each(|seq| track.note_accepted(seq, Some(Timestamp::from_millis(7))));
    track.note_stored(1);
    track.note_stored(3);
    let elsewhere = CityCode::parse("pune").unwrap();
    let moved = Run { oldest: Some(2), ..run(1, 1) };
    let Opened { track: moved, was_here, .. } = tracks.open(&moved, &elsewhere, None);
    assert!(was_here && moved.city == elsewhere);
    assert_eq!((moved.received_to(), moved.stored_to(), moved.live_at().as_millis()), (1, 1, 7));
    assert!(moved.has(3) && !moved.has(2));
}

#[test]
fn after_a_restart_a_run_begins_with_what_is_stored_and_what_the_spool_holds() {
    let tracks = Tracks::new(10);
    let wanted = Run { oldest: Some(10), ..run(1, 1) };
    seed(&tracks, &wanted, "d", &[(13, 13)], None);
    seed(&tracks, &wanted, "d", &[(14, 15)], None);
    seed(&tracks, &wanted, "other", &[(90, 99)], None);
    assert!(!tracks.knows(&wanted), "what is stored is wanted too");
    let stored = StoredRun { settled: ranges(&[(10, 11)]), live_at: Some(Timestamp::from_millis(50)) };
    let (track, known) = opened(&tracks, &wanted, Some(&stored));
    assert!(known && tracks.knows(&wanted));
    assert_eq!((track.received_to(), track.stored_to(), track.live_at().as_millis()), (11, 11, 50));
    assert!(track.has(14) && !track.has(12) && !track.has(16));
    // What is missing below may be lost: only the device knows whether it holds it.
    seed(&tracks, &run(2, 1), "d", &[(7, 8)], None);
    let (track, _) = open(&tracks, 2, 1);
    assert_eq!((track.received_to(), track.stored_to()), (0, 0));
    assert!(track.has(7) && track.has(8) && !track.has(6));
}

#[test]
fn the_dot_moved_in_the_spool_whatever_run_that_was() {
    let tracks = Tracks::new(10);
    seed(&tracks, &run(1, 1), "d", &[(1, 3)], Some(700));
    seed(&tracks, &run(1, 2), "d", &[(1, 3)], Some(600));
    let stored = StoredRun { live_at: Some(Timestamp::from_millis(50)), ..StoredRun::default() };
    for boot in [3, 2] {
        let (track, _) = opened(&tracks, &run(1, boot), Some(&stored));
        assert_eq!(track.live_at().as_millis(), 700, "{boot}");
    }
}

#[test]
fn runs_that_take_turns_are_known_with_what_is_on_its_way() {
    let tracks = Tracks::new(10);
    let (first, _) = open(&tracks, 1, 1);
    (1..=3).for_each(|seq| first.note_accepted(seq, Some(Timestamp::from_millis(5))));
    let (second, _) = open(&tracks, 1, 2);
    second.note_accepted(1, Some(Timestamp::from_millis(9)));
    assert!(tracks.knows(&run(1, 1)));
    let (again, was_here) = open(&tracks, 1, 1);
    assert!(was_here && Arc::ptr_eq(&first, &again), "its points settle where they are waited for");
    assert!(again.has(3) && again.stored_to() == 0);
    assert_eq!(again.live_at().as_millis(), 9, "the dot is the rider's");
    assert!(!tracks.knows(&Run { device: "another".into(), ..run(1, 1) }));
}

#[test]
fn of_one_rider_the_newest_runs_are_kept_and_those_in_use() {
    let tracks = Tracks::new(100);
    let (on_its_way, _) = open(&tracks, 1, 1);
    for boot in 2..=10 {
        let _ = open(&tracks, 1, boot);
    }
    let known = |boots: std::ops::RangeInclusive<u128>| -> Vec<u128> {
        boots.filter(|boot| tracks.knows(&run(1, *boot))).collect()
    };
    assert_eq!(known(1..=10), [1, 8, 9, 10]);
    let held: Vec<_> = (11..=40).map(|boot| open(&tracks, 1, boot)).collect();
    assert_eq!(known(1..=40), (25..=40).collect::<Vec<_>>(), "within bounds");
    assert_eq!(tracks.known().len, 16);
    drop((on_its_way, held));
    let _ = open(&tracks, 1, 41);
    assert_eq!((known(1..=41), tracks.known().len), (vec![38, 39, 40, 41], 4));
}

#[test]
fn a_point_that_was_left_out_stays_of_its_run() {
    let (tracks, first) = (Tracks::new(10), run(1, 1));
    let (old, _) = opened(&tracks, &first, None);
    crate::actors::rider_session::pings::stand(&old, 1..=40);
    assert_eq!((old.received_to(), old.stored_to()), (40, 0));
    assert!(tracks.open(&first, &city(), None).left_out.is_none(), "the run goes on");
    let Opened { track: new, left_out, .. } = tracks.open(&run(1, 2), &city(), None);
    let point = left_out.unwrap();
    assert!(Arc::ptr_eq(&point.track, &old) && (point.seq, point.store, point.dot) == (40, true, None));
    // Nothing of it is left in the new run.
    assert!(new.hygiene().take_left_out().is_none() && old.hygiene().take_left_out().is_none());
    assert!(tracks.open(&first, &city(), None).left_out.is_none());
}

#[test]
fn a_seed_stays_until_a_track_that_is_kept_knows_it() {
    let tracks = Tracks::new(1);
    let (held, _) = open(&tracks, 1, 1);
    seed(&tracks, &run(2, 1), "d", &[(1, 3)], None);
    for _ in 0..2 {
        let (track, was_here) = open(&tracks, 2, 1);
        assert!(was_here && track.stored_to() == 3, "there is no room for the track");
    }
    drop(held);
    assert_eq!(open(&tracks, 2, 1).0.stored_to(), 3);
    assert!(tracks.known().seeds.is_empty() && tracks.knows(&run(2, 1)));
}

#[test]
fn the_number_of_tracks_is_bounded() {
    let tracks = Tracks::new(2);
    let held = open(&tracks, 1, 1);
    for rider in 2..10 {
        let _ = open(&tracks, rider, 1);
    }
    assert!(tracks.known().tracks.len() <= 2 && tracks.known().len <= 2);
    assert!(open(&tracks, 1, 1).1, "a track in use is kept");
    drop(held);
}
