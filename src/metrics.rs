//! The registry behind `/metrics`. Each part registers its own figures under the prefix `dispatch_`; names follow the
//! Prometheus conventions (base units, `_total`, `_seconds`).

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};

/// A registry of one running app; two apps in one process (tests) do not share figures.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Bucket bounds in seconds for latencies from 1 ms to about 17 minutes, doubling.
pub const LATENCY_BUCKETS: [f64; 21] = [
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384, 32.768,
    65.536, 131.072, 262.144, 524.288, 1_048.576,
];

/// Bucket bounds in seconds for the way of a ping, from 0.1 ms to 10 s.
const PATH_BUCKETS: [f64; 16] =
    [0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

impl Metrics {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self { registry: Registry::new() }
    }

    /// Registers a figure. A name registered twice is a programming error: it is logged, and the second one counts
    /// into the void rather than ending a program over its metrics.
    pub fn register<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        if let Err(error) = self.registry.register(Box::new(collector.clone())) {
            tracing::error!(%error, "a metric could not be registered");
        }
        collector
    }

    /// A counter.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(made(IntCounter::new(name, help)))
    }

    /// A counter by labels.
    #[must_use]
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(made(IntCounterVec::new(Opts::new(name, help), labels)))
    }

    /// A gauge.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(made(IntGauge::new(name, help)))
    }

    /// A gauge by labels.
    #[must_use]
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(made(IntGaugeVec::new(Opts::new(name, help), labels)))
    }

    /// A histogram of seconds.
    #[must_use]
    pub fn seconds(&self, name: &str, help: &str) -> Histogram {
        self.register(made(Histogram::with_opts(HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec()))))
    }

    /// Everything registered, as of now.
    #[must_use]
    pub fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }

    /// A histogram of seconds by labels.
    #[must_use]
    pub fn seconds_by(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
        self.register(made(HistogramVec::new(options, labels)))
    }

    /// A histogram with buckets of its own.
    #[must_use]
    pub fn histogram(&self, options: HistogramOpts) -> Histogram {
        self.register(made(Histogram::with_opts(options)))
    }

    /// A histogram of seconds for what takes less than a millisecond when all is well.
    #[must_use]
    pub fn short_seconds(&self, name: &str, help: &str) -> Histogram {
        self.histogram(HistogramOpts::new(name, help).buckets(PATH_BUCKETS.to_vec()))
    }

    /// The text exposition of everything registered.
    ///
    /// # Errors
    /// When a figure cannot be encoded.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Names and help texts are constants of this program, and a test registers every one of them.
#[expect(clippy::expect_used, reason = "a malformed metric name is a programming error that the first start shows")]
fn made<T>(result: prometheus::Result<T>) -> T {
    result.expect("metric names are constants of this program")
}
