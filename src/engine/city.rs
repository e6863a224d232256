//! The state of one city and the only way to change it.

use crate::domain::{self, duty::Duty, order::OrderSpec, rider::RiderProfile, time::Timestamp};

use super::{
    command::Command,
    effect::{Effect, OfferRecord, OrderState},
    view::{CityChanges, CitySnapshot, Counts},
};

/// What the store knows of a city when its engine starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CityImage {
    /// Every order that has not ended.
    pub orders: Vec<(OrderSpec, OrderState)>,
    /// Every open offer.
    pub offers: Vec<OfferRecord>,
    /// Every rider who is on duty or on a break here, or has an order of this city in hand.
    pub riders: Vec<StoredRider>,
}

/// A rider as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRider {
    /// Who.
    pub profile: RiderProfile,
    /// The committed duty.
    pub duty: Duty,
}

/// One city.
#[derive(Debug)]
pub struct City {
    settings: domain::city::City,
}

impl City {
    /// An engine for a city, with what the store knows of it. `seed` feeds the ids it makes and nothing else.
    /// The effects are to be carried out like those of any command.
    #[must_use]
    pub fn restore(settings: domain::city::City, seed: u64, now: Timestamp, image: CityImage) -> (Self, Vec<Effect>) {
        let _ = (seed, now, image);
        (Self { settings }, Vec::new())
    }

    /// Does one thing at one time. Does no IO and cannot fail: a refusal is an effect.
    pub fn apply(&mut self, now: Timestamp, command: Command) -> Vec<Effect> {
        let _ = (now, command);
        Vec::new()
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &domain::city::City {
        &self.settings
    }

    /// Figures.
    #[must_use]
    pub fn counts(&self, now: Timestamp) -> Counts {
        let _ = now;
        Counts::default()
    }

    /// The whole city.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> CitySnapshot {
        CitySnapshot {
            city: self.settings.code.clone(),
            at: now,
            counts: self.counts(now),
            orders: vec![],
            riders: vec![],
        }
    }

    /// The waiting orders, in the order of the queue.
    pub fn queue(&self) -> impl Iterator<Item = domain::ids::OrderId> + '_ {
        std::iter::empty()
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self, now: Timestamp) -> CityChanges {
        let _ = now;
        CityChanges::default()
    }
}
