//! The waiting orders: by the operators' priority, then in the order in which riders have to leave for them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use uuid::Uuid;

use crate::domain::{ids::OrderId, steering::Priority, time::Timestamp};

/// What places an order in the queue. The priority comes first: of the orders that are due, those of a higher priority
/// take their riders before any of a lower one. An order that is not due takes nobody, so its place delays no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Urgency {
    /// The operators' word; the highest first.
    priority: Reverse<Priority>,
    /// When a rider must leave: ready time less the estimated pickup time.
    pub leave_by: Timestamp,
    /// Milliseconds between the earliest possible delivery and the promise; less is more urgent.
    pub slack_ms: i64,
}

impl Urgency {
    /// The urgency of an order.
    #[must_use]
    pub const fn new(priority: Priority, leave_by: Timestamp, slack_ms: i64) -> Self {
        Self { priority: Reverse(priority), leave_by, slack_ms }
    }
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

    /// The orders for which a rider has to leave by a time, most urgent first.
    pub fn within(&self, horizon: Timestamp) -> impl Iterator<Item = (OrderId, Urgency)> + '_ {
        Priority::all().flat_map(move |priority| {
            let first = (Urgency::new(priority, Timestamp::from_millis(i64::MIN), i64::MIN), OrderId(Uuid::nil()));
            let last = (Urgency::new(priority, horizon, i64::MAX), OrderId(Uuid::max()));
            self.line.range(first..=last).map(|(urgency, order)| (*order, *urgency))
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn orders_stand_by_leave_time_then_slack_and_move() {
        let id = |n| OrderId(Uuid::from_u128(n));
        let at = |leave, slack_ms| Urgency::new(Priority::default(), Timestamp::from_millis(leave), slack_ms);
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

    #[test]
    fn a_higher_priority_stands_before_every_earlier_time() {
        let id = |n| OrderId(Uuid::from_u128(n));
        let at = |level, leave| Urgency::new(Priority::new(level).unwrap(), Timestamp::from_millis(leave), 0);
        let mut queue = OrderQueue::default();
        for (n, urgency) in [(1, at(0, 20)), (2, at(2, 90)), (3, at(-1, 10)), (4, at(0, 91)), (5, at(2, 91))] {
            queue.put(id(n), urgency);
        }
        let within = |horizon| queue.within(Timestamp::from_millis(horizon)).map(|(o, _)| o.0.as_u128());
        assert_eq!(within(90).collect::<Vec<_>>(), [2, 1, 3], "low priority is late, not lost");
        assert_eq!(within(1_000).collect::<Vec<_>>(), [2, 5, 1, 4, 3]);
        assert!(within(1_000).eq(queue.iter().map(|(o, _)| o.0.as_u128())));
    }
}
