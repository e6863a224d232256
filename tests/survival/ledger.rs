//! What clients wrote down for themselves: every word that they were given, every time that they waited in vain, and
//! every answer that made no sense.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;
use uuid::Uuid;

/// An order that its merchant has a receipt for.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The merchant.
    pub merchant: Uuid,
    /// The merchant's name for it.
    pub reference: String,
}

/// A state of an order that a client was told of: it is stored, and stays in the order's history.
#[derive(Clone, Debug)]
pub struct Told {
    /// The order.
    pub order: Uuid,
    /// Where it stood.
    pub status: String,
    /// Its version, where the client was told.
    pub version: Option<i32>,
    /// The rider in whose hands it was, as the client understood it.
    pub holder: Option<Uuid>,
    /// By which frame or answer.
    pub by: &'static str,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { order, status, version, holder, by } = self;
        write!(f, "{by} told that {order} is {status}, version {version:?}, in the hands of {holder:?}")
    }
}

/// A span in which a client waited: from the first try of a request that failed, or from the loss of its connection, to
/// the answer.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// Its beginning.
    pub from: Instant,
    /// Its end.
    pub to: Instant,
}

/// A step that a device reported and that was refused for good.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Whose.
    pub rider: Uuid,
    /// Of which order.
    pub order: Uuid,
    /// The step.
    pub step: String,
    /// The code of the refusal.
    pub code: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rider, order, step, code } = self;
        write!(f, "{step} of {order} was refused to {rider} with {code}")
    }
}

/// All of it.
#[derive(Debug, Default)]
pub struct Notes {
    /// Receipts by order.
    pub receipts: BTreeMap<Uuid, Receipt>,
    /// The order of each idempotency key that was answered.
    pub keys: BTreeMap<String, Uuid>,
    /// Every state that anybody was told of.
    pub told: Vec<Told>,
    /// Every wait.
    pub outages: Vec<Outage>,
    /// Steps that were refused.
    pub refused: Vec<Refused>,
    /// Answers that break the protocol by themselves.
    pub complaints: Vec<String>,
    /// Counts, for the report.
    pub counts: BTreeMap<String, u64>,
}

/// The notes of all clients together.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Notes>);

impl Ledger {
    /// The notes.
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        // A client that panicked fails the test by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A merchant has the receipt of a placement; a key that is answered again names the same order.
    pub fn receipt(&self, key: &str, order: Uuid, receipt: Receipt) {
        let mut notes = self.notes();
        if let Some(first) = notes.keys.insert(key.to_owned(), order).filter(|first| *first != order) {
            notes.complaints.push(format!("the key {key} was answered with {first} and then with {order}"));
        }
        notes.receipts.insert(order, receipt);
    }

    /// A client was told of a state.
    pub fn told(&self, told: Told) {
        self.notes().told.push(told);
    }

    /// A wait is over.
    pub fn waited(&self, from: Instant) {
        self.notes().outages.push(Outage { from, to: Instant::now() });
    }

    /// An answer breaks the protocol.
    pub fn complain(&self, what: String) {
        self.notes().complaints.push(what);
    }

    /// Counts something.
    pub fn count(&self, what: &str) {
        *self.notes().counts.entry(what.to_owned()).or_default() += 1;
    }
}
