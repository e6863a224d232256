//! How many riders a ping and a tick look at: one, and those who are due.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    domain::{
        city::{Boundary, City as Settings, CityStatus},
        duty::Duty,
        ids::{CityCode, MerchantId, OrderId, ReplyTo, RiderId, SessionId},
        money::Currency,
        order::{Custody, OrderSpec, OrderStatus, Place},
        policy::DispatchPolicy,
        position::Position,
        rider::{KycStatus, RiderProfile, RiderStatus, Vehicle},
        steering::Priority,
        tags::Tags,
        time::Timestamp,
    },
    engine::{
        City, CityImage, StoredRider,
        command::{Command, Fix},
        effect::OrderState,
        invariants,
    },
};

const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// Riders of the city; the first [`CARRIERS`] of them have an order in hand.
const RIDERS: usize = 2_000;
const CARRIERS: usize = 100;

/// How often they ping.
const PING: Duration = Duration::from_secs(5);

fn id(n: usize) -> RiderId {
    RiderId(Uuid::from_u128(0x1000 + n as u128))
}

fn position(n: usize, moved: usize) -> Position {
    Position::new(12.9 + (n % 50) as f64 * 0.002 + moved as f64 * 0.000_1, 77.5 + (n / 50) as f64 * 0.002).unwrap()
}

fn settings(policy: DispatchPolicy) -> Settings {
    let corner = |lat, lon| Position::new(lat, lon).unwrap();
    let corners = [corner(12.8, 77.4), corner(12.8, 77.8), corner(13.2, 77.8), corner(13.2, 77.4)];
    Settings {
        code: CityCode::parse("blr").unwrap(),
        name: "Bengaluru".into(),
        status: CityStatus::Live,
        boundary: Boundary::new(&corners).unwrap(),
        time_zone: "Asia/Kolkata".into(),
        day_cutover_min: 240,
        currency: Currency::INR,
        policy,
        policy_version: 1,
    }
}

fn profile(n: usize) -> RiderProfile {
    RiderProfile {
        id: id(n),
        city: CityCode::parse("blr").unwrap(),
        status: RiderStatus::Active,
        kyc: KycStatus::Approved,
        vehicle: Vehicle::Motorcycle,
        capacity_units: 10,
        tags: Tags::NONE,
    }
}

fn carried_by(n: usize) -> (OrderSpec, OrderState) {
    let place = |lat, lon| Place { position: Position::new(lat, lon).unwrap(), hint: None };
    let spec = OrderSpec {
        id: OrderId(Uuid::from_u128(0x9000 + n as u128)),
        merchant: MerchantId(Uuid::from_u128(7)),
        external_ref: None,
        store: None,
        pickup: place(12.9, 77.5),
        drop: place(13.1, 77.7),
        ready_at: START,
        promise_at: START + Duration::from_secs(2_700),
        dispatch_at: None,
        size_units: 1,
        vehicle_need: None,
        cash_to_collect_minor: 0,
        payout_minor: 4_000,
        pay_policy_version: 1,
        currency: Currency::INR,
        metadata: serde_json::Map::new(),
        placed_at: START,
        otp_digest: None,
        needs_tags: Tags::NONE,
    };
    let state = OrderState {
        status: OrderStatus::PickedUp,
        version: 4,
        next_seq: 5,
        rider: Some(id(n)),
        custody: Custody::Rider(id(n)),
        ready_at: START,
        due_at: Some(START),
        assigned_at: Some(START),
        picked_up_at: Some(START),
        delivered_at: None,
        ended_at: None,
        end_reason: None,
        round: 0,
        offers_tried: 1,
        updated_at: START,
        payout_minor: Some(4_000),
        parked: false,
        hold: None,
        priority: Priority::default(),
    };
    (spec, state)
}

/// A city whose riders are on duty and connected; nobody has pinged yet.
fn city(policy: DispatchPolicy) -> City {
    let stored = |n| StoredRider { profile: profile(n), duty: Duty::On, next_duty: None, duty_why: None };
    let image = CityImage {
        riders: (0..RIDERS).map(stored).collect(),
        orders: (0..CARRIERS).map(carried_by).collect(),
        ..CityImage::default()
    };
    let (mut city, _) = City::restore(settings(policy), 1, START, image);
    for n in 0..RIDERS {
        let (session, reply) = (SessionId(n as u64 + 1), ReplyTo(0));
        city.apply(START, Command::Connect { rider: profile(n), session, reply });
    }
    city
}

fn ping(city: &mut City, now: Timestamp, n: usize, moved: usize) {
    let (rider, session) = (id(n), SessionId(n as u64 + 1));
    city.apply(now, Command::Fixes(vec![Fix { rider, session, position: position(n, moved), recorded_at: now }]));
}

/// Riders who are looked at while something happens.
fn looks(city: &mut City, happens: impl FnOnce(&mut City)) -> usize {
    city.riders.take_looks();
    happens(city);
    city.riders.take_looks()
}

#[test]
fn a_ping_looks_one_rider_up() {
    // One order at a time, and several of which the next one is offered ahead.
    for max_active_orders in [1, 2] {
        let mut city = city(DispatchPolicy { max_active_orders, ..DispatchPolicy::default() });
        (0..RIDERS).for_each(|n| ping(&mut city, START, n, 0));
        for round in 1..20 {
            let now = START + PING * round;
            // Somebody who is free and somebody with an order in hand, who rides out of one square into another.
            for n in [CARRIERS, 0] {
                assert_eq!(looks(&mut city, |city| ping(city, now, n, round as usize * 20)), 1);
            }
        }
        assert_eq!(invariants::check(&city, START + PING * 20), Ok(()));
    }
}

#[test]
fn a_tick_looks_at_who_is_due_and_at_nobody_else() {
    let mut city = city(DispatchPolicy::default());
    let (fresh_s, minutes) = (u64::from(city.settings().policy.fix_freshness_s), 10);
    // They ping in turns, a fifth of them each second. After five minutes every tenth falls silent.
    let silent = |n: usize, second: u64| second > 300 && n.is_multiple_of(10);
    let mut total = 0;
    for second in 0..minutes * 60 {
        let now = START + Duration::from_secs(second);
        for n in (0..RIDERS).filter(|n| *n as u64 % 5 == second % 5 && !silent(*n, second)) {
            ping(&mut city, now, n, second as usize / 20);
        }
        let due = city.rider_alarms.due(now).count();
        let looked_at = looks(&mut city, |city| drop(city.apply(now, Command::Tick)));
        // Found, then brought in line, warned and given the next alarm.
        assert!(looked_at <= 10 * due, "{looked_at} riders looked at, {due} are due");
        total += due;
        let free = city.counts(now).riders_idle as usize;
        let gone = (CARRIERS..RIDERS).filter(|n| silent(*n, second)).count();
        if second > 5 && second <= 300 {
            assert_eq!(free, RIDERS - CARRIERS);
        } else if second > 305 + fresh_s {
            assert_eq!(free, RIDERS - CARRIERS - gone, "stale riders are out");
        }
    }
    // A rider who pings is looked at once per time of freshness, however many ticks there are.
    let turns = minutes * 60 / fresh_s + 3;
    assert!(total <= RIDERS * turns as usize, "{total} looks");
    assert_eq!(invariants::check(&city, START + Duration::from_secs(minutes * 60)), Ok(()));
}
