//! What a ping costs inside the engine: a whole city whose riders are on duty, connected and moving.

use std::time::{Duration, Instant};

use dispatch_engine::{
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
    },
};
use nix::time::{ClockId, clock_gettime};
use uuid::Uuid;

use super::{
    Anyhow, Effort,
    fleet::{CENTRE, Fleet, Life},
};

const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// Fixes per message of a lane.
const BATCH: usize = 250;

/// Rounds of pings before anything counts.
const WARM: u32 = 2;

/// What the riders do.
#[derive(Clone, Copy, PartialEq)]
pub enum Work {
    /// All may be offered work.
    Idle,
    /// Every other rider has an order in hand.
    HalfBusy,
    /// As before, and those are offered the next one ahead.
    HalfAhead,
}

impl Work {
    pub const ALL: [Self; 3] = [Self::Idle, Self::HalfBusy, Self::HalfAhead];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "all free",
            Self::HalfBusy => "half with an order",
            Self::HalfAhead => "half soon free",
        }
    }
}

/// Means over everything that was measured.
pub struct Figures {
    pub fixes: u64,
    /// Of `City::apply`, per fix.
    pub fix_ns: f64,
    /// Of `City::take_changes`, asked for every half second, per fix.
    pub changes_ns: f64,
    /// Of a tick, once a second.
    pub tick_ms: f64,
}

/// Measures a city of `n` riders.
pub fn measure(n: usize, life: Life, work: Work, effort: &Effort) -> Anyhow<Figures> {
    let mut fleet = Fleet::new(n, life);
    let first = fleet.first();
    let ids: Vec<RiderId> = first.iter().map(|(_, ping)| ping.rider).collect();
    let (mut city, _) = City::restore(settings(work), 7, START, image(&ids, work));
    for (number, rider) in ids.iter().enumerate() {
        let (session, reply) = (session(number), ReplyTo(0));
        city.apply(START, Command::Connect { rider: profile(*rider), session, reply });
    }
    // Pings of 5 s, so many a millisecond; everything else by the time that passes meanwhile.
    let mut now = START;
    let step = |now: Timestamp, sent: usize| now + Duration::from_millis((sent * 5_000 / n.max(1)) as u64);
    let (mut figures, mut fix, mut changes, mut ticks) = (0_u64, Duration::ZERO, Duration::ZERO, Vec::new());
    let mut round = first;
    let mut warm = 0_u32;
    let mut until = Instant::now();
    while warm <= WARM || Instant::now() < until {
        let begin = now;
        let (mut shown, mut ticked) = (now, now);
        for (index, pings) in round.chunks(BATCH).enumerate() {
            now = step(begin, index * BATCH);
            let batch = pings.iter().map(|(number, ping)| Fix {
                rider: ping.rider,
                session: session(*number),
                position: ping.position,
                recorded_at: now,
            });
            let command = Command::Fixes(batch.collect());
            let spent = timed(|| drop(city.apply(now, command)))?;
            if warm >= WARM {
                fix += spent;
                figures += pings.len() as u64;
            }
            if now.since(shown) >= Duration::from_millis(500) {
                shown = now;
                let spent = timed(|| drop(city.take_changes(now)))?;
                changes += if warm >= WARM { spent } else { Duration::ZERO };
            }
            if now.since(ticked) >= Duration::from_secs(1) {
                ticked = now;
                let spent = timed(|| drop(city.apply(now, Command::Tick)))?;
                ticks.extend((warm >= WARM).then_some(spent));
            }
        }
        now = begin + Duration::from_secs(5);
        warm += 1;
        if warm == WARM {
            until = Instant::now() + effort.patience * 2;
        }
        round = fleet.round();
    }
    let counts = city.counts(now);
    let busy = if work == Work::Idle { 0 } else { n.div_ceil(2) };
    assert_eq!((counts.riders_on_duty as usize, counts.riders_busy as usize), (n, busy), "not the city that was meant");
    let mean = |span: Duration, by: u64| span.as_nanos() as f64 / by.max(1) as f64;
    Ok(Figures {
        fixes: figures,
        fix_ns: mean(fix, figures),
        changes_ns: mean(changes, figures),
        tick_ms: mean(ticks.iter().sum(), ticks.len() as u64) / 1e6,
    })
}

/// Processor time of this thread.
fn timed(work: impl FnOnce()) -> Anyhow<Duration> {
    let clock = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let before = clock()?;
    work();
    Ok(clock()?.saturating_sub(before))
}

const fn session(number: usize) -> SessionId {
    SessionId(number as u64 + 1)
}

fn settings(work: Work) -> Settings {
    let (lat, lon) = CENTRE;
    let corners = [(-0.2, -0.2), (-0.2, 0.2), (0.2, 0.2), (0.2, -0.2)]
        .map(|(north, east)| Position::new(lat + north, lon + east).expect("inside the world"));
    let max_active_orders = if work == Work::HalfAhead { 2 } else { 1 };
    Settings {
        code: CityCode::parse("blr").expect("a valid code"),
        name: "Bengaluru".into(),
        status: CityStatus::Live,
        boundary: Boundary::new(&corners).expect("four corners"),
        time_zone: "Asia/Kolkata".into(),
        day_cutover_min: 240,
        currency: Currency::INR,
        policy: DispatchPolicy { max_active_orders, max_live_riders: 2_000_000, ..DispatchPolicy::default() },
        policy_version: 1,
    }
}

fn profile(id: RiderId) -> RiderProfile {
    RiderProfile {
        id,
        city: CityCode::parse("blr").expect("a valid code"),
        status: RiderStatus::Active,
        kyc: KycStatus::Approved,
        vehicle: Vehicle::Motorcycle,
        capacity_units: 10,
        tags: Tags::NONE,
    }
}

fn image(riders: &[RiderId], work: Work) -> CityImage {
    let stored = |id: &RiderId| StoredRider { profile: profile(*id), duty: Duty::On, next_duty: None, duty_why: None };
    let busy = riders.iter().step_by(2).filter(|_| work != Work::Idle);
    CityImage {
        riders: riders.iter().map(stored).collect(),
        orders: busy.map(|rider| carried(*rider)).collect(),
        ..CityImage::default()
    }
}

/// An order that its rider is bringing to the other end of the city.
fn carried(rider: RiderId) -> (OrderSpec, OrderState) {
    let place = |north: f64| Place {
        position: Position::new(CENTRE.0 + north, CENTRE.1).expect("inside the world"),
        hint: None,
    };
    let spec = OrderSpec {
        id: OrderId(Uuid::from_u128(!rider.0.as_u128())),
        merchant: MerchantId(Uuid::from_u128(7)),
        external_ref: None,
        store: None,
        pickup: place(0.0),
        drop: place(0.1),
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
        rider: Some(rider),
        custody: Custody::Rider(rider),
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
