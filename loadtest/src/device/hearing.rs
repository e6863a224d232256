//! What a device does with the engine's frames: the other half of a rider's behaviour. Whatever is told is written into
//! the ledger.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use dispatch_engine::{
    domain::order::Step,
    replay::manners::NEVER,
    wire::rider::{Down, DutyWish, Job, JobOrder, Offer, Progress, Up, Welcome},
};
use rand::RngExt;
use serde_json::json;
use uuid::Uuid;

use super::{
    Shared,
    behaviour::{Rider, patience},
    frames::{Ask, Open},
    outcome::{Ending, Out},
};
use crate::{
    ledger::{in_hand, is_carried, is_end},
    stats::count,
};

/// Real time after which a refused duty is asked for again, and a step that could not be stored.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Answers that a device remembers, to compare repetitions with.
const REMEMBERED: usize = 16;

/// The id of the request that a frame answers.
fn answers(frame: &Down) -> Option<&str> {
    match frame {
        Down::Offer(Offer { re, .. })
        | Down::OfferClosed { re, .. }
        | Down::Assigned { re, .. }
        | Down::OrderChanged { re, .. }
        | Down::DutyChanged { re, .. }
        | Down::Error { re, .. } => re.as_deref(),
        Down::Welcome(_) | Down::PingsAck { .. } | Down::PingInterval { .. } | Down::Bye { .. } => None,
    }
}

/// Refusals that another attempt may get past.
const TRANSIENT: [&str; 7] = [
    "storage_busy",
    "order_busy",
    "city_busy",
    "city_unavailable",
    "city_deadline",
    "too_many_requests",
    "version_conflict",
];

impl Rider {
    /// Takes a frame of the engine.
    pub fn on_frame(&mut self, now: i64, frame: Down, shared: &Shared) -> Out {
        let mut out = Out::default();
        if matches!(&frame, Down::Error { re: Some(_), code, .. } if code == "storage_unavailable") {
            // No answer yet: the request waits for the database, and its answer follows.
            shared.stats.event("waits_for_storage");
            return out;
        }
        if self.heard_before(&frame, shared) {
            return out;
        }
        match frame {
            Down::Welcome(welcome) => self.welcomed(now, welcome, shared, &mut out),
            Down::PingsAck { received_to, stored_to, refused } => {
                // Points on their way while the rider goes off duty are late by no one's fault.
                let going = self.wish == DutyWish::Off;
                self.pings.acked(received_to, stored_to, &refused, going);
            }
            Down::Offer(offer) => self.offered(now, &offer, shared, true),
            Down::OfferClosed { re, offer, why } => {
                self.answered(now, re.as_deref(), shared);
                shared.stats.event(&format!("offer_closed_{why}"));
                self.forget_offer(offer);
            }
            Down::Assigned { re, job } => {
                let asked = self.answered(now, re.as_deref(), shared);
                if let Some(Open { ask: Ask::Accept(offer), .. }) = asked {
                    self.forget_offer(offer);
                }
                self.assigned(now, job, shared);
            }
            Down::OrderChanged { re, order, status, version, why: _, job } => {
                let asked = self.answered(now, re.as_deref(), shared);
                self.order_changed(now, (order, &status, version), job, asked.as_ref(), shared);
            }
            Down::DutyChanged { re, duty, next, why } => {
                self.answered(now, re.as_deref(), shared);
                self.duty_is(now, duty, next, shared);
                if why == "breakdown" {
                    self.duty_try = now + self.rng.random_range(600_000..1_200_000);
                } else if self.duty == "AUTO_OFF" {
                    shared.stats.event("auto_off");
                    self.duty_try = now + self.rng.random_range(5_000..20_000);
                }
            }
            Down::PingInterval { ms } => self.ping_interval(now, ms),
            Down::Error { re, code, detail: _ } => {
                let asked = self.answered(now, re.as_deref(), shared);
                let what = asked.as_ref().map_or("frame", |open| open.ask.name());
                count(&mut shared.stats.sums().socket_errors, &format!("{what}: {code}"));
                if let Some(open) = asked {
                    self.refused(now, open, &code, shared, &mut out);
                }
            }
            Down::Bye { why, reconnect_after_ms } => {
                count(&mut shared.stats.sums().byes, &why);
                let back = reconnect_after_ms.filter(|_| why != "taken_over").map(Duration::from_millis);
                out.ending = Some(Ending::Bye(back));
            }
        }
        out
    }

    /// Whether a frame answers a request that was answered before: one that was sent twice. Its news is old by now, and
    /// the answer has to be the same.
    fn heard_before(&mut self, frame: &Down, shared: &Shared) -> bool {
        let (Some(re), false) = (answers(frame), matches!(frame, Down::Offer(_))) else { return false };
        if self.requests.is_open(re) {
            self.answers.push_back(frame.clone());
            if self.answers.len() > REMEMBERED {
                self.answers.pop_front();
            }
            return false;
        }
        let before = self.answers.iter().find(|before| answers(before) == Some(re));
        if let Some(before) = before
            && before != frame
            && !matches!((before, frame), (Down::Error { .. }, _) | (_, Down::Error { .. }))
        {
            shared.ledger.books().answer_differs(self.character.rider, &format!("{before:?}, then {frame:?}"));
        }
        // A garbage frame may carry an id that nobody waits for.
        if before.is_some() {
            shared.stats.event("answer_repeated");
        }
        !matches!(frame, Down::Error { .. })
    }

    /// Closes the request that a frame answers.
    fn answered(&mut self, now: i64, re: Option<&str>, shared: &Shared) -> Option<Open> {
        let open = self.requests.answered(re?)?;
        if open.tries == 1 {
            let took = shared.clock.real_micros(now - open.first);
            let mut sums = shared.stats.sums();
            sums.answers.entry(open.ask.name()).or_insert_with(crate::stats::Times::in_millis).record(took);
        }
        Some(open)
    }

    fn welcomed(&mut self, now: i64, welcome: Welcome, shared: &Shared, out: &mut Out) {
        self.online = true;
        self.back_within = Duration::from_millis(welcome.reconnect_within_ms);
        // Another session answers from what is true now, and need not use the same words.
        self.answers.clear();
        self.set_moods(now, shared);
        self.ping_interval(now, welcome.ping_interval_ms);
        self.duty_is(now, welcome.duty, welcome.next_duty, shared);
        let believed: Vec<Uuid> = self.jobs.iter().flat_map(|job| job.orders.iter().map(|o| o.order)).collect();
        let plan: Vec<(Uuid, String, i32)> =
            welcome.plan.iter().flat_map(|job| &job.orders).map(|o| (o.order, o.status.clone(), o.version)).collect();
        // A step whose answer was lost is answered again: only then is it known how the order ended.
        let told: Vec<Uuid> = believed.into_iter().filter(|order| !self.reports(*order)).collect();
        shared.ledger.books().plan(self.character.rider, &told, &plan);
        welcome.plan.iter().for_each(|job| self.remember_pickups(job));
        self.jobs = welcome.plan;
        self.replan(now, shared);
        out.frames.extend(self.requests.reconnected(now, patience(shared)));
        self.pings.connected(now);
        match welcome.open_offer {
            Some(offer) => self.offered(now, &offer, shared, false),
            None => self.offer = None,
        }
    }

    fn reports(&self, order: Uuid) -> bool {
        self.requests.any(|ask| matches!(ask, Ask::Step { order: open, .. } if *open == order))
    }

    fn ping_interval(&mut self, now: i64, ms: u64) {
        let told = i64::try_from(ms).unwrap_or(NEVER).clamp(100, 3_600_000);
        self.ping_every = self.character.ping_every_ms.unwrap_or(told);
        // A shorter one holds at once: there is an offer, or goods on their way.
        if self.next_ping != NEVER {
            self.next_ping = self.next_ping.min(now.saturating_add(self.ping_every));
        }
    }

    pub(super) fn duty_is(&mut self, now: i64, duty: String, next: Option<String>, shared: &Shared) {
        let (was, is) = (self.duty == "ON", duty == "ON");
        if is && !was {
            shared.stats.on_duty.fetch_add(1, Relaxed);
            // The first point at once: without one the rider is offered nothing.
            self.next_ping = now;
            self.idle_until = now + self.rng.random_range(0..60_000);
        } else if was && !is {
            shared.stats.on_duty.fetch_sub(1, Relaxed);
            self.next_ping = NEVER;
        }
        self.diary.duty(now, is);
        self.duty = duty;
        self.next_duty = next;
    }

    fn offered(&mut self, now: i64, offer: &Offer, shared: &Shared, live: bool) {
        if self.answered(now, offer.re.as_deref(), shared).is_some() || offer.re.is_some() {
            return;
        }
        if self.offer.as_ref().is_some_and(|thinking| thinking.offer == offer.offer) {
            return;
        }
        if live {
            let took = shared.clock.real_micros(now - offer.sent_at);
            shared.stats.sums().offer_to_device.record(took);
        }
        shared.stats.event("offer_received");
        self.consider(now, offer.offer, shared);
    }

    fn forget_offer(&mut self, offer: Uuid) {
        if self.offer.as_ref().is_some_and(|thinking| thinking.offer == offer) {
            self.offer = None;
        }
    }

    fn assigned(&mut self, now: i64, job: Job, shared: &Shared) {
        let rider = self.character.rider;
        let mut books = shared.ledger.books();
        for JobOrder { order, status, version, .. } in &job.orders {
            books.assigned(rider, *order, status, *version);
        }
        // An order whose end is being reported may have ended already.
        let held = self.jobs.iter().filter(|held| held.job != job.job).flat_map(|held| &held.orders);
        if let Some(other) = held.map(|o| o.order).find(|order| !self.reports(*order))
            && let Some(order) = job.orders.first()
        {
            books.overloaded(rider, order.order, other);
        }
        drop(books);
        self.put(job);
        self.replan(now, shared);
    }

    fn remember_pickups(&mut self, job: &Job) {
        for stop in job.stops.iter().filter(|stop| stop.kind == "pickup") {
            self.fetched.insert(stop.order, stop.place.clone());
        }
    }

    fn put(&mut self, job: Job) {
        self.remember_pickups(&job);
        match self.jobs.iter_mut().find(|held| held.job == job.job) {
            Some(held) => *held = job,
            None => self.jobs.push(job),
        }
    }

    fn order_changed(
        &mut self,
        now: i64,
        (order, status, version): (Uuid, &str, Option<i32>),
        job: Option<Job>,
        asked: Option<&Open>,
        shared: &Shared,
    ) {
        let rider = self.character.rider;
        // The answer to a step may leave the job out: what follows from its own step the device knows.
        let job = match asked {
            Some(Open { ask: Ask::Step { .. }, .. }) => job.or_else(|| self.advanced(order, status, version)),
            _ => job,
        };
        let holds = job.as_ref().is_some_and(|job| job.orders.iter().any(|o| o.order == order)) && !is_end(status);
        if let Some(Open { ask: Ask::Step { step, .. }, .. }) = asked {
            shared.ledger.books().progressed(rider, order, status, version, holds);
            shared.stats.event(&format!("step_{step}"));
            if *step == "attempt_failed" {
                self.failed.insert(order);
            }
            if status == "delivered" {
                shared.stats.delivered.fetch_add(1, Relaxed);
            }
        } else {
            shared.ledger.books().changed(rider, order, status, version, holds);
        }
        match job {
            Some(job) if holds => self.put(job),
            _ => self.drop_order(order),
        }
        self.replan(now, shared);
    }

    /// The job of an order after a step of this device; `None` when the order is no longer in its hands.
    fn advanced(&self, order: Uuid, status: &str, version: Option<i32>) -> Option<Job> {
        if !in_hand(status) {
            return None;
        }
        let mut job = self.jobs.iter().find(|job| job.orders.iter().any(|o| o.order == order))?.clone();
        for changed in job.orders.iter_mut().filter(|o| o.order == order) {
            changed.status = status.to_owned();
            changed.version = version.unwrap_or(changed.version);
        }
        if is_carried(status) {
            job.stops.retain(|stop| stop.order != order || stop.kind != "pickup");
        }
        if status == "returning" {
            // Back to where the goods came from; only the engine can say when.
            let back = self.fetched.get(&order).map(|place| ("return".to_owned(), place.clone()));
            for stop in job.stops.iter_mut().filter(|stop| stop.order == order) {
                if let Some((kind, place)) = back.clone() {
                    (stop.kind, stop.place) = (kind, place);
                }
            }
        }
        Some(job)
    }

    fn drop_order(&mut self, order: Uuid) {
        for job in &mut self.jobs {
            job.orders.retain(|o| o.order != order);
            job.stops.retain(|stop| stop.order != order);
        }
        self.jobs.retain(|job| !job.orders.is_empty());
        self.failed.remove(&order);
        self.fetched.remove(&order);
    }

    /// A request was refused.
    fn refused(&mut self, now: i64, open: Open, code: &str, shared: &Shared, out: &mut Out) {
        let later = now + shared.clock.ms_in(TRY_AGAIN);
        match open.ask {
            Ask::Duty(_) => self.duty_try = later,
            Ask::Seen(_) if TRANSIENT.contains(&code) => {}
            Ask::Accept(offer) | Ask::Decline(offer) if TRANSIENT.contains(&code) => self.answer_again(offer, later),
            // Too late, or withdrawn: the frame that says so may be lost.
            Ask::Seen(offer) | Ask::Accept(offer) | Ask::Decline(offer) => self.forget_offer(offer),
            Ask::Step { order, .. } => match code {
                transient if TRANSIENT.contains(&transient) => {
                    self.replan(now, shared);
                    if let Some(step) = &mut self.step {
                        step.at = step.at.max(later);
                    }
                }
                "order_ended" | "unknown_order" | "not_your_order" => {
                    shared.ledger.books().plan(self.character.rider, &[order], &[]);
                    self.drop_order(order);
                    self.replan(now, shared);
                }
                _ => out.ending = Some(Ending::Resync),
            },
        }
    }

    /// Reports the steps that are due.
    pub(super) fn work(&mut self, now: i64, shared: &Shared, out: &mut Out) {
        let Some(next) = self.step.take_if(|step| now >= step.at) else { return };
        if self.reports(next.order) {
            return;
        }
        if next.step == Step::Handover {
            self.motion.stop(now);
        }
        let at = self.motion.position(now);
        let proof = (next.step == Step::Delivered).then(|| json!({ "kind": "otp", "digits": 4 }));
        let ask = Ask::Step { order: next.order, step: next.step.as_str() };
        let (order, step, time) = (next.order, next.step.to_string(), self.character.clock.shows(now));
        let reason = next.reason.map(str::to_owned);
        self.ask(now, shared, out, ask, |id| {
            Up::Progress(Progress { id, order, step, at: time, position: Some(at), reason, proof })
        });
    }

    /// The rider's duty is no longer counted; the device ends.
    pub fn leave(&mut self, now: i64, shared: &Shared) {
        self.wish = DutyWish::Off;
        self.duty_is(now, "OFF".to_owned(), None, shared);
    }
}
