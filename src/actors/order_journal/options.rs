//! Settings of the order journal.

use serde::Deserialize;

/// Settings of the order journal. All times are real.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Writes that may wait at once; beyond it a city is told that there is no room.
    pub bound: usize,
    /// The share of the bound, 0 to 1, that new orders may fill; what is left is kept for orders under way.
    pub placement_share: f64,
    /// Writes in one transaction.
    pub max_batch: usize,
    /// Milliseconds that the first write of an idle journal waits for company.
    pub max_wait_ms: u64,
    /// Milliseconds after which a batch that got no answer is given to the database again, over another connection.
    pub attempt_ms: u64,
    /// Milliseconds of one attempt after which the database counts as one that does not answer, until it does.
    pub silent_ms: u64,
    /// Milliseconds before the first retry while the database is away; doubles from there.
    pub retry_min_ms: u64,
    /// The longest time between retries, milliseconds.
    pub retry_max_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bound: 16_384,
            placement_share: 0.75,
            max_batch: 512,
            max_wait_ms: 2,
            attempt_ms: 10_000,
            silent_ms: 1_000,
            retry_min_ms: 50,
            retry_max_ms: 2_000,
        }
    }
}

impl Options {
    /// Writes that may wait for a new order to be taken still.
    pub(super) fn placement_bound(&self) -> usize {
        let share = if self.placement_share.is_finite() { self.placement_share.clamp(0.0, 1.0) } else { 1.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a share of a bound is a number within it; beyond 2^52 waiting writes nobody minds one more"
        )]
        let bound = (self.bound as f64 * share).ceil() as usize;
        bound.min(self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_orders_leave_room() {
        let bound = |bound, placement_share| Options { bound, placement_share, ..Options::default() }.placement_bound();
        assert_eq!([bound(16_384, 0.75), bound(4, 0.5), bound(1, 0.75)], [12_288, 2, 1]);
        assert_eq!([bound(0, 0.75), bound(8, 1.0), bound(8, 7.0), bound(8, f64::NAN)], [0, 8, 8, 8]);
    }
}
