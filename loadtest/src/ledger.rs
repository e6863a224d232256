//! What the clients were told: the one side of the cross-check. Every device and every merchant writes down what the
//! engine confirmed to it, and contradictions that show at once (an order with two riders) are noted as they happen.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use dispatch_engine::wire::rest::OrderReceipt;
use serde::Serialize;
use uuid::Uuid;

/// A disagreement, between two things that clients were told or between what they were told and what is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// A stable word.
    pub kind: &'static str,
    /// The order concerned.
    pub order: Option<Uuid>,
    /// For people.
    pub detail: String,
}

/// What was told of one order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// Under which reference its merchant was told that it is placed.
    pub placed_as: Option<String>,
    /// The highest version told, with the status told under it.
    pub latest: Option<(i32, String)>,
    /// The end that was told: `delivered`, `returned`, `cancelled` or `expired`.
    pub end: Option<String>,
    /// The rider who was told last that the order is theirs, and who was not told otherwise.
    pub rider: Option<Uuid>,
    /// The rider who reported the end.
    pub ended_by: Option<Uuid>,
    /// Whether a rider was told that the goods are picked up.
    pub carried: bool,
    /// Whether a rider handed it over after a breakdown.
    pub handed_over: bool,
    /// A second rider was told `assigned` while the first one had not been told that it is gone.
    overlap: Option<(Uuid, Uuid)>,
}

/// What all clients were told.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// By order.
    pub orders: BTreeMap<Uuid, Told>,
    /// By reference, of every placement that was confirmed.
    pub placed: BTreeMap<String, Uuid>,
    /// References of placements whose answer never came: stored or not, both are right.
    pub in_doubt: BTreeSet<String>,
    /// Contradictions found while the run was going on.
    pub differences: Vec<Difference>,
}

/// The books behind a lock.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Books>);

impl Ledger {
    /// The books; held for a moment only.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nothing can happen to an order any more.
pub fn is_end(status: &str) -> bool {
    matches!(status, "delivered" | "returned" | "cancelled" | "expired")
}

/// Whether a rider has an order in hand, before or after pickup.
pub fn in_hand(status: &str) -> bool {
    matches!(status, "assigned" | "at_pickup") || (is_carried(status) && !is_end(status))
}

/// Whether the goods have left the store in a rider's hands.
pub fn is_carried(status: &str) -> bool {
    matches!(status, "picked_up" | "at_dropoff" | "attempt_failed" | "returning" | "delivered" | "returned")
}

impl Books {
    fn differ(&mut self, kind: &'static str, order: Uuid, detail: String) {
        self.differences.push(Difference { kind, order: Some(order), detail });
    }

    /// A merchant was told that its order is placed.
    pub fn placed(&mut self, reference: &str, receipt: &OrderReceipt) {
        if let Some(before) = self.placed.insert(reference.to_owned(), receipt.id)
            && before != receipt.id
        {
            self.differ("placed_twice", receipt.id, format!("{reference} was first placed as {before}"));
        }
        self.in_doubt.remove(reference);
        let told = self.orders.entry(receipt.id).or_default();
        told.placed_as = Some(reference.to_owned());
        told.version(&receipt.status, Some(receipt.version));
    }

    /// The same placement was sent again and got another answer.
    pub fn answered_differently(&mut self, first: &OrderReceipt, second: &OrderReceipt) {
        self.differ("repeat_differs", first.id, format!("first {first:?}, then {second:?}"));
    }

    /// The same request of a device was sent again and got another answer.
    pub fn answer_differs(&mut self, rider: Uuid, answers: &str) {
        let detail = format!("rider {rider}: {answers}");
        self.differences.push(Difference { kind: "repeat_differs", order: None, detail });
    }

    /// No answer to a placement came at all.
    pub fn doubt(&mut self, reference: &str) {
        if !self.placed.contains_key(reference) {
            self.in_doubt.insert(reference.to_owned());
        }
    }

    /// A merchant was told where its order stands.
    pub fn merchant_told(&mut self, receipt: &OrderReceipt) {
        self.orders.entry(receipt.id).or_default().version(&receipt.status, Some(receipt.version));
    }

    /// A rider was told that the order is theirs.
    pub fn assigned(&mut self, rider: Uuid, order: Uuid, status: &str, version: i32) {
        let told = self.orders.entry(order).or_default();
        told.version(status, Some(version));
        if let Some(other) = told.rider
            && other != rider
        {
            told.overlap = Some((other, rider));
        }
        told.rider = Some(rider);
    }

    /// A rider's own report of a step was confirmed; `holds` tells whether the order is still theirs.
    pub fn progressed(&mut self, rider: Uuid, order: Uuid, status: &str, version: Option<i32>, holds: bool) {
        let told = self.orders.entry(order).or_default();
        told.version(status, version);
        told.carried |= is_carried(status);
        let other = told.rider.filter(|other| *other != rider);
        if is_end(status) {
            told.ended_by = Some(rider);
        } else if !holds {
            told.handed_over = true;
        }
        if !holds {
            told.released_by(rider);
        }
        if let Some(other) = other {
            let detail = format!("{rider} was told {status} while the order was told to be {other}'s");
            self.differ("two_riders", order, detail);
        }
    }

    /// A rider was told of a change that another one caused.
    pub fn changed(&mut self, rider: Uuid, order: Uuid, status: &str, version: Option<i32>, holds: bool) {
        let told = self.orders.entry(order).or_default();
        told.version(status, version);
        if !holds {
            told.released_by(rider);
        }
    }

    /// A rider learned the whole plan: orders not in it are no longer theirs.
    pub fn plan(&mut self, rider: Uuid, believed: &[Uuid], plan: &[(Uuid, String, i32)]) {
        for order in believed.iter().filter(|order| !plan.iter().any(|(id, ..)| id == *order)) {
            self.orders.entry(*order).or_default().released_by(rider);
        }
        for (order, status, version) in plan {
            self.assigned(rider, *order, status, *version);
        }
    }

    /// A rider was told to have more orders than one may hold.
    pub fn overloaded(&mut self, rider: Uuid, order: Uuid, other: Uuid) {
        self.differ("over_capacity", order, format!("assigned to {rider}, who still has {other}"));
    }

    /// Every contradiction among the things that clients were told.
    pub fn contradictions(&self) -> Vec<Difference> {
        let overlaps = self.orders.iter().filter_map(|(order, told)| {
            let (first, second) = told.overlap?;
            let detail = format!("{second} was assigned while {first} was not told otherwise");
            Some(Difference { kind: "two_riders", order: Some(*order), detail })
        });
        self.differences.iter().cloned().chain(overlaps).collect()
    }
}

impl Told {
    fn version(&mut self, status: &str, version: Option<i32>) {
        if let Some(version) = version
            && self.latest.as_ref().is_none_or(|(latest, _)| *latest <= version)
        {
            self.latest = Some((version, status.to_owned()));
        }
        if is_end(status) {
            self.end = Some(status.to_owned());
        }
    }

    /// The rider knows that the order is no longer theirs. News may arrive late: a hand-over to the next rider that the
    /// former one learns of only now was right after all.
    fn released_by(&mut self, rider: Uuid) {
        if self.overlap.is_some_and(|(first, _)| first == rider) {
            self.overlap = None;
        }
        if self.rider == Some(rider) {
            self.rider = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(0xA);
    const B: Uuid = Uuid::from_u128(0xB);
    const ORDER: Uuid = Uuid::from_u128(1);

    fn receipt(version: i32) -> OrderReceipt {
        OrderReceipt { id: ORDER, status: "queued".into(), version }
    }

    fn kinds(books: &Books) -> Vec<&'static str> {
        books.contradictions().into_iter().map(|d| d.kind).collect()
    }

    #[test]
    fn a_plain_delivery_is_consistent() {
        let mut books = Books::default();
        books.placed("r-1", &receipt(1));
        books.assigned(A, ORDER, "assigned", 3);
        books.progressed(A, ORDER, "picked_up", Some(5), true);
        books.progressed(A, ORDER, "delivered", Some(7), false);
        assert!(kinds(&books).is_empty());
        let told = &books.orders[&ORDER];
        assert_eq!((told.end.as_deref(), told.ended_by, told.rider), (Some("delivered"), Some(A), None));
        assert_eq!(told.latest, Some((7, "delivered".into())));
        assert!(told.carried && !told.handed_over);
    }

    #[test]
    fn two_riders_at_once_are_noted() {
        let mut books = Books::default();
        books.assigned(A, ORDER, "assigned", 3);
        books.assigned(B, ORDER, "assigned", 4);
        assert_eq!(kinds(&books), ["two_riders"]);
        // The first one's release was only late.
        books.changed(A, ORDER, "queued", None, false);
        assert!(kinds(&books).is_empty());
        // But a step that is confirmed to the first one is not.
        books.progressed(A, ORDER, "at_pickup", Some(5), true);
        assert_eq!(kinds(&books), ["two_riders"]);
    }

    #[test]
    fn a_hand_over_frees_the_order() {
        let mut books = Books::default();
        books.assigned(A, ORDER, "assigned", 3);
        books.progressed(A, ORDER, "picked_up", Some(4), true);
        books.progressed(A, ORDER, "queued", Some(5), false);
        books.assigned(B, ORDER, "assigned", 7);
        assert!(kinds(&books).is_empty());
        assert!(books.orders[&ORDER].handed_over);
    }

    #[test]
    fn a_plan_releases_what_it_does_not_name() {
        let mut books = Books::default();
        books.assigned(A, ORDER, "assigned", 3);
        books.plan(A, &[ORDER], &[]);
        books.assigned(B, ORDER, "assigned", 5);
        assert!(kinds(&books).is_empty());
    }

    #[test]
    fn placements_are_told_apart() {
        let mut books = Books::default();
        books.doubt("r-1");
        books.placed("r-1", &receipt(1));
        assert!(books.in_doubt.is_empty());
        books.placed("r-1", &OrderReceipt { id: Uuid::from_u128(2), ..receipt(1) });
        books.answered_differently(&receipt(1), &receipt(2));
        assert_eq!(kinds(&books), ["placed_twice", "repeat_differs"]);
        // An older version that comes late does not replace a newer one.
        books.merchant_told(&OrderReceipt { status: "cancelled".into(), ..receipt(5) });
        books.merchant_told(&receipt(4));
        assert_eq!(books.orders[&ORDER].latest, Some((5, "cancelled".into())));
    }
}
