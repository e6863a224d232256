//! A day bin by bin, for plots: what came and went in every few minutes, and how long things took then.

use super::{
    measure::{MINUTE_MS, nearest_rank, ratio},
    outcome::{OrderOutcome, Outcomes, Span},
    spans::within,
};

/// More bins than this are not told apart in a plot.
const MOST_BINS: i64 = 144;

/// Widths that divide an hour, minutes.
const WIDTHS: [i64; 6] = [5, 10, 15, 20, 30, 60];

/// The width of a bin for an observation of that length, both in milliseconds: 5 minutes up to twelve hours, then coarser.
#[must_use]
pub fn bin_width(until: i64) -> i64 {
    let fits = |minutes: &i64| until <= minutes * 60_000 * MOST_BINS;
    let hours = |until: i64| until / (3_600_000 * MOST_BINS) + 1;
    WIDTHS.into_iter().find(fits).unwrap_or_else(|| 60 * hours(until)) * 60_000
}

/// A day bin by bin, from the start of the plan to the end of the observation; the last bin may be cut short.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The second of the day at which the first bin starts.
    pub from_s: u32,
    /// The width of a bin, milliseconds.
    pub bin_ms: i64,
    /// Orders placed in the bin.
    pub placed: Vec<u32>,
    /// Orders delivered in the bin.
    pub delivered: Vec<u32>,
    /// Orders without a rider that have not ended, mean over the bin's time.
    pub waiting: Vec<f64>,
    /// Orders that a rider has taken and that have not ended, mean over the bin's time.
    pub in_hand: Vec<f64>,
    /// Riders on duty, mean over the bin's time.
    pub on_duty: Vec<f64>,
    /// Riders with an order in hand, mean over the bin's time.
    pub busy: Vec<f64>,
    /// Median minutes from placement to the door, of the delivered orders placed in the bin.
    pub click_to_door_p50_minutes: Vec<Option<f64>>,
    /// The 90th percentile of the same.
    pub click_to_door_p90_minutes: Vec<Option<f64>>,
    /// Median minutes that goods stood ready, of the orders picked up in the bin.
    pub order_wait_p50_minutes: Vec<Option<f64>>,
    /// Median minutes that riders stood at the counter, of the orders picked up in the bin.
    pub rider_wait_p50_minutes: Vec<Option<f64>>,
    /// Delivered at or before the promise, of the orders delivered in the bin; 0..=1.
    pub on_time_share: Vec<Option<f64>>,
    /// The greatest age since placement, minutes, that an order without a rider had in the bin; 0 when none waited.
    pub oldest_since_placed_minutes: Vec<f64>,
    /// The same since the goods were ready.
    pub oldest_since_ready_minutes: Vec<f64>,
}

impl Series {
    /// What became of a day in bins of that width ([`bin_width`]), milliseconds.
    #[must_use]
    pub fn of(outcomes: &Outcomes, bin_ms: i64) -> Self {
        let bins = Bins::new(outcomes.until, bin_ms);
        let orders = &outcomes.orders;
        let riders = &outcomes.riders;
        let door = bins.gather(orders, |order| Some((order.placed, order.click_to_door_ms()?)));
        let order_wait = bins.gather(orders, |order| Some((order.picked_up?, order.order_wait_ms()?)));
        let rider_wait = bins.gather(orders, |order| Some((order.picked_up?, order.rider_wait_ms()?)));
        let lateness = bins.gather(orders, |order| Some((order.delivered_at()?, order.lateness_ms()?)));
        let waiting = |since: fn(&OrderOutcome) -> i64| {
            let spans = orders.iter().filter_map(move |order| {
                let (_, to) = order.without_rider(outcomes.until)?;
                Some((since(order), to))
            });
            bins.greatest_age(spans)
        };
        Self {
            from_s: outcomes.from_s,
            bin_ms,
            placed: bins.counts(orders.iter().map(|order| order.placed)),
            delivered: bins.counts(orders.iter().filter_map(OrderOutcome::delivered_at)),
            waiting: bins.mean(orders.iter().filter_map(|order| order.without_rider(outcomes.until))),
            in_hand: bins.mean(orders.iter().filter_map(|order| order.in_hand(outcomes.until))),
            on_duty: bins.mean(riders.iter().flat_map(|rider| within(&rider.on_duty, (0, outcomes.until)))),
            busy: bins.mean(riders.iter().flat_map(|rider| within(&rider.busy, (0, outcomes.until)))),
            click_to_door_p50_minutes: quantile(&door, 50),
            click_to_door_p90_minutes: quantile(&door, 90),
            order_wait_p50_minutes: quantile(&order_wait, 50),
            rider_wait_p50_minutes: quantile(&rider_wait, 50),
            on_time_share: lateness
                .iter()
                .map(|all| ratio(all.iter().filter(|ms| **ms <= 0).count() as f64, all.len() as f64))
                .collect(),
            oldest_since_placed_minutes: waiting(|order| order.placed),
            oldest_since_ready_minutes: waiting(|order| order.placed.max(order.ready)),
        }
    }

    /// The second of the day in the middle of a bin; beyond 86 400 on the day after.
    #[must_use]
    pub fn middle_s(&self, bin: usize) -> f64 {
        f64::from(self.from_s) + (bin as f64 + 0.5) * self.bin_ms as f64 / 1_000.0
    }
}

/// The quantile of every bin, of sorted milliseconds in minutes.
fn quantile(bins: &[Vec<i64>], percent: usize) -> Vec<Option<f64>> {
    bins.iter().map(|sorted| nearest_rank(sorted, percent).map(|ms| ms as f64 / MINUTE_MS)).collect()
}

/// Where the bins lie.
struct Bins {
    until: i64,
    width: i64,
    count: usize,
}

impl Bins {
    fn new(until: i64, width: i64) -> Self {
        let (until, width) = (until.max(0), width.max(1));
        Self { until, width, count: ((until + width - 1) / width) as usize }
    }

    /// The bin of a moment; the end of the observation belongs to the last.
    fn of(&self, at: i64) -> Option<usize> {
        let inside = self.count > 0 && (0..=self.until).contains(&at);
        inside.then(|| ((at / self.width) as usize).min(self.count - 1))
    }

    fn span(&self, bin: usize) -> Span {
        let from = bin as i64 * self.width;
        (from, (from + self.width).min(self.until))
    }

    /// The bins that a span touches, each with the part of the span in it.
    fn parts(&self, (from, to): Span) -> impl Iterator<Item = (usize, Span)> {
        let (from, to) = (from.max(0), to.min(self.until));
        let first = if from < to { (from / self.width) as usize } else { self.count };
        (first..self.count)
            .map(move |bin| (bin, self.span(bin)))
            .take_while(move |(_, (start, _))| *start < to)
            .map(move |(bin, (start, end))| (bin, (from.max(start), to.min(end))))
    }

    fn counts(&self, moments: impl Iterator<Item = i64>) -> Vec<u32> {
        let mut counts = vec![0; self.count];
        for bin in moments.filter_map(|at| self.of(at)) {
            counts[bin] += 1;
        }
        counts
    }

    /// How many of the spans hold, in the mean over a bin's time.
    fn mean(&self, spans: impl Iterator<Item = Span>) -> Vec<f64> {
        let mut held = vec![0; self.count];
        for (bin, (from, to)) in spans.flat_map(|span| self.parts(span)) {
            held[bin] += to - from;
        }
        let length = |bin| self.span(bin).1 - self.span(bin).0;
        held.iter().enumerate().map(|(bin, held)| *held as f64 / length(bin) as f64).collect()
    }

    /// The greatest age, minutes, that anything has in a bin, when each is born at the start of its span.
    fn greatest_age(&self, spans: impl Iterator<Item = Span>) -> Vec<f64> {
        let mut ages = vec![0; self.count];
        for span in spans {
            for (bin, (_, to)) in self.parts(span) {
                ages[bin] = (to - span.0).max(ages[bin]);
            }
        }
        ages.iter().map(|age| *age as f64 / MINUTE_MS).collect()
    }

    /// The measurements of every bin, sorted.
    fn gather(&self, orders: &[OrderOutcome], measure: fn(&OrderOutcome) -> Option<(i64, i64)>) -> Vec<Vec<i64>> {
        let mut gathered = vec![Vec::new(); self.count];
        for (at, value) in orders.iter().filter_map(measure) {
            if let Some(bin) = self.of(at) {
                gathered[bin].push(value);
            }
        }
        gathered.iter_mut().for_each(|values| values.sort_unstable());
        gathered
    }
}

#[cfg(test)]
mod tests;
