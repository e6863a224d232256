//! Frames of points as a session judges them, and how many honest points of noisy receivers are lost.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::*;
use crate::{
    domain::{
        ids::{BootId, CityCode, RiderId},
        policy::PingPolicy,
    },
    replay::{
        geometry::{distance_m, offset, scatter},
        motion::Motion,
    },
    wire::LatLon,
};

const NOW: Timestamp = Timestamp::from_millis(1_900_000_000_000);
const ON: Situation = Situation { reporting: true, busy: false };
const BUSY: Situation = Situation { reporting: true, busy: true };

fn track() -> Arc<Track> {
    let city = CityCode::parse("blr").unwrap();
    Arc::new(Track::new(RiderId(Uuid::nil()), city, BootId(Uuid::nil()), "d", 0, Timestamp::default()))
}

fn by(pings: PingPolicy) -> PingJudge {
    let mut judge = PingJudge::new();
    judge.judge_by(&Arc::new(PingRules { pings, ..PingRules::default() }));
    judge.hello(NOW, NOW.as_millis());
    judge
}

fn ping(seq: u64, offset_ms: i64) -> Ping {
    Ping {
        seq,
        at: NOW.as_millis() + offset_ms,
        lat: 12.9,
        lon: 77.6,
        accuracy_m: None,
        speed_mps: None,
        heading_deg: None,
        mock: false,
    }
}

/// A rider on duty stands still for a second per point: all of them but the first are left out.
pub fn stand(track: &Arc<Track>, seqs: std::ops::RangeInclusive<u64>) {
    let last = *seqs.end();
    let pings: Vec<Ping> =
        seqs.map(|seq| ping(seq, (i64::try_from(seq).unwrap() - i64::try_from(last).unwrap()) * 500)).collect();
    let judged = by(PingPolicy::default()).judge(&pings, None, NOW, ON, track);
    assert_eq!((judged.accepted, judged.thinned), (pings.len() as u64, pings.len() as u64 - 1));
}

fn reasons(judged: &Judged) -> Vec<(u64, &'static str)> {
    judged.refused.iter().map(|(seq, reason)| (*seq, reason.as_str())).collect()
}

#[test]
fn every_bad_point_gets_its_reason_and_the_good_ones_pass() {
    let track = track();
    let pings = [
        Ping { lat: 91.0, ..ping(1, 0) },
        Ping { lat: 0.0, lon: 0.0, ..ping(2, 0) },
        Ping { lat: f64::NAN, ..ping(3, 0) },
        ping(4, 31_000),
        ping(5, -86_401_000),
        ping(6, 0),
        ping(6, 0),
        ping(4, 0),
        ping(0, 0),
        ping(u64::MAX, 0),
        ping(7, i64::MAX - NOW.as_millis()),
    ];
    let judged = by(PingPolicy::default()).judge(&pings, Some(NOW.as_millis()), NOW, ON, &track);
    let expected = [
        (1, "out_of_world"),
        (2, "null_island"),
        (3, "no_fix"),
        (4, "future"),
        (5, "too_old"),
        (6, "duplicate"),
        (4, "duplicate"),
        (0, "bad_seq"),
        (u64::MAX, "bad_seq"),
        (7, "future"),
    ];
    assert_eq!(reasons(&judged), expected);
    assert_eq!((track.received_to(), judged.accepted), (7, 1));
    assert!(judged.kept.is_empty(), "unless the city wants them");
}

/// What a reviewer did to a running engine: one of six frames bears a time of sending nine days ahead.
#[test]
fn one_invented_time_of_sending_costs_no_points() {
    let (track, mut judge) = (track(), by(PingPolicy::default()));
    judge.hello(NOW, NOW.as_millis());
    for seq in 1..=6 {
        let now = NOW + std::time::Duration::from_secs(5 * seq);
        let wrong = if seq == 2 { 9 * 86_400_000 } else { 0 };
        let point = Ping { at: now.as_millis() - 50, ..ping(seq, 0) };
        let judged = judge.judge(&[point], Some(now.as_millis() + wrong), now, ON, &track);
        assert_eq!((judged.accepted, judged.late, reasons(&judged)), (1, 0, vec![]), "{seq}");
    }
}

#[test]
fn a_radius_without_end_is_inaccurate_also_where_it_is_too_great_for_its_type() {
    let frame = r#"{"type":"pings","pings":[{"seq":1,"at":1,"lat":1,"lon":2,"accuracy_m":1e39}]}"#;
    let Ok(crate::wire::rider::Up::Pings { pings, .. }) = crate::wire::frames::up_from_json(frame) else { panic!() };
    let wide = Ping { accuracy_m: pings[0].accuracy_m, ..ping(1, 0) };
    let judged = by(PingPolicy::default()).judge(&[wide], None, NOW, ON, &track());
    assert_eq!(reasons(&judged), [(1, "inaccurate")]);
}

#[test]
fn refused_points_are_kept_where_the_city_wants_it_and_never_those_of_a_rider_off_duty() {
    let policy = PingPolicy { keep_refused: true, ..PingPolicy::default() };
    let pings = [Ping { lat: 91.0, ..ping(1, 0) }, ping(2, 0), ping(2, 0), ping(u64::MAX, 0)];
    let judged = by(policy.clone()).judge(&pings, None, NOW, ON, &track());
    assert_eq!((judged.refused.len(), judged.kept.len()), (3, 2), "a duplicate is there already");
    let off = Situation { reporting: false, busy: false };
    let judged = by(policy).judge(&pings, None, NOW, off, &track());
    assert_eq!(reasons(&judged), [(1, "off_duty"), (2, "off_duty"), (2, "duplicate"), (u64::MAX, "bad_seq")]);
    assert!(judged.kept.is_empty() && judged.points.is_empty());
}

#[test]
fn a_late_point_is_kept_and_never_moves_the_live_dot() {
    let (track, mut judge) = (track(), by(PingPolicy::default()));
    let judged = judge.judge(&[ping(1, -1_000), ping(2, -5_000), ping(3, -500)], None, NOW, ON, &track);
    assert_eq!((judged.late, judged.points.len()), (1, 3));
    assert_eq!((judged.points[1].flags, judged.points[1].dot), (flags::LATE, None));
    assert_eq!(judged.live.unwrap().1, Timestamp::from_millis(NOW.as_millis() - 500));
    let again = judge.judge(&[ping(4, -600)], None, NOW, ON, &track);
    assert!(again.live.is_none());
    assert_eq!(again.flagged, [1, 0, 0, 0, 0]);
}

#[test]
fn device_time_is_corrected_and_never_ahead_of_the_clock() {
    let track = track();
    let day = 86_400_000;
    let mut judge = PingJudge::new();
    judge.hello(NOW, NOW.as_millis() + day);
    let judged = judge.judge(&[ping(1, day), ping(2, day + 20_000)], Some(NOW.as_millis() + day), NOW, ON, &track);
    assert_eq!(judged.points[0].recorded_at, NOW);
    assert_eq!(judged.points[1].recorded_at, NOW);
    assert_eq!(judged.points[0].device_at, Timestamp::from_millis(NOW.as_millis() + day), "and kept as it was");
    assert_eq!(track.live_at(), NOW);
    let mut hopeless = PingJudge::new();
    hopeless.hello(NOW, 0);
    let judged = hopeless.judge(&[ping(3, -NOW.as_millis())], None, NOW, ON, &track);
    assert_eq!(reasons(&judged), [(3, "bad_clock")]);
}

#[test]
fn made_up_points_are_flagged_and_nonsense_around_them_is_left_out() {
    let wild = Ping { mock: true, accuracy_m: Some(f32::NAN), speed_mps: Some(f32::INFINITY), ..ping(1, 0) };
    let pings = [Ping { heading_deg: Some(400.0), ..wild }, Ping { accuracy_m: Some(-1.0), ..ping(2, 0) }];
    let judged = by(PingPolicy::default()).judge(&pings, None, NOW, ON, &track());
    let point = &judged.points[0];
    assert_eq!((point.flags, judged.flagged), (flags::MOCK, [0, 1, 0, 0, 0]));
    assert_eq!((point.accuracy_m, point.speed_mps, point.heading_deg), (None, None, None));
    assert_eq!(reasons(&judged), [(2, "no_fix")], "what Core Location says of a position that is none");
}

#[test]
fn idle_points_are_left_out_and_the_last_one_comes_back_when_an_order_begins() {
    let (track, mut judge) = (track(), by(PingPolicy::default()));
    let pings: Vec<Ping> =
        (1..=5).zip([-60_000, -55_000, -50_000, -45_000, -40_000]).map(|(n, at)| ping(n, at)).collect();
    let judged = judge.judge(&pings, None, NOW, ON, &track);
    let stored: Vec<bool> = judged.points.iter().map(|point| point.store).collect();
    assert_eq!((stored, judged.thinned), (vec![true, false, false, false, false], 4));
    assert_eq!(track.received_to(), 5);
    track.note_stored(1);
    assert_eq!(track.stored_to(), 5, "what is left out is settled");
    let judged = judge.judge(&[ping(6, -35_000)], None, NOW, BUSY, &track);
    let stored: Vec<_> = judged.points.iter().map(|point| (point.seq, point.store, point.dot.is_some())).collect();
    assert_eq!((stored, judged.accepted), (vec![(5, true, false), (6, true, true)], 1));
}

#[test]
fn in_order_what_comes_again_says_that_nothing_comes_below_it() {
    let (track, mut judge) = (track(), by(PingPolicy::default()));
    let mut stored = crate::domain::ping::ranges::Ranges::new();
    stored.insert(7, 9);
    track.restore(&stored, None);
    let judged = judge.judge(&[ping(8, -2_000), ping(9, -1_000)], None, NOW, ON, &track);
    assert_eq!(reasons(&judged), [(8, "duplicate"), (9, "duplicate")]);
    assert_eq!((track.received_to(), track.stored_to()), (9, 9));
}

#[test]
fn what_the_filters_know_outlives_a_connection() {
    let (track, far) = (track(), Ping { lat: 13.5, ..ping(2, 0) });
    by(PingPolicy::default()).judge(&[ping(1, -5_000)], None, NOW, ON, &track);
    let judged = by(PingPolicy::default()).judge(&[far], None, NOW, ON, &track);
    assert_eq!(reasons(&judged), [(2, "teleport")]);
}

/// A receiver in a city: the error wanders, with jumps of reflected signals.
struct Receiver {
    rng: ChaCha8Rng,
    spread_m: f64,
    /// Metres north and east.
    error: (f64, f64),
    /// Points for which a jump goes on, and its metres.
    jump: (u32, f64, f64),
}

impl Receiver {
    fn read(&mut self, truth: LatLon) -> (LatLon, f32) {
        // A wandering error with a memory of about a minute, and a third as much that does not wander.
        let mut step = |error: f64| {
            let bell: f64 = (0..12).map(|_| self.rng.random_range(-0.5..0.5)).sum();
            error.mul_add(0.92, self.spread_m * 0.39 * bell)
        };
        self.error = (step(self.error.0), step(self.error.1));
        if self.jump.0 > 0 {
            self.jump.0 -= 1;
        } else if self.rng.random_bool(0.01) {
            let (metres, angle) =
                (self.rng.random_range(60.0..300.0_f64), self.rng.random_range(0.0..std::f64::consts::TAU));
            self.jump = (self.rng.random_range(1..5), metres * angle.cos(), metres * angle.sin());
        } else {
            self.jump = (0, 0.0, 0.0);
        }
        let (_, north, east) = self.jump;
        let there = offset(truth, self.error.0 + north, self.error.1 + east);
        (scatter(&mut self.rng, there, self.spread_m / 3.0), (self.spread_m * 1.5) as f32)
    }
}

#[test]
fn honest_points_of_noisy_receivers_are_hardly_lost() {
    let mut rng = ChaCha8Rng::seed_from_u64(20_261_125);
    let (mut sent, mut refused, mut late) = (0, 0, 0);
    let (mut raw_m, mut dot_m) = (0.0, 0.0);
    // Summed up, of riders who stand and who ride: how far from the truth are points and dots.
    let mut off = [(0.0, 0.0, 0); 2];
    for rider in 0..40 {
        let vehicle = Vehicle::ALL[rider % Vehicle::ALL.len()];
        let spread_m = rng.random_range(5.0..30.0);
        let mut receiver =
            Receiver { rng: ChaCha8Rng::seed_from_u64(rider as u64), spread_m, error: (0.0, 0.0), jump: (0, 0.0, 0.0) };
        let home = LatLon { lat: 12.97, lon: 77.59 };
        let mut motion = Motion::standing(home, vehicle, 1.0);
        let (track, mut judge) = (track(), by(PingPolicy::default()));
        judge.rides(vehicle);
        let (mut waits_until, mut last) = (0, None::<(LatLon, LatLon)>);
        // Four hours: rides of some minutes between waits, a ping every 5 s, now and then a tunnel.
        for n in 1..=2_880_u64 {
            let ms = n as i64 * 5_000;
            if ms >= motion.arrives() && ms >= waits_until {
                waits_until = ms + rng.random_range(30_000..600_000);
                let reach = 1_500.0;
                let to = offset(home, rng.random_range(-reach..reach), rng.random_range(-reach..reach));
                waits_until += motion.go(ms, to, 1.0, &mut rng) - ms;
            }
            let (at, accuracy_m) = receiver.read(motion.position(ms));
            let now = NOW + Duration::from_millis(n * 5_000);
            let point = Ping { lat: at.lat, lon: at.lon, accuracy_m: Some(accuracy_m), ..ping(n, ms) };
            let judged = judge.judge(&[point], Some(now.as_millis()), now, ON, &track);
            sent += 1;
            late += judged.late;
            refused += judged.refused.len();
            // How far the dot goes while the rider stands.
            let stands = ms >= motion.arrives();
            if let Some((dot, _)) = judged.live {
                let (truth, sum) = (motion.position(ms), &mut off[usize::from(!stands)]);
                sum.0 += distance_m(truth, at);
                sum.1 += distance_m(truth, LatLon { lat: dot.lat(), lon: dot.lon() });
                sum.2 += 1;
            }
            if let Some((dot, _)) = judged.live.filter(|_| stands) {
                let dot = LatLon { lat: dot.lat(), lon: dot.lon() };
                if let Some((raw_before, dot_before)) = last {
                    raw_m += distance_m(raw_before, at);
                    dot_m += distance_m(dot_before, dot);
                }
                last = Some((at, dot));
            } else {
                last = None;
            }
        }
    }
    let percent = 100.0 * refused as f64 / f64::from(sent);
    println!(
        "{refused} of {sent} honest points refused: {percent:.3} %; a rider at rest: the dot went {dot_m:.0} m, the points {raw_m:.0} m"
    );
    assert!(percent < 1.0 && late == 0);
    assert!(dot_m < raw_m / 2.0);
    let [standing, riding] = off.map(|(raw, dot, n)| (raw / f64::from(n), dot / f64::from(n)));
    println!("off by so much, points and dots: standing {standing:.1?} m, riding {riding:.1?} m");
    assert!(standing.1 < standing.0, "the dot of a rider at rest is nearer to the truth than the points");
    assert!(riding.1 < riding.0 + 10.0, "and that of one who rides keeps up");
}
