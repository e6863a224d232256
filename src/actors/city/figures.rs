//! Figures of the city actors. Durations of orders are seconds of the engine's clock.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec};

use super::Ending;
use crate::{
    actors::gate::Gate,
    domain::{ids::CityCode, order::OrderStatus},
    engine::{
        effect::{Alert, Measure},
        view::Counts,
    },
    metrics::Metrics,
};

/// The figures of all cities of one app. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Figures {
    counts: [IntGaugeVec; 9],
    up: IntGaugeVec,
    quarantined: IntGaugeVec,
    held: IntGaugeVec,
    restarts: IntCounterVec,
    depth: IntGaugeVec,
    refused: IntCounterVec,
    messages: IntCounterVec,
    delivered: IntCounterVec,
    ended: IntCounterVec,
    offers: IntCounterVec,
    alerts: IntCounterVec,
    /// Time of one tick, real seconds.
    pub(super) tick: Histogram,
    due_to_assigned: Histogram,
    placed_to_delivered: Histogram,
    ready_to_pickup: Histogram,
    /// From a frame's arrival to the index, real seconds.
    pub(super) to_index: Histogram,
}

/// Names and meanings of the gauges that follow [`Counts`], in its order.
const COUNTS: [(&str, &str); 9] = [
    ("dispatch_city_riders_on_duty", "Riders on duty"),
    ("dispatch_city_riders_idle", "Riders on duty, fresh and free"),
    ("dispatch_city_riders_busy", "Riders with an order in hand"),
    ("dispatch_city_riders_connected", "Riders with an open socket"),
    ("dispatch_city_orders_waiting", "Orders that wait for a rider"),
    ("dispatch_city_orders_due", "Waiting orders that are due"),
    ("dispatch_city_orders_active", "Orders in a rider's hands"),
    ("dispatch_city_offers_open", "Open offers"),
    ("dispatch_city_writes_pending", "Writes that the journal has not answered"),
];

const fn values(counts: &Counts) -> [u32; 9] {
    [
        counts.riders_on_duty,
        counts.riders_idle,
        counts.riders_busy,
        counts.riders_connected,
        counts.orders_waiting,
        counts.orders_due,
        counts.orders_active,
        counts.offers_open,
        counts.writes_pending,
    ]
}

impl Figures {
    /// Registers the figures, once per app.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let gauge = |name, help| metrics.gauges(name, help, &["city"]);
        let counter = |name, help| metrics.counters(name, help, &["city"]);
        // Each bound is the one before times `factor`: the live line reads percentiles from them.
        let spread = |name: &str, help: &str, from: f64, factor: f64, bounds: i32| {
            let bounds = (0..bounds).map(|n| from * factor.powi(n)).collect();
            metrics.histogram(HistogramOpts::new(name, help).buckets(bounds))
        };
        Self {
            counts: COUNTS.map(|(name, help)| gauge(name, help)),
            up: gauge("dispatch_city_up", "1 while the city is served here"),
            quarantined: gauge("dispatch_city_quarantined", "1 while the city stays down because it kept failing"),
            held: gauge("dispatch_city_held", "1 while another process holds the city and this one waits for it"),
            restarts: metrics.counters(
                "dispatch_city_restarts_total",
                "Rebuilds of a city that failed, by how it failed (panicked, diverged)",
                &["city", "reason"],
            ),
            depth: gauge("dispatch_city_queue_depth", "Messages that wait for the city"),
            refused: counter("dispatch_city_queue_refused_total", "Messages that found the city's queue full"),
            messages: counter("dispatch_city_messages_total", "Messages handled"),
            delivered: counter("dispatch_city_delivered_total", "Orders delivered"),
            ended: metrics.counters(
                "dispatch_city_orders_ended_total",
                "Orders by how they ended",
                &["city", "status"],
            ),
            offers: metrics.counters(
                "dispatch_city_offers_closed_total",
                "Offers by how they ended",
                &["city", "state"],
            ),
            alerts: metrics.counters("dispatch_city_alerts_total", "Alerts to operators", &["city", "kind"]),
            tick: metrics.seconds("dispatch_city_tick_seconds", "Real time of one tick"),
            due_to_assigned: spread(
                "dispatch_city_due_to_assigned_seconds",
                "From due to assigned, seconds of the engine's clock",
                0.01,
                1.5,
                32,
            ),
            placed_to_delivered: spread(
                "dispatch_city_placed_to_delivered_seconds",
                "From placed to delivered, seconds of the engine's clock",
                30.0,
                1.25,
                30,
            ),
            ready_to_pickup: spread(
                "dispatch_city_ready_to_pickup_seconds",
                "From ready to picked up, seconds of the engine's clock",
                1.0,
                1.5,
                24,
            ),
            to_index: metrics.short_seconds(
                "dispatch_ping_to_index_seconds",
                "From the arrival of a frame at its session to its city's index, of the oldest position of each batch",
            ),
        }
    }

    /// The bound of a city's queue.
    pub(super) fn gate(&self, city: &CityCode, bound: usize) -> Gate {
        let label = [city.as_str()];
        Gate::new(bound, self.depth.with_label_values(&label), self.refused.with_label_values(&label))
    }

    /// The counter of a city's handled messages.
    pub(super) fn messages(&self, city: &CityCode) -> IntCounter {
        self.messages.with_label_values(&[city.as_str()])
    }

    /// Shows a city's figures of this moment.
    pub(super) fn show(&self, city: &CityCode, counts: &Counts) {
        for (gauge, value) in self.counts.iter().zip(values(counts)) {
            gauge.with_label_values(&[city.as_str()]).set(value.into());
        }
    }

    /// Shows whether a city is served here; one that is not has nothing.
    pub(in crate::actors) fn up(&self, city: &CityCode, up: bool) {
        self.up.with_label_values(&[city.as_str()]).set(up.into());
        if !up {
            self.show(city, &Counts::default());
        }
    }

    /// Shows whether the city stays down because it kept failing.
    pub(in crate::actors) fn quarantined(&self, city: &CityCode, quarantined: bool) {
        self.quarantined.with_label_values(&[city.as_str()]).set(quarantined.into());
    }

    /// Shows whether another process holds the city that this one waits for.
    pub(in crate::actors) fn held(&self, city: &CityCode, held: bool) {
        self.held.with_label_values(&[city.as_str()]).set(held.into());
    }

    /// Counts a rebuild.
    pub(in crate::actors) fn restarted(&self, city: &CityCode, why: Ending) {
        self.restarts.with_label_values(&[city.as_str(), why.as_str()]).inc();
    }

    pub(super) fn measure(&self, city: &CityCode, measure: Measure) {
        let seconds = |histogram: &Histogram, time: Duration| histogram.observe(time.as_secs_f64());
        match measure {
            Measure::DueToAssigned(time) => seconds(&self.due_to_assigned, time),
            Measure::PlacedToDelivered(time) => seconds(&self.placed_to_delivered, time),
            Measure::ReadyToPickup(time) => seconds(&self.ready_to_pickup, time),
            Measure::OfferClosed(state) => {
                self.offers.with_label_values(&[city.as_str(), state.as_str()]).inc();
            }
            Measure::OrderEnded(status) => {
                self.ended.with_label_values(&[city.as_str(), status.as_str()]).inc();
                if status == OrderStatus::Delivered {
                    self.delivered.with_label_values(&[city.as_str()]).inc();
                }
            }
        }
    }

    pub(super) fn alert(&self, city: &CityCode, alert: &Alert) {
        let kind = match alert {
            Alert::SilentCarrier { rider, order } => {
                tracing::warn!(%city, %rider, %order, "a rider who carries goods is silent");
                "silent_carrier"
            }
            Alert::Disputed { dispute, order, rider, kind } => {
                tracing::warn!(%city, %dispute, %order, %rider, %kind, "a report contradicts what is stored");
                "disputed"
            }
            Alert::OrderExpired(order) => {
                tracing::warn!(%city, %order, "an order expired for want of a rider");
                "order_expired"
            }
            Alert::NeedsOperator(order) => {
                tracing::warn!(%city, %order, "an order found no rider and waits for an operator");
                "needs_operator"
            }
            Alert::WriteRejected { transition, reason } => {
                tracing::error!(%city, %transition, reason, "the store refused a write of a city");
                "write_rejected"
            }
        };
        self.alerts.with_label_values(&[city.as_str(), kind]).inc();
    }
}
