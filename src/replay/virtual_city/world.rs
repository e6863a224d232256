//! The world around one engine: it brings the engine every command at its time and carries every effect out, as the shell of
//! a city does, with a journal that answers after a while and devices that are where they say they are.

use std::collections::BTreeMap;

use super::{
    Failure, Machine, Settings,
    agenda::{Agenda, Event},
    books::Books,
    names,
    requests::Ask,
    rider::{Act, Rider, Shared},
    setup,
};
use crate::{
    domain::{
        ids::{ReplyTo, SessionId},
        order::OrderSpec,
    },
    engine::{
        City, CityImage,
        command::{Answer, Command, Fix, Outcome, Refusal},
        effect::{Alert, Effect, Notice},
        invariants,
    },
    replay::{
        manners::NEVER,
        orders::PlannedOrder,
        outcome::{OrderOutcome, RiderOutcome},
        scenario::Scenario,
    },
};

/// Midnight of a virtual day on the engine's clock, milliseconds since 1970: any day will do.
const MIDNIGHT_MS: i64 = 1_767_225_600_000;

/// Riders whose shift has begun come on duty this long before time 0, milliseconds.
const WARM_UP_MS: i64 = 10_000;

/// Time between two ticks of the city, milliseconds; the default of `city.tick_ms`.
const TICK_MS: i64 = 1_000;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    /// A device that said hello.
    Hello(usize),
    /// A device, with the session and its own number of the request.
    Device(usize, SessionId, u64),
    /// The merchant of an order, who made this event happen.
    Merchant(usize, Event),
}

/// One city and everything around it.
pub(super) struct World {
    settings: Settings,
    pub(super) shared: Shared,
    city: City,
    pub(super) now: i64,
    pub(super) agenda: Agenda,
    pub(super) orders: Vec<PlannedOrder>,
    /// What the orders are for the engine, but for the id and time that the placement gives.
    pub(super) specs: Vec<OrderSpec>,
    riders: Vec<Rider>,
    /// When each rider's next entry in the agenda comes.
    wakes: Vec<i64>,
    /// Points of this instant.
    lane: Vec<Fix>,
    /// What a rider does now; kept for its memory only.
    acts: Vec<Act>,
    asked: BTreeMap<u64, Asker>,
    last_reply: u64,
    last_session: u64,
    writes_pending: usize,
    pub(super) books: Books,
    pub(super) machine: Machine,
}

impl World {
    /// A city before its first tick.
    pub fn new(scenario: Scenario, settings: Settings) -> Result<Self, Failure> {
        let t0 = MIDNIGHT_MS + i64::from(settings.window.from_s) * 1_000;
        let shared = Shared { manners: settings.manners.clone(), ping_every_ms: settings.ping_every_ms, t0 };
        let specs = scenario.orders.iter().map(|order| setup::spec(order, &settings.city, &shared));
        let specs = specs.collect::<Result<Vec<_>, _>>()?;
        let couriers = scenario.couriers.iter().enumerate();
        let riders = couriers.map(|(index, (courier, shift))| setup::rider(index, courier, *shift, &settings));
        let riders: Vec<Rider> = riders.collect();
        let mut agenda = Agenda::default();
        agenda.enter(-WARM_UP_MS, Event::Tick);
        for (index, order) in scenario.orders.iter().enumerate() {
            agenda.enter(order.at, Event::Place(index));
        }
        let books = Books::new(&scenario.orders, riders.len());
        let (city, effects) =
            City::restore(settings.city.clone(), settings.seed, shared.stamp(-WARM_UP_MS), CityImage::default());
        let mut world = Self {
            wakes: vec![NEVER; riders.len()],
            settings,
            shared,
            city,
            now: -WARM_UP_MS,
            agenda,
            orders: scenario.orders,
            specs,
            riders,
            lane: vec![],
            acts: vec![],
            asked: BTreeMap::new(),
            last_reply: 0,
            last_session: 0,
            writes_pending: 0,
            books,
            machine: Machine::default(),
        };
        world.carry_out(effects);
        (0..world.riders.len()).for_each(|rider| world.note_wake(rider));
        Ok(world)
    }

    /// Lives through the whole time.
    pub fn live(&mut self) -> Result<(), Failure> {
        loop {
            if !self.lane.is_empty() && self.agenda.next_at() != Some(self.now) {
                let fixes = std::mem::take(&mut self.lane);
                self.machine.fixes += fixes.len() as u64;
                self.apply(Command::Fixes(fixes))?;
                continue;
            }
            // The next tick is always on the agenda.
            let Some((at, event)) = self.agenda.next() else { return Ok(()) };
            self.now = at;
            self.machine.events += 1;
            match event {
                Event::Tick => {
                    self.apply(Command::Tick)?;
                    self.look_at_queues();
                    if self.is_over() {
                        return Ok(());
                    }
                    self.agenda.enter(at + TICK_MS, Event::Tick);
                }
                Event::Place(_) | Event::Cancel(_) | Event::Delay(_) => self.merchant_acts(event)?,
                Event::Wake(rider) => self.wake(rider)?,
                Event::Stored(transition) => {
                    self.writes_pending -= 1;
                    self.apply(Command::Committed { transition })?;
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        let placed_to = self.settings.window.length_ms();
        let worked_off = self.books.open() == 0 && self.writes_pending == 0;
        self.now >= placed_to && (worked_off || self.now >= placed_to + self.settings.window.drain_ms)
    }

    fn look_at_queues(&mut self) {
        let peaks = &mut self.machine.peaks;
        peaks.orders_waiting = peaks.orders_waiting.max(self.city.queue().count());
        peaks.riders_on_duty = peaks.riders_on_duty.max(self.books.on_duty());
    }

    /// Applies a command now.
    pub(super) fn apply(&mut self, command: Command) -> Result<(), Failure> {
        let now = self.shared.stamp(self.now);
        // Of a hundred commands ninety are points. A debug build looks at what they did with the command that follows.
        let checked = self.settings.check || (cfg!(debug_assertions) && !matches!(command, Command::Fixes(_)));
        let effects = self.city.apply(now, command);
        self.machine.commands += 1;
        if checked {
            invariants::check(&self.city, now).map_err(|source| Failure::Broken { at_ms: self.now, source })?;
        }
        self.carry_out(effects);
        Ok(())
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        self.machine.effects += effects.len() as u64;
        for effect in effects {
            match effect {
                Effect::Persist(write) => {
                    let (riders, now) = (&self.riders, self.now);
                    self.books.stored(now, &write, &self.shared, |rider| riders[rider].motion.ridden_m(now));
                    self.agenda.enter(now + self.settings.commit_ms, Event::Stored(write.transition()));
                    self.machine.writes += 1;
                    self.writes_pending += 1;
                    self.machine.peaks.writes_pending = self.machine.peaks.writes_pending.max(self.writes_pending);
                }
                Effect::Reply { to, result } => self.answer(to, result),
                Effect::Notify { rider, session, notice } => self.tell(names::rider_index(rider), session, notice),
                Effect::Alert(alert) => self.machine.alert(match alert {
                    Alert::SilentCarrier { .. } => "silent_carrier",
                    Alert::OrderExpired(_) => "order_expired",
                    Alert::WriteRejected { .. } => "write_rejected",
                    Alert::NeedsOperator(_) => "needs_operator",
                    Alert::Disputed { .. } => "disputed",
                }),
                // What is measured here is read off the outcomes; the phones of this city are never asleep.
                Effect::Measure(_) | Effect::Wake(_) => {}
            }
        }
    }

    fn answer(&mut self, to: ReplyTo, result: Result<Outcome, Refusal>) {
        if let Err(refusal) = &result {
            self.machine.refusal(refusal.code());
        }
        match self.asked.remove(&to.0) {
            Some(Asker::Hello(rider)) => {
                match result {
                    Ok(Outcome::Connected(sync)) => self.riders[rider].welcomed(self.now, *sync, &self.shared),
                    _ => self.riders[rider].turned_away(self.now),
                }
                self.note_wake(rider);
            }
            Some(Asker::Device(rider, session, number)) => {
                self.riders[rider].answered(self.now, (session, number), result, &self.shared);
                self.note_wake(rider);
            }
            Some(Asker::Merchant(order, event)) => self.answer_merchant(order, event, result),
            None => {}
        }
    }

    fn tell(&mut self, rider: usize, session: SessionId, notice: Notice) {
        self.riders[rider].told(self.now, session, notice, &self.shared);
        self.note_wake(rider);
    }

    /// Enters the time at which a rider has something to do next, unless an earlier one is on the agenda: that one looks
    /// again.
    fn note_wake(&mut self, rider: usize) {
        let due = self.riders[rider].next_due();
        if due < self.wakes[rider] {
            let due = due.max(self.now);
            self.wakes[rider] = due;
            self.agenda.enter(due, Event::Wake(rider));
        }
    }

    fn wake(&mut self, rider: usize) -> Result<(), Failure> {
        if self.wakes[rider] != self.now {
            return Ok(());
        }
        self.wakes[rider] = NEVER;
        let mut acts = std::mem::take(&mut self.acts);
        self.riders[rider].on_time(self.now, &self.shared, &mut acts);
        for act in acts.drain(..) {
            self.carry_act(rider, act)?;
        }
        self.acts = acts;
        self.note_wake(rider);
        Ok(())
    }

    fn carry_act(&mut self, index: usize, act: Act) -> Result<(), Failure> {
        let rider = self.riders[index].profile.id;
        let command = match act {
            Act::Fix(fix) => {
                self.lane.push(fix);
                return Ok(());
            }
            Act::Connect => {
                self.last_session += 1;
                let session = SessionId(self.last_session);
                self.riders[index].session = Some(session);
                let profile = self.riders[index].profile.clone();
                Command::Connect { rider: profile, session, reply: self.ask(Asker::Hello(index)) }
            }
            Act::Disconnect(session) => Command::Disconnect { rider, session },
            Act::Ask(session, number, ask) => {
                let reply = self.ask(Asker::Device(index, session, number));
                let answer = |offer, answer| Command::AnswerOffer { rider, session, offer, answer, reply };
                match ask {
                    Ask::Duty(duty) => Command::SetDuty { rider, session, duty, reply },
                    Ask::Seen(offer) => Command::OfferSeen { rider, session, offer, reply },
                    Ask::Accept(offer) => answer(offer, Answer::Accept),
                    Ask::Decline(offer) => answer(offer, Answer::Decline { reason: "too far".to_owned() }),
                    Ask::Step(report) => Command::Progress { rider, session, report, reply },
                }
            }
        };
        self.apply(command)
    }

    pub(super) fn ask(&mut self, asker: Asker) -> ReplyTo {
        self.last_reply += 1;
        self.asked.insert(self.last_reply, asker);
        ReplyTo(self.last_reply)
    }

    /// Closes the books: what became of orders and riders, the figures of the machine, and when it ended.
    pub fn close(mut self) -> (Vec<OrderOutcome>, Vec<RiderOutcome>, Machine, i64) {
        let (riders, now) = (&self.riders, self.now);
        let (orders, outcomes) = self.books.close(now, |rider| riders[rider].motion.ridden_m(now));
        self.machine.peaks.events_to_come = self.agenda.longest();
        self.machine.lived_ms = now + WARM_UP_MS;
        (orders, outcomes, self.machine, now)
    }
}
