//! What the sessions of a city must know of its settings to judge points: published by the city, read without asking it.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::domain::{
    city::{Boundary, City},
    ping::cadence::Pace,
    policy::{DispatchPolicy, PingPolicy},
};

/// The settings that points are judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct PingRules {
    /// How points are treated.
    pub pings: PingPolicy,
    /// Seconds between the pings of a device, usually.
    pub ping_interval_s: u32,
    /// Seconds after which a rider without a new fix is offered nothing.
    pub fix_freshness_s: u32,
    /// The service area; `None` flags nothing as outside.
    pub area: Option<Boundary>,
    /// Seconds of silence after which a rider who carries nothing is taken off duty.
    pub auto_off_after_s: u32,
}

impl Default for PingRules {
    fn default() -> Self {
        let DispatchPolicy { pings, ping_interval_s, fix_freshness_s, auto_off_after_s, .. } =
            DispatchPolicy::default();
        Self { pings, ping_interval_s, fix_freshness_s, area: None, auto_off_after_s }
    }
}

impl From<&City> for PingRules {
    fn from(city: &City) -> Self {
        let DispatchPolicy { pings, ping_interval_s, fix_freshness_s, auto_off_after_s, .. } = &city.policy;
        Self {
            pings: pings.clone(),
            ping_interval_s: *ping_interval_s,
            fix_freshness_s: *fix_freshness_s,
            area: Some(city.boundary.clone()),
            auto_off_after_s: *auto_off_after_s,
        }
    }
}

impl PingRules {
    /// How often devices should ping.
    #[must_use]
    pub const fn pace(&self) -> Pace {
        Pace {
            base_s: self.ping_interval_s,
            pickup_s: self.pings.pickup_interval_s,
            still_s: self.pings.still_interval_s,
            freshness_s: self.fix_freshness_s,
            auto_off_s: self.auto_off_after_s,
        }
    }
}

/// The board on which a city shows its rules. Cheap to clone; all clones show the same.
#[derive(Clone, Debug, Default)]
pub struct RuleBoard(Arc<ArcSwap<PingRules>>);

impl RuleBoard {
    /// A board that shows these rules.
    #[must_use]
    pub fn new(rules: PingRules) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(rules)))
    }

    /// The rules in force. Every frame of every session reads them: no lock, and no counter that the workers share.
    #[must_use]
    pub fn read(&self) -> Guard<Arc<PingRules>> {
        self.0.load()
    }

    /// From now on these.
    pub fn show(&self, rules: PingRules) {
        self.0.store(Arc::new(rules));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_who_holds_the_board_sees_a_change() {
        let board = RuleBoard::default();
        let seen = board.clone();
        assert_eq!(**seen.read(), PingRules::default());
        board.show(PingRules { ping_interval_s: 9, ..PingRules::default() });
        assert_eq!(seen.read().ping_interval_s, 9);
    }
}
