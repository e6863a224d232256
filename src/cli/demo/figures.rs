//! The engine's own figures, read from its metrics: what the live line shows.

use std::{fmt, time::Duration};

use prometheus::proto::MetricFamily;

use crate::metrics::Metrics;

const ON_DUTY: &str = "dispatch_city_riders_on_duty";
const WAITING: &str = "dispatch_city_orders_waiting";
const DUE: &str = "dispatch_city_orders_due";
const OFFERS: &str = "dispatch_city_offers_open";
const DELIVERED: &str = "dispatch_city_delivered_total";
const PINGS: &str = "dispatch_pings_total";
const DUE_TO_ASSIGNED: &str = "dispatch_city_due_to_assigned_seconds";

/// The figures at a moment, over all cities.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Riders on duty.
    pub on_duty: f64,
    /// Pings received since the start.
    pub pings: f64,
    /// Orders that wait for a rider.
    pub waiting: f64,
    /// Of those, orders for which a rider should be on the way.
    pub due: f64,
    /// Open offers.
    pub offers: f64,
    /// Orders delivered since the start.
    pub delivered: f64,
    /// Median and 99th percentile of the time from due to assigned, seconds of the engine's clock.
    pub due_to_assigned: Option<(f64, f64)>,
}

impl Figures {
    /// Reads them.
    pub fn read(metrics: &Metrics) -> Self {
        let families = metrics.gather();
        let total = |name| total(&families, name);
        let quantile = |q| quantile(&families, DUE_TO_ASSIGNED, q);
        Self {
            on_duty: total(ON_DUTY),
            pings: total(PINGS),
            waiting: total(WAITING),
            due: total(DUE),
            offers: total(OFFERS),
            delivered: total(DELIVERED),
            due_to_assigned: quantile(0.5).zip(quantile(0.99)),
        }
    }

    /// The live line: these figures, and the rate since an earlier reading.
    pub fn line(&self, since_start: Duration, before: &Self, between: Duration) -> impl fmt::Display + use<> {
        let rate = (self.pings - before.pings).max(0.0) / between.as_secs_f64().max(0.001);
        let latency = self
            .due_to_assigned
            .map_or_else(|| "-".to_owned(), |(p50, p99)| format!("p50 {} p99 {}", seconds(p50), seconds(p99)));
        format!(
            "{:>5}s  on duty {:>5}  pings/s {:>6.0}  waiting {:>4} ({} due)  offers {:>3}  delivered {:>6}  due-to-assigned {latency}",
            since_start.as_secs(),
            self.on_duty,
            rate,
            self.waiting,
            self.due,
            self.offers,
            self.delivered,
        )
    }
}

/// Seconds for people.
pub fn seconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0}ms", seconds * 1_000.0) } else { format!("{seconds:.1}s") }
}

/// The sum over all series of a counter or a gauge; 0 when there is none.
fn total(families: &[MetricFamily], name: &str) -> f64 {
    let series = families.iter().filter(|family| family.name() == name).flat_map(MetricFamily::get_metric);
    // A series has one of the two; the other one reads as 0.
    // From 0, because the sum of nothing is -0.
    series.fold(0.0, |sum, one| sum + one.get_counter().get_value() + one.get_gauge().get_value())
}

/// A quantile over all series of a histogram, linear within a bucket; `None` while nothing was observed.
fn quantile(families: &[MetricFamily], name: &str, q: f64) -> Option<f64> {
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    for family in families.iter().filter(|family| family.name() == name) {
        for series in family.get_metric() {
            for (index, bucket) in series.get_histogram().get_bucket().iter().enumerate() {
                if index == buckets.len() {
                    buckets.push((bucket.upper_bound(), 0));
                }
                if let Some(sum) = buckets.get_mut(index) {
                    sum.1 += bucket.cumulative_count();
                }
            }
        }
    }
    buckets.retain(|(bound, _)| bound.is_finite());
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let wanted = buckets.last()?.1 as f64 * q;
    let (mut low, mut below) = (0.0, 0);
    for (bound, count) in buckets {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        if count > below && count as f64 >= wanted {
            return Some(low + (bound - low) * ((wanted - below as f64) / (count - below) as f64).clamp(0.0, 1.0));
        }
        (low, below) = (bound, count);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_run_over_all_cities_and_quantiles_lie_in_their_bucket() {
        let metrics = Metrics::new();
        assert_eq!(Figures::read(&metrics), Figures::default());
        let on_duty = metrics.gauges(ON_DUTY, "riders", &["city"]);
        on_duty.with_label_values(&["blr"]).set(3);
        on_duty.with_label_values(&["pnq"]).set(4);
        metrics.counter(PINGS, "pings").inc_by(20);
        let latency = metrics.seconds(DUE_TO_ASSIGNED, "latency");
        for _ in 0..98 {
            latency.observe(0.003);
        }
        latency.observe(3.0);
        latency.observe(3.0);
        let figures = Figures::read(&metrics);
        assert_eq!((figures.on_duty, figures.pings), (7.0, 20.0));
        let (p50, p99) = figures.due_to_assigned.unwrap();
        assert!((0.002..=0.004).contains(&p50) && (2.048..=4.096).contains(&p99), "{p50} {p99}");
        let line = figures.line(Duration::from_secs(9), &Figures::default(), Duration::from_secs(2)).to_string();
        assert!(line.contains("on duty     7") && line.contains("pings/s     10"), "{line}");
    }
}
