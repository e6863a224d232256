//! How often a device should say where it is: the more depends on it, the more often. Who has an offer open or is on the
//! way to a pickup is looked for; who stands still and waits tells nothing new. All times are the engine's.

use std::time::Duration;

use crate::domain::{duty::Duty, position::Position, time::Timestamp};

/// What the pings of a rider are for at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    /// An offer waits for the rider's answer.
    Asked,
    /// On the way to a pickup.
    ToPickup,
    /// At work otherwise: at the counter, or with goods in hand.
    Working,
    /// On duty, free and moving.
    Moving,
    /// On duty, free and at rest.
    Still,
    /// On a break, with nothing in hand.
    Break,
    /// Off duty, with nothing in hand: points are not taken, and any are for nothing.
    Off,
}

impl Situation {
    /// The situation of a rider: an open offer counts most, then the work in hand, then the duty.
    #[must_use]
    pub const fn of(duty: Duty, asked: bool, to_pickup: bool, working: bool, still: bool) -> Self {
        match duty {
            _ if asked => Self::Asked,
            _ if to_pickup => Self::ToPickup,
            _ if working => Self::Working,
            Duty::On if still => Self::Still,
            Duty::On => Self::Moving,
            Duty::Break => Self::Break,
            Duty::Off | Duty::AutoOff => Self::Off,
        }
    }
}

/// What a city wants, seconds; what does not go together is brought into line by [`Pace::interval_ms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two pings, usually.
    pub base_s: u32,
    /// With an open offer or on the way to a pickup; at most `base_s`.
    pub pickup_s: u32,
    /// At rest or on a break; at least `base_s`.
    pub still_s: u32,
    /// After so long without a ping a rider is offered nothing.
    pub freshness_s: u32,
    /// After so long without a sign of life a rider who carries nothing is taken off duty.
    pub auto_off_s: u32,
}

impl Pace {
    /// The interval in a situation, milliseconds; `factor` is what it is stretched by while the engine is pressed, 1 when
    /// it is not.
    ///
    /// A rider does not lose work, or the duty, because pings were slowed down: at rest the interval is at most a third of
    /// the city's bounds, and under pressure at most half, so that one ping may be lost on the way. A city whose usual
    /// interval is longer than that has decided so itself.
    #[must_use]
    pub fn interval_ms(&self, situation: Situation, factor: f64) -> u64 {
        let ms = |seconds: u32| u64::from(seconds.max(1)) * 1_000;
        let base = ms(self.base_s);
        let slow = ms(self.still_s).max(base);
        // A rider on a break is offered nothing, and may still be taken off duty for being silent.
        let bound = match situation {
            Situation::Off => u64::MAX,
            Situation::Break => ms(self.auto_off_s),
            _ => ms(self.freshness_s).min(ms(self.auto_off_s)),
        };
        let calm = match situation {
            Situation::Asked | Situation::ToPickup => ms(self.pickup_s).min(base),
            Situation::Working | Situation::Moving => base,
            Situation::Still | Situation::Break | Situation::Off => slow.min((bound / 3).max(base)),
        };
        let factor = if factor.is_nan() { 1.0 } else { factor.clamp(1.0, 1_000.0) };
        let stretched = Duration::from_millis(calm).mul_f64(factor);
        u64::try_from(stretched.as_millis()).unwrap_or(u64::MAX).min((bound / 2).max(calm))
    }
}

/// What a device was told. It hears of a shorter interval at once, and of a longer one when that has been wanted for a
/// while: an offer that comes and goes is no reason for two frames, and each second of a fast ping costs little.
#[derive(Clone, Copy, Debug)]
pub struct Cadence {
    told_ms: u64,
    slower_since: Option<Timestamp>,
}

impl Cadence {
    /// Of a device that was told an interval.
    #[must_use]
    pub const fn new(told_ms: u64) -> Self {
        Self { told_ms, slower_since: None }
    }

    /// The interval that the device must be told now, when `wanted_ms` is wanted; `None` when it goes on as it does. A
    /// longer one waits for `patience`, which is also the shortest time between two of them.
    pub fn turn(&mut self, now: Timestamp, wanted_ms: u64, patience: Duration) -> Option<u64> {
        if wanted_ms == self.told_ms {
            self.slower_since = None;
            return None;
        }
        if wanted_ms > self.told_ms {
            let since = *self.slower_since.get_or_insert(now);
            if now.since(since) < patience {
                return None;
            }
        }
        *self = Self::new(wanted_ms);
        Some(wanted_ms)
    }

    /// The interval that the device was told, milliseconds.
    #[must_use]
    pub const fn told_ms(&self) -> u64 {
        self.told_ms
    }
}

/// Since when a rider has been at one place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest {
    /// The place, and since when.
    anchor: Option<(Position, Timestamp)>,
}

impl Rest {
    /// A live point; one beyond `radius_m` of the place begins another place.
    pub fn note(&mut self, position: Position, at: Timestamp, radius_m: f64) {
        if self.anchor.is_none_or(|(place, _)| place.distance_m(position) > radius_m) {
            self.anchor = Some((position, at));
        }
    }

    /// Whether the rider has been at the place for so long; nobody is at rest of whom nothing is known.
    #[must_use]
    pub fn is_still(&self, now: Timestamp, after: Duration) -> bool {
        self.anchor.is_some_and(|(_, since)| now.since(since) >= after)
    }
}

#[cfg(test)]
#[path = "cadence_tests.rs"]
mod tests;
