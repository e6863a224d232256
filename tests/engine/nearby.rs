//! Riders around a place: exactly those who may be offered work, nearest first.

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::{RiderId, SessionId},
        policy::DispatchPolicy,
        position::Position,
        rider::{KycStatus, RiderProfile, Vehicle},
        time::Timestamp,
    },
    engine::{
        City, CityImage,
        command::{Answer, Command},
        nearby::NearbyQuery,
        view::RiderState,
    },
};
use proptest::prelude::*;

use crate::harness::{Town, at, profile, rider, secs, settings, stored_rider};

const EVERYBODY: usize = 1_000;

fn around(around: Position) -> NearbyQuery {
    NearbyQuery { around, radius_m: None, vehicle: None, limit: EVERYBODY }
}

fn found(town: &Town, query: &NearbyQuery) -> Vec<RiderId> {
    town.city.nearby(town.now, query).iter().map(|near| near.rider).collect()
}

fn kitchen() -> Position {
    at(12.97, 77.59)
}

#[test]
fn nobody_who_may_not_be_offered_work_is_among_them() {
    let mut town = Town::new();
    for n in 1..=6 {
        town.on_duty(n, at(12.97, 77.59 + n as f64 * 0.001));
    }
    let all = |numbers: &[u128]| numbers.iter().map(|n| rider(*n)).collect::<Vec<_>>();
    let query = around(kitchen());
    assert_eq!(found(&town, &query), all(&[1, 2, 3, 4, 5, 6]));
    let session = |n| SessionId(n);
    town.ask(|reply| Command::SetDuty { rider: rider(1), session: session(1), duty: Duty::Break, reply });
    town.ask(|reply| Command::SetDuty { rider: rider(2), session: session(2), duty: Duty::Off, reply });
    town.apply(Command::Disconnect { rider: rider(3), session: session(3) });
    town.apply(Command::UpdateProfile(RiderProfile { kyc: KycStatus::Expired, ..profile(rider(4)) }));
    assert_eq!(found(&town, &query), all(&[5, 6]));
    // An open offer, then work in hand.
    town.place(1);
    town.wait(secs(1));
    let offer = town.offer_to(5).unwrap();
    assert_eq!(found(&town, &query), all(&[6]));
    town.respond(5, offer, Answer::Accept);
    assert_eq!(found(&town, &query), all(&[6]));
    // On duty, but the store has not heard of it.
    town.auto_commit = false;
    town.on_duty(7, kitchen());
    assert_eq!(found(&town, &query), all(&[6]));
    town.commit();
    assert_eq!(found(&town, &query), all(&[7, 6]));
}

#[test]
fn a_fix_that_went_stale_since_the_last_tick_counts_no_more() {
    let mut town = Town::new();
    town.on_duty(1, at(12.97, 77.591));
    town.on_duty(2, at(12.97, 77.592));
    town.now = town.now + secs(30);
    town.ping(2, at(12.97, 77.592));
    town.now = town.now + secs(31);
    // No tick has come by: in the index stand both.
    let query = NearbyQuery { limit: 1, ..around(kitchen()) };
    assert_eq!(found(&town, &query), [rider(2)]);
}

#[test]
fn the_radius_the_vehicle_and_the_number() {
    let mut town = Town::new();
    for (n, vehicle) in [(1, Vehicle::Walking), (2, Vehicle::Bicycle), (3, Vehicle::Motorcycle), (4, Vehicle::Car)] {
        town.on_duty(n, at(12.97, 77.59 + n as f64 * 0.01));
        town.apply(Command::UpdateProfile(RiderProfile { vehicle, ..profile(rider(n)) }));
    }
    // Beyond the last radius of the policy.
    town.on_duty(5, at(13.09, 77.59));
    let query = around(kitchen());
    assert_eq!(found(&town, &query), [1, 2, 3, 4].map(rider));
    let near = town.city.nearby(town.now, &query);
    assert!((near[0].distance_m - 1_083.6).abs() < 1.0, "{}", near[0].distance_m);
    assert_eq!(
        (near[0].vehicle, near[0].spot.position, near[0].from),
        (Vehicle::Walking, at(12.97, 77.59 + 0.01), at(12.97, 77.59 + 0.01))
    );
    assert_eq!(near[0].spot.received_at, town.now);
    assert_eq!(found(&town, &NearbyQuery { radius_m: Some(2_500.0), ..query }), [1, 2].map(rider));
    assert_eq!(found(&town, &NearbyQuery { radius_m: Some(50_000.0), ..query }).len(), 5);
    assert_eq!(
        found(&town, &NearbyQuery { vehicle: Some(Vehicle::Motorcycle), ..query }),
        [3, 4].map(rider),
        "or larger"
    );
    assert_eq!(found(&town, &NearbyQuery { limit: 2, ..query }), [1, 2].map(rider));
    assert_eq!(found(&town, &NearbyQuery { around: at(-41.3, 174.8), ..query }), []);
}

#[test]
fn who_is_soon_free_stands_where_the_work_ends() {
    let policy = DispatchPolicy { max_active_orders: 2, forward_within_s: 3_600, ..DispatchPolicy::default() };
    let mut town = Town::with(dispatch_engine::domain::city::City { policy, ..settings() });
    town.assigned(1, 1);
    let near = town.city.nearby(town.now, &around(at(12.99, 77.61)));
    let [near] = near.as_slice() else { panic!("{near:?}") };
    assert_eq!((near.from, near.spot.position), (at(12.99, 77.61), at(12.971, 77.591)));
    assert!(near.distance_m < 0.01 && near.free_at > town.now, "{near:?}");
}

#[test]
fn where_one_rider_is() {
    let mut town = Town::new();
    assert_eq!(town.city.whereabouts(town.now, rider(1)), None);
    town.on_duty(1, kitchen());
    let here = town.city.whereabouts(town.now, rider(1)).unwrap();
    assert_eq!((here.duty, here.state, here.connected, here.fresh), (Duty::On, RiderState::Idle, true, true));
    assert_eq!(here.spot.unwrap().position, kitchen());
    town.now = town.now + secs(61);
    let stale = town.city.whereabouts(town.now, rider(1)).unwrap();
    assert_eq!((stale.state, stale.fresh, stale.spot), (RiderState::Stale, false, here.spot));
    // A pause is work; off duty nobody has to know.
    let session = SessionId(1);
    town.ask(|reply| Command::SetDuty { rider: rider(1), session, duty: Duty::Break, reply });
    assert_eq!(town.city.whereabouts(town.now, rider(1)).unwrap().spot, here.spot);
    town.ask(|reply| Command::SetDuty { rider: rider(1), session, duty: Duty::Off, reply });
    let off = town.city.whereabouts(town.now, rider(1)).unwrap();
    assert_eq!((off.duty, off.spot, off.fresh, off.connected), (Duty::Off, None, false, true));
    town.apply(Command::Disconnect { rider: rider(1), session });
    assert_eq!(town.city.whereabouts(town.now, rider(1)), None);
    // Off duty once the work in hand is finished: until then somebody waits for it.
    town.assigned(2, 1);
    town.ask(|reply| Command::SetDuty { rider: rider(2), session: SessionId(2), duty: Duty::Off, reply });
    let busy = town.city.whereabouts(town.now, rider(2)).unwrap();
    assert!(busy.state == RiderState::Busy && busy.spot.is_some());
    // A city that starts knows duties and no fixes.
    let image = CityImage { riders: vec![stored_rider(9, Duty::On)], ..CityImage::default() };
    let (city, _) = City::restore(settings(), 1, town.now, image);
    let back = city.whereabouts(town.now, rider(9)).unwrap();
    assert_eq!((back.duty, back.spot, back.connected), (Duty::On, None, false));
}

/// Riders of the whole city who are idle by its own word, gone through one by one.
fn by_brute_force(town: &Town, query: &NearbyQuery) -> Vec<(RiderId, f64)> {
    let snapshot = town.city.snapshot(town.now);
    let idle = snapshot.riders.iter().filter(|view| view.state == RiderState::Idle);
    let wanted = idle.filter(|view| query.vehicle.is_none_or(|least| view.vehicle >= least));
    let mut found: Vec<_> =
        wanted.filter_map(|view| Some((view.rider, view.fix?.0.distance_m(query.around)))).collect();
    found.retain(|(_, metres)| *metres <= query.radius_m.unwrap_or(12_000.0));
    found.sort_by(|a, b| a.1.total_cmp(&b.1));
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_as_by_going_through_everybody(
        riders in prop::collection::vec((12.9..13.1_f64, 77.5..77.7_f64, 0..4_usize, 0..6_u8), 1..40),
        place in (12.85..13.15_f64, 77.45..77.75_f64),
        radius in prop::option::of(1.0..30_000.0_f64),
        vehicle in prop::option::of(0..4_usize),
        limit in 1..20_usize,
    ) {
        let mut town = Town::new();
        for (n, (lat, lon, vehicle, fate)) in riders.iter().enumerate() {
            let n = n as u128 + 1;
            town.on_duty(n, at(*lat, *lon));
            town.apply(Command::UpdateProfile(RiderProfile { vehicle: Vehicle::ALL[*vehicle], ..profile(rider(n)) }));
            let session = SessionId(n as u64);
            match fate {
                0 => drop(town.ask(|reply| Command::SetDuty { rider: rider(n), session, duty: Duty::Break, reply })),
                1 => town.apply(Command::Disconnect { rider: rider(n), session }),
                2 => town.ping(n, at(*lon - 64.6, *lat + 64.6)),
                _ => {}
            }
        }
        let vehicle = vehicle.map(|vehicle| Vehicle::ALL[vehicle]);
        let query = NearbyQuery { around: at(place.0, place.1), radius_m: radius, vehicle, limit };
        let near = town.city.nearby(town.now, &query);
        let expected = by_brute_force(&town, &query);
        prop_assert_eq!(near.len(), expected.len().min(limit));
        for (near, (_, metres)) in near.iter().zip(&expected) {
            prop_assert!((near.distance_m - metres).abs() < 1e-3, "{} {}", near.distance_m, metres);
        }
    }
}

/// Not a promise about time: it prints what a question costs a city of a hundred thousand, the worst one among them.
#[test]
#[ignore = "prints figures; cargo test --test engine what_a_question_costs -- --ignored --nocapture"]
fn what_a_question_costs() {
    let mut city = City::restore(settings(), 1, crate::harness::START, CityImage::default()).0;
    let now = crate::harness::START;
    let journal = |city: &mut City, command| {
        let mut effects = city.apply(now, command);
        while let Some(effect) = effects.pop() {
            if let dispatch_engine::engine::effect::Effect::Persist(write) = effect {
                effects.extend(city.apply(now, Command::Committed { transition: write.transition() }));
            }
        }
    };
    use dispatch_engine::{domain::ids::ReplyTo, engine::command::Fix};
    for n in 0..100_000_u32 {
        let (id, session, reply) = (rider(n.into()), SessionId(n.into()), ReplyTo(n.into()));
        journal(&mut city, Command::Connect { rider: profile(id), session, reply });
        journal(&mut city, Command::SetDuty { rider: id, session, duty: Duty::On, reply });
        let position = at(12.8 + f64::from(n % 317) / 800.0, 77.4 + f64::from(n / 317) / 800.0);
        journal(&mut city, Command::Fixes(vec![Fix { rider: id, session, position, recorded_at: now }]));
    }
    let plain = NearbyQuery { around: at(13.0, 77.6), radius_m: None, vehicle: None, limit: 10 };
    let widest = NearbyQuery { radius_m: Some(50_000.0), limit: 100, ..plain };
    for (what, query) in [
        ("10 riders", plain),
        ("100 riders", NearbyQuery { limit: 100, ..plain }),
        ("100 cars in 50 km, of which there are none", NearbyQuery { vehicle: Some(Vehicle::Car), ..widest }),
    ] {
        let started = std::time::Instant::now();
        let times = 200;
        let named: usize = (0..times).map(|_| city.nearby(now, &query).len()).sum();
        println!("{what}: {:?} each, {} named", started.elapsed() / times, named / times as usize);
    }
    let stale: Timestamp = now + secs(61);
    let started = std::time::Instant::now();
    assert_eq!(city.nearby(stale, &plain), []);
    println!("everybody stale: {:?}", started.elapsed());
}
