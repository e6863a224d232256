//! The small world itself: the real city, the model of the store, the journal between them, and who talks to them.
//!
//! Devices are not modelled but feared. Whatever a rider was ever told of may be answered at any time, any number of
//! times and in any order, which is what a network and an impatient app can make of it: a frame that is lost is one that
//! is not asked, a late one is asked later, a repeated one twice.

use std::{collections::BTreeMap, rc::Rc};

use dispatch_engine::{
    domain::{
        city::City as Settings,
        duty::{Duty, DutyReason},
        ids::{OfferId, OrderId, ReplyTo, RiderId, SessionId},
        order::{Actor, Step},
        position::Position,
        time::Timestamp,
    },
    engine::{
        City,
        answered::FrameKey,
        command::{Answer, Command, Fix, IdempotencyRecord, PlacementExtras, RejectReason, StepReport},
        effect::{Effect, Write},
        invariants,
    },
};
use serde_json::json;

use super::{
    action::{Action, Ask},
    journal::{self, Journal},
    scenario::{Budget, Scenario, TICK_S},
};
use crate::{
    harness::{START, at, order, profile, rider, secs, settings, spec},
    simulation::{Checked, auditor::Auditor, ensure, fleet::frame_id, store::Store},
};

/// Seed of a city's ids; every incarnation draws another.
const SEED: u64 = 77_000;

/// A rider, as far as the world knows.
#[derive(Clone, Debug)]
pub struct Rider {
    pub id: RiderId,
    /// Sessions opened so far; the last one is the device's.
    pub sessions: u64,
    pub up: bool,
    /// The city has a position.
    pub located: bool,
    /// Everything that the rider was ever told of.
    pub offers: Vec<OfferId>,
    pub orders: Vec<OrderId>,
    /// What the last `welcome` and the words since leave open; only the drain acts by it.
    pub open_offer: Option<OfferId>,
    pub job: Option<(OrderId, Step)>,
}

/// The merchant of one order.
#[derive(Clone, Debug, Default)]
pub struct Merchant {
    pub placements: u8,
    /// What the order is called, once somebody has said so.
    pub order: Option<OrderId>,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
pub enum Asker {
    Rider { rider: usize, session: SessionId, intent: u64 },
    Merchant(usize),
}

#[derive(Clone)]
pub struct Model {
    pub now: Timestamp,
    pub settings: Settings,
    pub city: Option<City>,
    pub epoch: u32,
    pub store: Store,
    pub journal: Journal,
    pub auditor: Auditor,
    pub riders: Vec<Rider>,
    pub merchants: Vec<Merchant>,
    pub asks: BTreeMap<u64, Asker>,
    pub left: Budget,
    /// Whether what happens is judged: not again on a way that was judged before.
    pub judging: bool,
    /// What the last action brought about: events that were stored, refusals, and what only the model knows.
    pub seen: Vec<&'static str>,
    /// What was done, and not yet forgotten by whoever wants to know.
    pub trail: Vec<Action>,
    pub scenario: Rc<Scenario>,
}

/// Where a rider stands: each one farther from the counter than the one before.
fn place_of(rider: usize) -> Position {
    at(12.972 + 0.002 * f64::from(u32::try_from(rider).unwrap()), 77.59)
}

impl Model {
    /// The world before anything is explored: everybody connected, on duty and in reach, and what is placed beforehand is
    /// in the queue.
    pub fn new(scenario: Rc<Scenario>) -> Result<Self, String> {
        let mut settings = settings();
        settings.policy = scenario.policy();
        let mut model = Self {
            now: START,
            settings,
            city: None,
            epoch: 0,
            store: Store::under(scenario.policy()),
            journal: Journal::new(scenario.fenced),
            auditor: Auditor::default(),
            riders: Vec::new(),
            merchants: vec![Merchant::default(); scenario.orders],
            asks: BTreeMap::new(),
            left: Budget { ticks: u8::MAX, duties: u8::MAX, ..Budget::NOTHING },
            judging: true,
            seen: Vec::new(),
            trail: Vec::new(),
            scenario: scenario.clone(),
        };
        for n in 0..scenario.riders {
            let id = rider(u128::try_from(n).unwrap());
            model.store.riders.insert(id, (profile(id), Duty::Off));
            let (offers, orders) = (Vec::new(), Vec::new());
            let (open_offer, job) = (None, None);
            model.riders.push(Rider { id, sessions: 0, up: false, located: false, offers, orders, open_offer, job });
        }
        let mut opening = vec![Action::Restart];
        for n in 0..scenario.riders {
            opening.extend([Action::Hello(n), Action::Ask(n, Ask::Duty(Duty::On)), Action::Commit, Action::Ping(n)]);
        }
        if scenario.placements == 0 {
            (0..scenario.orders).for_each(|n| opening.extend([Action::Place(n), Action::Commit]));
        }
        opening.extend_from_slice(scenario.opening);
        opening.into_iter().try_for_each(|action| model.perform(action))?;
        model.left = scenario.budget;
        Ok(model)
    }

    /// Lets something happen, with everything that follows from it at once. An error is a broken promise.
    pub fn perform(&mut self, action: Action) -> Checked {
        self.seen.clear();
        self.trail.push(action);
        match action {
            Action::Place(n) => self.place(n),
            Action::Cancel(n) => {
                self.left.cancels -= 1;
                let Some(order) = self.merchants[n].order else { return Ok(()) };
                let reply = self.expect(Asker::Merchant(n));
                self.apply(Command::Cancel {
                    order,
                    actor: Actor::ENGINE,
                    reason: "changed their mind".into(),
                    reply,
                    given: Default::default(),
                })
            }
            Action::Hello(n) => {
                self.left.takeovers -= u8::from(self.riders[n].up);
                self.riders[n].sessions += 1;
                let (rider, session) = self.session(n);
                let reply = self.expect(Asker::Rider { rider: n, session, intent: 0 });
                self.auditor.at_door(self.now, rider, session);
                self.apply(Command::Connect { rider: profile(rider), session, reply })
            }
            Action::Lost(n) => {
                self.left.losses -= 1;
                self.riders[n].up = false;
                let (rider, session) = self.session(n);
                self.apply(Command::Disconnect { rider, session })
            }
            Action::LostLate(n) => {
                let (rider, SessionId(session)) = self.session(n);
                self.apply(Command::Disconnect { rider, session: SessionId(session - 1) })
            }
            Action::Ping(n) => {
                self.riders[n].located = true;
                let (rider, session) = self.session(n);
                self.auditor.at_door(self.now, rider, session);
                let fix = Fix { rider, session, position: place_of(n), recorded_at: self.now };
                self.apply(Command::Fixes(vec![fix]))
            }
            Action::Ask(n, ask) => {
                self.left.duties -= u8::from(matches!(ask, Ask::Duty(_)));
                let (_, session) = self.session(n);
                self.ask(n, session, ask)
            }
            Action::AskLate(n, ask) => {
                let (_, SessionId(session)) = self.session(n);
                self.ask(n, SessionId(session - 1), ask)
            }
            Action::Tick => {
                self.left.ticks -= 1;
                self.now = self.now + secs(TICK_S.into());
                self.apply(Command::Tick)
            }
            Action::Commit => self.commit(),
            Action::CommitUnheard => {
                self.left.unheard -= 1;
                match self.journal.commit_unheard(&mut self.store)? {
                    Some((write, Ok(()))) => self.note_stored(&write),
                    Some((_, Err(_))) | None => {}
                }
                Ok(())
            }
            Action::RefuseHead => {
                self.left.invalid -= 1;
                let write = self.journal.take_head();
                self.answer(write, Err(RejectReason::Invalid("a refusal of the model".to_owned())))
            }
            Action::RefuseTail => {
                self.left.busy -= 1;
                let write = self.journal.take_tail();
                self.answer(write, Err(RejectReason::Busy))
            }
            Action::CrashCity => {
                self.crash();
                Ok(())
            }
            Action::CrashProcess => {
                self.journal.lose_everything();
                self.crash();
                Ok(())
            }
            Action::Restart => self.restart(),
        }
    }

    fn place(&mut self, n: usize) -> Checked {
        let number = u128::try_from(n).unwrap();
        // Every attempt is a new order to the city; the key and the reference say that it is the same.
        let mut spec = spec(order(number * 16 + u128::from(self.merchants[n].placements)), self.now);
        self.merchants[n].placements += 1;
        spec.external_ref = Some(format!("ref-{n}"));
        let idempotency = IdempotencyRecord {
            caller: "merchant".into(),
            key: format!("key-{n}"),
            digest: vec![],
            answer: json!(spec.id.to_string()),
            expires_at: self.now + secs(86_400),
        };
        let extras = Box::new(PlacementExtras { contact: None, idempotency: Some(idempotency) });
        let reply = self.expect(Asker::Merchant(n));
        self.apply(Command::Place { spec: Box::new(spec), extras, actor: Actor::ENGINE, reply })
    }

    fn ask(&mut self, n: usize, session: SessionId, ask: Ask) -> Checked {
        let Rider { id: rider, ref offers, ref orders, .. } = self.riders[n];
        let answer = |offer: usize, answer| (offers[offer], answer);
        let build: Box<dyn FnOnce(ReplyTo) -> Command> = match ask {
            Ask::Duty(duty) => Box::new(move |reply| Command::SetDuty { rider, session, duty, reply }),
            Ask::Seen(offer) => {
                let offer = offers[offer];
                Box::new(move |reply| Command::OfferSeen { rider, session, offer, reply })
            }
            Ask::Accept(offer) => {
                let (offer, answer) = answer(offer, Answer::Accept);
                Box::new(move |reply| Command::AnswerOffer { rider, session, offer, answer, reply })
            }
            Ask::Decline(offer) => {
                let (offer, answer) = answer(offer, Answer::Decline { reason: "too far".into() });
                Box::new(move |reply| Command::AnswerOffer { rider, session, offer, answer, reply })
            }
            Ask::Step(order, step) => {
                let report = Box::new(StepReport {
                    order: orders[order],
                    step,
                    at: self.now,
                    position: Some(place_of(n)),
                    reason: Some("so it was".into()),
                    proof: (step == Step::Delivered).then(|| json!({"photo": "key"})),
                    otp: None,
                });
                Box::new(move |reply| Command::Progress { rider, session, report, reply })
            }
        };
        self.auditor.at_door(self.now, rider, session);
        let intent = ask.intent();
        let reply = self.expect(Asker::Rider { rider: n, session, intent });
        let command = build(reply);
        if intent == 0 {
            return self.apply(command);
        }
        let key = FrameKey { id: frame_id(intent), digest: [0; 32] };
        self.apply(Command::Framed { key, command: Box::new(command) })
    }

    fn commit(&mut self) -> Checked {
        if self.journal.head().is_some_and(|write| self.store.holds(write.transition())) {
            self.seen.push("found stored");
        }
        for (write, answer) in self.journal.commit_next(&mut self.store)? {
            // One that was stored unheard is noted already, and noting it once more changes nothing.
            if answer.is_ok() {
                self.note_stored(&write);
                self.seen.extend(self.city.is_none().then_some("stored for nobody"));
            }
            if answer == Err(RejectReason::Fenced) {
                // Whoever decided it is gone.
                self.seen.push("fenced");
                continue;
            }
            self.answer(Some(write), answer)?;
        }
        Ok(())
    }

    fn note_stored(&mut self, write: &Write) {
        self.auditor.stored(write);
        self.seen.extend(match write {
            Write::Place(place) => place.events.iter().map(|event| event.kind).collect(),
            Write::Order(order) => order.events.iter().map(|event| event.kind).collect(),
            Write::Offer { offer, .. } => vec![offer.state.as_str()],
            Write::Duty(duty) => vec![duty.duty.as_str()],
            Write::Note(note) => vec![note.event.kind],
            Write::Dispute(dispute) => vec![dispute.event.kind],
        });
    }

    /// The journal answers the city, if somebody is there to hear it.
    fn answer(&mut self, write: Option<Write>, answer: journal::Answer) -> Checked {
        let Some(transition) = write.as_ref().map(Write::transition).filter(|_| self.city.is_some()) else {
            return Ok(());
        };
        ensure(answer != Err(RejectReason::Conflict), || format!("{transition:?} finds another version stored"))?;
        self.auditor.confirmed(transition);
        self.apply(match answer {
            Ok(()) => Command::Committed { transition },
            Err(why) => Command::Rejected { transition, why },
        })
    }

    fn crash(&mut self) {
        self.left.crashes -= 1;
        self.city = None;
        self.asks.clear();
        for rider in &mut self.riders {
            (rider.up, rider.located) = (false, false);
        }
    }

    fn restart(&mut self) -> Checked {
        self.epoch = self.journal.claim();
        let image = self.store.image(self.now);
        self.auditor.restored(self.now, &self.store);
        let seed = SEED + u64::from(self.epoch);
        let (mut city, effects) = City::restore(self.settings.clone(), seed, self.now, image);
        if let Some(defect) = self.scenario.defect {
            city.break_with(defect);
        }
        self.city = Some(city);
        effects.into_iter().try_for_each(|effect| self.carry_out(effect))
    }

    /// One step of the engine.
    fn apply(&mut self, command: Command) -> Checked {
        let Some(city) = &mut self.city else { return Ok(()) };
        self.auditor.before(self.now, &command);
        let effects = city.apply(self.now, command);
        if self.judging && self.scenario.inside {
            invariants::check(city, self.now).map_err(|broken| broken.to_string())?;
        }
        // What operators were shown changes nothing; so it need not tell states apart.
        drop(city.take_changes(self.now));
        effects.into_iter().try_for_each(|effect| self.carry_out(effect))
    }

    fn carry_out(&mut self, effect: Effect) -> Checked {
        match effect {
            Effect::Persist(write) => {
                if let Write::Duty(duty) = &*write
                    && (duty.duty, duty.reason) == (Duty::AutoOff, DutyReason::Silent)
                {
                    self.auditor.taken_off(self.now, duty.rider, &self.settings.policy)?;
                }
                self.journal.submit(self.epoch, *write);
                Ok(())
            }
            Effect::Reply { to, result } => {
                let asker = self.asks.remove(&to.0);
                let asker = asker.ok_or_else(|| format!("somebody is answered who does not wait: {result:?}"))?;
                self.hear_answer(asker, &result)
            }
            Effect::Notify { rider, session, notice } => self.hear_notice(rider, session, &notice),
            Effect::Wake(wake) => self.auditor.woken(self.now, &self.store, &self.settings.policy, wake),
            Effect::Alert(_) | Effect::Measure(_) => Ok(()),
        }
    }

    /// A rider with the session that the device has now. Numbers are never used again, by anybody.
    pub fn session(&self, n: usize) -> (RiderId, SessionId) {
        let Rider { id, sessions, .. } = self.riders[n];
        (id, SessionId(u64::try_from(n).unwrap() * 1_000 + sessions))
    }

    /// Remembers who waits, under the lowest number that is free for the one who asks.
    fn expect(&mut self, asker: Asker) -> ReplyTo {
        let first = match asker {
            Asker::Rider { rider, .. } => 100 * rider,
            Asker::Merchant(n) => 10_000 + 100 * n,
        };
        let first = u64::try_from(first).unwrap();
        let number = (first..).find(|number| !self.asks.contains_key(number)).unwrap_or(first);
        self.asks.insert(number, asker);
        ReplyTo(number)
    }

    pub fn waits_for_rider(&self, n: usize) -> usize {
        self.asks.values().filter(|asker| matches!(asker, Asker::Rider { rider, .. } if *rider == n)).count()
    }

    pub fn waits_for_merchant(&self, n: usize) -> usize {
        self.asks.values().filter(|asker| matches!(asker, Asker::Merchant(of) if *of == n)).count()
    }

    /// Whether an order is a rider's, as stored.
    pub fn holds(&self, n: usize, order: usize) -> bool {
        let rider = &self.riders[n];
        self.store.orders.get(&rider.orders[order]).is_some_and(|row| row.state.rider == Some(rider.id))
    }

    /// The version of an order that the city knows, when it knows one.
    pub fn known_version(&self, order: OrderId) -> Option<i32> {
        self.auditor.version_known(order)
    }
}
