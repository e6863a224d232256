//! Made-up orders: a random stream whose rate swings smoothly around its mean, between busy spots and places 1 to 5 km
//! away. Pure and endless; the same seed makes the same orders.

use std::{f64::consts::TAU, sync::Arc};

use dispatch_engine::replay::{
    manners::Manners,
    orders::{PlannedOrder, Whims},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::area::Area;

/// How far the rate swings around its mean.
const SWING: f64 = 0.4;

/// Straight-line metres from one store to another count as one store below this grid.
const STORE_GRID_DEG: f64 = 0.002;

/// An endless stream of orders in time.
#[derive(Debug)]
pub struct Stream {
    areas: Vec<Arc<Area>>,
    manners: Manners,
    mean_per_ms: f64,
    wave_ms: f64,
    rng: ChaCha8Rng,
    at_ms: f64,
    number: u64,
}

/// The rate at a time, in units of the mean: a wave with one period per `wave_ms` whose mean is 1.
pub fn rate(at_ms: f64, wave_ms: f64) -> f64 {
    1.0 + SWING * (TAU * at_ms / wave_ms).sin()
}

impl Stream {
    /// Orders at a mean rate per second over the areas; one wave takes `wave_ms`. A rate of 0 makes no orders.
    pub fn new(areas: Vec<Arc<Area>>, manners: Manners, per_second: f64, wave_ms: i64, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::MAX);
        let wave_ms = wave_ms.max(1_000) as f64;
        Self { areas, manners, mean_per_ms: per_second / 1_000.0, wave_ms, rng, at_ms: 0.0, number: 0 }
    }
}

impl Iterator for Stream {
    type Item = PlannedOrder;

    fn next(&mut self) -> Option<PlannedOrder> {
        if self.mean_per_ms <= 0.0 || self.areas.is_empty() {
            return None;
        }
        // Thinning: draw at the highest rate, keep in proportion to the present one.
        let highest = self.mean_per_ms * (1.0 + SWING);
        loop {
            self.at_ms -= (1.0 - self.rng.random_range(0.0..1.0_f64)).ln() / highest;
            if self.rng.random_range(0.0..1.0 + SWING) < rate(self.at_ms, self.wave_ms) {
                break;
            }
        }
        self.number += 1;
        let city = self.rng.random_range(0..self.areas.len());
        let (pickup, drop) = self.areas[city].trip(&mut self.rng);
        let cell = |deg: f64| (deg / STORE_GRID_DEG).floor() as i64;
        let (row, column) = (cell(pickup.lat), cell(pickup.lon));
        let at = self.at_ms as i64;
        let ready = at + self.rng.random_range(120_000..600_000);
        Some(PlannedOrder {
            number: self.number,
            city,
            at,
            store: format!("store {row}/{column}"),
            store_number: row.wrapping_mul(31).wrapping_add(column).unsigned_abs(),
            pickup,
            drop,
            ready,
            promise: ready + self.rng.random_range(1_500_000..2_700_000),
            whims: Whims::draw(&self.manners, &mut self.rng),
        })
    }
}

#[cfg(test)]
mod tests {
    use dispatch_engine::{replay::geometry::box_around, wire::LatLon};

    use super::*;

    fn stream(seed: u64) -> Stream {
        let corners = box_around([LatLon { lat: 12.9, lon: 77.6 }].into_iter(), 8_000.0).unwrap();
        let area = Arc::new(Area::new(&corners, 8, &mut ChaCha8Rng::seed_from_u64(1)).unwrap());
        let manners = Manners { cancel: 0.02, twice: 0.02, ..Manners::flawless() };
        Stream::new(vec![area.clone(), area], manners, 5.0, 180_000, seed)
    }

    #[test]
    fn the_rate_swings_around_its_mean() {
        let mean: f64 = (0..1_000).map(|i| rate(f64::from(i), 1_000.0)).sum::<f64>() / 1_000.0;
        assert!((mean - 1.0).abs() < 1e-9);
        assert!((rate(250.0, 1_000.0) - 1.4).abs() < 1e-9 && (rate(750.0, 1_000.0) - 0.6).abs() < 1e-9);
        let within =
            |from: i64, to: i64| stream(1).take_while(|o| o.at < to).filter(|order| order.at >= from).count() as f64;
        // Ten waves: 9,000 orders, give or take three standard deviations.
        let all = within(0, 1_800_000);
        assert!((all - 9_000.0).abs() < 300.0, "{all}");
        let (high, low) = (within(22_500, 67_500), within(112_500, 157_500));
        assert!(high > 1.5 * low, "{high} against {low}");
    }

    #[test]
    fn the_same_seed_makes_the_same_orders() {
        assert!(stream(7).take(50).eq(stream(7).take(50)));
        assert!(!stream(7).take(50).eq(stream(8).take(50)));
        let orders: Vec<PlannedOrder> = stream(7).take(5_000).collect();
        assert!(orders.iter().zip(1..).all(|(order, n)| order.number == n && order.at < order.ready));
        let cancelled = orders.iter().filter(|o| o.whims.cancel_after.is_some()).count();
        assert!((60..150).contains(&cancelled), "{cancelled}");
    }

    #[test]
    fn no_rate_no_orders() {
        assert_eq!(Stream::new(vec![], Manners::flawless(), 0.0, 1, 1).next(), None);
    }
}
