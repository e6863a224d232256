//! Figures side by side: one row per figure, one column per dispatcher. As rows for whoever shows them, and as text for a
//! terminal of 120 columns.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use super::{
    measure::Spread,
    quality::{Oldest, Quality},
    report::Run,
};

/// The width that the text keeps to.
const COLUMNS: u16 = 120;

/// What stands where nothing could be measured.
const ABSENT: &str = "–";

/// Figures that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What they are about, with the unit.
    pub title: &'static str,
    /// A figure each.
    pub rows: Vec<Row>,
}

/// A figure, as every dispatcher reached it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name within the section.
    pub figure: &'static str,
    /// One value per dispatcher.
    pub values: Vec<String>,
}

/// A figure's name, and how it is read and written.
type Figure = (&'static str, fn(&Quality) -> String);

/// A statistic's name, and how it is read.
type Statistic = (&'static str, fn(&Spread) -> Option<f64>);

/// Every figure of these runs.
#[must_use]
pub fn sections(runs: &[Run]) -> Vec<Section> {
    let section = |title, figures: &[Figure]| {
        let values = |read: fn(&Quality) -> String| runs.iter().map(|run| read(run.quality())).collect();
        let rows = figures.iter().map(|(figure, read)| Row { figure, values: values(*read) }).collect();
        Section { title, rows }
    };
    let spread = |title, of: fn(&Quality) -> &Spread| {
        let values =
            |read: fn(&Spread) -> Option<f64>| runs.iter().map(|run| figure(read(of(run.quality())), 1)).collect();
        let statistics: [Statistic; 5] = [
            ("mean", |spread| spread.mean),
            ("median", |spread| spread.p50),
            ("90th percentile", |spread| spread.p90),
            ("99th percentile", |spread| spread.p99),
            ("maximum", |spread| spread.max),
        ];
        let rows = statistics.into_iter().map(|(figure, read)| Row { figure, values: values(read) }).collect();
        Section { title, rows }
    };
    vec![
        section(
            "Orders",
            &[
                ("placed", |q| q.orders.placed.to_string()),
                ("cancelled", |q| q.orders.cancelled.to_string()),
                ("wanted: not cancelled", |q| q.orders.wanted.to_string()),
                ("delivered", |q| q.orders.delivered.to_string()),
                ("returned", |q| q.orders.returned.to_string()),
                ("expired without a rider", |q| q.orders.expired.to_string()),
                ("still open at the end", |q| q.orders.open.to_string()),
                ("delivered, of those wanted", |q| percent(q.delivered_share)),
                ("over 40 min or undelivered, of those wanted", |q| percent(q.over_40_minutes_share)),
                ("over 90 min or undelivered, of those wanted", |q| percent(q.over_90_minutes_share)),
                ("offers per order", |q| figure(q.offers_per_order, 2)),
            ],
        ),
        spread("Click to door, minutes", |q| &q.click_to_door_minutes),
        section(
            "Promises",
            &[
                ("on time, of those delivered", |q| percent(q.on_time_share)),
                ("on time, without impossible promises", |q| percent(q.on_time_share_of_possible)),
                ("impossible promises (not after ready)", |q| q.impossible_promises.to_string()),
                ("the late: mean lateness, minutes", |q| figure(q.late_minutes.mean, 1)),
                ("the late: 90th percentile, minutes", |q| figure(q.late_minutes.p90, 1)),
            ],
        ),
        spread("The order’s wait at the store, minutes", |q| &q.order_wait_minutes),
        spread("The rider’s wait at the store, minutes", |q| &q.rider_wait_minutes),
        spread("Due to assigned, seconds", |q| &q.due_to_assigned_seconds),
        section(
            "The oldest order without a rider",
            &[
                ("since placement, minutes", |q| figure(q.oldest_since_placed.max_minutes, 1)),
                ("that was at", |q| moment(&q.oldest_since_placed)),
                ("since the goods were ready, minutes", |q| figure(q.oldest_since_ready.max_minutes, 1)),
                ("that was at", |q| moment(&q.oldest_since_ready)),
            ],
        ),
        section(
            "Riders",
            &[
                ("on duty at any time", |q| q.riders.to_string()),
                ("hours on duty", |q| format!("{:.1}", q.rider_hours)),
                ("busy, of the time on duty", |q| percent(q.busy_share)),
                ("idle, of the time on duty", |q| percent(q.idle_share)),
                ("hours busy after the shift", |q| format!("{:.1}", q.busy_off_duty_hours)),
                ("deliveries per hour on duty", |q| figure(q.deliveries_per_rider_hour, 2)),
                ("street metres per delivery", |q| figure(q.ridden_metres_per_delivery, 0)),
            ],
        ),
    ]
}

/// The figures of these runs as a table for people, at most 120 columns wide.
#[must_use]
pub fn text(runs: &[Run]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(COLUMNS);
    table.set_header(std::iter::once("figure").chain(runs.iter().map(Run::dispatcher)));
    for (index, section) in sections(runs).into_iter().enumerate() {
        if index > 0 {
            table.add_row([""]);
        }
        table.add_row([section.title]);
        for row in section.rows {
            table.add_row(std::iter::once(format!("  {}", row.figure)).chain(row.values));
        }
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// A share as a percentage.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| ABSENT.to_owned(), |share| format!("{:.1} %", share * 100.0))
}

/// A figure with so many decimals.
pub fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| ABSENT.to_owned(), |value| format!("{value:.decimals$}"))
}

fn moment(oldest: &Oldest) -> String {
    oldest.at.clone().unwrap_or_else(|| ABSENT.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::report::tests::report;

    #[test]
    fn every_figure_has_a_row_and_every_dispatcher_a_column() {
        let report = report();
        let sections = sections(&report.cities[0].runs);
        let rows: Vec<&Row> = sections.iter().flat_map(|section| &section.rows).collect();
        assert!(rows.iter().all(|row| row.values.len() == 2));
        let value = |title: &str, figure: &str| {
            let section = sections.iter().find(|section| section.title == title).unwrap();
            section.rows.iter().find(|row| row.figure == figure).unwrap().values.clone()
        };
        assert_eq!(value("Orders", "wanted: not cancelled"), ["4", "0"]);
        assert_eq!(value("Orders", "delivered, of those wanted"), ["75.0 %", ABSENT]);
        assert_eq!(value("Click to door, minutes", "median"), ["30.0", ABSENT]);
        assert_eq!(value("Riders", "hours on duty"), ["3.0", "0.0"]);
    }

    #[test]
    fn the_text_keeps_to_its_width() {
        let run = report().cities[0].runs[0].clone();
        let text = text(&vec![run; 4]);
        assert!(text.lines().all(|line| line.chars().count() <= usize::from(COLUMNS)), "{text}");
        assert!(
            text.contains("live engine") && text.contains("  over 40 min or undelivered, of those wanted"),
            "{text}"
        );
    }
}
