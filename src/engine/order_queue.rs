//! The waiting orders, in the order in which riders have to leave for them.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{ids::OrderId, time::Timestamp};

/// What places an order in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Urgency {
    /// When a rider must leave: ready time less the estimated pickup time.
    pub leave_by: Timestamp,
    /// Milliseconds between the earliest possible delivery and the promise; less is more urgent.
    pub slack_ms: i64,
}

/// A queue by urgency, then by id (age).
#[derive(Clone, Debug, Default)]
pub struct OrderQueue {
    line: BTreeSet<(Urgency, OrderId)>,
    places: BTreeMap<OrderId, Urgency>,
}

impl OrderQueue {
    /// Puts an order into its place, or moves it there; says whether anything changed.
    pub fn put(&mut self, order: OrderId, urgency: Urgency) -> bool {
        match self.places.insert(order, urgency) {
            Some(before) if before == urgency => return false,
            Some(before) => {
                self.line.remove(&(before, order));
            }
            None => {}
        }
        self.line.insert((urgency, order))
    }

    /// Takes an order out; says whether it was in.
    pub fn remove(&mut self, order: OrderId) -> bool {
        match self.places.remove(&order) {
            Some(urgency) => self.line.remove(&(urgency, order)),
            None => false,
        }
    }

    /// Whether an order is in.
    #[must_use]
    pub fn contains(&self, order: OrderId) -> bool {
        self.places.contains_key(&order)
    }

    /// The urgency of an order that is in.
    #[must_use]
    pub fn urgency(&self, order: OrderId) -> Option<Urgency> {
        self.places.get(&order).copied()
    }

    /// How many orders wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The orders, most urgent first.
    pub fn iter(&self) -> impl Iterator<Item = (OrderId, Urgency)> + '_ {
        self.line.iter().map(|(urgency, order)| (*order, *urgency))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn orders_stand_by_leave_time_then_slack_and_move() {
        let id = |n| OrderId(Uuid::from_u128(n));
        let at = |leave, slack_ms| Urgency { leave_by: Timestamp::from_millis(leave), slack_ms };
        let mut queue = OrderQueue::default();
        assert!(queue.put(id(1), at(50, 0)));
        assert!(queue.put(id(2), at(20, 9)));
        assert!(queue.put(id(3), at(20, 3)));
        assert!(!queue.put(id(3), at(20, 3)));
        assert_eq!(queue.iter().map(|(o, _)| o).collect::<Vec<_>>(), [id(3), id(2), id(1)]);
        queue.put(id(1), at(10, 0));
        assert_eq!(queue.iter().next().map(|(o, _)| o), Some(id(1)));
        assert!(queue.remove(id(1)) && !queue.remove(id(1)));
        assert_eq!(queue.len(), 2);
    }
}
