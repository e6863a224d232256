//! A report as one HTML page that needs nothing else: no network, no script, no font. It follows the reader's light or dark
//! setting, prints, and can be read on a phone. Every text is escaped by the template ([`maud`]) or the plotter.

mod chart;
mod plots;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::chart::{Chart, Colour};
use super::{
    quality::{MAXIMUM_MINUTES, TARGET_MINUTES},
    report::{CityRuns, Report, Run},
    table,
};

/// Why a page could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the plot `{plot}` cannot be drawn: {why}")]
pub struct PageError {
    plot: String,
    why: String,
}

/// A report as a page.
///
/// # Errors
/// When the plotter refuses a plot.
pub fn render(report: &Report) -> Result<String, PageError> {
    let colours = Colours::of(report);
    let mut cities = Vec::with_capacity(report.cities.len());
    for city in &report.cities {
        cities.push(section(city, &colours)?);
    }
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (report.title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                main {
                    h1 { (report.title) }
                    @if !report.notes.is_empty() {
                        section {
                            h2 { "What was lived through" }
                            dl { @for note in &report.notes { dt { (note.label) } dd { (note.text) } } }
                        }
                    }
                    section { h2 { "In short" } (summary(report)) }
                    @for city in cities { (city) }
                }
            }
        }
    };
    Ok(page.into_string())
}

/// The colour of every dispatcher: the same in every city, in the order in which they are first named.
struct Colours<'a>(Vec<&'a str>);

impl<'a> Colours<'a> {
    fn of(report: &'a Report) -> Self {
        let mut names = Vec::new();
        for run in report.cities.iter().flat_map(|city| &city.runs) {
            if !names.contains(&run.dispatcher()) {
                names.push(run.dispatcher());
            }
        }
        Self(names)
    }

    fn get(&self, run: &Run) -> Colour {
        Colour::number(self.0.iter().position(|name| *name == run.dispatcher()).unwrap_or(0))
    }
}

/// The figures that matter most, a line for every city and dispatcher.
fn summary(report: &Report) -> Markup {
    let minutes = |value| table::figure(value, 1);
    html! {
        div.wide {
            table.summary {
                thead {
                    tr {
                        th.text scope="col" { "city" }
                        th.text scope="col" { "dispatcher" }
                        th scope="col" { "orders wanted" }
                        th scope="col" { "delivered" }
                        th scope="col" { "click to door, median, min" }
                        th scope="col" { "90th percentile, min" }
                        th scope="col" { "over " (TARGET_MINUTES) " min" }
                        th scope="col" { "over " (MAXIMUM_MINUTES) " min" }
                        th scope="col" { "on time" }
                        th scope="col" { "order’s wait at the store, mean, min" }
                        th scope="col" { "rider’s wait at the store, mean, min" }
                        th scope="col" { "riders busy" }
                    }
                }
                @for city in &report.cities {
                    tbody {
                        @for (index, run) in city.runs.iter().enumerate() {
                            @let quality = run.quality();
                            tr {
                                @if index == 0 { th.text scope="rowgroup" rowspan=(city.runs.len()) { (city.code) } }
                                th.text scope="row" { (run.dispatcher()) }
                                td { (quality.orders.wanted) }
                                td { (table::percent(quality.delivered_share)) }
                                td { (minutes(quality.click_to_door_minutes.p50)) }
                                td { (minutes(quality.click_to_door_minutes.p90)) }
                                td { (table::percent(quality.over_40_minutes_share)) }
                                td { (table::percent(quality.over_90_minutes_share)) }
                                td { (table::percent(quality.on_time_share)) }
                                td { (minutes(quality.order_wait_minutes.mean)) }
                                td { (minutes(quality.rider_wait_minutes.mean)) }
                                td { (table::percent(quality.busy_share)) }
                            }
                        }
                    }
                }
            }
        }
        p.reading {
            "Click to door is the time from placement to delivery. Shares over " (TARGET_MINUTES) " and "
            (MAXIMUM_MINUTES) " minutes are of the orders that were not cancelled, and count an undelivered one as over. "
            "Quantiles are nearest ranks; – means that there was nothing to measure."
        }
    }
}

/// A city: its plots, then every figure.
fn section(city: &CityRuns, colours: &Colours) -> Result<Markup, PageError> {
    let mut figures = Vec::new();
    for chart in plots::of(city, colours) {
        figures.push(figure(&chart)?);
    }
    Ok(html! {
        section.city {
            h2 { "City " (city.code) }
            div.plots { @for figure in figures { (figure) } }
            h3 { "Every figure" }
            (comparison(&city.runs))
        }
    })
}

/// A plot with its title, its key and how to read it.
fn figure(chart: &Chart) -> Result<Markup, PageError> {
    let svg = chart.svg().map_err(|why| PageError { plot: chart.title.to_owned(), why })?;
    Ok(html! {
        figure {
            h3 { (chart.title) }
            ul.key {
                @for (colour, label) in chart.key() {
                    li {
                        svg viewBox="0 0 32 12" aria-hidden="true" {
                            line x1="1" y1="6" x2="31" y2="6" stroke=(colour.hex()) stroke-width="3" {}
                        }
                        (label)
                    }
                }
            }
            div.plot role="img" aria-label=(chart.title) { (PreEscaped(svg)) }
            figcaption { (chart.reading) }
        }
    })
}

/// Every figure, a column for every dispatcher.
fn comparison(runs: &[Run]) -> Markup {
    html! {
        div.wide {
            table.figures {
                thead { tr { th.text scope="col" { "figure" } @for run in runs { th scope="col" { (run.dispatcher()) } } } }
                @for section in table::sections(runs) {
                    tbody {
                        tr { th.text scope="rowgroup" colspan=(runs.len() + 1) { (section.title) } }
                        @for row in section.rows {
                            tr { th.text scope="row" { (row.figure) } @for value in row.values { td { (value) } } }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
