//! The orders in a rider's hands, as far as a session must know them: with any, positions are wanted off duty too, and one
//! whose goods are still at the counter wants them often.

use std::collections::BTreeMap;

use crate::{
    domain::{ids::OrderId, order::OrderStatus},
    engine::view::JobView,
};

/// The orders and where they stand.
#[derive(Debug, Default)]
pub struct InHand(BTreeMap<OrderId, OrderStatus>);

impl InHand {
    /// A job is the rider's.
    pub fn take(&mut self, job: &JobView) {
        self.0.extend(job.orders.iter().map(|order| (order.order, order.status)));
    }

    /// An order changed, and this is its job; without one it is no longer the rider's.
    pub fn changed(&mut self, order: OrderId, job: Option<&JobView>) {
        match job {
            Some(job) => self.take(job),
            None => drop(self.0.remove(&order)),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the rider is on the way to a pickup.
    #[must_use]
    pub fn is_to_pickup(&self) -> bool {
        self.0.values().any(|status| *status == OrderStatus::Assigned)
    }
}
