//! What can happen next, in words. An action that another engine brings (an operator's hand, a second open offer) is a
//! variant here, a condition in [`Model::enabled`], and a command in `model.rs`.

use std::fmt;

use dispatch_engine::domain::{duty::Duty, order::Step};

use super::{
    model::Model,
    scenario::{Reaction, Scenario},
};

/// One thing that happens, at once and whole. Riders and orders by their numbers from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Place(usize),
    Cancel(usize),
    /// A device opens a session.
    Hello(usize),
    /// The server notices that the rider's session is gone, or that an earlier one is.
    Lost(usize),
    LostLate(usize),
    Ping(usize),
    /// A request of a device arrives: for the first time or not, lately or not.
    Ask(usize, Ask),
    /// ... over a session that another one has superseded.
    AskLate(usize, Ask),
    Tick,
    /// The journal stores its next write, and the city hears of it.
    Commit,
    /// ... and the answer is lost; the journal will try again.
    CommitUnheard,
    /// The database refuses the next write for itself.
    RefuseHead,
    /// The last write found no room in the journal.
    RefuseTail,
    /// The city dies and its journal goes on.
    CrashCity,
    /// The process dies, and what waited in the journal with it.
    CrashProcess,
    /// The next incarnation claims the city and reads the store.
    Restart,
}

/// What a device asks. Offers and orders by their numbers among those that the rider was ever told of, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Duty(Duty),
    Seen(usize),
    Accept(usize),
    Decline(usize),
    Step(usize, Step),
}

impl Ask {
    /// The same request has the same number; 0 is a request whose repetition may mean something else.
    pub fn intent(self) -> u64 {
        let number = |n: usize| u64::try_from(n).unwrap();
        match self {
            // A step that was refused is reported under another id when it is taken in the end.
            Self::Duty(_) | Self::Step(..) => 0,
            Self::Seen(offer) => 1 + 4 * number(offer),
            Self::Accept(offer) => 2 + 4 * number(offer),
            Self::Decline(offer) => 3 + 4 * number(offer),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duty(duty) => write!(f, "wants to be {duty}"),
            Self::Seen(offer) => write!(f, "has seen offer {}", offer + 1),
            Self::Accept(offer) => write!(f, "accepts offer {}", offer + 1),
            Self::Decline(offer) => write!(f, "declines offer {}", offer + 1),
            Self::Step(order, step) => write!(f, "reports {step} of order {}", order + 1),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(order) => write!(f, "the merchant places order {}", order + 1),
            Self::Cancel(order) => write!(f, "the merchant calls order {} off", order + 1),
            Self::Hello(rider) => write!(f, "rider {} opens a session", rider + 1),
            Self::Lost(rider) => write!(f, "the session of rider {} is gone", rider + 1),
            Self::LostLate(rider) => write!(f, "an earlier session of rider {} is noticed to be gone", rider + 1),
            Self::Ping(rider) => write!(f, "rider {} pings", rider + 1),
            Self::Ask(rider, ask) => write!(f, "rider {} {ask}", rider + 1),
            Self::AskLate(rider, ask) => write!(f, "over an earlier session rider {} {ask}", rider + 1),
            Self::Tick => f.write_str("time passes"),
            Self::Commit => f.write_str("the journal stores a write and says so"),
            Self::CommitUnheard => f.write_str("the journal stores a write and the answer is lost"),
            Self::RefuseHead => f.write_str("the database refuses a write"),
            Self::RefuseTail => f.write_str("the last write found the journal full"),
            Self::CrashCity => f.write_str("the city dies"),
            Self::CrashProcess => f.write_str("the process dies, and the writes that waited with it"),
            Self::Restart => f.write_str("a new incarnation reads the store"),
        }
    }
}

impl Model {
    /// Everything that can happen now.
    pub fn enabled(&self, scenario: &Scenario) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut may = |holds: bool, action: Action| {
            if holds {
                actions.push(action);
            }
        };
        let left = self.left;
        if self.city.is_none() {
            may(true, Action::Restart);
            may(self.journal.head().is_some(), Action::Commit);
            return actions;
        }
        may(!self.journal.is_empty(), Action::Commit);
        let new_head = self.journal.head().is_some_and(|write| !self.store.holds(write.transition()));
        may(new_head && left.unheard > 0, Action::CommitUnheard);
        may(new_head && left.invalid > 0, Action::RefuseHead);
        let new_tail = self.journal.tail().is_some_and(|write| !self.store.holds(write.transition()));
        may(new_tail && left.busy > 0, Action::RefuseTail);
        for (n, merchant) in self.merchants.iter().enumerate() {
            let free = self.waits_for_merchant(n) < scenario.at_once;
            may(free && merchant.placements < scenario.placements, Action::Place(n));
            may(free && merchant.order.is_some() && left.cancels > 0, Action::Cancel(n));
        }
        for (n, rider) in self.riders.iter().enumerate() {
            may(!rider.up || left.takeovers > 0, Action::Hello(n));
            may(rider.up && left.losses > 0, Action::Lost(n));
            may(rider.sessions > 1, Action::LostLate(n));
            may(rider.up && !rider.located, Action::Ping(n));
            if !rider.up || self.waits_for_rider(n) >= scenario.at_once {
                continue;
            }
            for offer in 0..rider.offers.len() {
                for reaction in scenario.reactions {
                    let ask = match reaction {
                        Reaction::Seen => Ask::Seen(offer),
                        Reaction::Accept => Ask::Accept(offer),
                        Reaction::Decline => Ask::Decline(offer),
                    };
                    may(true, Action::Ask(n, ask));
                    may(rider.sessions > 1, Action::AskLate(n, ask));
                }
            }
            for order in 0..rider.orders.len() {
                let holds = self.holds(n, order);
                for step in scenario.steps {
                    // Whoever lost an order disputes it with one word; every other one would be a dispute of its own.
                    may(holds || *step == Step::Delivered, Action::Ask(n, Ask::Step(order, *step)));
                }
            }
            for duty in scenario.duties {
                may(left.duties > 0, Action::Ask(n, Ask::Duty(*duty)));
            }
        }
        may(left.ticks > 0, Action::Tick);
        may(left.crashes > 0, Action::CrashCity);
        may(left.crashes > 0 && !self.journal.is_empty(), Action::CrashProcess);
        actions
    }
}
