//! Counters and latency histograms that all tasks of a run share.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use dispatch_engine::replay::outcome::{OrderOutcome, RiderOutcome};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{
    api::ApiError,
    device::pings::{PingTally, ToldPoints},
    faults::Injected,
};

/// The longest time a histogram tells apart: a day, in its unit.
const DAY_S: u64 = 86_400;

/// Quantiles of a distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half are not above it.
    pub p50: f64,
    /// Nine of ten are not above it.
    pub p90: f64,
    /// 99 of 100 are not above it.
    pub p99: f64,
    /// 999 of 1,000 are not above it.
    pub p999: f64,
    /// The largest.
    pub max: f64,
}

impl Quantiles {
    /// The same in another unit.
    pub fn scaled(self, by: f64) -> Self {
        let Self { count, mean, p50, p90, p99, p999, max } = self;
        let [mean, p50, p90, p99, p999, max] = [mean, p50, p90, p99, p999, max].map(|value| value * by);
        Self { count, mean, p50, p90, p99, p999, max }
    }
}

/// A distribution of times, three digits exact.
#[derive(Debug)]
pub struct Times {
    histogram: Histogram<u64>,
    /// Units of a recorded value per unit of the answer.
    per_unit: f64,
}

impl Times {
    /// Recorded in microseconds, told in milliseconds.
    pub fn in_millis() -> Self {
        Self::bounded(DAY_S * 1_000_000, 1_000.0)
    }

    /// Recorded in milliseconds, told in seconds.
    pub fn in_seconds() -> Self {
        Self::bounded(DAY_S * 1_000, 1_000.0)
    }

    #[expect(clippy::expect_used, reason = "the bounds are constants that the library accepts, as the tests show")]
    fn bounded(high: u64, per_unit: f64) -> Self {
        Self { histogram: Histogram::new_with_max(high, 3).expect("valid bounds"), per_unit }
    }

    /// Adds a value; what is above a day counts as a day.
    pub fn record(&mut self, value: u64) {
        self.histogram.saturating_record(value);
    }

    /// What was recorded.
    pub fn quantiles(&self) -> Quantiles {
        let h = &self.histogram;
        if h.is_empty() {
            return Quantiles::default();
        }
        let at = |quantile| h.value_at_quantile(quantile) as f64 / self.per_unit;
        Quantiles {
            count: h.len(),
            mean: h.mean() / self.per_unit,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: h.max() as f64 / self.per_unit,
        }
    }
}

/// Counts by a word.
pub type Counts = BTreeMap<String, u64>;

/// What the tasks of a run count together.
#[derive(Debug)]
pub struct Stats {
    /// Devices with an open socket.
    pub connected: AtomicI64,
    /// Devices that were told that they are on duty.
    pub on_duty: AtomicI64,
    /// Points written to sockets, repetitions included.
    pub pings_written: AtomicU64,
    /// Orders that the merchants were told are placed.
    pub placed: AtomicU64,
    /// Orders that a rider was told are delivered.
    pub delivered: AtomicU64,
    /// Connections after the first of a device.
    pub reconnects: AtomicU64,
    sums: Mutex<Sums>,
}

/// The parts behind one lock.
#[derive(Debug)]
pub struct Sums {
    /// What happened, by a stable word: offers by answer, outages by kind, requests sent twice, ...
    pub events: Counts,
    /// `error` frames by code.
    pub socket_errors: Counts,
    /// Problems over REST by call and code.
    pub rest_errors: Counts,
    /// The first explanation that came with each of them.
    pub rest_details: BTreeMap<String, String>,
    /// Orders whose time to be placed came.
    pub planned: u64,
    /// Orders whose placement was refused for good, or never answered, with the index of their city.
    pub refused: Vec<(usize, OrderOutcome)>,
    /// Connections that could not be made, by reason.
    pub connect_errors: Counts,
    /// `bye` frames by reason.
    pub byes: Counts,
    /// Points of all devices that have ended.
    pub pings: PingTally,
    /// What they were told of their points, by run of the app.
    pub points: Vec<ToldPoints>,
    /// What riders wrote down about their shifts, with the index of their city; times of the engine's clock.
    pub riders: Vec<(usize, RiderOutcome)>,
    /// From the frame's `sent_at` to its receipt, real microseconds.
    pub offer_to_device: Times,
    /// From a device's request to its answer, real microseconds, by request.
    pub answers: BTreeMap<&'static str, Times>,
    /// From a placement to its answer, real microseconds, retries included.
    pub placing: Times,
    /// How far behind its schedule a placement was sent, real microseconds.
    pub placing_lag: Times,
    /// Panics on purpose, and what came of them.
    pub panics: Vec<Injected>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            connected: AtomicI64::new(0),
            on_duty: AtomicI64::new(0),
            pings_written: AtomicU64::new(0),
            placed: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            sums: Mutex::new(Sums {
                events: Counts::new(),
                socket_errors: Counts::new(),
                rest_errors: Counts::new(),
                rest_details: BTreeMap::new(),
                planned: 0,
                refused: vec![],
                connect_errors: Counts::new(),
                byes: Counts::new(),
                pings: PingTally::default(),
                points: vec![],
                riders: vec![],
                offer_to_device: Times::in_millis(),
                answers: BTreeMap::new(),
                placing: Times::in_millis(),
                placing_lag: Times::in_millis(),
                panics: vec![],
            }),
        }
    }
}

impl Stats {
    /// The sums; held for a moment only.
    pub fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something that happened.
    pub fn event(&self, what: &str) {
        count(&mut self.sums().events, what);
    }

    /// Counts a problem of a call over REST, and keeps its first explanation.
    pub fn rest_error(&self, call: &str, error: &ApiError) {
        let what = format!("{call}: {}", error.code());
        let mut sums = self.sums();
        count(&mut sums.rest_errors, &what);
        sums.rest_details.entry(what).or_insert_with(|| error.to_string());
    }

    /// Reads a counter.
    pub fn read(counter: &AtomicU64) -> u64 {
        counter.load(Relaxed)
    }
}

/// Adds one to a count; the word is copied only the first time.
pub fn count(counts: &mut Counts, what: &str) {
    match counts.get_mut(what) {
        Some(n) => *n += 1,
        None => {
            counts.insert(what.to_owned(), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_come_in_the_told_unit() {
        let mut times = Times::in_millis();
        assert_eq!(times.quantiles(), Quantiles::default());
        (1..=1_000).for_each(|ms| times.record(ms * 1_000));
        let q = times.quantiles();
        assert_eq!(q.count, 1_000);
        assert!((q.p50 - 500.0).abs() < 1.0 && (q.p99 - 990.0).abs() < 1.0 && (q.p999 - 999.0).abs() < 1.0);
        let mut times = Times::in_seconds();
        times.record(u64::MAX);
        assert!(times.quantiles().max >= 86_000.0);
    }

    #[test]
    fn counts_add_up() {
        let stats = Stats::default();
        stats.event("cut");
        stats.event("cut");
        assert_eq!(stats.sums().events["cut"], 2);
    }
}
