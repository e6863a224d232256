//! A rider and the app in the rider's hand: what they believe, what they do next, and what an answer makes of it. Knows
//! nothing of the network.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::{OfferId, OrderId, SessionId},
        order::{OfferState, OrderStatus, Step},
        position::Position,
        time::Timestamp,
    },
    engine::{
        command::{Outcome, Refusal, RiderSync},
        effect::Notice,
        view::{JobView, OfferView},
    },
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// What a device asks of the city; the same intent is repeated until it is answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wish {
    Duty(Duty),
    Seen(OfferId),
    Answer(OfferId, bool),
    Step(OrderId, Step),
    /// A step that was taken without a network, and when.
    Late(OrderId, Step, Timestamp),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Down,
    Opening(SessionId),
    Up(SessionId),
}

/// What a rider will make of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Accept,
    Decline,
    Ignore,
    NeverSee,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    offer: OfferId,
    mood: Mood,
    seen: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub order: OrderId,
    status: OrderStatus,
    next_stop: Option<Position>,
}

#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub intent: u64,
    pub wish: Wish,
    /// The timer that sends it again; older ones are off.
    pub timer: u64,
}

#[derive(Debug)]
pub struct Device {
    pub link: Link,
    /// Gone: does nothing and hears nothing.
    pub away: bool,
    pub duty: Duty,
    pub position: Position,
    /// Metres per second on the way.
    pub speed: f64,
    /// In the order in which they are done.
    pub jobs: Vec<Job>,
    /// Orders of which it heard the end: what it hears of them later is older.
    ended: BTreeSet<OrderId>,
    shown: Option<Shown>,
    /// The one request that waits for its answer.
    pub ask: Option<Ask>,
    /// Thoughts of an older generation are forgotten.
    pub generation: u32,
    /// Steps that were taken without a network, to be reported one by one.
    recorded: VecDeque<Wish>,
    /// What was asked lately, oldest first.
    asked: VecDeque<(u64, Wish)>,
}

/// What to do now.
pub enum Next {
    Connect,
    Ask(Wish),
    /// Nothing for so many milliseconds.
    Wait(u64),
}

/// What an answer means for the request that it answers.
pub enum Verdict {
    /// Settled; think again after so many milliseconds.
    Think(u64),
    /// Ask the same again, under the same intent, after so many milliseconds.
    Again(u64),
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

impl Device {
    pub fn new(position: Position, speed: f64) -> Self {
        Self {
            link: Link::Down,
            away: false,
            duty: Duty::Off,
            position,
            speed,
            jobs: Vec::new(),
            ended: BTreeSet::new(),
            shown: None,
            ask: None,
            generation: 0,
            recorded: VecDeque::new(),
            asked: VecDeque::new(),
        }
    }

    /// The app starts anew.
    pub fn forget(&mut self) {
        (self.link, self.shown, self.ask) = (Link::Down, None, None);
        self.jobs.clear();
        self.recorded.clear();
    }

    /// Remembers what it asks.
    pub fn note(&mut self, intent: u64, wish: Wish) {
        self.asked.push_back((intent, wish));
        if self.asked.len() > 24 {
            self.asked.pop_front();
        }
    }

    /// A frame of some time ago, which an app with a bad memory sends again.
    pub fn old_frame(&self, rng: &mut ChaCha8Rng) -> Option<(u64, Wish)> {
        let last = self.ask.map_or(u64::MAX, |ask| ask.intent);
        let old: Vec<_> = self.asked.iter().filter(|(intent, _)| *intent != last).collect();
        (!old.is_empty()).then(|| *old[rng.random_range(0..old.len())])
    }

    /// The network is gone for some minutes, and the rider goes on with the order in hand.
    pub fn work_offline(&mut self, now: Timestamp, minutes: u64, rng: &mut ChaCha8Rng) {
        let Some(job) = self.jobs.first().copied() else { return };
        let way: &[Step] = match job.status {
            OrderStatus::Assigned => &[Step::AtPickup, Step::PickedUp, Step::AtDropoff, Step::Delivered],
            OrderStatus::AtPickup => &[Step::PickedUp, Step::AtDropoff, Step::Delivered],
            OrderStatus::PickedUp => &[Step::AtDropoff, Step::Delivered],
            OrderStatus::AtDropoff => &[Step::Delivered],
            _ => return,
        };
        let taken = rng.random_range(1..=way.len());
        let gap = Duration::from_secs(minutes * 60 / (taken as u64 + 1));
        let mut at = now;
        for step in &way[..taken] {
            at = at + gap;
            self.recorded.push_back(Wish::Late(job.order, *step, at));
        }
        self.ask = None;
    }

    /// `calm` riders only work.
    pub fn decide(&mut self, rng: &mut ChaCha8Rng, calm: bool) -> Next {
        if !matches!(self.link, Link::Up(_)) {
            return Next::Connect;
        }
        if self.ask.is_some() {
            return Next::Wait(30 * SECOND);
        }
        if let Some(late) = self.recorded.pop_front() {
            return Next::Ask(late);
        }
        if let Some(shown) = self.shown {
            return match (shown.mood, shown.seen) {
                (Mood::NeverSee, _) | (Mood::Ignore, true) => {
                    self.shown = None;
                    Next::Wait(70 * SECOND)
                }
                (_, false) => Next::Ask(Wish::Seen(shown.offer)),
                (mood, true) => Next::Ask(Wish::Answer(shown.offer, mood == Mood::Accept)),
            };
        }
        if let Some(job) = self.jobs.first().copied() {
            if !calm && rng.random_bool(0.01) {
                let duty = if rng.random_bool(0.5) { Duty::Off } else { Duty::Break };
                return Next::Ask(Wish::Duty(duty));
            }
            return Next::Ask(Wish::Step(job.order, next_step(job.status, rng, calm)));
        }
        match self.duty {
            // Work that an operator gave may have been told into the void: an idle app now and then looks afresh.
            Duty::On if calm && rng.random_bool(0.2) => Next::Connect,
            Duty::On if calm => Next::Wait(5 * MINUTE),
            Duty::On => match rng.random_range(0..100) {
                10..15 => Next::Connect,
                0..3 => Next::Ask(Wish::Duty(Duty::Off)),
                3..8 => Next::Ask(Wish::Duty(Duty::Break)),
                8..10 => Next::Ask(Wish::Duty(Duty::On)),
                _ => Next::Wait(rng.random_range(2 * MINUTE..8 * MINUTE)),
            },
            Duty::Break | Duty::Off | Duty::AutoOff => Next::Ask(Wish::Duty(Duty::On)),
        }
    }

    /// The city's `welcome`: everything known before is replaced, and a request that has no object any more is dropped.
    pub fn welcomed(&mut self, session: SessionId, sync: &RiderSync, rng: &mut ChaCha8Rng, calm: bool) -> u64 {
        self.link = Link::Up(session);
        self.duty = sync.duty;
        self.jobs = sync.jobs.iter().map(job_of).collect();
        let shown = self.shown;
        self.shown = sync.open_offer.as_ref().map(|offer| shown_as(offer, rng, calm));
        if let (Some(before), Some(now)) = (shown, &mut self.shown)
            && before.offer == now.offer
        {
            now.mood = before.mood;
        }
        let (jobs, offer) = (&self.jobs, self.shown.map(|shown| shown.offer));
        self.ask = self.ask.filter(|ask| match ask.wish {
            Wish::Duty(_) => true,
            Wish::Seen(of) | Wish::Answer(of, _) => offer == Some(of),
            Wish::Step(order, _) => jobs.iter().any(|job| job.order == order),
            // What happened has happened, whoever has the order now.
            Wish::Late(..) => true,
        });
        rng.random_range(SECOND..5 * SECOND)
    }

    /// The answer to the request that waits.
    pub fn answered(&mut self, result: &Result<Outcome, Refusal>, rng: &mut ChaCha8Rng, calm: bool) -> Verdict {
        let Some(ask) = self.ask.take() else { return Verdict::Think(MINUTE) };
        let think = match result {
            Ok(Outcome::Duty { duty, .. }) => {
                self.duty = *duty;
                self.rest(rng, calm)
            }
            Ok(Outcome::OfferSeen { .. }) => {
                if let Some(shown) = &mut self.shown {
                    shown.seen = true;
                }
                rng.random_range(2 * SECOND..20 * SECOND)
            }
            Ok(Outcome::Accepted(job)) => {
                self.shown = None;
                self.take(job, rng)
            }
            Ok(Outcome::Stepped { order, status, job, .. }) => {
                self.hears_of(*order, *status);
                if let Some(stop) = self.job_of(ask.wish).and_then(|job| job.next_stop) {
                    self.position = stop;
                }
                match job {
                    Some(job) => self.take(job, rng),
                    None => {
                        self.drop_job_of(ask.wish);
                        rng.random_range(SECOND..3 * MINUTE)
                    }
                }
            }
            Ok(_) => {
                self.shown = None;
                MINUTE
            }
            Err(
                Refusal::StorageBusy
                | Refusal::OrderBusy
                | Refusal::Invalid(_)
                | Refusal::Conflict
                | Refusal::Fenced
                | Refusal::CityFull(_),
            ) => {
                self.ask = Some(ask);
                return Verdict::Again(rng.random_range(2 * SECOND..8 * SECOND));
            }
            Err(Refusal::Superseded | Refusal::OfferClosed(OfferState::Accepted)) => {
                // Another phone of the rider's, or this one before it started anew, knows more: start again.
                self.link = Link::Down;
                10 * SECOND
            }
            Err(Refusal::OfferClosed(_) | Refusal::OfferTaken | Refusal::UnknownOffer) => {
                self.shown = None;
                30 * SECOND
            }
            Err(Refusal::Disputed) => {
                // Operators have it now. Whoever still has the order in hand brings the goods back.
                match self.job_of(ask.wish).filter(|_| matches!(ask.wish, Wish::Step(..))) {
                    // Told of goods that are on their way back already, it believes something old, and looks afresh: other
                    // work may wait behind an order that is no longer there.
                    Some(job) if job.status == OrderStatus::Returning => self.link = Link::Down,
                    Some(job) => job.status = OrderStatus::Returning,
                    None => {}
                }
                20 * SECOND
            }
            Err(Refusal::NotYourOrder | Refusal::UnknownOrder | Refusal::OrderEnded(_)) => {
                self.drop_job_of(ask.wish);
                30 * SECOND
            }
            Err(Refusal::IllegalStep(illegal)) => {
                if let Some(job) = self.job_of(ask.wish) {
                    job.status = illegal.from;
                }
                20 * SECOND
            }
            Err(Refusal::NotAllowed) if !calm => rng.random_range(10 * MINUTE..30 * MINUTE),
            Err(_) => 30 * SECOND,
        };
        Verdict::Think(think)
    }

    /// Something the city says by itself; when to think about it, if it matters.
    pub fn told(&mut self, notice: &Notice, rng: &mut ChaCha8Rng, calm: bool) -> Option<u64> {
        match notice {
            Notice::Offer(offer) => {
                self.shown = Some(shown_as(offer, rng, calm));
                Some(rng.random_range(SECOND..6 * SECOND))
            }
            Notice::OfferClosed { offer, .. } => {
                if self.shown.is_some_and(|shown| shown.offer == *offer) {
                    self.shown = None;
                }
                None
            }
            Notice::OrderChanged { job: Some(job), .. } => {
                // A change of the order in hand may be late news; what the rider does next brings the truth.
                Some(self.take(job, rng))
            }
            Notice::OrderChanged { job: None, order, status, .. } => {
                self.hears_of(*order, *status);
                self.jobs.retain(|job| job.order != *order);
                Some(30 * SECOND)
            }
            Notice::DutyChanged { duty, .. } => {
                self.duty = *duty;
                Some(self.rest(rng, calm))
            }
            Notice::TakenOver => {
                self.link = Link::Down;
                Some(rng.random_range(30 * SECOND..5 * MINUTE))
            }
        }
    }

    fn rest(&self, rng: &mut ChaCha8Rng, calm: bool) -> u64 {
        match self.duty {
            _ if calm => rng.random_range(SECOND..30 * SECOND),
            Duty::On => rng.random_range(10 * SECOND..4 * MINUTE),
            Duty::Break => rng.random_range(3 * MINUTE..12 * MINUTE),
            Duty::Off | Duty::AutoOff => rng.random_range(5 * MINUTE..30 * MINUTE),
        }
    }

    fn hears_of(&mut self, order: OrderId, status: OrderStatus) {
        if status.is_end() {
            self.ended.insert(order);
        }
    }

    /// The job in hand that a step is about.
    fn job_of(&mut self, wish: Wish) -> Option<&mut Job> {
        self.jobs
            .iter_mut()
            .find(|job| matches!(wish, Wish::Step(order, _) | Wish::Late(order, ..) if order == job.order))
    }

    fn drop_job_of(&mut self, wish: Wish) {
        self.jobs.retain(|job| !matches!(wish, Wish::Step(order, _) | Wish::Late(order, ..) if order == job.order));
    }

    /// Takes a job as the city sees it, and rides on to the next stop of the first one.
    fn take(&mut self, view: &JobView, rng: &mut ChaCha8Rng) -> u64 {
        let taken = job_of(view);
        match self.jobs.iter_mut().find(|job| job.order == taken.order) {
            Some(job) => *job = taken,
            None if self.ended.contains(&taken.order) => {}
            None => self.jobs.push(taken),
        }
        let Some(job) = self.jobs.first().copied() else { return MINUTE };
        let here = matches!(job.status, OrderStatus::AtPickup | OrderStatus::AtDropoff | OrderStatus::AttemptFailed);
        let ride = job.next_stop.filter(|_| !here).map_or(0.0, |stop| flat_m(self.position, stop) * 1.4 / self.speed);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a ride across a city")]
        let ride = (ride * rng.random_range(0.7..1.4) * 1_000.0) as u64;
        ride + rng.random_range(10 * SECOND..90 * SECOND)
    }
}

/// Straight-line metres, near enough for a ride.
fn flat_m(a: Position, b: Position) -> f64 {
    let (north, east) = ((a.lat() - b.lat()) * 111_195.0, (a.lon() - b.lon()) * 108_300.0);
    north.hypot(east)
}

fn job_of(view: &JobView) -> Job {
    let order = &view.orders[0];
    Job { order: order.order, status: order.status, next_stop: view.stops.first().map(|stop| stop.place.position) }
}

fn shown_as(offer: &OfferView, rng: &mut ChaCha8Rng, calm: bool) -> Shown {
    let mood = match rng.random_range(0..100) {
        0..78 => Mood::Accept,
        _ if calm => Mood::Accept,
        78..87 => Mood::Decline,
        87..94 => Mood::Ignore,
        _ => Mood::NeverSee,
    };
    Shown { offer: offer.offer, mood, seen: false }
}

/// What a rider does next with an order; now and then something that makes no sense.
fn next_step(status: OrderStatus, rng: &mut ChaCha8Rng, calm: bool) -> Step {
    if !calm && rng.random_bool(0.01) {
        return Step::ALL[rng.random_range(0..Step::ALL.len())];
    }
    let dice = if calm { 0 } else { rng.random_range(0..100) };
    match (status, dice) {
        (OrderStatus::Assigned, 0..85) => Step::AtPickup,
        (OrderStatus::Assigned | OrderStatus::AtPickup, _) => Step::PickedUp,
        (OrderStatus::PickedUp, 0..84) => Step::AtDropoff,
        (OrderStatus::PickedUp | OrderStatus::AtDropoff, 96..) => Step::Handover,
        (OrderStatus::PickedUp | OrderStatus::AtDropoff, 95) => Step::Returning,
        (OrderStatus::PickedUp | OrderStatus::AtDropoff, 89..95) => Step::AttemptFailed,
        (OrderStatus::AttemptFailed, 0..50) => Step::AtDropoff,
        (OrderStatus::AttemptFailed, 95..) => Step::Handover,
        (OrderStatus::AttemptFailed, _) => Step::Returning,
        (OrderStatus::Returning, 0..90) => Step::Returned,
        _ => Step::Delivered,
    }
}
