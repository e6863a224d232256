//! Which plots a city gets: all over the same time of day, with every dispatcher in the same picture.

use super::{
    CityRuns, Colours,
    chart::{Chart, Colour, Line, Scale},
};
use crate::replay::{
    quality::TARGET_MINUTES,
    report::Run,
    series::{Series, bin_width},
};

/// A dispatcher's day bin by bin.
struct Lived<'a> {
    run: &'a Run,
    colour: Colour,
    series: Series,
}

impl Lived<'_> {
    fn line(&self, label: String, values: impl Iterator<Item = Option<f64>>) -> Line {
        let points = values.enumerate().map(|(bin, value)| (self.series.middle_s(bin), value)).collect();
        Line { label, colour: self.colour, points }
    }
}

/// The plots of a city.
pub fn of(city: &CityRuns, colours: &Colours) -> Vec<Chart> {
    let outcomes = || city.runs.iter().map(Run::outcomes);
    // One width for all: counts per bin are compared.
    let bin_ms = bin_width(outcomes().map(|outcomes| outcomes.until).max().unwrap_or(0));
    let lived: Vec<Lived> = city
        .runs
        .iter()
        .map(|run| Lived { run, colour: colours.get(run), series: Series::of(run.outcomes(), bin_ms) })
        .collect();
    let from = outcomes().map(|o| f64::from(o.from_s)).fold(f64::INFINITY, f64::min);
    let to = outcomes().map(|o| f64::from(o.from_s) + o.until as f64 / 1_000.0).fold(0.0, f64::max);
    if lived.is_empty() {
        return Vec::new();
    }

    let plot = |title, unit: &str, reading, read: fn(&Series) -> Vec<Option<f64>>| Chart {
        title,
        unit: unit.to_owned(),
        reading,
        scale: Scale::Amount,
        day: (from, to),
        ground: None,
        mark: None,
        lines: lived
            .iter()
            .map(|lived| lived.line(lived.run.dispatcher().to_owned(), read(&lived.series).into_iter()))
            .collect(),
    };
    // What is the same for all is shown once, as the first dispatcher had it.
    let ground = |what: &str, read: fn(&Series) -> Vec<Option<f64>>| {
        let first = lived.first()?;
        let label = format!("{what} ({})", first.run.dispatcher());
        Some(Line { colour: Colour::GROUND, ..first.line(label, read(&first.series).into_iter()) })
    };
    let target = Some((TARGET_MINUTES as f64, "target, 40 min"));
    vec![
        Chart {
            ground: ground("placed", |s| counts(&s.placed)),
            ..plot(
                "Orders delivered",
                &format!("orders per {} min", bin_ms / 60_000),
                "The lines follow the grey demand with a delay; the further right of it, the longer customers wait.",
                |s| counts(&s.delivered),
            )
        },
        Chart {
            ground: ground("on duty", |s| known(&s.on_duty)),
            ..plot(
                "Riders with an order in hand",
                "riders",
                "Where a line reaches the grey fleet, every rider has an order; above it, orders are finished after the shift.",
                |s| known(&s.busy),
            )
        },
        plot(
            "Orders waiting for a rider",
            "orders",
            "Placed, not taken and not ended, in the mean over each bin; an order may wait for its kitchen on purpose.",
            |s| known(&s.waiting),
        ),
        plot(
            "Orders in hand",
            "orders",
            "Taken by a rider and not ended, in the mean over each bin; more than riders when riders carry several.",
            |s| known(&s.in_hand),
        ),
        Chart {
            mark: target,
            ..plot(
                "Click to door, median",
                "minutes",
                "Half of the orders placed at this time, of those delivered, came within so many minutes.",
                |s| s.click_to_door_p50_minutes.clone(),
            )
        },
        Chart {
            mark: target,
            ..plot(
                "Click to door, 90th percentile",
                "minutes",
                "Nine of ten orders placed at this time, of those delivered, came within so many minutes.",
                |s| s.click_to_door_p90_minutes.clone(),
            )
        },
        plot(
            "The order’s wait at the store, median",
            "minutes",
            "How long goods picked up at this time had stood ready: high means that riders come late.",
            |s| s.order_wait_p50_minutes.clone(),
        ),
        plot(
            "The rider’s wait at the store, median",
            "minutes",
            "How long riders who picked up at this time had stood at the counter: high means that they are sent early.",
            |s| s.rider_wait_p50_minutes.clone(),
        ),
        Chart {
            scale: Scale::Share,
            ..plot(
                "Delivered on time",
                "of the deliveries",
                "The share of the orders delivered at this time that came at or before their promise.",
                |s| s.on_time_share.clone(),
            )
        },
        plot(
            "The oldest order without a rider, since placement",
            "minutes",
            "The greatest age in each bin; a steady climb is one order that nobody takes.",
            |s| known(&s.oldest_since_placed_minutes),
        ),
        plot(
            "The oldest order without a rider, since the goods were ready",
            "minutes",
            "The same without the time that the kitchen needed: whatever stands here is late.",
            |s| known(&s.oldest_since_ready_minutes),
        ),
    ]
}

fn counts(values: &[u32]) -> Vec<Option<f64>> {
    values.iter().map(|count| Some(f64::from(*count))).collect()
}

fn known(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().map(|value| Some(*value)).collect()
}
