//! The world of one seed: virtual time, the agenda of what happens next, the city and its deaths.

use std::{
    collections::{BTreeMap, VecDeque, hash_map::DefaultHasher},
    time::Duration,
};

use dispatch_engine::{
    domain::{
        city::City as Settings,
        duty::{Duty, DutyReason},
        ids::{RiderId, SessionId, TransitionId},
        position::Position,
        rider::RiderStatus,
        time::Timestamp,
    },
    engine::{
        City, Defect,
        command::{Command, Outcome, Refusal, RejectReason},
        effect::{Alert, Effect, Write},
        invariants,
        wake::WakeWhy,
    },
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Checked,
    auditor::Auditor,
    device::Device,
    ensure,
    faults::Faults,
    fleet::{Down, Frame, frame_id},
    journal::Journal,
    merchants::Request,
    operators::Act,
    policies,
    repeats::recall,
    store::Store,
};
use crate::harness::{START, at, settings};

/// Milliseconds between the ticks of the city.
const TICK: u64 = 6_000;
/// Milliseconds between the batches of a ping lane.
pub const LANE: u64 = 15_000;
/// Milliseconds between two looks of the auditor at the whole city.
const WATCH: u64 = 60_000;
/// How long the city has to finish what it has once the faults have stopped.
const DRAIN: Duration = Duration::from_secs(5 * 3_600);
/// Nobody waits longer for an answer: the journal's worst stall and a queue of commands behind a slow one.
const ANSWER_BOUND: Duration = Duration::from_secs(12 * 60);
/// What happens at a time.
#[derive(Clone, Debug)]
pub enum Event {
    Tick,
    Resume,
    Doom,
    Restart,
    Lane,
    Watch,
    Drain,
    Frame(Frame),
    Fixes(Vec<dispatch_engine::engine::command::Fix>),
    Gone(RiderId, SessionId),
    Down(RiderId, SessionId, Box<Down>),
    Think(RiderId, u32),
    Resend(RiderId, u64),
    Fate(RiderId),
    Back(RiderId),
    Profile(RiderId, RiderStatus),
    NewOrder,
    Merchant(Request),
    StepIn,
    Operator(Act),
    Settings,
    Store(TransitionId),
    Answer(u64, TransitionId, Result<(), RejectReason>),
}

impl Event {
    /// Whether it stands at the city's door while the city's thread stands still.
    const fn is_for_city(&self) -> bool {
        matches!(
            self,
            Self::Tick
                | Self::Frame(_)
                | Self::Fixes(_)
                | Self::Gone(..)
                | Self::Profile(..)
                | Self::Merchant(_)
                | Self::Operator(_)
                | Self::Settings
                | Self::Answer(..)
        )
    }
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
pub enum Asker {
    Device { rider: RiderId, session: SessionId, intent: u64 },
    Merchant(Request),
    Operator(Act),
}

/// How a seed is lived.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub minutes: u64,
    /// What the engine does wrong.
    pub defect: Option<Defect>,
    /// Whether the engine's own invariants are checked too, or only what an outsider sees.
    pub inside: bool,
    /// The first step that is written down.
    pub trace_from: u64,
}

pub struct World {
    pub plan: Plan,
    pub now: Timestamp,
    pub rng: ChaCha8Rng,
    pub faults: Faults,
    /// The faults are over and everybody works: what is left must drain.
    pub calm: bool,
    pub city: Option<City>,
    pub settings: Settings,
    pub incarnation: u64,
    pub store: Store,
    pub journal: Journal,
    pub auditor: Auditor,
    pub devices: BTreeMap<RiderId, Device>,
    pub asks: BTreeMap<u64, (Timestamp, Asker)>,
    pub last_reply: u64,
    pub last_session: u64,
    pub last_intent: u64,
    pub last_timer: u64,
    pub last_order: u64,
    pub last_act: u64,
    pub steps: u64,
    pub tally: BTreeMap<&'static str, u64>,
    pub log: VecDeque<String>,
    /// Of every line that was written down.
    pub digest: DefaultHasher,
    agenda: BTreeMap<(Timestamp, u64), Event>,
    scheduled: u64,
    /// What stands at the city's door while its thread stands still.
    pub backlog: Option<Vec<Event>>,
    /// The city dies within the effects of its next step.
    pub doomed: bool,
    done: bool,
}

/// A place in a small city.
pub fn somewhere(rng: &mut ChaCha8Rng) -> Position {
    at(12.97 + rng.random_range(-0.013..0.013), 77.59 + rng.random_range(-0.013..0.013))
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let faults = Faults::draw(&mut rng);
        let mut settings = settings();
        settings.policy = policies::draw(&mut rng);
        // In every other seed riders are offered work ahead, in half of those because there are too few of them.
        settings.policy.max_active_orders = [1, 1, 2, 3][usize::try_from(plan.seed % 4).unwrap()];
        // These riders report the place of their last stop all the way to the next one.
        settings.policy.forward_within_s = 1_500;
        let terms = settings.policy.clone();
        Self {
            plan,
            now: START,
            rng,
            faults,
            calm: false,
            city: None,
            settings,
            incarnation: 0,
            store: Store::under(terms),
            journal: Journal::default(),
            auditor: Auditor::default(),
            devices: BTreeMap::new(),
            asks: BTreeMap::new(),
            last_reply: 0,
            last_session: 0,
            last_intent: 0,
            last_timer: 0,
            last_order: 0,
            last_act: 0,
            steps: 0,
            tally: BTreeMap::new(),
            log: VecDeque::new(),
            digest: DefaultHasher::new(),
            agenda: BTreeMap::new(),
            scheduled: 0,
            backlog: None,
            doomed: false,
            done: false,
        }
    }

    /// Lives through the plan's minutes and the drain after them.
    pub fn live(&mut self) -> Checked {
        self.hire();
        self.restart()?;
        for event in [Event::Tick, Event::Lane, Event::Watch, Event::Doom, Event::NewOrder, Event::StepIn] {
            self.after_ms(0, event);
        }
        self.after_ms(3_600_000, Event::Settings);
        self.after_ms(self.plan.minutes * 60_000, Event::Drain);
        while !self.done {
            let Some(((at, _), event)) = self.agenda.pop_first() else {
                return Err("nothing is left to happen".to_owned());
            };
            self.now = at;
            self.happen(event)?;
        }
        Ok(())
    }

    pub fn happen(&mut self, event: Event) -> Checked {
        if let Event::Frame(Frame { rider, session, .. }) = &event {
            self.auditor.at_door(self.now, *rider, *session);
        }
        if let Event::Fixes(fixes) = &event {
            fixes.iter().for_each(|fix| self.auditor.at_door(self.now, fix.rider, fix.session));
        }
        if let Some(backlog) = &mut self.backlog
            && event.is_for_city()
        {
            backlog.push(event);
            return Ok(());
        }
        match event {
            Event::Tick => self.tick(),
            Event::Resume => self.resume(),
            Event::Doom => self.doom(),
            Event::Restart => self.restart(),
            Event::Lane => {
                self.lane();
                Ok(())
            }
            Event::Watch => self.watch(),
            Event::Drain => self.drain(),
            Event::Frame(frame) => self.frame(&frame),
            Event::Fixes(fixes) => self.apply(Command::Fixes(fixes)),
            Event::Gone(rider, session) => self.apply(Command::Disconnect { rider, session }),
            Event::Down(rider, session, down) => {
                self.down(rider, session, &down);
                Ok(())
            }
            Event::Think(rider, generation) => {
                self.think(rider, generation);
                Ok(())
            }
            Event::Resend(rider, timer) => {
                self.resend(rider, timer);
                Ok(())
            }
            Event::Fate(rider) => {
                self.fate(rider);
                Ok(())
            }
            Event::Back(rider) => {
                self.back(rider);
                Ok(())
            }
            Event::Profile(rider, status) => self.profile_changed(rider, status),
            Event::NewOrder => {
                self.new_order();
                Ok(())
            }
            Event::Merchant(request) => self.request(request),
            Event::StepIn => {
                self.step_in();
                Ok(())
            }
            Event::Operator(act) => self.operate(act),
            Event::Settings => self.new_settings(),
            Event::Store(transition) => self.store_write(transition),
            Event::Answer(incarnation, transition, result) => self.journal_answers(incarnation, transition, result),
        }
    }

    /// One step of the engine, and everything that follows from it at once.
    pub fn apply(&mut self, command: Command) -> Checked {
        let Some(city) = &mut self.city else { return Ok(()) };
        self.steps += 1;
        let shown = (self.steps >= self.plan.trace_from).then(|| match &command {
            Command::Fixes(fixes) => {
                format!("Fixes of {:?}", fixes.iter().map(|fix| fix.session.0).collect::<Vec<_>>())
            }
            Command::SetCity(city) => format!("SetCity {}", city.status),
            command => format!("{command:?}"),
        });
        self.auditor.before(self.now, &command);
        let effects = city.apply(self.now, command);
        // As the city's shell shows it to operators now and then; the counts that are kept settle with it.
        if self.steps.is_multiple_of(7) {
            drop(city.take_changes(self.now));
        }
        if self.plan.inside {
            invariants::check(city, self.now).map_err(|broken| broken.to_string())?;
        }
        if let Some(shown) = shown {
            self.note(&format!("#{} {shown}", self.steps));
        }
        // Death comes when it hurts: with something to store.
        let dies = self.doomed && effects.iter().any(|effect| matches!(effect, Effect::Persist(_)));
        let carried_out = if dies { self.rng.random_range(0..=effects.len()) } else { effects.len() };
        for effect in effects.into_iter().take(carried_out) {
            self.carry_out(effect)?;
        }
        if dies { self.crash() } else { Ok(()) }
    }

    pub fn carry_out(&mut self, effect: Effect) -> Checked {
        self.trace(|| format!("   -> {effect:?}"));
        match effect {
            Effect::Persist(write) => {
                if let Write::Duty(duty) = &*write
                    && (duty.duty, duty.reason) == (Duty::AutoOff, DutyReason::Silent)
                {
                    self.auditor.taken_off(self.now, duty.rider, &self.settings.policy)?;
                }
                self.submit(*write);
            }
            Effect::Reply { to, result } => {
                let Some((_, asker)) = self.asks.remove(&to.0) else {
                    return Err(format!("{to:?} is answered and nobody waits for it: {result:?}"));
                };
                match asker {
                    Asker::Device { rider, session, intent } => {
                        let stored = self.store.frames.answer(rider, &frame_id(intent));
                        let result = recall(result, stored);
                        let repeated = intent > 0 && self.judge_repeat(rider, intent, &result)?;
                        // An old duty, said again, is judged as a repetition.
                        if !(repeated && matches!(result, Ok(Outcome::Duty { .. }))) {
                            self.auditor.told(&self.store, Some(rider), &result)?;
                        }
                        self.send_down(rider, session, Down::Answer(intent, result));
                    }
                    Asker::Merchant(request) => {
                        self.auditor.told(&self.store, None, &result)?;
                        self.merchant_hears(request, &result)?;
                    }
                    Asker::Operator(act) => {
                        self.auditor.told(&self.store, None, &result)?;
                        self.operator_hears(act, &result);
                    }
                }
            }
            Effect::Notify { rider, session, notice } => {
                let policy = &self.settings.policy;
                self.auditor.noticed(self.now, &self.store, policy, (rider, session), &notice)?;
                self.send_down(rider, session, Down::Notice(notice));
            }
            Effect::Alert(Alert::SilentCarrier { .. }) => self.count("silent carrier"),
            Effect::Alert(Alert::NeedsOperator(_)) => self.count("parked"),
            Effect::Wake(wake) => {
                self.auditor.woken(self.now, &self.store, &self.settings.policy, wake)?;
                self.count(match wake.why {
                    WakeWhy::Offer => "offer woken",
                    WakeWhy::AutoOffWarning => "silence warned",
                });
            }
            Effect::Alert(Alert::Disputed { .. }) => self.count("disputed"),
            Effect::Alert(_) | Effect::Measure(_) => {}
        }
        Ok(())
    }

    fn judge_repeat(&mut self, rider: RiderId, intent: u64, result: &Result<Outcome, Refusal>) -> Result<bool, String> {
        let stored = self.store.frames.answer(rider, &frame_id(intent));
        let repeated = self.auditor.repeats.judge(self.now, (rider, intent), result, stored)?;
        if repeated {
            self.count("request repeated");
        }
        Ok(repeated)
    }

    fn tick(&mut self) -> Checked {
        self.after_ms(TICK, Event::Tick);
        self.apply(Command::Tick)
    }

    /// The auditor looks at the whole city.
    fn watch(&mut self) -> Checked {
        self.after_ms(WATCH, Event::Watch);
        let stands_still = self.backlog.is_some() || self.journal.stalled_until > self.now;
        let Some(city) = &self.city else { return Ok(()) };
        if stands_still {
            self.auditor.stood_still(self.now);
            return Ok(());
        }
        self.auditor.watch(&self.store, &city.snapshot(self.now))?;
        let quiet = city.counts(self.now).writes_pending == 0;
        let waits = self.longest_wait();
        ensure(waits <= ANSWER_BOUND, || format!("somebody waits {waits:?} for an answer: {:?}", self.asks))?;
        if self.calm && quiet && self.asks.is_empty() && self.store.open.is_empty() {
            self.done = true;
            return self.store.check_books();
        }
        let end = START + Duration::from_secs(self.plan.minutes * 60) + DRAIN;
        ensure(self.now < end, || {
            let open: Vec<_> =
                self.store.open.iter().map(|id| (id, self.store.orders[id].state.status)).take(5).collect();
            format!("{} orders reach no end, {} wait for an answer: {open:?}", self.store.open.len(), self.asks.len())
        })
    }

    /// The faults stop, everybody comes to work, and nothing new comes in.
    fn drain(&mut self) -> Checked {
        (self.calm, self.doomed) = (true, false);
        self.faults = Faults::default();
        let riders: Vec<RiderId> = self.devices.keys().copied().collect();
        for rider in riders {
            self.after_ms(0, Event::Profile(rider, RiderStatus::Active));
            if self.devices[&rider].away {
                self.back(rider);
            }
            self.think_in(rider, 2_000);
        }
        self.after_ms(0, Event::Settings);
        Ok(())
    }

    pub fn at(&mut self, at: Timestamp, event: Event) {
        self.scheduled += 1;
        self.agenda.insert((at, self.scheduled), event);
    }

    pub fn after_ms(&mut self, ms: u64, event: Event) {
        self.at(self.now + Duration::from_millis(ms), event);
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random_bool(probability)
    }
}
