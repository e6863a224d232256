//! A frame that comes again gets its first answer, however often it is asked: the stored one for as long as it is stored,
//! and any other one for as long as the incarnation that gave it remembers.

use std::{collections::BTreeMap, time::Duration};

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::{OrderId, RiderId},
        order::{OfferState, OrderStatus},
        time::Timestamp,
    },
    engine::{
        answered::{FirstAnswer, FrameRecord},
        command::{Outcome, Refusal},
    },
};

use super::{Checked, ensure};

/// How long a city is bound to remember what it did not have to store.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// No answer is on its way from the journal for longer.
const ON_ITS_WAY: Duration = Duration::from_secs(3 * 60);

/// Answers kept per device: more than a device repeats.
const KEPT: usize = 48;

/// What kind of answer it was.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// "Try again": says nothing about the request.
    Later,
    Duty(Duty, Option<Duty>),
    Seen,
    /// The acceptance, with the job or, when that is gone, without.
    Accepted(OrderId),
    Declined,
    Closed(OfferState),
    Stepped(OrderId, OrderStatus, i32),
    Disputed,
    Other,
}

impl Kind {
    fn of(result: &Result<Outcome, Refusal>) -> Self {
        match result {
            Ok(Outcome::Duty { duty, next }) => Self::Duty(*duty, *next),
            Ok(Outcome::OfferSeen { .. }) => Self::Seen,
            Ok(Outcome::Accepted(job)) => Self::Accepted(job.orders[0].order),
            Ok(Outcome::Declined) => Self::Declined,
            Ok(Outcome::Stepped { order, status: OrderStatus::Assigned, job: None, .. }) => Self::Accepted(*order),
            Ok(Outcome::Stepped { order, status, version, .. }) => Self::Stepped(*order, *status, *version),
            Err(Refusal::OfferClosed(state)) => Self::Closed(*state),
            Err(Refusal::OfferTaken) => Self::Closed(OfferState::Withdrawn),
            Err(Refusal::Disputed) => Self::Disputed,
            Err(
                Refusal::Superseded
                | Refusal::OrderBusy
                | Refusal::StorageBusy
                | Refusal::Conflict
                | Refusal::Fenced
                | Refusal::CityFull(_)
                | Refusal::Invalid(_),
            ) => Self::Later,
            _ => Self::Other,
        }
    }

    fn stored(answer: FirstAnswer) -> Self {
        match answer {
            FirstAnswer::Accepted { order, .. } => Self::Accepted(order),
            answer => Self::of(&answer.again()),
        }
    }
}

#[derive(Clone, Debug)]
struct First {
    kind: Kind,
    incarnation: u64,
    at: Timestamp,
}

/// The session looks a refused frame up in the store before it tells the device.
pub fn recall(result: Result<Outcome, Refusal>, stored: Option<&FrameRecord>) -> Result<Outcome, Refusal> {
    let of_its_time = matches!(
        result,
        Err(Refusal::UnknownOffer
            | Refusal::OfferClosed(_)
            | Refusal::UnknownOrder
            | Refusal::NotYourOrder
            | Refusal::IllegalStep(_)
            | Refusal::OrderEnded(_)
            | Refusal::NotAllowed
            | Refusal::Disputed)
    );
    match stored.filter(|_| of_its_time) {
        Some(record) => record.answer.again(),
        None => result,
    }
}

/// The first answers to the last intents of each device.
#[derive(Clone, Debug, Default)]
pub struct Repeats {
    first: BTreeMap<RiderId, BTreeMap<u64, First>>,
    incarnation: u64,
    /// When the incarnation began.
    since: Timestamp,
}

impl Repeats {
    pub fn new_incarnation(&mut self, now: Timestamp) {
        self.incarnation += 1;
        self.since = now;
    }

    /// Whether a request has had an answer that says something about it.
    pub fn knows(&self, rider: RiderId, intent: u64) -> bool {
        self.first.get(&rider).is_some_and(|answers| answers.contains_key(&intent))
    }

    /// Judges an answer. Says whether it was a repeat.
    pub fn judge(
        &mut self,
        now: Timestamp,
        (rider, intent): (RiderId, u64),
        result: &Result<Outcome, Refusal>,
        stored: Option<&FrameRecord>,
    ) -> Result<bool, String> {
        let kind = Kind::of(result);
        if kind == Kind::Later {
            return Ok(false);
        }
        let answers = self.first.entry(rider).or_default();
        let Some(first) = answers.get(&intent) else {
            if let Some(record) = stored {
                // What was on its way when the city died counts as well, although nobody heard of it.
                same(rider, intent, Kind::stored(record.answer), kind)?;
            }
            answers.insert(intent, First { kind, incarnation: self.incarnation, at: now });
            if answers.len() > KEPT {
                answers.pop_first();
            }
            // The first one was lost with its incarnation, or given longer ago than this list reaches.
            let old = |record: &FrameRecord| record.at < self.since || now.since(record.at) > ON_ITS_WAY;
            return Ok(stored.is_some_and(old));
        };
        let fresh = now.since(first.at) < MEMORY;
        let remembered = first.incarnation == self.incarnation && fresh;
        match stored {
            // Long after, what would change nothing is answered with what is in force.
            Some(_) if !fresh && matches!(kind, Kind::Duty(..) | Kind::Stepped(..)) => {}
            Some(record) => same(rider, intent, Kind::stored(record.answer), kind)?,
            // An offer that was seen may be over when it is asked again.
            None if first.kind == Kind::Seen && matches!(kind, Kind::Closed(_)) => {}
            None if remembered => same(rider, intent, first.kind, kind)?,
            None => {}
        }
        Ok(true)
    }
}

fn same(rider: RiderId, intent: u64, first: Kind, now: Kind) -> Checked {
    ensure(first == now, || format!("{rider} was answered {first:?} and now, for the same request {intent}, {now:?}"))
}
