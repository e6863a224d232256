//! The requests of a virtual device that wait for an answer: like a live device it asks again until there is one, and asks
//! everything anew after a reconnect, because the answer may have gone to the session before.

use crate::{
    domain::{
        duty::Duty,
        ids::{OfferId, OrderId},
    },
    engine::command::StepReport,
};

/// Time until a request without an answer is made again, milliseconds; it doubles, up to sixteen times.
const PATIENCE_MS: i64 = 3_000;

/// What a device asks.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ask {
    /// Another duty.
    Duty(Duty),
    /// An offer was shown.
    Seen(OfferId),
    /// An offer is taken.
    Accept(OfferId),
    /// An offer is declined.
    Decline(OfferId),
    /// A step of an order.
    Step(Box<StepReport>),
}

/// A request without an answer.
#[derive(Debug)]
struct Open {
    number: u64,
    ask: Ask,
    tries: u32,
    next_try: i64,
}

/// The open requests, oldest first.
#[derive(Debug, Default)]
pub(super) struct Requests {
    last: u64,
    open: Vec<Open>,
}

impl Requests {
    /// Opens a request; it is due at once.
    pub fn ask(&mut self, now: i64, ask: Ask) {
        self.last += 1;
        self.open.push(Open { number: self.last, ask, tries: 0, next_try: now });
    }

    /// The request that an answer closes; `None` when it was closed before.
    pub fn answered(&mut self, number: u64) -> Option<Ask> {
        let index = self.open.iter().position(|open| open.number == number)?;
        Some(self.open.remove(index).ask)
    }

    /// The next request that is to be made by now, with its number.
    pub fn due(&mut self, now: i64) -> Option<(u64, Ask)> {
        let open = self.open.iter_mut().find(|open| open.next_try <= now)?;
        open.next_try = now + (PATIENCE_MS << open.tries.min(4));
        open.tries += 1;
        Some((open.number, open.ask.clone()))
    }

    /// A new connection: every open request is due again.
    pub fn reconnected(&mut self, now: i64) {
        self.open.iter_mut().for_each(|open| open.next_try = now);
    }

    /// The app restarts and remembers nothing; answers to what it asked before close nothing.
    pub fn forget(&mut self) {
        self.open.clear();
    }

    /// When the next request is due.
    pub fn next_due(&self) -> Option<i64> {
        self.open.iter().map(|open| open.next_try).min()
    }

    /// Whether another duty is asked for.
    pub fn asks_duty(&self) -> bool {
        self.open.iter().any(|open| matches!(open.ask, Ask::Duty(_)))
    }

    /// Whether a step of an order is being reported.
    pub fn reports(&self, order: OrderId) -> bool {
        self.open.iter().any(|open| matches!(&open.ask, Ask::Step(report) if report.order == order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_made_again_until_it_is_answered() {
        let mut requests = Requests::default();
        requests.ask(0, Ask::Duty(Duty::On));
        assert_eq!(requests.due(0), Some((1, Ask::Duty(Duty::On))));
        assert_eq!((requests.due(2_999), requests.next_due()), (None, Some(3_000)));
        assert_eq!(requests.due(3_000), Some((1, Ask::Duty(Duty::On))));
        assert_eq!(requests.next_due(), Some(9_000));
        requests.reconnected(4_000);
        assert!(requests.due(4_000).is_some() && requests.asks_duty());
        assert_eq!(requests.answered(1), Some(Ask::Duty(Duty::On)));
        assert_eq!((requests.answered(1), requests.next_due()), (None, None));
    }
}
