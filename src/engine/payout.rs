//! What an order pays: its own payout, and a bonus that grows while nobody takes it. An offer's payout is fixed when the
//! offer is made, stored with it, and is what is paid.

use crate::domain::ids::OrderId;

use super::{city::City, state::LiveOrder};

impl City {
    /// What an offer of this order made now pays, minor units: the payout fixed at placement, and the bonus of the round.
    pub(super) fn payout_now(&self, live: &LiveOrder) -> i64 {
        live.spec.payout_minor.saturating_add(self.settings.policy.bonus_minor(live.state.round))
    }

    /// Lets riders be asked again who declined less than the waiting orders pay now. Within a round that is so only after
    /// a change of the policy.
    pub(super) fn forgive_for_higher_payouts(&mut self) {
        let waiting: Vec<OrderId> = self.queue.iter().map(|(order, _)| order).collect();
        for order in waiting {
            let Some(payout) = self.orders.get(&order).map(|live| self.payout_now(live)) else { continue };
            let Some(live) = self.orders.get_mut(&order) else { continue };
            let declined = std::mem::take(&mut live.declined);
            let (forgiven, kept) = declined.into_iter().partition(|(_, refused)| *refused < payout);
            live.declined = kept;
            let forgiven: std::collections::BTreeMap<_, _> = forgiven;
            live.refusals.retain(|rider, _| !forgiven.contains_key(rider));
        }
    }
}

impl LiveOrder {
    /// What the rider who has the order in hand was promised, minor units.
    pub(super) fn promised_minor(&self) -> i64 {
        self.state.payout_minor.unwrap_or(self.spec.payout_minor)
    }
}
