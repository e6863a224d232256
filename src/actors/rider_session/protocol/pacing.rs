//! How often the device of a session should ping, and when it must be told. Pure.

use std::time::Duration;

use super::{Phase, Protocol};
use crate::{
    actors::city::PingRules,
    domain::{
        ping::cadence::{Cadence, Rest, Situation},
        position::Position,
        time::Timestamp,
    },
    wire::rider::Down,
};

/// What a session remembers to pace its device.
#[derive(Debug)]
pub struct Pacing {
    cadence: Cadence,
    rest: Rest,
    patience: Duration,
}

impl Pacing {
    /// Of a device that has been told nothing; longer intervals are told after `patience` of the engine's clock.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self { cadence: Cadence::new(0), rest: Rest::default(), patience }
    }
}

impl Protocol {
    /// The newest live point of a frame: whether the rider stands still depends on it.
    pub fn located(&mut self, rules: &PingRules, live: Option<(Position, Timestamp)>) {
        if let Some((position, at)) = live {
            self.pacing.rest.note(position, at, f64::from(rules.pings.rest_radius_m));
        }
    }

    /// The interval for `welcome`, milliseconds; `factor` is what the pressure stretches intervals by.
    pub fn first_interval_ms(&mut self, now: Timestamp, rules: &PingRules, factor: f64) -> u64 {
        self.pacing.cadence = Cadence::new(self.interval_ms(now, rules, factor));
        self.pacing.cadence.told_ms()
    }

    /// Another interval that the device must be told now.
    pub fn pace(&mut self, now: Timestamp, rules: &PingRules, factor: f64) -> Option<Change> {
        if self.phase != Phase::Live {
            return None;
        }
        let (before, wanted) = (self.pacing.cadence.told_ms(), self.interval_ms(now, rules, factor));
        let ms = self.pacing.cadence.turn(now, wanted, self.pacing.patience)?;
        Some(Change { down: Down::PingInterval { ms }, is_faster: ms < before })
    }

    fn interval_ms(&self, now: Timestamp, rules: &PingRules, factor: f64) -> u64 {
        let still = self.pacing.rest.is_still(now, Duration::from_secs(rules.pings.still_after_s.into()));
        let (asked, to_pickup) = (self.open_offer.is_some(), self.in_hand.is_to_pickup());
        let situation = Situation::of(self.duty, asked, to_pickup, !self.in_hand.is_empty(), still);
        rules.pace().interval_ms(situation, factor)
    }
}

/// Another interval.
#[derive(Debug)]
pub struct Change {
    /// What to tell the device.
    pub down: Down,
    /// Whether it is shorter than before.
    pub is_faster: bool,
}
