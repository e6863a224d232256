//! The requests of a device that wait for an answer: each is sent again under its id until there is one. Pure.

use std::collections::BTreeMap;

use dispatch_engine::wire::rider::{DutyWish, Up};
use uuid::Uuid;

/// What was asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Another duty.
    Duty(DutyWish),
    /// An offer was shown.
    Seen(Uuid),
    /// An offer was taken.
    Accept(Uuid),
    /// An offer was declined.
    Decline(Uuid),
    /// A step of an order.
    Step {
        /// The order.
        order: Uuid,
        /// The step.
        step: &'static str,
    },
}

impl Ask {
    /// The word under which answers are counted.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Duty(_) => "duty",
            Self::Seen(_) => "offer_seen",
            Self::Accept(_) => "offer_accept",
            Self::Decline(_) => "offer_decline",
            Self::Step { .. } => "progress",
        }
    }
}

/// A request without an answer.
#[derive(Clone, Debug)]
pub struct Open {
    /// What was asked.
    pub ask: Ask,
    /// The frame, to be sent again as it is.
    pub frame: Up,
    /// When it was first sent.
    pub first: i64,
    /// How often it was sent.
    pub tries: u32,
    next_try: i64,
}

/// The open requests.
#[derive(Debug)]
pub struct Requests {
    prefix: String,
    last: u64,
    open: BTreeMap<String, Open>,
}

impl Requests {
    /// Ids start with `prefix`, which differs between runs of the app.
    pub fn new(prefix: String) -> Self {
        Self { prefix, last: 0, open: BTreeMap::new() }
    }

    /// Opens a request; `frame` makes it from its id. It is due again after `patience` milliseconds.
    pub fn ask(&mut self, now: i64, patience: i64, ask: Ask, frame: impl FnOnce(String) -> Up) -> Up {
        self.last += 1;
        let id = format!("{}-{:06}", self.prefix, self.last);
        let frame = frame(id.clone());
        self.open.insert(id, Open { ask, frame: frame.clone(), first: now, tries: 1, next_try: now + patience });
        frame
    }

    /// Whether a request of that id waits for its answer.
    pub fn is_open(&self, id: &str) -> bool {
        self.open.contains_key(id)
    }

    /// The request that an answer closes; `None` when it was closed before.
    pub fn answered(&mut self, re: &str) -> Option<Open> {
        self.open.remove(re)
    }

    /// The requests to send again by now; the time between attempts doubles, up to sixteen times.
    pub fn due(&mut self, now: i64, patience: i64) -> Vec<Up> {
        let mut again = vec![];
        for open in self.open.values_mut().filter(|open| open.next_try <= now) {
            open.next_try = now + (patience << open.tries.min(4));
            open.tries += 1;
            again.push(open.frame.clone());
        }
        again
    }

    /// A new connection: every open request goes out again, oldest first.
    pub fn reconnected(&mut self, now: i64, patience: i64) -> Vec<Up> {
        for open in self.open.values_mut() {
            open.next_try = now;
        }
        self.due(now, patience)
    }

    /// When the next request is due again.
    pub fn next_due(&self) -> Option<i64> {
        self.open.values().map(|open| open.next_try).min()
    }

    /// Whether such a request is open.
    pub fn any(&self, which: impl Fn(&Ask) -> bool) -> bool {
        self.open.values().any(|open| which(&open.ask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duty(id: String) -> Up {
        Up::Duty { id, state: DutyWish::On }
    }

    #[test]
    fn a_request_is_repeated_as_it_was_until_it_is_answered() {
        let mut requests = Requests::new("boot".into());
        let first = requests.ask(0, 100, Ask::Duty(DutyWish::On), duty);
        assert_eq!(first, duty("boot-000001".into()));
        assert!(requests.due(99, 100).is_empty());
        assert_eq!(requests.due(100, 100), std::slice::from_ref(&first));
        assert_eq!(requests.next_due(), Some(300));
        assert_eq!(requests.reconnected(150, 100), [first]);
        let open = requests.answered("boot-000001").unwrap();
        assert_eq!((open.tries, open.first), (3, 0));
        assert!(requests.answered("boot-000001").is_none());
        assert_eq!(requests.next_due(), None);
    }

    #[test]
    fn requests_go_out_in_their_order() {
        let mut requests = Requests::new("b".into());
        let sent: Vec<Up> = (0..12).map(|_| requests.ask(0, 1, Ask::Duty(DutyWish::On), duty)).collect();
        assert_eq!(requests.reconnected(5, 1), sent);
        assert!(requests.any(|ask| matches!(ask, Ask::Duty(_))));
        assert!(!requests.any(|ask| matches!(ask, Ask::Accept(_))));
    }
}
