//! A virtual rider with a device: the same model as the load tester's live one (`loadtest/src/device`), fed with the
//! engine's own words instead of frames. Here stands what happens with time, in `hearing` what the engine's words lead to.
//! Times are milliseconds of the plan.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::requests::{Ask, Requests};
use crate::{
    domain::{
        duty::Duty,
        ids::{OfferId, OrderId, SessionId},
        order::Step,
        position::Position,
        rider::RiderProfile,
        time::Timestamp,
    },
    engine::{
        command::{Fix, StepReport},
        view::JobView,
    },
    replay::{
        manners::{BREAK_MS, Manners, Mood, NEVER, OUTAGE_MS, Outage, after},
        motion::Motion,
        scenario::Shift,
        work::NextStep,
    },
};

/// How long a device stays away when it disagrees with the engine, before it fetches the whole state anew.
const RESYNC_MS: std::ops::Range<i64> = 125..375;

/// What all riders of a city share.
#[derive(Debug)]
pub(super) struct Shared {
    /// How riders behave.
    pub manners: Manners,
    /// Overrules the engine's ping interval, milliseconds.
    pub ping_every_ms: Option<i64>,
    /// Time 0 of the plan on the engine's clock, milliseconds.
    pub t0: i64,
}

impl Shared {
    /// A time of the plan on the engine's clock.
    pub const fn stamp(&self, at: i64) -> Timestamp {
        Timestamp::from_millis(self.t0 + at)
    }

    /// A time of the engine's clock in the plan.
    pub const fn plan_time(&self, at: Timestamp) -> i64 {
        at.as_millis() - self.t0
    }
}

/// What a rider's device does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// Says hello.
    Connect,
    /// Its socket closes.
    Disconnect(SessionId),
    /// Asks for something, under a number of its own.
    Ask(SessionId, u64, Ask),
    /// Reports where it is.
    Fix(Fix),
}

/// A rider's thinking about an offer.
#[derive(Debug)]
pub(super) struct Thinking {
    pub offer: OfferId,
    pub mood: Mood,
}

/// A rider with a device.
#[derive(Debug)]
pub(super) struct Rider {
    /// As the store knows the rider.
    pub profile: RiderProfile,
    /// How the rider moves.
    pub motion: Motion,
    /// The session that the device believes in.
    pub session: Option<SessionId>,
    pub(super) rng: ChaCha8Rng,
    shift_end: i64,
    /// What the rider wants: on, break or off.
    pub(super) wish: Duty,
    /// What the device was told.
    pub(super) duty: Duty,
    pub(super) next_duty: Option<Duty>,
    pub(super) jobs: Vec<JobView>,
    pub(super) step: Option<NextStep>,
    /// Orders whose recipient was not met before.
    pub(super) failed: BTreeSet<OrderId>,
    pub(super) offer: Option<Thinking>,
    pub(super) requests: Requests,
    pub(super) ping_every: i64,
    pub(super) next_ping: i64,
    pub(super) duty_try: i64,
    /// When the device connects (again), while it is not connected.
    pub(super) back_at: i64,
    /// The device and the engine disagree; the whole state is fetched anew.
    pub(super) resync: bool,
    pub(super) next_outage: i64,
    pub(super) next_break: i64,
    break_end: i64,
    gone: bool,
}

impl Rider {
    /// Away, until the shift begins.
    pub fn new(profile: RiderProfile, motion: Motion, rng: ChaCha8Rng, shift: Shift) -> Self {
        Self {
            profile,
            motion,
            session: None,
            rng,
            shift_end: shift.off.unwrap_or(NEVER),
            wish: Duty::On,
            duty: Duty::Off,
            next_duty: None,
            jobs: vec![],
            step: None,
            failed: BTreeSet::new(),
            offer: None,
            requests: Requests::default(),
            ping_every: NEVER,
            next_ping: NEVER,
            duty_try: shift.on,
            back_at: shift.on,
            resync: false,
            next_outage: NEVER,
            next_break: NEVER,
            break_end: NEVER,
            gone: false,
        }
    }

    /// When the rider has something to do next, which may have been before now; [`NEVER`] once the shift is over.
    pub fn next_due(&self) -> i64 {
        if self.gone {
            return NEVER;
        }
        let mut due = self.next_break.min(self.break_end);
        if self.wish != Duty::Off {
            due = due.min(self.shift_end);
        }
        if let Some(Thinking { mood, .. }) = &self.offer {
            due = due.min(mood.seen_at).min(mood.answer_at);
        }
        if let Some(step) = &self.step {
            due = due.min(step.at);
        }
        if self.duty_wanted().is_some() {
            due = due.min(self.duty_try);
        }
        if self.session.is_none() {
            return due.min(self.back_at);
        }
        if self.resync {
            return i64::MIN;
        }
        if self.pings_now() {
            due = due.min(self.next_ping);
        }
        due.min(self.next_outage).min(self.requests.next_due().unwrap_or(NEVER))
    }

    /// Does what is due. Without a connection the rider goes on, and reports pile up for later.
    pub fn on_time(&mut self, now: i64, shared: &Shared, acts: &mut Vec<Act>) {
        if self.gone {
            return;
        }
        if now >= self.shift_end {
            self.wish = Duty::Off;
        }
        self.take_break(now);
        self.think(now);
        self.work(now, shared);
        if let Some(duty) = self.duty_wanted()
            && now >= self.duty_try
        {
            self.requests.ask(now, Ask::Duty(duty));
        }
        let Some(session) = self.session else {
            if self.is_finished() {
                self.gone = true;
            } else if now >= self.back_at {
                acts.push(Act::Connect);
            }
            return;
        };
        while let Some((number, ask)) = self.requests.due(now) {
            acts.push(Act::Ask(session, number, ask));
        }
        self.ping(now, session, shared, acts);
        if self.is_finished() {
            self.gone = true;
            self.session = None;
            acts.push(Act::Disconnect(session));
        } else if std::mem::take(&mut self.resync) {
            let until = now + self.rng.random_range(RESYNC_MS);
            self.lose(session, Outage::Cut, until, acts);
        } else if now >= self.next_outage {
            let until = now + self.rng.random_range(OUTAGE_MS);
            self.next_outage = after(until, shared.manners.dropout_per_hour, &mut self.rng);
            let outage = Outage::draw(&mut self.rng);
            self.lose(session, outage, until, acts);
        }
    }

    /// The connection is gone until a time.
    fn lose(&mut self, session: SessionId, outage: Outage, until: i64, acts: &mut Vec<Act>) {
        self.session = None;
        self.back_at = until;
        match outage {
            Outage::Cut => acts.push(Act::Disconnect(session)),
            // The engine does not notice: the next session takes over.
            Outage::Silent => {}
            Outage::Restart => {
                self.requests.forget();
                self.offer = None;
                self.step = None;
                acts.push(Act::Disconnect(session));
            }
        }
    }

    /// Whether the shift is over and nothing is left to do.
    fn is_finished(&self) -> bool {
        self.wish == Duty::Off && matches!(self.duty, Duty::Off | Duty::AutoOff) && self.jobs.is_empty()
    }

    fn pings_now(&self) -> bool {
        self.duty == Duty::On && !(self.wish == Duty::Off && self.jobs.is_empty())
    }

    /// The duty to ask for, when it is another one than that in force or under way.
    fn duty_wanted(&self) -> Option<Duty> {
        let there = self.duty == self.wish || (self.wish == Duty::Off && self.duty == Duty::AutoOff);
        let under_way = self.wish != Duty::On && self.next_duty == Some(self.wish);
        (!there && !under_way && !self.requests.asks_duty()).then_some(self.wish)
    }

    /// On schedule but for the drift of a device, or a fleet that came on duty together would ping in step.
    fn ping(&mut self, now: i64, session: SessionId, shared: &Shared, acts: &mut Vec<Act>) {
        if !self.pings_now() || now < self.next_ping {
            return;
        }
        let at = self.motion.fix(now, &mut self.rng).at;
        // A receiver at the edge of the world may be off it; the session would refuse that point.
        if let Ok(position) = Position::new(at.lat, at.lon) {
            let recorded_at = shared.stamp(now);
            acts.push(Act::Fix(Fix { rider: self.profile.id, session, position, recorded_at }));
        }
        let pause = self.rng.random_range(self.ping_every * 3 / 4..=self.ping_every * 5 / 4);
        self.next_ping = (self.next_ping + pause).max(now + 1);
    }

    fn take_break(&mut self, now: i64) {
        if now >= self.break_end {
            self.break_end = NEVER;
            if self.wish == Duty::Break {
                self.wish = Duty::On;
            }
        }
        if now >= self.next_break {
            self.next_break = NEVER;
            if self.wish == Duty::On && self.jobs.is_empty() && self.offer.is_none() {
                self.wish = Duty::Break;
                self.break_end = now + self.rng.random_range(BREAK_MS);
            }
        }
    }

    fn think(&mut self, now: i64) {
        let Some(Thinking { offer, mood }) = &mut self.offer else { return };
        if now >= mood.seen_at {
            mood.seen_at = NEVER;
            self.requests.ask(now, Ask::Seen(*offer));
        }
        if now >= mood.answer_at {
            mood.answer_at = NEVER;
            self.requests.ask(now, if mood.accept { Ask::Accept(*offer) } else { Ask::Decline(*offer) });
        }
    }

    /// Reports the step that is due.
    fn work(&mut self, now: i64, shared: &Shared) {
        let Some(next) = self.step.take_if(|step| now >= step.at) else { return };
        let order = OrderId(next.order);
        if self.requests.reports(order) {
            return;
        }
        if next.step == Step::Handover {
            self.motion.stop(now);
        }
        let at = self.motion.position(now);
        let report = StepReport {
            order,
            step: next.step,
            at: shared.stamp(now),
            position: Position::new(at.lat, at.lon).ok(),
            reason: next.reason.map(str::to_owned),
            proof: (next.step == Step::Delivered).then(|| json!({ "kind": "otp", "digits": 4 })),
            otp: None,
        };
        self.requests.ask(now, Ask::Step(Box::new(report)));
    }
}
