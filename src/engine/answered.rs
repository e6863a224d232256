//! A frame of a device that comes again gets its first answer: after a reconnect, while the first one is still on its way
//! to the journal, and after a restart of the city.
//!
//! The key of a frame is its rider and the id that the device chose. What a frame changed is stored together with its
//! answer; here stands what may be asked for soon. An older frame that is asked again finds its key with the journal, and
//! the answer comes back as the reason of the refusal. A refusal changed nothing: it is remembered, and not stored.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::domain::{
    duty::Duty,
    ids::{OfferId, OrderId, ReplyTo, RiderId, SessionId},
    order::{OfferState, OrderStatus},
    time::Timestamp,
};

use super::{
    city::City,
    command::{Command, Outcome, Refusal, RejectReason},
    commit::refusal,
    effect::OrderState,
    restore::{MEMORY, StoredFrame},
    state::Then,
};

/// Answers that are remembered per rider. A device repeats what it has no answer to, and it waits for a few at a time.
const PER_RIDER: usize = 64;

/// Answers that are remembered in all; the older ones are found in the store.
const IN_ALL: usize = 100_000;

/// Repetitions that wait for the answer to the first one.
const WAITERS: usize = 8;

/// The name of a frame and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameKey {
    /// The device's name for it, 1 to 64 characters.
    pub id: String,
    /// SHA-256 of what it asks for, without the time that the device gives it.
    pub digest: [u8; 32],
}

/// A frame and its answer, as they are stored with what the frame changed.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameRecord {
    /// Whose frame.
    pub rider: RiderId,
    /// Which.
    pub key: FrameKey,
    /// What was answered.
    pub answer: FirstAnswer,
    /// When.
    pub at: Timestamp,
    /// When it may be forgotten.
    pub expires_at: Timestamp,
}

/// An answer in its compact form: what of it can be told from elsewhere is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FirstAnswer {
    /// The duty in force, and what follows it.
    Duty {
        /// In force.
        duty: Duty,
        /// Once the work in hand is finished.
        next: Option<Duty>,
    },
    /// The job was the rider's.
    Accepted {
        /// Its order.
        order: OrderId,
        /// The version that the acceptance made.
        version: i32,
    },
    /// The offer was closed.
    Declined,
    /// The step was taken.
    Stepped {
        /// The order.
        order: OrderId,
        /// Where the step brought it.
        status: OrderStatus,
        /// The version that it made.
        version: i32,
    },
    /// The report contradicts what is stored; operators decide.
    Disputed,
    /// The one-time code was wrong.
    WrongOtp,
    /// The one-time code was wrong too often.
    OtpLocked,
}

impl FirstAnswer {
    /// The answer once more, without a job: whoever has the job adds it.
    ///
    /// # Errors
    /// The refusal that it was.
    pub const fn again(self) -> Result<Outcome, Refusal> {
        match self {
            Self::Duty { duty, next } => Ok(Outcome::Duty { duty, next }),
            // Without a job to show there is only the order to name: it was assigned, and is no longer in hand.
            Self::Accepted { order, version } => {
                Ok(Outcome::Stepped { order, status: OrderStatus::Assigned, version, job: None })
            }
            Self::Declined => Ok(Outcome::Declined),
            Self::Stepped { order, status, version } => Ok(Outcome::Stepped { order, status, version, job: None }),
            Self::Disputed => Err(Refusal::Disputed),
            Self::WrongOtp => Err(Refusal::WrongOtp),
            Self::OtpLocked => Err(Refusal::OtpLocked),
        }
    }
}

/// What was given to a frame.
#[derive(Clone, Debug)]
enum Given {
    First(FirstAnswer),
    Seen(OfferId),
    Refused(Refusal),
}

#[derive(Clone, Debug)]
struct Known {
    key: FrameKey,
    given: Given,
    at: Timestamp,
}

/// A frame that is being answered.
#[derive(Clone, Debug)]
struct Flight {
    digest: [u8; 32],
    offer: Option<OfferId>,
    waiters: Vec<ReplyTo>,
}

/// What a city remembers of frames.
#[derive(Clone, Debug, Default)]
pub(super) struct Answered {
    /// The time of the command that is being handled.
    now: Timestamp,
    /// Per rider, oldest first.
    known: BTreeMap<RiderId, VecDeque<Known>>,
    /// One entry per answer in `known`, in the same order; an answer may have gone before its entry.
    line: VecDeque<(Timestamp, RiderId)>,
    flights: BTreeMap<(RiderId, String), Flight>,
    asked: BTreeMap<ReplyTo, (RiderId, String)>,
}

/// How a frame is met.
enum Met {
    New,
    Answered(Given),
    /// The same id asked for something else.
    Reused,
    Waits,
    TooMany,
}

impl Answered {
    /// Writes down what later answers depend on. In which order answers were given matters for forgetting them only.
    #[cfg(feature = "fault-injection")]
    pub fn describe(&self, out: &mut impl std::fmt::Write) -> std::fmt::Result {
        let Self { now: _, known, line: _, flights, asked } = self;
        for (rider, answers) in known {
            let mut answers: Vec<_> = answers.iter().map(|known| (&known.key.id, &known.given)).collect();
            answers.sort_unstable_by_key(|(id, _)| *id);
            write!(out, "{rider}{answers:?}")?;
        }
        write!(out, "{flights:?}{asked:?}")
    }

    pub fn clock(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    fn meet(&mut self, rider: RiderId, key: &FrameKey, reply: ReplyTo) -> Met {
        if let Some(flight) = self.flights.get_mut(&(rider, key.id.clone())) {
            return if flight.digest != key.digest {
                Met::Reused
            } else if flight.waiters.len() < WAITERS {
                flight.waiters.push(reply);
                Met::Waits
            } else {
                Met::TooMany
            };
        }
        let known = self.known.get(&rider).and_then(|known| known.iter().find(|known| known.key.id == key.id));
        match known {
            Some(known) if known.key.digest == key.digest => Met::Answered(known.given.clone()),
            Some(_) => Met::Reused,
            None => Met::New,
        }
    }

    /// An answer is given: remembers it when it would be the same next time, and says who else waits for it.
    fn settle(&mut self, reply: ReplyTo, result: &Result<Outcome, Refusal>) -> Vec<ReplyTo> {
        let Some(name) = self.asked.remove(&reply) else { return Vec::new() };
        let Some(flight) = self.flights.remove(&name) else { return Vec::new() };
        if let Some(given) = Given::of(result, flight.offer) {
            let (rider, id) = name;
            let key = FrameKey { id, digest: flight.digest };
            self.remember(rider, Known { key, given, at: self.now });
        }
        flight.waiters
    }

    fn remember(&mut self, rider: RiderId, known: Known) {
        self.line.push_back((known.at, rider));
        let answers = self.known.entry(rider).or_default();
        // Most riders ask for one thing all shift, their duty: room for four, the usual beginning, is three too many.
        answers.reserve_exact(1);
        answers.push_back(known);
        if answers.len() > PER_RIDER {
            answers.pop_front();
        }
        while self.line.len() > IN_ALL {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((at, rider)) = self.line.pop_front() else { return };
        let Some(answers) = self.known.get_mut(&rider) else { return };
        if answers.front().is_some_and(|known| known.at <= at) {
            answers.pop_front();
        }
        if answers.is_empty() {
            self.known.remove(&rider);
        }
    }

    pub fn forget(&mut self, now: Timestamp) {
        while self.line.front().is_some_and(|(at, _)| now.since(*at) > MEMORY) {
            self.forget_oldest();
        }
    }

    /// Takes in what an older incarnation had answered; the oldest one first.
    pub fn restore(&mut self, frames: Vec<StoredFrame>) {
        for StoredFrame { rider, key, answer, at } in frames {
            self.remember(rider, Known { key, given: Given::First(answer), at });
        }
    }

    /// Whether every frame that waits has somebody who will be answered.
    pub fn agrees(&self) -> bool {
        self.asked.len() == self.flights.len() && self.asked.values().all(|name| self.flights.contains_key(name))
    }
}

impl Given {
    /// What is remembered of an answer; `None` when the same frame may be answered otherwise later.
    fn of(result: &Result<Outcome, Refusal>, offer: Option<OfferId>) -> Option<Self> {
        Some(match result {
            Ok(Outcome::Duty { duty, next }) => Self::First(FirstAnswer::Duty { duty: *duty, next: *next }),
            Ok(Outcome::OfferSeen { .. }) => Self::Seen(offer?),
            Ok(Outcome::Accepted(job)) => {
                let order = job.orders.first()?;
                Self::First(FirstAnswer::Accepted { order: order.order, version: order.version })
            }
            Ok(Outcome::Declined) => Self::First(FirstAnswer::Declined),
            Ok(Outcome::Stepped { order, status, version, .. }) => {
                Self::First(FirstAnswer::Stepped { order: *order, status: *status, version: *version })
            }
            Ok(_) => return None,
            Err(Refusal::Disputed) => Self::First(FirstAnswer::Disputed),
            Err(Refusal::WrongOtp) => Self::First(FirstAnswer::WrongOtp),
            Err(Refusal::OtpLocked) => Self::First(FirstAnswer::OtpLocked),
            Err(refusal) if lasts(refusal) => Self::Refused(refusal.clone()),
            Err(_) => return None,
        })
    }
}

/// Whether a refusal is about the frame itself, and not about the moment.
const fn lasts(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::NotAllowed
            | Refusal::BadDuty
            | Refusal::UnknownOffer
            | Refusal::OfferClosed(_)
            | Refusal::OfferTaken
            | Refusal::UnknownOrder
            | Refusal::NotYourOrder
            | Refusal::IllegalStep(_)
            | Refusal::StepNeeds(_)
            | Refusal::OrderEnded(_)
    )
}

impl Command {
    /// Who asks, when it is a request of a device: the rider, the session, the place of the answer.
    const fn device(&self) -> Option<(RiderId, SessionId, ReplyTo)> {
        match self {
            Self::SetDuty { rider, session, reply, .. }
            | Self::OfferSeen { rider, session, reply, .. }
            | Self::AnswerOffer { rider, session, reply, .. }
            | Self::Progress { rider, session, reply, .. } => Some((*rider, *session, *reply)),
            _ => None,
        }
    }
}

impl City {
    /// A frame with its key: it is carried out once, however often it comes.
    pub(super) fn framed(&mut self, now: Timestamp, key: FrameKey, command: Command) {
        let Some((rider, session, reply)) = command.device() else { return self.dispatch(now, command) };
        if !self.hear(now, rider, session) {
            return self.refuse(reply, Refusal::Superseded);
        }
        match self.answered.meet(rider, &key, reply) {
            Met::New => {
                let offer = if let Command::OfferSeen { offer, .. } = &command { Some(*offer) } else { None };
                let name = (rider, key.id);
                self.answered.asked.insert(reply, name.clone());
                self.answered.flights.insert(name, Flight { digest: key.digest, offer, waiters: Vec::new() });
                self.dispatch(now, command);
            }
            Met::Answered(given) => {
                let result = self.give_again(now, rider, given);
                self.reply(reply, result);
            }
            Met::Reused => self.refuse(reply, Refusal::FrameIdReused),
            Met::Waits => {}
            Met::TooMany => self.refuse(reply, Refusal::OrderBusy),
        }
    }

    /// Who else hears an answer, because the same frame came again meanwhile.
    pub(super) fn also_hear(&mut self, reply: ReplyTo, result: &Result<Outcome, Refusal>) -> Vec<ReplyTo> {
        self.answered.settle(reply, result)
    }

    fn give_again(&self, now: Timestamp, rider: RiderId, given: Given) -> Result<Outcome, Refusal> {
        match given {
            Given::First(answer) => self.answer_again(rider, answer),
            Given::Refused(refusal) => Err(refusal),
            Given::Seen(offer) => {
                let open = self.offers.get(&offer).filter(|record| record.rider == rider);
                let left = open.map(|record| record.answer_due(self.settings.policy.offer_ttl()).since(now));
                match (left, self.closed_offers.get(&offer)) {
                    (Some(left), _) => {
                        Ok(Outcome::OfferSeen { expires_in_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX) })
                    }
                    // It was seen, and is over since.
                    (None, Some(closed)) => Err(Refusal::OfferClosed(closed.record.state)),
                    (None, None) => Err(Refusal::OfferClosed(OfferState::Expired)),
                }
            }
        }
    }

    /// A first answer once more: what it said then, with the job as it is now, if it still is the rider's.
    pub(super) fn answer_again(&self, rider: RiderId, answer: FirstAnswer) -> Result<Outcome, Refusal> {
        let his = |order: &OrderId| self.orders.get(order).is_some_and(|live| live.state.rider == Some(rider));
        match answer {
            FirstAnswer::Accepted { order, .. } if his(&order) => match self.job_view(order) {
                Some(job) => Ok(Outcome::Accepted(Box::new(job))),
                None => answer.again(),
            },
            FirstAnswer::Stepped { order, status, version } if his(&order) => {
                Ok(Outcome::Stepped { order, status, version, job: self.job_view(order).map(Box::new) })
            }
            answer => answer.again(),
        }
    }

    /// The journal refused what a device asked for. When it knows the frame, its answer is given.
    pub(super) fn answer_rejected(&mut self, reply: ReplyTo, why: &RejectReason) {
        let rider = self.answered.asked.get(&reply).map(|(rider, _)| *rider);
        let result = match (why, rider) {
            (RejectReason::Replay(stored), Some(rider)) => match FirstAnswer::deserialize(stored) {
                Ok(answer) => self.answer_again(rider, answer),
                Err(_) => Err(Refusal::Invalid("a stored answer cannot be read".to_owned())),
            },
            (RejectReason::KeyReused, Some(_)) => Err(Refusal::FrameIdReused),
            (RejectReason::Replay(stored), None) => Ok(Outcome::Replayed(stored.clone())),
            _ => Err(refusal(why)),
        };
        self.reply(reply, result);
    }

    /// What is stored of a frame with what it changes; `None` when nobody gave it a key.
    pub(super) fn frame_record(&self, now: Timestamp, reply: ReplyTo, answer: FirstAnswer) -> Option<Box<FrameRecord>> {
        let name = self.answered.asked.get(&reply)?;
        let flight = self.answered.flights.get(name)?;
        let (rider, id) = name.clone();
        Some(Box::new(FrameRecord {
            rider,
            key: FrameKey { id, digest: flight.digest },
            answer,
            at: now,
            expires_at: now + self.settings.policy.frame_memory(),
        }))
    }

    /// The same for a transition of an order, which answers as its second half says.
    pub(super) fn frame_of(
        &self,
        now: Timestamp,
        order: OrderId,
        next: &OrderState,
        then: &Then,
    ) -> Option<Box<FrameRecord>> {
        let (status, version) = (next.status, next.version);
        let (reply, answer) = match then {
            Then::Accepted { reply, .. } => (*reply, FirstAnswer::Accepted { order, version }),
            Then::OffersOver { reply: Some(reply), .. } => (*reply, FirstAnswer::Declined),
            Then::Progressed { reply, .. } => (*reply, FirstAnswer::Stepped { order, status, version }),
            Then::Disputed { reply, record } => (*reply, record.kind.first_answer()),
            Then::OtpWrong { reply } => (*reply, FirstAnswer::WrongOtp),
            _ => return None,
        };
        self.frame_record(now, reply, answer)
    }
}

#[cfg(test)]
#[path = "answered_tests.rs"]
mod tests;
