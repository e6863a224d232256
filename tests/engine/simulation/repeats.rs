//! The same request under the same intent gets the same kind of answer, however often it is asked.

use std::{collections::BTreeMap, time::Duration};

use dispatch_engine::{
    domain::{
        ids::{OfferId, OrderId, RiderId},
        order::OfferState,
        time::Timestamp,
    },
    engine::command::{Outcome, Refusal},
};

use super::{Checked, ensure, store::Store};

/// How long a city is bound to remember what has ended.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// Answers kept per device: repeats are younger than that.
const KEPT: usize = 24;

/// What kind of answer it was.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// "Try again": says nothing about the request.
    Later,
    Accepted,
    Declined,
    Closed(OfferState),
    Stepped(OrderId, i32),
    Other,
}

impl Kind {
    fn of(result: &Result<Outcome, Refusal>) -> Self {
        match result {
            Ok(Outcome::Accepted(_)) => Self::Accepted,
            Ok(Outcome::Declined) => Self::Declined,
            Ok(Outcome::Stepped { order, version, .. }) => Self::Stepped(*order, *version),
            Err(Refusal::OfferClosed(state)) => Self::Closed(*state),
            Err(Refusal::OfferTaken) => Self::Closed(OfferState::Withdrawn),
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
}

#[derive(Clone, Debug)]
struct First {
    kind: Kind,
    incarnation: u64,
    at: Timestamp,
}

/// The first answers to the last intents of each device.
#[derive(Clone, Debug, Default)]
pub struct Repeats {
    first: BTreeMap<RiderId, BTreeMap<u64, First>>,
    incarnation: u64,
    /// The offers that requests were about.
    about: BTreeMap<u64, OfferId>,
}

impl Repeats {
    /// A request of this intent is about an offer.
    pub fn is_about(&mut self, intent: u64, offer: OfferId) {
        self.about.insert(intent, offer);
    }

    pub fn new_incarnation(&mut self) {
        self.incarnation += 1;
    }

    /// Whether a request has had an answer that says something about it.
    pub fn knows(&self, rider: RiderId, intent: u64) -> bool {
        self.first.get(&rider).is_some_and(|answers| answers.contains_key(&intent))
    }

    /// Judges an answer; `known` is the version of an order as the city knows it, `ended` when it ended. Says whether it was
    /// a repeat.
    pub fn judge(
        &mut self,
        now: Timestamp,
        (rider, intent): (RiderId, u64),
        result: &Result<Outcome, Refusal>,
        store: &Store,
        known: impl Fn(OrderId) -> Option<i32>,
        ended: impl Fn(OrderId) -> Option<Timestamp>,
    ) -> Result<bool, String> {
        let kind = Kind::of(result);
        if kind == Kind::Later {
            return Ok(false);
        }
        let answers = self.first.entry(rider).or_default();
        let Some(first) = answers.get(&intent) else {
            answers.insert(intent, First { kind, incarnation: self.incarnation, at: now });
            if answers.len() > KEPT {
                answers.pop_first();
            }
            return Ok(false);
        };
        // An offer's end, and an order's, are remembered for a while, and not across a restart.
        // ... counted from the end itself: a rider may ask long after it.
        let over = self.about.get(&intent).and_then(|offer| store.offers.get(offer)?.closed_at);
        let remembered = first.incarnation == self.incarnation && now.since(over.unwrap_or(first.at)) < MEMORY;
        let same = match (first.kind, kind) {
            (Kind::Accepted, Kind::Accepted | Kind::Closed(OfferState::Accepted)) => true,
            (Kind::Accepted | Kind::Declined | Kind::Closed(_), Kind::Other) => !remembered,
            (Kind::Accepted | Kind::Declined | Kind::Closed(_), _) => first.kind == kind,
            (Kind::Stepped(..), Kind::Stepped(..)) => true,
            // What came after it may have made the step impossible.
            (Kind::Stepped(order, version), _) => {
                // The first answer to this request may itself have come long after the end, which another one brought.
                let forgotten = ended(order).is_some_and(|at| now.since(at) >= MEMORY);
                !remembered || forgotten || known(order) != Some(version)
            }
            (Kind::Other | Kind::Later, _) => true,
        };
        let verdict: Checked =
            ensure(same, || format!("{rider} was answered {:?} and now, for the same request, {kind:?}", first.kind));
        verdict.map(|()| true)
    }
}
