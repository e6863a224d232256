//! What a session does with each thing that happens to it: pure. The shell carries out the steps.
//!
//! ```text
//! awaiting hello -> joining -> live -> ended
//! ```

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    actors::{
        city::{CityCallError, Ending},
        location_log::Track,
    },
    domain::{
        duty::Duty,
        ids::{CityCode, OrderId},
        time::Timestamp,
    },
    engine::{
        answered::FrameKey,
        command::{Outcome, Refusal, RiderSync},
        effect::Notice,
    },
    store::contacts::Sealer,
    wire::{
        codes::{frame, rider_bye},
        rider::{Down, Hello, Offer, RefusedPing, Up},
    },
};

use super::{
    answers::{Admission, Answers},
    codec::BadFrame,
    convert::{self, Asked, Request},
    options::Options,
    pings::{Judged, PointLimits, judge},
};

/// One session.
#[derive(Debug)]
pub struct Protocol {
    phase: Phase,
    limits: PointLimits,
    max_points: usize,
    max_bad_frames: u32,
    bad_frames: u32,
    answers: Answers,
    skew_ms: i64,
    duty: Duty,
    /// The duty requests that wait, oldest first: their answers may overtake each other, and the newest one holds.
    duty_asked: Vec<String>,
    /// Orders in hand: with any, positions are wanted off duty too.
    in_hand: BTreeSet<OrderId>,
    open_offer: Option<Offer>,
    track: Option<Arc<Track>>,
    acked: (u64, u64),
    refused: Vec<RefusedPing>,
    /// The city has ended: said when no request waits for its answer any more.
    leaving: Option<Farewell>,
    sealer: Sealer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    AwaitingHello,
    Joining,
    Live,
    Ended,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Tell the device.
    Say(Down),
    /// Find the rider and bring the session to the city.
    Join(Hello),
    /// Ask the city; report with [`Protocol::answered`].
    Ask {
        /// The device's name for the request, and what it asks for.
        key: FrameKey,
        /// What is asked.
        request: Request,
    },
    /// Give the points to the lane.
    Points(Judged),
    /// Say goodbye.
    End(Farewell),
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// A stable word.
    pub why: &'static str,
    /// Whether the device should come back by itself.
    pub again: bool,
    /// Whether it would come back in vain for a while.
    pub later: bool,
}

impl Farewell {
    /// A goodbye for now.
    #[must_use]
    pub const fn for_now(why: &'static str) -> Self {
        Self { why, again: true, later: false }
    }

    /// A goodbye for a while: coming back at once would be in vain.
    #[must_use]
    pub const fn for_a_while(why: &'static str) -> Self {
        Self { why, again: true, later: true }
    }

    /// A goodbye until a person decides otherwise.
    #[must_use]
    pub const fn for_good(why: &'static str) -> Self {
        Self { why, again: false, later: false }
    }
}

/// The answer to a request.
#[derive(Debug)]
pub struct Reply {
    /// The frame.
    pub frame: Down,
    /// How often to send it: once per time it was asked.
    pub times: u32,
    /// Whether the session is over with it.
    pub end: Option<Farewell>,
}

impl Protocol {
    /// A session whose socket has just opened.
    #[must_use]
    pub fn new(options: &Options, sealer: Sealer) -> Self {
        Self {
            phase: Phase::AwaitingHello,
            limits: PointLimits {
                ahead: Duration::from_secs(options.max_ahead_s),
                age: Duration::from_secs(options.max_age_s),
            },
            max_points: options.max_points,
            max_bad_frames: options.max_bad_frames,
            bad_frames: 0,
            answers: Answers::new(options.max_in_flight, options.remembered_answers),
            skew_ms: 0,
            duty: Duty::Off,
            duty_asked: Vec::new(),
            in_hand: BTreeSet::new(),
            open_offer: None,
            track: None,
            acked: (0, 0),
            refused: Vec::new(),
            leaving: None,
            sealer,
        }
    }

    /// Whether the first frame has not come.
    #[must_use]
    pub fn awaits_hello(&self) -> bool {
        self.phase == Phase::AwaitingHello
    }

    /// Whether the city has taken the session.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Whether the session is over.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// The session is over.
    pub fn end(&mut self) {
        self.phase = Phase::Ended;
    }

    /// A message from the device.
    pub fn frame(&mut self, now: Timestamp, decoded: Result<Up, BadFrame>) -> Step {
        if self.phase == Phase::Ended {
            return Step::Nothing;
        }
        match decoded.and_then(|up| self.take(now, up)) {
            Ok(step) => step,
            Err(bad) => self.bad_frame(bad),
        }
    }

    fn bad_frame(&mut self, bad: BadFrame) -> Step {
        self.bad_frames += 1;
        if self.bad_frames >= self.max_bad_frames {
            return Step::End(Farewell::for_now(rider_bye::TOO_MANY_BAD_FRAMES));
        }
        Step::Say(convert::error(bad.re, bad.code, &bad.detail))
    }

    fn take(&mut self, now: Timestamp, up: Up) -> Result<Step, BadFrame> {
        match (up, self.phase) {
            (Up::Hello(hello), Phase::AwaitingHello) => {
                convert::check_hello(&hello)?;
                self.skew_ms = now.as_millis().saturating_sub(hello.at);
                self.phase = Phase::Joining;
                Ok(Step::Join(hello))
            }
            (Up::Hello(_), _) => Err(BadFrame::new(frame::ALREADY_LIVE, "hello comes once per connection")),
            (_, Phase::AwaitingHello) => Err(BadFrame::new(frame::HELLO_FIRST, "the first frame must be hello")),
            (_, Phase::Joining) => Err(BadFrame::new(frame::NOT_WELCOME_YET, "wait for welcome")),
            (Up::Pings { pings }, _) => {
                if pings.len() > self.max_points {
                    let detail = format!("at most {} points per frame", self.max_points);
                    return Err(BadFrame::new(frame::TOO_MANY_PINGS, detail));
                }
                let Some(track) = &self.track else { return Ok(Step::Nothing) };
                let reporting = matches!(self.duty, Duty::On | Duty::Break) || !self.in_hand.is_empty();
                let judged = judge(&pings, now, self.skew_ms, reporting, self.limits, track);
                self.refused.extend(judged.refused.iter().cloned());
                Ok(Step::Points(judged))
            }
            (up, _) => {
                let Asked { key, request } = convert::request(up, now, self.skew_ms, &self.sealer)?;
                Ok(match self.answers.admit(&key.id, &key.digest) {
                    Admission::New => {
                        if matches!(request, Request::Duty(_)) {
                            self.duty_asked.push(key.id.clone());
                        }
                        Step::Ask { key, request }
                    }
                    Admission::Known(answer) => Step::Say(*answer),
                    Admission::Waiting => Step::Nothing,
                    Admission::Reused => Step::Say(convert::error(
                        Some(key.id),
                        Refusal::FrameIdReused.code(),
                        &Refusal::FrameIdReused.to_string(),
                    )),
                    Admission::TooMany => Step::Say(convert::error(
                        Some(key.id),
                        frame::TOO_MANY_REQUESTS,
                        "too many requests wait for their answers; try again",
                    )),
                })
            }
        }
    }

    /// The city took the session.
    pub fn joined(
        &mut self,
        now: Timestamp,
        clock_speed: f64,
        city: &CityCode,
        sync: &RiderSync,
        track: Arc<Track>,
    ) -> Down {
        self.phase = Phase::Live;
        self.duty = sync.duty;
        self.in_hand = sync.jobs.iter().flat_map(|job| &job.orders).map(|order| order.order).collect();
        self.track = Some(track);
        let welcome = convert::welcome(sync, now, clock_speed, city);
        self.open_offer.clone_from(&welcome.open_offer);
        Down::Welcome(welcome)
    }

    /// The city did not take the session.
    #[must_use]
    pub const fn not_joined(failed: &CityCallError) -> Farewell {
        match failed {
            CityCallError::Unknown | CityCallError::Gone | CityCallError::Deadline => {
                Farewell::for_now(rider_bye::CITY_UNAVAILABLE)
            }
            CityCallError::Full => Farewell::for_now(rider_bye::CITY_BUSY),
            CityCallError::Refused(refusal) => match refusal {
                Refusal::CityFull(_)
                | Refusal::StorageBusy
                | Refusal::StorageUnavailable
                | Refusal::Fenced
                | Refusal::Conflict => Farewell::for_now(refusal.code()),
                refusal => Farewell::for_good(refusal.code()),
            },
        }
    }

    /// Whether a request waits for its answer.
    #[must_use]
    pub fn awaits(&self, id: &str) -> bool {
        self.answers.is_awaited(id)
    }

    /// A request has waited for a while and the database does not answer: the device is told, once. Its answer follows.
    pub fn waits_for_storage(&mut self, id: &str) -> Option<Down> {
        let told = self.answers.tell_of_waiting(id).then(|| id.to_owned())?;
        let detail = "the database does not answer; the request waits for it, and its answer follows";
        Some(convert::error(Some(told), frame::STORAGE_UNAVAILABLE, detail))
    }

    /// The city answered a request.
    pub fn answered(
        &mut self,
        now: Timestamp,
        id: &str,
        request: &Request,
        result: Result<Outcome, CityCallError>,
    ) -> Reply {
        let frame = match &result {
            Ok(outcome) => convert::outcome(id, request, outcome, self.open_offer.as_ref(), now),
            Err(failed) => convert::failure(id, request, failed),
        };
        match &result {
            Err(CityCallError::Refused(Refusal::Fenced)) => self.leave(rider_bye::CITY_MOVED),
            Err(CityCallError::Gone) => self.leave(rider_bye::CITY_UNAVAILABLE),
            _ => {}
        }
        if let Some(at) = self.duty_asked.iter().position(|asked| asked == id) {
            match &result {
                Ok(Outcome::Duty { duty, .. }) => {
                    self.duty = *duty;
                    self.duty_asked.drain(..=at);
                }
                _ => drop(self.duty_asked.remove(at)),
            }
        }
        match &result {
            Ok(Outcome::Accepted(job)) => {
                self.in_hand.extend(job.orders.iter().map(|order| order.order));
                self.open_offer = None;
            }
            Ok(Outcome::Declined) => self.open_offer = None,
            Ok(Outcome::Stepped { order, job: None, .. }) => {
                self.in_hand.remove(order);
            }
            _ => {}
        }
        let times = self.answers.answered(id, &frame, convert::is_lasting(&result));
        let end = match &result {
            Err(CityCallError::Refused(Refusal::Superseded)) => Some(Farewell::for_good(rider_bye::TAKEN_OVER)),
            _ => self.due_farewell(),
        };
        Reply { frame, times, end }
    }

    /// The city's incarnation has ended, and the next one does not know the session. The device is told at once, unless
    /// requests wait for their answers: those come first, and the goodbye with the last of them.
    pub fn city_ended(&mut self, ending: Ending) -> Option<Farewell> {
        self.leave(match ending {
            Ending::Fenced => rider_bye::CITY_MOVED,
            Ending::Stopped | Ending::Diverged | Ending::Panicked => rider_bye::CITY_UNAVAILABLE,
        });
        self.due_farewell()
    }

    /// The app stops. The device is told at once, unless requests wait for their answers: those come first.
    pub fn app_stops(&mut self) -> Option<Farewell> {
        self.leave(rider_bye::GOING_AWAY);
        self.due_farewell()
    }

    fn leave(&mut self, why: &'static str) {
        self.leaving.get_or_insert(Farewell::for_now(why));
    }

    fn due_farewell(&self) -> Option<Farewell> {
        self.leaving.filter(|_| !self.answers.are_awaited())
    }

    /// The city has something to say.
    pub fn notice(&mut self, now: Timestamp, notice: Notice) -> Step {
        if self.phase == Phase::Ended {
            return Step::Nothing;
        }
        Step::Say(match notice {
            Notice::Offer(view) => {
                let offer = convert::offer(&view, now);
                self.open_offer = Some(offer.clone());
                Down::Offer(offer)
            }
            Notice::OfferClosed { offer, state, why } => {
                if self.open_offer.as_ref().is_some_and(|open| open.offer == offer.0) {
                    self.open_offer = None;
                }
                let why = if why.is_empty() { state.as_str() } else { why };
                Down::OfferClosed { re: None, offer: offer.0, why: why.to_owned() }
            }
            Notice::OrderChanged { job, order, status, why } => {
                match &job {
                    Some(_) => self.in_hand.insert(order),
                    None => self.in_hand.remove(&order),
                };
                Down::OrderChanged {
                    re: None,
                    order: order.0,
                    status: status.to_string(),
                    version: None,
                    why: why.to_owned(),
                    job: job.as_deref().map(convert::job),
                }
            }
            Notice::DutyChanged { duty, reason } => {
                self.duty = duty;
                Down::DutyChanged { re: None, duty: duty.to_string(), next: None, why: reason.to_string() }
            }
            Notice::TakenOver => return Step::End(Farewell::for_good(rider_bye::TAKEN_OVER)),
        })
    }

    /// Whether something was refused since the last ack: that is told at once.
    #[must_use]
    pub fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// What the device does not know yet about its points.
    pub fn ack(&mut self) -> Option<Down> {
        let track = self.track.as_ref()?;
        let (received_to, stored_to) = (track.received_to(), track.stored_to());
        if self.acked == (received_to, stored_to) && self.refused.is_empty() {
            return None;
        }
        self.acked = (received_to, stored_to);
        Some(Down::PingsAck { received_to, stored_to, refused: std::mem::take(&mut self.refused) })
    }

    /// Whether points were stored since the last ack.
    #[must_use]
    pub fn has_stored(&self) -> bool {
        self.track.as_ref().is_some_and(|track| self.acked.1 < track.stored_to())
    }

    /// Whether there will be more to ack: received and not yet stored. Points that were lost are never stored; the
    /// device keeps them and sends them again when it next connects.
    #[must_use]
    pub fn ack_follows(&self) -> bool {
        self.track.as_ref().is_some_and(|track| !track.is_lost() && self.acked.1 < track.received_to())
    }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
