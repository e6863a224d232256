//! An order that will be placed, and what its merchant does besides.

use rand::{Rng, RngExt};

use super::manners::{Manners, chance};
use crate::wire::LatLon;

/// Why merchants cancel.
pub const CANCEL_REASON: &str = "the customer changed their mind";

/// An order that will be placed. Times are milliseconds from the start of the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedOrder {
    /// Its number in the run, from 1.
    pub number: u64,
    /// Index of its city.
    pub city: usize,
    /// When it is placed.
    pub at: i64,
    /// The merchant's name for the store; orders of one store come from one merchant.
    pub store: String,
    /// Picks the merchant.
    pub store_number: u64,
    /// Where the goods are.
    pub pickup: LatLon,
    /// Where they go.
    pub drop: LatLon,
    /// When they are ready.
    pub ready: i64,
    /// When they are expected.
    pub promise: i64,
    /// What its merchant does besides.
    pub whims: Whims,
}

/// What a merchant does besides placing an order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Whims {
    /// Cancels this long after the placement.
    pub cancel_after: Option<i64>,
    /// Announces a delay: how long after the placement, and of how much.
    pub delay: Option<(i64, i64)>,
    /// Sends the placement again this long after the first.
    pub again_after: Option<i64>,
    /// Cash to collect, minor units.
    pub cash_minor: Option<i64>,
}

impl Whims {
    /// Draws them.
    pub fn draw<R: Rng>(manners: &Manners, rng: &mut R) -> Self {
        // Everything is drawn in any case, so that one share does not change what the others hit.
        let cancel_after = rng.random_range(20_000..900_000);
        let delay = (rng.random_range(60_000..400_000), rng.random_range(120_000..600_000));
        let again_after = if rng.random_bool(0.5) { 0 } else { rng.random_range(100..5_000) };
        let cash = rng.random_range(100..2_000_i64) * 100;
        Self {
            cancel_after: chance(manners.cancel, rng).then_some(cancel_after),
            delay: chance(manners.late_kitchen, rng).then_some(delay),
            again_after: chance(manners.twice, rng).then_some(again_after),
            cash_minor: rng.random_bool(0.3).then_some(cash),
        }
    }
}
