//! A city with a journal that answers when told to, and helpers to read what happened.

use dispatch_engine::{
    domain::{
        city::{Boundary, City as CitySettings, CityStatus},
        duty::Duty,
        ids::{CityCode, MerchantId, OfferId, OrderId, ReplyTo, RiderId, SessionId, TransitionId},
        money::Currency,
        order::{Actor, OrderSpec, OrderStatus, Place, Step},
        policy::DispatchPolicy,
        position::Position,
        rider::{KycStatus, RiderProfile, RiderStatus, Vehicle},
        tags::Tags,
        time::Timestamp,
    },
    engine::{
        City, CityImage, StoredRider,
        command::{Answer, Command, Conditions, Fix, Outcome, PlacementExtras, Refusal, RejectReason, StepReport},
        effect::{Effect, Notice, Write},
        invariants,
    },
};
use uuid::Uuid;

pub const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

pub fn at(lat: f64, lon: f64) -> Position {
    Position::new(lat, lon).unwrap()
}

pub fn settings() -> CitySettings {
    let corners = [at(12.8, 77.4), at(12.8, 77.8), at(13.2, 77.8), at(13.2, 77.4)];
    CitySettings {
        code: CityCode::parse("blr").unwrap(),
        name: "Bengaluru".into(),
        status: CityStatus::Live,
        boundary: Boundary::new(&corners).unwrap(),
        time_zone: "Asia/Kolkata".into(),
        day_cutover_min: 240,
        currency: Currency::INR,
        policy: DispatchPolicy::default(),
        policy_version: 1,
    }
}

pub fn rider(n: u128) -> RiderId {
    RiderId(Uuid::from_u128(0x1000 + n))
}

pub fn order(n: u128) -> OrderId {
    OrderId(Uuid::from_u128(0x2000 + n))
}

pub fn profile(rider: RiderId) -> RiderProfile {
    RiderProfile {
        id: rider,
        city: CityCode::parse("blr").unwrap(),
        status: RiderStatus::Active,
        kyc: KycStatus::Approved,
        vehicle: Vehicle::Motorcycle,
        capacity_units: 10,
        tags: Tags::NONE,
    }
}

pub fn stored_rider(n: u128, duty: Duty) -> StoredRider {
    StoredRider { profile: profile(rider(n)), duty, next_duty: None, duty_why: None }
}

pub fn spec(id: OrderId, now: Timestamp) -> OrderSpec {
    OrderSpec {
        id,
        merchant: MerchantId(Uuid::from_u128(7)),
        external_ref: Some(format!("ref-{id}")),
        store: None,
        pickup: Place { position: at(12.97, 77.59), hint: None },
        drop: Place { position: at(12.99, 77.61), hint: None },
        ready_at: now,
        promise_at: now + secs(45 * 60),
        dispatch_at: None,
        size_units: 1,
        vehicle_need: None,
        cash_to_collect_minor: 0,
        payout_minor: 4_000,
        pay_policy_version: 1,
        currency: Currency::INR,
        metadata: serde_json::Map::new(),
        placed_at: now,
        otp_digest: None,
        needs_tags: Tags::NONE,
    }
}

pub const fn secs(n: u64) -> std::time::Duration {
    std::time::Duration::from_secs(n)
}

/// Nobody in particular calls an order off.
pub fn cancel(order: OrderId, reason: &str, reply: ReplyTo) -> Command {
    Command::Cancel { order, actor: Actor::ENGINE, reason: reason.into(), reply, given: Conditions::default() }
}

/// Nobody in particular says when an order is ready.
pub fn change_ready(order: OrderId, ready_at: Timestamp, reply: ReplyTo) -> Command {
    Command::ChangeReady { order, ready_at, actor: Actor::ENGINE, reply, given: Conditions::default() }
}

/// A city whose journal commits at once unless told otherwise; every step checks the invariants.
pub struct Town {
    pub city: City,
    pub now: Timestamp,
    /// Writes that wait for an answer, while `auto_commit` is off.
    pub writes: Vec<Write>,
    /// Everything ever written, in order.
    pub stored: Vec<Write>,
    pub auto_commit: bool,
    pub notices: Vec<(RiderId, Notice)>,
    pub effects: Vec<Effect>,
    pub replies: std::collections::BTreeMap<u64, Result<Outcome, Refusal>>,
    pub next_reply: u64,
    pub steps: u64,
}

impl Town {
    pub fn new() -> Self {
        Self::with(settings())
    }

    pub fn with(settings: CitySettings) -> Self {
        Self {
            city: City::restore(settings, 1, START, CityImage::default()).0,
            now: START,
            writes: vec![],
            stored: vec![],
            auto_commit: true,
            notices: vec![],
            effects: vec![],
            replies: std::collections::BTreeMap::new(),
            next_reply: 0,
            steps: 0,
        }
    }

    pub fn apply(&mut self, command: Command) {
        let effects = self.city.apply(self.now, command);
        invariants::check(&self.city, self.now).unwrap();
        // Operators look now and then.
        self.steps += 1;
        if self.steps.is_multiple_of(3) {
            self.city.take_changes(self.now);
            invariants::check(&self.city, self.now).unwrap();
        }
        for effect in effects {
            match effect.clone() {
                Effect::Persist(write) if self.auto_commit => {
                    let transition = write.transition();
                    self.stored.push(*write);
                    self.apply(Command::Committed { transition });
                }
                Effect::Persist(write) => self.writes.push(*write),
                Effect::Reply { to, result } => {
                    assert!(self.replies.insert(to.0, result).is_none(), "answered twice");
                }
                Effect::Notify { rider, notice, .. } => self.notices.push((rider, notice)),
                Effect::Alert(_) | Effect::Measure(_) | Effect::Wake(_) => {}
            }
            self.effects.push(effect);
        }
    }

    /// Commits everything that waits, and what follows from it.
    pub fn commit(&mut self) {
        while !self.writes.is_empty() {
            let write = self.writes.remove(0);
            let transition = write.transition();
            self.stored.push(write);
            self.apply(Command::Committed { transition });
        }
    }

    pub fn reject(&mut self, why: RejectReason) {
        let write = self.writes.remove(0);
        self.apply(Command::Rejected { transition: write.transition(), why });
    }

    pub fn ask(&mut self, build: impl FnOnce(ReplyTo) -> Command) -> u64 {
        self.next_reply += 1;
        let number = self.next_reply;
        self.apply(build(ReplyTo(number)));
        number
    }

    pub fn answer(&self, number: u64) -> Option<&Result<Outcome, Refusal>> {
        self.replies.get(&number)
    }

    pub fn ask_now(&mut self, build: impl FnOnce(ReplyTo) -> Command) -> Result<Outcome, Refusal> {
        let number = self.ask(build);
        self.replies.get(&number).cloned().expect("answered at once")
    }

    pub fn wait(&mut self, span: std::time::Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now = self.now + secs(1);
            self.apply(Command::Tick);
        }
    }

    pub fn on_duty(&mut self, n: u128, position: Position) -> RiderId {
        let id = rider(n);
        let session = SessionId(u64::try_from(n).unwrap());
        self.ask_now(|reply| Command::Connect { rider: profile(id), session, reply }).unwrap();
        self.ask(|reply| Command::SetDuty { rider: id, session, duty: Duty::On, reply });
        self.ping(n, position);
        id
    }

    pub fn ping(&mut self, n: u128, position: Position) {
        let session = SessionId(u64::try_from(n).unwrap());
        self.apply(Command::Fixes(vec![Fix { rider: rider(n), session, position, recorded_at: self.now }]));
    }

    pub fn place(&mut self, n: u128) -> OrderId {
        let spec = spec(order(n), self.now);
        self.place_spec(spec);
        order(n)
    }

    pub fn place_spec(&mut self, spec: OrderSpec) -> u64 {
        self.ask(|reply| Command::Place {
            spec: Box::new(spec),
            extras: Box::new(PlacementExtras::default()),
            actor: Actor::ENGINE,
            reply,
        })
    }

    pub fn respond(&mut self, n: u128, offer: OfferId, answer: Answer) -> u64 {
        let session = SessionId(u64::try_from(n).unwrap());
        self.ask(|reply| Command::AnswerOffer { rider: rider(n), session, offer, answer, reply })
    }

    pub fn step(&mut self, n: u128, order: OrderId, step: Step) -> u64 {
        let session = SessionId(u64::try_from(n).unwrap());
        let report = StepReport {
            order,
            step,
            at: self.now,
            position: Some(at(12.98, 77.6)),
            reason: Some("because".into()),
            proof: None,
            otp: None,
        };
        self.ask(|reply| Command::Progress { rider: rider(n), session, report: Box::new(report), reply })
    }

    /// The last offer a rider was sent.
    pub fn offer_to(&self, n: u128) -> Option<OfferId> {
        self.notices.iter().rev().find_map(|(to, notice)| match notice {
            Notice::Offer(view) if *to == rider(n) => Some(view.offer),
            _ => None,
        })
    }

    /// Brings an order into a rider's hands.
    pub fn assigned(&mut self, n: u128, o: u128) -> OrderId {
        self.on_duty(n, at(12.971, 77.591));
        let order = self.place(o);
        self.wait(secs(1));
        let offer = self.offer_to(n).expect("an offer");
        self.respond(n, offer, Answer::Accept);
        assert_eq!(self.status(order), Some(OrderStatus::Assigned));
        order
    }

    pub fn status(&self, order: OrderId) -> Option<OrderStatus> {
        self.city.snapshot(self.now).orders.iter().find(|view| view.order == order).map(|view| view.status)
    }

    /// The status in which an order was last written.
    pub fn stored_status(&self, order: OrderId) -> Option<OrderStatus> {
        self.stored.iter().rev().find_map(|write| match write {
            Write::Order(write) if write.order == order => Some(write.state.status),
            Write::Place(write) if write.spec.id == order => Some(write.state.status),
            _ => None,
        })
    }
}

/// The transitions that stand for one order in what was stored, in order.
pub fn versions(stored: &[Write], order: OrderId) -> Vec<(i32, i32, TransitionId)> {
    stored
        .iter()
        .filter_map(|write| match write {
            Write::Order(write) if write.order == order => {
                Some((write.expected_version, write.state.version, write.transition))
            }
            Write::Place(write) if write.spec.id == order => Some((0, write.state.version, write.transition)),
            _ => None,
        })
        .collect()
}
