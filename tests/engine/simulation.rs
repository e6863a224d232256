//! Whole invented days by seed: random riders and orders, a journal that is slow, out of step between orders and
//! sometimes refuses, devices that repeat, contradict themselves and vanish. After every step the invariants are checked.

use std::collections::{BTreeMap, VecDeque};

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::{OfferId, OrderId, ReplyTo, RiderId, SessionId},
        order::{Actor, OrderStatus, Step},
    },
    engine::{
        City, CityImage,
        command::{Answer, Command, Fix, Outcome, PlacementExtras, RejectReason, StepReport},
        effect::{Effect, Notice, Write},
        invariants,
    },
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::harness::{START, at, order, profile, rider, secs, settings, spec};

struct Device {
    session: Option<SessionId>,
    offers: Vec<OfferId>,
    order: Option<OrderId>,
}

struct World {
    city: City,
    now: dispatch_engine::domain::time::Timestamp,
    rng: ChaCha8Rng,
    journal: VecDeque<Write>,
    devices: BTreeMap<RiderId, Device>,
    orders: Vec<OrderId>,
    next_session: u64,
    next_reply: u64,
    waiting: BTreeMap<u64, &'static str>,
    stored: BTreeMap<OrderId, (i32, OrderStatus, Option<RiderId>)>,
    steps: u64,
    log: VecDeque<String>,
}

impl World {
    fn new(seed: u64, riders: u128) -> Self {
        let devices = (0..riders).map(|n| (rider(n), Device { session: None, offers: vec![], order: None })).collect();
        Self {
            city: City::restore(settings(), seed, START, CityImage::default()).0,
            now: START,
            rng: ChaCha8Rng::seed_from_u64(seed),
            journal: VecDeque::new(),
            devices,
            orders: vec![],
            next_session: 0,
            next_reply: 0,
            waiting: BTreeMap::new(),
            stored: BTreeMap::new(),
            steps: 0,
            log: VecDeque::new(),
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn apply(&mut self, command: Command) {
        self.steps += 1;
        if self.log.len() == 30 {
            self.log.pop_front();
        }
        self.log.push_back(format!("{} {command:?}", self.now));
        let effects = self.city.apply(self.now, command);
        if let Err(broken) = invariants::check(&self.city, self.now) {
            panic!("step {}: {broken}\n{}", self.steps, self.log.iter().cloned().collect::<Vec<_>>().join("\n"));
        }
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(write) => self.journal.push_back(*write),
            Effect::Reply { to, result } => {
                let asked = self.waiting.remove(&to.0).expect("an answer to somebody who asked, once");
                if let (Ok(Outcome::Accepted(job)), "accept") = (&result, asked) {
                    // Told implies stored, with this rider.
                    let order = job.orders[0].order;
                    let (_, status, winner) = self.stored[&order];
                    assert!(status.has_rider(), "told of {order} while it is {status}");
                    if let Some(device) = winner.and_then(|winner| self.devices.get_mut(&winner)) {
                        device.order = Some(order);
                    }
                }
            }
            Effect::Notify { rider, notice, session } => {
                let Some(device) = self.devices.get_mut(&rider).filter(|d| d.session == Some(session)) else { return };
                match notice {
                    Notice::Offer(view) => device.offers.push(view.offer),
                    Notice::OrderChanged { job: None, .. } => device.order = None,
                    _ => {}
                }
            }
            Effect::Alert(_) | Effect::Measure(_) => {}
        }
    }

    fn ask(&mut self, what: &'static str, build: impl FnOnce(ReplyTo) -> Command) {
        self.next_reply += 1;
        self.waiting.insert(self.next_reply, what);
        self.apply(build(ReplyTo(self.next_reply)));
    }

    /// The journal stores a write as the database would: versions must follow each other.
    fn store_one(&mut self) {
        let Some(write) = self.journal.pop_front() else { return };
        let transition = write.transition();
        if self.chance(3) {
            return self.apply(Command::Rejected { transition, why: RejectReason::Busy });
        }
        match &write {
            Write::Place(write) => {
                assert!(self.stored.insert(write.spec.id, (1, write.state.status, None)).is_none());
            }
            Write::Order(write) => {
                let row = self.stored.get_mut(&write.order).expect("placed before");
                assert_eq!(row.0, write.expected_version, "a version was skipped or used twice");
                assert!(!row.1.is_end(), "{} changed after its end", write.order);
                *row = (write.state.version, write.state.status, write.state.rider);
                assert_eq!(write.postings.iter().map(|p| p.amount_minor).sum::<i64>(), 0);
            }
            Write::Offer { .. } | Write::Duty(_) => {}
        }
        self.apply(Command::Committed { transition });
        if self.chance(1) {
            // A repeated answer of the journal changes nothing.
            self.apply(Command::Committed { transition });
        }
    }

    fn place(&mut self, n: u128) {
        let mut spec = spec(order(n), self.now);
        let near =
            |rng: &mut ChaCha8Rng| at(12.97 + rng.random_range(-0.05..0.05), 77.59 + rng.random_range(-0.05..0.05));
        spec.pickup.position = near(&mut self.rng);
        spec.drop.position = near(&mut self.rng);
        spec.ready_at = self.now + secs(self.rng.random_range(0..1_200));
        spec.cash_to_collect_minor = i64::from(self.rng.random_range(0..3)) * 10_000;
        if self.chance(10) {
            spec.dispatch_at = Some(self.now + secs(self.rng.random_range(1..900)));
        }
        self.orders.push(spec.id);
        self.ask("place", |reply| Command::Place {
            spec: Box::new(spec),
            extras: Box::new(PlacementExtras::default()),
            actor: Actor::ENGINE,
            reply,
        });
    }

    fn act(&mut self, id: RiderId) {
        let Some(session) = self.devices[&id].session else {
            if self.chance(50) {
                self.next_session += 1;
                let session = SessionId(self.next_session);
                self.devices.get_mut(&id).unwrap().session = Some(session);
                self.ask("connect", |reply| Command::Connect { rider: profile(id), session, reply });
            }
            return;
        };
        let position = at(12.97 + self.rng.random_range(-0.05..0.05), 77.59 + self.rng.random_range(-0.05..0.05));
        match self.rng.random_range(0..100) {
            0..40 => self.apply(Command::Fixes(vec![Fix { rider: id, session, position, recorded_at: self.now }])),
            40..43 => {
                self.devices.get_mut(&id).unwrap().session = None;
                self.apply(Command::Disconnect { rider: id, session });
            }
            43..50 => {
                let duty = [Duty::On, Duty::On, Duty::On, Duty::Break, Duty::Off][self.rng.random_range(0..5)];
                self.ask("duty", |reply| Command::SetDuty { rider: id, session, duty, reply });
            }
            50..75 => {
                let Some(offer) = self.devices[&id].offers.last().copied() else { return };
                self.ask("seen", |reply| Command::OfferSeen { rider: id, session, offer, reply });
                let accept = self.chance(70);
                let answer = if accept { Answer::Accept } else { Answer::Decline { reason: "no".into() } };
                let what = if accept { "accept" } else { "decline" };
                self.ask(what, |reply| Command::AnswerOffer { rider: id, session, offer, answer, reply });
            }
            _ => {
                let Some(order) = self.devices[&id].order else { return };
                let steps = if self.chance(90) { &Step::ALL[..4] } else { Step::ALL };
                let step = steps[self.rng.random_range(0..steps.len())];
                let report = StepReport {
                    order,
                    step,
                    at: self.now,
                    position: Some(position),
                    reason: Some("because".into()),
                    proof: None,
                };
                self.ask("progress", |reply| Command::Progress { rider: id, session, report: Box::new(report), reply });
            }
        }
    }

    fn live(&mut self, minutes: u64, order_every_s: u64) {
        let mut placed = 0_u128;
        for second in 0..minutes * 60 {
            self.now = self.now + secs(1);
            if second % order_every_s == 0 {
                placed += 1;
                self.place(placed);
            }
            if self.chance(2) && !self.orders.is_empty() {
                let order = self.orders[self.rng.random_range(0..self.orders.len())];
                self.ask("cancel", |reply| Command::Cancel {
                    order,
                    actor: Actor::ENGINE,
                    reason: "changed mind".into(),
                    reply,
                });
            }
            if self.chance(2) && !self.orders.is_empty() {
                let order = self.orders[self.rng.random_range(0..self.orders.len())];
                let ready_at = self.now + secs(self.rng.random_range(0..600));
                self.ask("ready", |reply| Command::ChangeReady { order, ready_at, actor: Actor::ENGINE, reply });
            }
            let riders: Vec<RiderId> = self.devices.keys().copied().collect();
            for id in riders {
                if self.chance(20) {
                    self.act(id);
                }
            }
            self.apply(Command::Tick);
            // The journal is slow at times.
            if !self.chance(15) {
                for _ in 0..self.journal.len() {
                    self.store_one();
                }
            }
        }
        // In the end the journal catches up, and nobody is left without an answer.
        while !self.journal.is_empty() {
            self.store_one();
        }
        let unanswered: Vec<_> = self.waiting.values().collect();
        assert!(unanswered.is_empty(), "never answered: {unanswered:?}");
    }
}

#[test]
fn random_days_break_nothing() {
    let mut delivered = 0;
    for seed in 1..=8 {
        let mut world = World::new(seed, 12);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.live(240, 40)));
        assert!(outcome.is_ok(), "seed {seed} broke");
        delivered += world.stored.values().filter(|(_, status, _)| *status == OrderStatus::Delivered).count();
    }
    assert!(delivered > 500, "only {delivered} orders were delivered: the days were not real days");
}

#[test]
fn the_same_seed_lives_the_same_day() {
    let live = || {
        let mut world = World::new(42, 8);
        world.live(60, 30);
        (world.steps, world.stored)
    };
    assert_eq!(live(), live());
}
