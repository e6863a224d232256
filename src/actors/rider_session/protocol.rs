//! What a session does with each thing that happens to it: pure. The shell carries out the steps.
//!
//! ```text
//! awaiting hello -> joining -> live -> ended
//! ```

use std::sync::Arc;

use crate::{
    actors::{
        city::{CityCallError, Ending},
        location_log::{LogPoint, Track},
    },
    domain::{duty::Duty, ids::CityCode, time::Timestamp},
    engine::{
        answered::FrameKey,
        command::{Outcome, Refusal, RiderSync},
        effect::Notice,
    },
    store::contacts::Sealer,
    wire::{
        codes::{frame, rider_bye},
        rider::{Down, Hello, Offer, Up},
    },
};

use super::{
    acks::{Acks, Due},
    answers::{Admission, Answers},
    codec::BadFrame,
    convert::{self, Asked, Request},
    in_hand::InHand,
    options::Options,
    pings::{Judged, PingJudge},
};
use pacing::Pacing;

mod pacing;

mod points;

/// One session.
#[derive(Debug)]
pub struct Protocol {
    phase: Phase,
    judge: PingJudge,
    max_points: usize,
    max_bad_frames: u32,
    bad_frames: u32,
    /// Whether the device was told that its points came before `welcome`.
    told_to_wait: bool,
    answers: Answers,
    duty: Duty,
    /// The duty requests that wait, oldest first: their answers may overtake each other, and the newest one holds.
    duty_asked: Vec<String>,
    /// Orders in hand: with any, positions are wanted off duty too.
    in_hand: InHand,
    open_offer: Option<Box<Offer>>,
    track: Option<Arc<Track>>,
    acks: Acks,
    /// Points that are to be stored although they were left out at first.
    boundary: Vec<LogPoint>,
    /// The city has ended: said when no request waits for its answer any more.
    leaving: Option<Farewell>,
    sealer: Sealer,
    pacing: Pacing,
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
            judge: PingJudge::new(),
            max_points: options.max_points,
            max_bad_frames: options.max_bad_frames,
            bad_frames: 0,
            told_to_wait: false,
            answers: Answers::new(options.max_in_flight, options.remembered_answers),
            duty: Duty::Off,
            duty_asked: Vec::new(),
            in_hand: InHand::default(),
            open_offer: None,
            track: None,
            acks: Acks::default(),
            boundary: Vec::new(),
            leaving: None,
            sealer,
            pacing: Pacing::new(options.slower_after()),
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
                self.judge.hello(now, hello.at);
                self.phase = Phase::Joining;
                Ok(Step::Join(hello))
            }
            (Up::Hello(_), _) => Err(BadFrame::new(frame::ALREADY_LIVE, "hello comes once per connection")),
            (_, Phase::AwaitingHello) => Err(BadFrame::new(frame::HELLO_FIRST, "the first frame must be hello")),
            (Up::Pings { .. }, Phase::Joining) => Ok(self.points_came_early()),
            (_, Phase::Joining) => Err(BadFrame::new(frame::NOT_WELCOME_YET, "wait for welcome")),
            (Up::Pings { pings, oldest, sent_at }, _) => {
                if pings.len() > self.max_points {
                    let detail = format!("at most {} points per frame", self.max_points);
                    return Err(BadFrame::new(frame::TOO_MANY_PINGS, detail));
                }
                convert::check_oldest(oldest)?;
                Ok(self.judged(now, &pings, oldest, sent_at).map_or(Step::Nothing, Step::Points))
            }
            (up, _) => {
                let Asked { key, request } = convert::request(up, now, self.judge.skew_ms(), &self.sealer)?;
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
        sync.jobs.iter().for_each(|job| self.in_hand.take(job));
        self.track = Some(track);
        self.note_situation(now);
        let welcome = convert::welcome(sync, now, clock_speed, city);
        self.open_offer = welcome.open_offer.clone().map(Box::new);
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
            Ok(outcome) => convert::outcome(id, request, outcome, self.open_offer.as_deref(), now),
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
                self.in_hand.take(job);
                self.open_offer = None;
            }
            Ok(Outcome::Declined) => self.open_offer = None,
            Ok(Outcome::Stepped { order, job, .. }) => self.in_hand.changed(*order, job.as_deref()),
            _ => {}
        }
        self.note_situation(now);
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
        let step = Step::Say(match notice {
            Notice::Offer(view) => {
                let offer = convert::offer(&view, now);
                self.open_offer = Some(Box::new(offer.clone()));
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
                self.in_hand.changed(order, job.as_deref());
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
        });
        self.note_situation(now);
        step
    }

    /// What the device does not know yet about its points.
    pub fn ack(&mut self) -> Option<Down> {
        self.track.as_ref().and_then(|track| self.acks.take(track))
    }

    /// When it is to be told.
    #[must_use]
    pub fn ack_due(&self) -> Due {
        self.track.as_ref().map_or(Due::Never, |track| self.acks.due(track))
    }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
