//! What a virtual rider does with the engine's words: the other half of its behaviour, the same as a live device's.

use rand::RngExt;

use super::{
    requests::Ask,
    rider::{Rider, Shared, Thinking},
};
use crate::{
    domain::{
        duty::{Duty, DutyReason},
        ids::{OfferId, OrderId, SessionId},
        order::{OrderStatus, Step},
    },
    engine::{
        command::{Outcome, Refusal, RiderSync},
        effect::Notice,
        view::JobView,
    },
    replay::{
        manners::{AFTER_AUTO_OFF_MS, AFTER_BREAKDOWN_MS, NEVER, after},
        work::{self, Task},
    },
    wire::LatLon,
};

/// Time after which a refused duty is asked for again, and a step that could not be stored; milliseconds.
const TRY_AGAIN_MS: i64 = 5_000;

/// Time after which a device that was turned away comes back.
const TURNED_AWAY_MS: std::ops::Range<i64> = 5_000..15_000;

impl Rider {
    /// The device's hello was taken: everything it must know.
    pub fn welcomed(&mut self, now: i64, sync: RiderSync, shared: &Shared) {
        if self.next_outage == NEVER {
            self.next_outage = after(now, shared.manners.dropout_per_hour, &mut self.rng);
        }
        if self.next_break == NEVER {
            self.next_break = after(now, shared.manners.breaks_per_hour, &mut self.rng);
        }
        let told = i64::try_from(sync.ping_interval_ms).unwrap_or(NEVER).clamp(100, 3_600_000);
        self.ping_every = shared.ping_every_ms.unwrap_or(told);
        self.duty_is(now, sync.duty, sync.next_duty);
        if sync.duty == Duty::On {
            // Of the points that were recorded meanwhile the engine goes by the newest.
            self.next_ping = now;
        }
        self.jobs = sync.jobs;
        self.replan(now, shared);
        self.requests.reconnected(now);
        match sync.open_offer {
            Some(offer) => self.offered(now, offer.offer, shared),
            None => self.offer = None,
        }
    }

    /// The device's hello was refused.
    pub fn turned_away(&mut self, now: i64) {
        self.session = None;
        self.back_at = now + self.rng.random_range(TURNED_AWAY_MS);
    }

    /// The engine tells something; words for another session are lost.
    pub fn told(&mut self, now: i64, session: SessionId, notice: Notice, shared: &Shared) {
        if self.session != Some(session) {
            return;
        }
        match notice {
            Notice::Offer(offer) => self.offered(now, offer.offer, shared),
            Notice::OfferClosed { offer, .. } => self.forget_offer(offer),
            Notice::OrderChanged { job, order, status, .. } => self.order_is(now, order, status, job, shared),
            Notice::DutyChanged { duty, reason } => {
                self.duty_is(now, duty, None);
                if reason == DutyReason::Breakdown {
                    self.duty_try = now + self.rng.random_range(AFTER_BREAKDOWN_MS);
                } else if duty == Duty::AutoOff {
                    self.duty_try = now + self.rng.random_range(AFTER_AUTO_OFF_MS);
                }
            }
            // Only a newer session of the same rider takes over, and this city is served by one process.
            Notice::TakenOver => {}
        }
    }

    /// The engine answers a request that was made through a session; an answer to another session is lost, and the request
    /// is made again through the new one.
    pub fn answered(
        &mut self,
        now: i64,
        (session, number): (SessionId, u64),
        answer: Result<Outcome, Refusal>,
        shared: &Shared,
    ) {
        if self.session != Some(session) {
            return;
        }
        let Some(ask) = self.requests.answered(number) else { return };
        match (answer, ask) {
            (Ok(Outcome::Duty { duty, next }), _) => self.duty_is(now, duty, next),
            (Ok(Outcome::Accepted(job)), Ask::Accept(offer)) => {
                self.forget_offer(offer);
                self.put(*job);
                self.replan(now, shared);
            }
            (Ok(Outcome::Declined), Ask::Decline(offer)) => self.forget_offer(offer),
            (Ok(Outcome::Stepped { order, status, job, .. }), Ask::Step(report)) => {
                if report.step == Step::AttemptFailed {
                    self.failed.insert(order);
                }
                self.order_is(now, order, status, job, shared);
            }
            // That an offer was seen needs no more than to be known.
            (Ok(_), _) => {}
            (Err(refusal), ask) => self.refused(now, ask, &refusal, shared),
        }
    }

    fn refused(&mut self, now: i64, ask: Ask, refusal: &Refusal, shared: &Shared) {
        let passing = matches!(refusal, Refusal::StorageBusy | Refusal::OrderBusy | Refusal::Conflict);
        let later = now + TRY_AGAIN_MS;
        match ask {
            Ask::Duty(_) => self.duty_try = later,
            Ask::Seen(_) if passing => {}
            Ask::Accept(offer) | Ask::Decline(offer) if passing => {
                if let Some(Thinking { mood, .. }) = self.offer.as_mut().filter(|thinking| thinking.offer == offer) {
                    mood.answer_at = later;
                }
            }
            // Too late, or withdrawn.
            Ask::Seen(offer) | Ask::Accept(offer) | Ask::Decline(offer) => self.forget_offer(offer),
            Ask::Step(report) => match refusal {
                _ if passing => {
                    self.replan(now, shared);
                    if let Some(step) = &mut self.step {
                        step.at = step.at.max(later);
                    }
                }
                Refusal::OrderEnded(_) | Refusal::UnknownOrder | Refusal::NotYourOrder => {
                    self.drop_order(report.order);
                    self.replan(now, shared);
                }
                _ => self.resync = true,
            },
        }
    }

    fn duty_is(&mut self, now: i64, duty: Duty, next: Option<Duty>) {
        let (was, is) = (self.duty == Duty::On, duty == Duty::On);
        if is && !was {
            // The first point at once: without one the rider is offered nothing.
            self.next_ping = now;
        } else if was && !is {
            self.next_ping = NEVER;
        }
        self.duty = duty;
        self.next_duty = next;
    }

    /// An offer came: the rider makes up their mind, and takes a while to say so.
    fn offered(&mut self, now: i64, offer: OfferId, shared: &Shared) {
        if self.offer.as_ref().is_none_or(|thinking| thinking.offer != offer) {
            let mood = shared.manners.consider(now, &mut self.rng);
            self.offer = Some(Thinking { offer, mood });
        }
    }

    fn forget_offer(&mut self, offer: OfferId) {
        self.offer.take_if(|thinking| thinking.offer == offer);
    }

    fn order_is(&mut self, now: i64, order: OrderId, status: OrderStatus, job: Option<Box<JobView>>, shared: &Shared) {
        match job {
            Some(job) if !status.is_end() && job.orders.iter().any(|o| o.order == order) => self.put(*job),
            _ => self.drop_order(order),
        }
        self.replan(now, shared);
    }

    fn put(&mut self, job: JobView) {
        match self.jobs.iter_mut().find(|held| held.job == job.job) {
            Some(held) => *held = job,
            None => self.jobs.push(job),
        }
    }

    fn drop_order(&mut self, order: OrderId) {
        for job in &mut self.jobs {
            job.orders.retain(|o| o.order != order);
            job.stops.retain(|stop| stop.order != order);
        }
        self.jobs.retain(|job| !job.orders.is_empty());
        self.failed.remove(&order);
    }

    /// Looks at the job in hand anew, after it changed.
    fn replan(&mut self, now: i64, shared: &Shared) {
        let Some(job) = self.jobs.first() else {
            if self.step.take().is_some() {
                self.motion.stop(now);
            }
            return;
        };
        let stop = job.stops.first();
        let Some(order) = job.orders.iter().find(|o| stop.is_none_or(|stop| o.order == stop.order)) else { return };
        let task = Task {
            order: order.order.0,
            status: order.status,
            place: stop.map(|stop| LatLon { lat: stop.place.position.lat(), lon: stop.place.position.lon() }),
            ready_at: shared.plan_time(order.ready_at),
            failed: self.failed.contains(&order.order),
        };
        if let Some(step) = &mut self.step
            && step.fits(&task)
        {
            return step.ready_changed(task.ready_at);
        }
        self.step = None;
        if !self.requests.reports(order.order) {
            self.step = work::plan(&task, now, &shared.manners, &mut self.motion, &mut self.rng);
        }
    }
}
