//! The fleet and its network: frames that are lost, late or doubled, sessions that break and take over, riders who
//! vanish.

use std::time::Duration;

use dispatch_engine::{
    domain::{
        ids::{ReplyTo, RiderId, SessionId},
        order::Step,
        rider::{RiderStatus, Vehicle},
        tags::Tags,
        time::Timestamp,
    },
    engine::{
        answered::FrameKey,
        command::{Answer, Command, Fix, Outcome, Refusal, StepReport},
        effect::Notice,
    },
};
use rand::RngExt;
use serde_json::json;

use super::{
    Checked,
    device::{Ask, Device, Link, Next, Verdict, Wish},
    world::{Asker, Event, LANE, World, somewhere},
};
use crate::harness::{profile, rider};

/// The name of a frame, as its device gives it.
pub fn frame_id(intent: u64) -> String {
    format!("f{intent}")
}

/// What a device sends.
#[derive(Clone, Debug)]
pub struct Frame {
    pub rider: RiderId,
    pub session: SessionId,
    pub intent: u64,
    /// `None` is the device's `hello`.
    pub wish: Option<Wish>,
    pub sent: Timestamp,
}

/// What a device receives.
#[derive(Clone, Debug)]
pub enum Down {
    Answer(u64, Result<Outcome, Refusal>),
    Notice(Notice),
}

/// Vehicles, their room and their speed in metres per second: somebody can carry everything.
const FLEET: [(Vehicle, u32, f64); 13] = [
    (Vehicle::Car, 20, 5.5),
    (Vehicle::Car, 20, 5.5),
    (Vehicle::Motorcycle, 10, 6.1),
    (Vehicle::Motorcycle, 10, 6.1),
    (Vehicle::Motorcycle, 10, 6.1),
    (Vehicle::Motorcycle, 10, 6.1),
    (Vehicle::Motorcycle, 10, 6.1),
    (Vehicle::Motorcycle, 10, 6.1),
    (Vehicle::Motorcycle, 10, 6.1),
    (Vehicle::Bicycle, 4, 4.2),
    (Vehicle::Bicycle, 4, 4.2),
    (Vehicle::Bicycle, 4, 4.2),
    (Vehicle::Walking, 2, 1.4),
];

/// Riders of a fleet that is too small for its orders.
const SHORT: usize = 4;

impl World {
    pub fn hire(&mut self) {
        let short = self.settings.policy.max_active_orders > 2;
        for (n, (vehicle, capacity_units, speed)) in (0..).zip(FLEET).take(if short { SHORT } else { FLEET.len() }) {
            let id = rider(n);
            let mut profile = profile(id);
            (profile.vehicle, profile.capacity_units) = (vehicle, capacity_units);
            // The first of the cars has both, so that somebody can take everything.
            let tags = ["thermal_bag", "cod"].into_iter().take(usize::try_from((n + 2) % 4).unwrap());
            profile.tags = Tags::parse(tags).unwrap();
            self.store.riders.insert(id, (profile, dispatch_engine::domain::duty::Duty::Off));
            let place = somewhere(&mut self.rng);
            self.devices.insert(id, Device::new(place, speed));
            let first = self.rng.random_range(1_000..300_000);
            self.think_in(id, first);
            self.fate_in(id);
        }
    }

    pub fn think_in(&mut self, rider: RiderId, ms: u64) {
        let Some(device) = self.devices.get_mut(&rider) else { return };
        device.generation += 1;
        let generation = device.generation;
        self.after_ms(ms, Event::Think(rider, generation));
    }

    fn fate_in(&mut self, rider: RiderId) {
        let ms = self.rng.random_range(60_000..1_200_000);
        self.after_ms(ms, Event::Fate(rider));
    }

    pub fn think(&mut self, rider: RiderId, generation: u32) {
        let calm = self.calm;
        let Some(device) = self.devices.get_mut(&rider) else { return };
        if device.generation != generation || device.away {
            return;
        }
        match device.decide(&mut self.rng, calm) {
            Next::Connect => {
                self.last_session += 1;
                let session = SessionId(self.last_session);
                device.link = Link::Opening(session);
                self.send(rider, session, 0, None);
                // No welcome: another attempt, and another session.
                let patience = self.rng.random_range(10_000..20_000);
                self.think_in(rider, patience);
            }
            Next::Ask(wish) => {
                self.last_intent += 1;
                let intent = self.last_intent;
                device.ask = Some(Ask { intent, wish, timer: 0 });
                device.note(intent, wish);
                self.resend_in(rider, 0);
            }
            Next::Wait(ms) => self.think_in(rider, ms),
        }
    }

    /// Sends the request that waits, and again until it is answered.
    pub fn resend(&mut self, rider: RiderId, timer: u64) {
        let Some(device) = self.devices.get(&rider) else { return };
        let Some(ask) = device.ask.filter(|ask| ask.timer == timer) else { return };
        if let (Link::Up(session), false) = (device.link, device.away) {
            self.send(rider, session, ask.intent, Some(ask.wish));
        }
        let patience = self.rng.random_range(8_000..15_000);
        self.resend_in(rider, patience);
    }

    fn resend_in(&mut self, rider: RiderId, ms: u64) {
        self.last_timer += 1;
        let timer = self.last_timer;
        if let Some(ask) = self.devices.get_mut(&rider).and_then(|device| device.ask.as_mut()) {
            ask.timer = timer;
            self.after_ms(ms, Event::Resend(rider, timer));
        }
    }

    fn send(&mut self, rider: RiderId, session: SessionId, intent: u64, wish: Option<Wish>) {
        let frame = Frame { rider, session, intent, wish, sent: self.now };
        for ms in self.travel() {
            self.after_ms(ms, Event::Frame(frame.clone()));
        }
    }

    pub fn send_down(&mut self, rider: RiderId, session: SessionId, down: Down) {
        for ms in self.travel() {
            self.after_ms(ms, Event::Down(rider, session, Box::new(down.clone())));
        }
    }

    /// When the copies of a frame arrive: none, one or two.
    fn travel(&mut self) -> Vec<u64> {
        if self.chance(self.faults.frame_lost) {
            self.count("frame lost");
            return vec![];
        }
        let mut arrivals = vec![self.rng.random_range(30..400)];
        if self.chance(self.faults.frame_late) {
            self.count("frame late");
            arrivals[0] += self.rng.random_range(2_000..60_000);
        }
        if self.chance(self.faults.frame_twice) {
            self.count("frame twice");
            arrivals.push(arrivals[0] + self.rng.random_range(0..30_000));
        }
        arrivals
    }

    /// A frame reaches the city.
    pub fn frame(&mut self, frame: &Frame) -> Checked {
        if self.city.is_none() {
            return Ok(());
        }
        let Frame { rider, session, intent, wish, sent } = *frame;
        let reply = self.expect(Asker::Device { rider, session, intent });
        let command = match wish {
            None => Command::Connect { rider: self.store.riders[&rider].0.clone(), session, reply },
            Some(Wish::Duty(duty)) => Command::SetDuty { rider, session, duty, reply },
            Some(Wish::Seen(offer)) => Command::OfferSeen { rider, session, offer, reply },
            Some(Wish::Answer(offer, accept)) => {
                let answer = if accept { Answer::Accept } else { Answer::Decline { reason: "too far".into() } };
                Command::AnswerOffer { rider, session, offer, answer, reply }
            }
            Some(Wish::Step(order, step)) => {
                let report = self.report(rider, order, step, sent);
                Command::Progress { rider, session, report: Box::new(report), reply }
            }
            Some(Wish::Late(order, step, at)) => {
                let report = self.report(rider, order, step, at);
                Command::Progress { rider, session, report: Box::new(report), reply }
            }
        };
        let Some(wish) = wish else { return self.apply(command) };
        let mut digest = [0; 32];
        let words = format!("{wish:?}");
        digest.iter_mut().zip(words.bytes().rev()).for_each(|(to, from)| *to = from);
        let key = FrameKey { id: frame_id(intent), digest };
        self.apply(Command::Framed { key, command: Box::new(command) })
    }

    fn report(
        &self,
        rider: RiderId,
        order: dispatch_engine::domain::ids::OrderId,
        step: Step,
        at: Timestamp,
    ) -> StepReport {
        StepReport {
            order,
            step,
            at,
            position: Some(self.devices[&rider].position),
            reason: Some("so it was".into()),
            proof: (step == Step::Delivered).then(|| json!({"otp": "digest"})),
            otp: None,
        }
    }

    /// A frame reaches a device, if the device still listens there.
    pub fn down(&mut self, rider: RiderId, session: SessionId, down: &Down) {
        let calm = self.calm;
        let Some(device) = self.devices.get_mut(&rider) else { return };
        let listens = device.link == Link::Up(session) || device.link == Link::Opening(session);
        if device.away || !listens {
            return;
        }
        match down {
            Down::Answer(0, Ok(Outcome::Connected(sync))) => {
                if device.link == Link::Up(session) {
                    return;
                }
                let think = device.welcomed(session, sync, &mut self.rng, calm);
                self.resend_in(rider, 500);
                self.think_in(rider, think);
            }
            Down::Answer(0, _) => {
                device.link = Link::Down;
                self.think_in(rider, 10_000);
            }
            Down::Answer(intent, result) => {
                if device.ask.is_none_or(|ask| ask.intent != *intent) {
                    return;
                }
                match device.answered(result, &mut self.rng, calm) {
                    Verdict::Think(ms) => self.think_in(rider, ms),
                    Verdict::Again(ms) => self.resend_in(rider, ms),
                }
            }
            Down::Notice(notice) => {
                if let Some(ms) = device.told(notice, &mut self.rng, calm) {
                    self.think_in(rider, ms);
                }
            }
        }
    }

    /// The live dots of the moment, as a lane hands them over: one batch; late points come with a later one.
    pub fn lane(&mut self) {
        self.after_ms(LANE, Event::Lane);
        let (lost, late) = (self.faults.frame_lost, self.faults.frame_late);
        let (mut batch, mut behind) = (Vec::new(), Vec::new());
        for (rider, device) in &self.devices {
            let Link::Up(session) = device.link else { continue };
            if device.away || self.rng.random_bool(lost) {
                continue;
            }
            let fix = Fix { rider: *rider, session, position: device.position, recorded_at: self.now };
            if self.rng.random_bool(late) { behind.push(fix) } else { batch.push(fix) }
        }
        if !behind.is_empty() {
            let ms = self.rng.random_range(1_000..45_000);
            self.after_ms(ms, Event::Fixes(behind));
        }
        if !batch.is_empty() {
            self.after_ms(0, Event::Fixes(batch));
        }
    }

    /// Fate looks at a rider.
    pub fn fate(&mut self, rider: RiderId) {
        self.fate_in(rider);
        let faults = self.faults;
        let Some(device) = self.devices.get(&rider).filter(|device| !device.away) else { return };
        let (link, carrying) = (device.link, !device.jobs.is_empty());
        if self.chance(faults.connection_lost) {
            self.count("connection lost");
            let think = self.rng.random_range(500..20_000);
            self.cut(rider, link, think, 60_000);
        } else if self.chance(faults.app_restart) {
            self.count("app restart");
            if let Some(device) = self.devices.get_mut(&rider) {
                device.forget();
            }
            let think = self.rng.random_range(5_000..60_000);
            self.cut(rider, link, think, 5_000);
        } else if self.chance(faults.vanish) {
            self.count(if carrying { "vanished with an order" } else { "vanished" });
            let minutes = self.rng.random_range(1..25_u64);
            let (now, offline) = (self.now, carrying && self.rng.random_bool(0.6));
            if let Some(device) = self.devices.get_mut(&rider) {
                device.away = true;
                if offline {
                    device.work_offline(now, minutes, &mut self.rng);
                }
            }
            if offline {
                self.count("worked without a network");
            }
            self.after_ms(minutes * 60_000, Event::Back(rider));
            if let (Link::Up(session), true) = (link, self.rng.random_bool(0.7)) {
                let noticed = self.rng.random_range(20_000..120_000);
                self.after_ms(noticed, Event::Gone(rider, session));
            }
        } else if let (Link::Up(session), true) = (link, self.chance(faults.frame_twice * 3.0)) {
            let Some((intent, wish)) = self.devices[&rider].old_frame(&mut self.rng) else { return };
            self.count("old frame repeated");
            self.send(rider, session, intent, Some(wish));
        } else if self.chance(faults.suspension) {
            self.count(if carrying { "suspended with an order" } else { "suspended" });
            self.after_ms(0, Event::Profile(rider, RiderStatus::Suspended));
            let minutes = self.rng.random_range(5..60_u64);
            self.after_ms(minutes * 60_000, Event::Profile(rider, RiderStatus::Active));
        }
    }

    /// A connection breaks; the server notices within `noticed_ms`, often after the next session has begun.
    fn cut(&mut self, rider: RiderId, link: Link, think_ms: u64, noticed_ms: u64) {
        if let Some(device) = self.devices.get_mut(&rider) {
            device.link = Link::Down;
        }
        if let Link::Up(session) | Link::Opening(session) = link {
            let noticed = self.rng.random_range(0..noticed_ms);
            self.after_ms(noticed, Event::Gone(rider, session));
        }
        self.think_in(rider, think_ms);
    }

    pub fn back(&mut self, rider: RiderId) {
        if let Some(device) = self.devices.get_mut(&rider) {
            device.away = false;
            device.link = Link::Down;
        }
        self.think_in(rider, 1_000);
    }

    /// Every socket of the city is closed, because the city is gone.
    pub fn hang_up(&mut self) {
        let riders: Vec<RiderId> = self.devices.keys().copied().collect();
        for rider in riders {
            if let Some(device) = self.devices.get_mut(&rider) {
                device.link = Link::Down;
            }
            let slow = self.rng.random_bool(0.05);
            let think = self.rng.random_range(1_000..if slow { 900_000 } else { 30_000 });
            self.think_in(rider, think);
        }
    }

    /// The store's view of a rider changes, and the city is told.
    pub fn profile_changed(&mut self, rider: RiderId, status: RiderStatus) -> Checked {
        let Some((profile, _)) = self.store.riders.get_mut(&rider) else { return Ok(()) };
        profile.status = if self.calm { RiderStatus::Active } else { status };
        let profile = profile.clone();
        self.apply(Command::UpdateProfile(profile))
    }

    /// Remembers who waits for an answer.
    pub fn expect(&mut self, asker: Asker) -> ReplyTo {
        self.last_reply += 1;
        self.asks.insert(self.last_reply, (self.now, asker));
        ReplyTo(self.last_reply)
    }

    /// How long ago the oldest question was asked.
    pub fn longest_wait(&self) -> Duration {
        self.asks.values().map(|(at, _)| self.now.since(*at)).max().unwrap_or_default()
    }
}
