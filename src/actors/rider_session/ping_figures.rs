//! What becomes of points, in figures. Every label is looked up once: a look-up costs more than the filters.

use prometheus::IntCounter;

use super::pings::Judged;
use crate::{
    domain::ping::point::{Reason, flags},
    metrics::Metrics,
};

/// The figures of points.
#[derive(Clone, Debug)]
pub struct PingFigures {
    live: IntCounter,
    late: IntCounter,
    thinned: IntCounter,
    given_up: IntCounter,
    /// In the order of [`flags::ALL`].
    flagged: [IntCounter; flags::ALL.len()],
    /// In the order of [`Reason::ALL`], which is that of the reasons themselves.
    refused: Box<[IntCounter]>,
}

impl PingFigures {
    /// Registers the figures.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let taken = metrics.counters("dispatch_pings_total", "Points accepted (live, late)", &["kind"]);
        let flagged = metrics.counters(
            "dispatch_pings_flagged_total",
            "Points accepted with a remark (late, made up, outside the service area, noise at rest, a jump)",
            &["flag"],
        );
        let refused = metrics.counters("dispatch_pings_refused_total", "Points refused", &["reason"]);
        Self {
            live: taken.with_label_values(&["live"]),
            late: taken.with_label_values(&["late"]),
            thinned: metrics.counter(
                "dispatch_pings_thinned_total",
                "Points of idle riders that the city's policy leaves out of the location log",
            ),
            given_up: metrics.counter(
                "dispatch_pings_given_up_total",
                "Numbers of points that were given up because a device's points had too many gaps",
            ),
            flagged: flags::ALL.map(|(_, name)| flagged.with_label_values(&[name])),
            refused: Reason::ALL.iter().map(|reason| refused.with_label_values(&[reason.as_str()])).collect(),
        }
    }

    /// Counts the points of a frame.
    pub fn count(&self, judged: &Judged) {
        let add = |counter: &IntCounter, points: u64| {
            if points > 0 {
                counter.inc_by(points);
            }
        };
        add(&self.live, judged.accepted - judged.late);
        add(&self.late, judged.late);
        add(&self.thinned, judged.thinned);
        add(&self.given_up, judged.given_up);
        self.flagged.iter().zip(judged.flagged).for_each(|(counter, points)| add(counter, points));
        for (_, reason) in &judged.refused {
            if let Some(counter) = self.refused.get(*reason as usize) {
                counter.inc();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codes;

    #[test]
    fn every_reason_has_its_place_among_the_counters_and_its_code_on_the_wire() {
        assert!(Reason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        let words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words, codes::ping::ALL);
    }
}
