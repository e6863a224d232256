//! What a rider and the rider's device decide: duty, offers, points, when things go wrong. Pure: the time and the frames
//! of the engine are arguments, frames to send are the answer. The work on a job is in `work`, the socket in `mod`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use dispatch_engine::{
    domain::order::OrderStatus,
    replay::{
        device::{clock::DeviceClock, encoding::Encoding, keeper::Limits},
        manners::{Mood, NEVER},
        motion::Motion,
        work::{self, NextStep, Task},
    },
    wire::{
        LatLon, PlaceBody,
        rider::{Down, DutyWish, Hello, Job, JobOrder, Ping, Up},
    },
};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::{
    Shared,
    diary::Diary,
    frames::{Ask, Requests},
    lies,
    outcome::Out,
    pings::{PingBuffer, PingTally, ToldPoints},
};
use crate::{area::Area, clock::millis, stats::Sums};

/// Real time until a request without an answer is sent again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who a device is and how it behaves for the whole run.
#[derive(Clone, Debug)]
pub struct Character {
    /// The rider.
    pub rider: Uuid,
    /// Its number in the run.
    pub index: usize,
    /// Index of its city.
    pub city: usize,
    /// Lies now and then.
    pub liar: bool,
    /// The device's own clock.
    pub clock: DeviceClock,
    /// How the device writes its frames.
    pub encoding: Encoding,
    /// What the device keeps and sends.
    pub limits: Limits,
    /// Where the rider wanders while idle; stands still when absent.
    pub haunts: Option<Arc<Area>>,
    /// Overrules the engine's ping interval.
    pub ping_every_ms: Option<i64>,
}

/// A rider's thinking about an offer.
#[derive(Debug)]
pub(super) struct Thinking {
    pub(super) offer: Uuid,
    mood: Mood,
}

/// A rider with a device.
#[derive(Debug)]
pub struct Rider {
    /// Who.
    pub character: Character,
    /// When the shift ends.
    pub shift_end: i64,
    /// The run is over: no more points, and work in hand is left behind.
    pub closing: bool,
    /// What the rider wants.
    pub wish: DutyWish,
    pub(super) rng: ChaCha8Rng,
    pub(super) motion: Motion,
    pub(super) diary: Diary,
    pub(super) pings: PingBuffer,
    pub(super) requests: Requests,
    /// The last answers of this connection.
    pub(super) answers: VecDeque<Down>,
    pub(super) duty: String,
    pub(super) next_duty: Option<String>,
    pub(super) jobs: Vec<Job>,
    pub(super) step: Option<NextStep>,
    pub(super) failed: BTreeSet<Uuid>,
    /// Where the goods in hand came from.
    pub(super) fetched: BTreeMap<Uuid, PlaceBody>,
    pub(super) offer: Option<Thinking>,
    pub(super) ping_every: i64,
    pub(super) next_ping: i64,
    pub(super) duty_try: i64,
    pub(super) online: bool,
    /// Real time within which to come back, should the connection end without a word.
    pub(super) back_within: Duration,
    pub(super) next_outage: i64,
    pub(super) next_break: i64,
    pub(super) break_end: i64,
    pub(super) idle_until: i64,
    pub(super) next_garbage: i64,
}

impl Rider {
    /// Off duty, not connected.
    pub fn new(character: Character, motion: Motion, mut rng: ChaCha8Rng) -> Self {
        let boot = boot_id(&mut rng);
        Self {
            pings: PingBuffer::new(boot, character.limits),
            character,
            shift_end: NEVER,
            closing: false,
            wish: DutyWish::On,
            rng,
            motion,
            diary: Diary::default(),
            requests: Requests::new(prefix(boot)),
            answers: VecDeque::new(),
            duty: "OFF".to_owned(),
            next_duty: None,
            jobs: vec![],
            step: None,
            failed: BTreeSet::new(),
            fetched: BTreeMap::new(),
            offer: None,
            ping_every: 5_000,
            next_ping: NEVER,
            duty_try: 0,
            online: false,
            back_within: Duration::ZERO,
            next_outage: NEVER,
            next_break: NEVER,
            break_end: NEVER,
            idle_until: 0,
            next_garbage: NEVER,
        }
    }

    /// The first frame of a connection.
    pub fn hello(&self, now: i64) -> Up {
        Up::Hello(Hello {
            device_id: format!("loadtest-{}", self.character.rider.simple()),
            app_version: concat!("loadtest/", env!("CARGO_PKG_VERSION")).to_owned(),
            boot_id: self.pings.boot(),
            mono_ms: u64::try_from(now.rem_euclid(1_000_000_000)).unwrap_or(0),
            at: self.character.clock.shows(now),
            battery: Some(0.8),
            push: None,
            oldest: self.pings.oldest(),
        })
    }

    /// Whether `welcome` has come on this connection.
    pub fn online(&self) -> bool {
        self.online
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.online = false;
        self.pings.disconnected();
    }

    /// The app starts anew; answers nothing, remembers nothing. The account of its points goes to the sums.
    pub fn restart(&mut self, shared: &Shared) {
        let boot = boot_id(&mut self.rng);
        let (ended, told) = self.pings.restart(boot);
        self.hand_in(&mut shared.stats.sums(), &ended, told);
        self.requests = Requests::new(prefix(boot));
        self.offer = None;
        self.step = None;
    }

    /// Whether the shift is over and nothing is left to do; at the end of the run it is enough that the engine knows.
    pub fn finished(&self) -> bool {
        let off = matches!(self.duty.as_str(), "OFF" | "AUTO_OFF");
        let told = off || self.next_duty.as_deref() == Some("OFF");
        self.wish == DutyWish::Off && if self.closing { told } else { off && self.jobs.is_empty() }
    }

    /// Whether the engine has stored every point.
    pub fn all_stored(&self) -> bool {
        self.pings.all_stored()
    }

    /// Adds the account of the points and of the shift to the sums; the device ends.
    pub fn account(&mut self, now: i64, shared: &Shared) {
        let mut sums = shared.stats.sums();
        self.hand_in(&mut sums, &self.pings.tally(), self.pings.told());
        let diary = std::mem::take(&mut self.diary);
        sums.riders.extend(diary.close(now, self.motion.ridden_m(now)).map(|notes| (self.character.city, notes)));
    }

    fn hand_in(&self, sums: &mut Sums, tally: &PingTally, told: ToldPoints) {
        sums.pings.add(tally);
        sums.points.push(ToldPoints { rider: self.character.rider, city: self.character.city, ..told });
    }

    pub(super) fn pings_now(&self) -> bool {
        self.duty == "ON" && !self.closing && !(self.wish == DutyWish::Off && self.jobs.is_empty())
    }

    /// When the rider has something to do next.
    pub fn next_due(&self) -> i64 {
        let mut due = if self.wish == DutyWish::Off { NEVER } else { self.shift_end };
        due = due.min(self.requests.next_due().unwrap_or(NEVER));
        if self.pings_now() {
            due = due.min(self.next_ping);
        }
        if let Some(offer) = &self.offer {
            due = due.min(offer.mood.seen_at).min(offer.mood.answer_at);
        }
        if let Some(step) = &self.step {
            due = due.min(step.at);
        }
        if self.duty_wanted().is_some() {
            due = due.min(self.duty_try);
        }
        if self.wanders() {
            due = due.min(self.idle_until);
        }
        if self.online {
            due = due.min(self.next_outage).min(self.next_garbage).min(self.pings.next_due().unwrap_or(NEVER));
        }
        due.min(self.next_break).min(self.break_end)
    }

    /// The duty to ask for, when it is another one than that in force or under way.
    fn duty_wanted(&self) -> Option<DutyWish> {
        let (name, asked) = match self.wish {
            DutyWish::On => ("ON", None),
            DutyWish::Break => ("BREAK", Some("BREAK")),
            DutyWish::Off => ("OFF", Some("OFF")),
        };
        let there = self.duty == name || (self.wish == DutyWish::Off && self.duty == "AUTO_OFF");
        let under_way = asked.is_some() && self.next_duty.as_deref() == asked;
        let asking = self.requests.any(|ask| matches!(ask, Ask::Duty(_)));
        (!there && !under_way && !asking).then_some(self.wish)
    }

    /// Opens a request; now and then it is sent twice at once.
    pub(super) fn ask(&mut self, now: i64, shared: &Shared, out: &mut Out, ask: Ask, frame: impl FnOnce(String) -> Up) {
        let frame = self.requests.ask(now, patience(shared), ask, frame);
        if self.rng.random_bool(shared.manners.twice) {
            shared.stats.event("request_sent_twice");
            out.frames.push(frame.clone());
        }
        out.frames.push(frame);
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: i64, shared: &Shared) -> Out {
        let mut out = Out::default();
        if now >= self.shift_end {
            self.wish = DutyWish::Off;
        }
        out.frames.extend(self.requests.due(now, patience(shared)));
        self.take_break(now);
        self.wander(now);
        self.think(now, shared, &mut out);
        self.work(now, shared, &mut out);
        if let Some(state) = self.duty_wanted()
            && now >= self.duty_try
        {
            self.ask(now, shared, &mut out, Ask::Duty(state), |id| Up::Duty { id, state });
        }
        if self.online {
            self.go_wrong(now, shared, &mut out);
        }
        self.ping(now, shared, &mut out);
        out
    }

    fn ping(&mut self, now: i64, shared: &Shared, out: &mut Out) {
        if self.pings_now() && now >= self.next_ping {
            let fix = self.motion.fix(now, &mut self.rng);
            let mut ping = Ping {
                seq: 0,
                at: self.character.clock.shows(now),
                lat: fix.at.lat,
                lon: fix.at.lon,
                accuracy_m: Some(fix.accuracy_m),
                speed_mps: Some(fix.speed_mps),
                heading_deg: fix.heading_deg,
                mock: false,
            };
            let lie = self.character.liar && self.rng.random_bool(lies::SHARE);
            if lie {
                lies::spoil(&mut ping, &mut self.rng);
            }
            self.pings.record(ping, lie);
            // On schedule but for the drift of a device, or a fleet that came on duty together would ping in step. Points that
            // were missed while this machine was late are not made up.
            let pause = self.rng.random_range(self.ping_every * 3 / 4..=self.ping_every * 5 / 4);
            self.next_ping = (self.next_ping + pause).max(now);
        }
        let sent_at = self.character.clock.shows(now);
        while let Some(frame) = self.pings.next_frame(now, sent_at) {
            if let Up::Pings { pings, .. } = &frame {
                shared.stats.pings_written.fetch_add(pings.len() as u64, Relaxed);
            }
            out.frames.push(frame);
        }
    }

    /// An offer came: the rider makes up their mind, and takes a while to say so.
    pub(super) fn consider(&mut self, now: i64, offer: Uuid, shared: &Shared) {
        let mood = shared.manners.consider(now, &mut self.rng);
        self.offer = Some(Thinking { offer, mood });
    }

    /// The answer could not be stored now; the rider gives it again.
    pub(super) fn answer_again(&mut self, offer: Uuid, at: i64) {
        if let Some(thinking) = self.offer.as_mut().filter(|thinking| thinking.offer == offer) {
            thinking.mood.answer_at = at;
        }
    }

    fn think(&mut self, now: i64, shared: &Shared, out: &mut Out) {
        let Some(thinking) = &mut self.offer else { return };
        let Thinking { offer, mood } = thinking;
        let (offer, accept) = (*offer, mood.accept);
        let (seen, answer) = (now >= mood.seen_at, now >= mood.answer_at);
        if seen {
            mood.seen_at = NEVER;
            self.ask(now, shared, out, Ask::Seen(offer), |id| Up::OfferSeen { id, offer });
        }
        if answer {
            if let Some(thinking) = &mut self.offer {
                thinking.mood.answer_at = NEVER;
            }
            if accept {
                self.ask(now, shared, out, Ask::Accept(offer), |id| Up::OfferAccept { id, offer });
            } else {
                let reason = "too far".to_owned();
                self.ask(now, shared, out, Ask::Decline(offer), |id| Up::OfferDecline { id, offer, reason });
            }
        }
    }

    /// Looks at the job in hand anew, after it changed.
    pub(super) fn replan(&mut self, now: i64, shared: &Shared) {
        self.diary.work(now, !self.jobs.is_empty(), self.motion.ridden_m(now));
        let Some(job) = self.jobs.first() else {
            if self.step.take().is_some() {
                self.motion.stop(now);
            }
            return;
        };
        let Some(task) = current(job).and_then(|order| task(job, order, &self.failed)) else { return };
        if let Some(step) = &mut self.step
            && step.fits(&task)
        {
            step.ready_changed(task.ready_at);
            return;
        }
        self.step = None;
        let reporting = task.order;
        if self.requests.any(|ask| matches!(ask, Ask::Step { order, .. } if *order == reporting)) {
            return;
        }
        self.step = work::plan(&task, now, &shared.manners, &mut self.motion, &mut self.rng);
    }
}

/// The order that a job goes on with.
fn current(job: &Job) -> Option<&JobOrder> {
    let order = job.stops.first().map(|stop| stop.order);
    job.orders.iter().find(|o| order.is_none_or(|order| o.order == order))
}

/// What there is to do for it; `None` for a status that this device does not know.
fn task(job: &Job, order: &JobOrder, failed: &BTreeSet<Uuid>) -> Option<Task> {
    Some(Task {
        order: order.order,
        status: OrderStatus::parse(&order.status).ok()?,
        place: job.stops.first().map(|stop| LatLon { lat: stop.place.lat, lon: stop.place.lon }),
        ready_at: order.ready_at,
        failed: failed.contains(&order.order),
    })
}

/// [`PATIENCE`] on the engine's clock.
pub(super) fn patience(shared: &Shared) -> i64 {
    shared.clock.ms_in(PATIENCE).max(millis(Duration::from_secs(1)))
}

fn boot_id<R: Rng>(rng: &mut R) -> Uuid {
    uuid::Builder::from_random_bytes(rng.random()).into_uuid()
}

fn prefix(boot: Uuid) -> String {
    boot.simple().to_string()[..8].to_owned()
}
