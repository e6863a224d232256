//! The figures of a run, as a table and as JSON.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use chrono::{DateTime, Utc};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use dispatch_engine::{
    replay::{
        page::{self, PageError},
        report::{CityRuns, Note, Report as DayReport},
        scenario::Notes as DayNotes,
        table,
    },
    wire::rest::OrderBody,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    crosscheck::{Stored, compare},
    device::{Shared, pings::PingTally},
    faults::Injected,
    ledger::Difference,
    machine::Machine,
    outcomes::called_off,
    points::PointCheck,
    stats::{Counts, Quantiles, Stats, Times, count},
};

/// Differences that are named one by one.
const NAMED: usize = 20;

/// When things happened.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// How long orders were placed, seconds of the engine's clock.
    pub placing_clock_s: f64,
    /// The same in real seconds.
    pub placing_real_s: f64,
    /// How long they were worked off after that, seconds of the engine's clock.
    pub draining_clock_s: f64,
    /// The whole run without its set-up, real seconds.
    pub total_real_s: f64,
    /// Whether every order had ended before the time was over.
    pub drained: bool,
    /// Whether the run was told to stop.
    pub interrupted: bool,
    /// Whether every device went home in time.
    pub all_home: bool,
    /// How fast the engine's clock runs against real time.
    pub clock_speed: f64,
    /// How far off the alignment may be, real milliseconds.
    pub clock_uncertainty_ms: f64,
    /// The largest drift seen afterwards, real milliseconds.
    pub clock_drift_ms: f64,
}

/// Orders as they are stored at the end.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Orders {
    /// Orders whose time to be placed came.
    pub planned: u64,
    /// Placements that were confirmed.
    pub placed: u64,
    /// Placements that were refused, or never answered.
    pub not_placed: u64,
    /// Placements whose answer never came.
    pub in_doubt: u64,
    /// Per real second of placing.
    pub per_real_second: f64,
    /// By where they stand.
    pub by_status: Counts,
    /// Those that ended otherwise than delivered, by reason.
    pub end_reasons: Counts,
    /// Delivered, of those that were not cancelled.
    pub delivered_share: f64,
    /// Delivered or in a rider's hands, of those that were not cancelled.
    pub delivered_or_on_their_way_share: f64,
}

/// What the cross-check found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CrossCheck {
    /// Whether the stored orders could be read.
    pub done: bool,
    /// Orders compared.
    pub orders: usize,
    /// Histories read whole.
    pub histories: usize,
    /// Orders of others that clients were told of.
    pub foreign: usize,
    /// How many differences.
    pub differences: usize,
    /// The first of them.
    pub first: Vec<Difference>,
}

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    mode: &'static str,
    run_id: String,
    ok: bool,
    config: Value,
    machine: Machine,
    timing: Timing,
    riders: usize,
    riders_on_duty_at_start: usize,
    orders: Orders,
    /// How good it was, by city: the engine first, then the oracles.
    quality: Vec<CityRuns>,
    /// Seconds of the engine's clock, from the stored orders.
    due_to_assigned_s: Quantiles,
    placed_to_delivered_s: Quantiles,
    ready_to_pickup_s: Quantiles,
    /// Real milliseconds, as devices and merchants measured them.
    offer_to_device_ms: Quantiles,
    request_to_answer_ms: BTreeMap<&'static str, Quantiles>,
    placing_ms: Quantiles,
    placing_lag_ms: Quantiles,
    pings: PingTally,
    pings_written: u64,
    reconnects: u64,
    events: Counts,
    socket_errors: Counts,
    rest_errors: Counts,
    rest_details: BTreeMap<String, String>,
    connect_errors: Counts,
    byes: Counts,
    panics: Vec<Injected>,
    crosscheck: CrossCheck,
    points: PointCheck,
}

impl Report {
    /// From everything that was counted, and what is stored where that could be read. `fleet` is the number of riders,
    /// and of those on duty at the start.
    #[expect(clippy::too_many_arguments, reason = "a run ends with exactly these parts, and only one place has them")]
    pub fn new(
        mode: &'static str,
        run_id: &str,
        config: Value,
        timing: Timing,
        fleet: (usize, usize),
        stored: Option<&Stored>,
        points: PointCheck,
        quality: Vec<CityRuns>,
        shared: &Shared,
    ) -> Self {
        let mut crosscheck = CrossCheck::default();
        let in_doubt = {
            let books = shared.ledger.books();
            let mut differences = match stored {
                Some(stored) => compare(&books, stored),
                None => books.contradictions(),
            };
            differences.extend(points.differences.iter().cloned());
            crosscheck.differences = differences.len();
            crosscheck.first = differences.into_iter().take(NAMED).collect();
            books.in_doubt.len() as u64
        };
        if let Some(stored) = stored {
            crosscheck.done = true;
            crosscheck.orders = stored.orders.len();
            crosscheck.histories = stored.histories;
            crosscheck.foreign = stored.foreign.len();
        }
        let bodies = stored.map(|stored| stored.orders.as_slice()).unwrap_or_default();
        let mut orders = summarise(bodies);
        orders.placed = Stats::read(&shared.stats.placed);
        orders.in_doubt = in_doubt;
        orders.per_real_second = orders.placed as f64 / timing.placing_real_s.max(0.001);
        let spans = |from: fn(&OrderBody) -> Option<DateTime<Utc>>, to: fn(&OrderBody) -> Option<DateTime<Utc>>| {
            let mut times = Times::in_seconds();
            for (from, to) in bodies.iter().filter_map(|order| from(order).zip(to(order))) {
                times.record(u64::try_from((to - from).num_milliseconds()).unwrap_or(0));
            }
            times.quantiles()
        };
        let sums = shared.stats.sums();
        (orders.planned, orders.not_placed) = (sums.planned, sums.refused.len() as u64);
        Self {
            mode,
            run_id: run_id.to_owned(),
            ok: crosscheck.done && crosscheck.differences == 0 && !sums.events.contains_key("unreadable_frame"),
            config,
            machine: Machine::here(),
            timing,
            riders: fleet.0,
            riders_on_duty_at_start: fleet.1,
            orders,
            quality,
            due_to_assigned_s: spans(|o| o.due_at, |o| o.assigned_at),
            placed_to_delivered_s: spans(|o| Some(o.created_at), |o| o.delivered_at),
            ready_to_pickup_s: spans(|o| Some(o.ready_at), |o| o.picked_up_at),
            offer_to_device_ms: sums.offer_to_device.quantiles(),
            request_to_answer_ms: sums.answers.iter().map(|(name, times)| (*name, times.quantiles())).collect(),
            placing_ms: sums.placing.quantiles(),
            placing_lag_ms: sums.placing_lag.quantiles(),
            pings: sums.pings.clone(),
            pings_written: Stats::read(&shared.stats.pings_written),
            reconnects: shared.stats.reconnects.load(Relaxed),
            events: sums.events.clone(),
            socket_errors: sums.socket_errors.clone(),
            rest_errors: sums.rest_errors.clone(),
            rest_details: sums.rest_details.clone(),
            connect_errors: sums.connect_errors.clone(),
            byes: sums.byes.clone(),
            panics: sums.panics.clone(),
            crosscheck,
            points,
        }
    }

    /// Whether what the clients were told is what is stored.
    pub fn agrees(&self) -> bool {
        self.ok
    }

    /// The differences that are named one by one.
    pub fn first_differences(&self) -> &[Difference] {
        &self.crosscheck.first
    }

    /// One page for a browser, with plots over the day.
    ///
    /// # Errors
    /// When the plotter refuses a plot.
    pub fn page(&self) -> Result<String, PageError> {
        let title = match self.mode {
            "replay" => "A day, replayed against the running engine",
            _ => "A made-up fleet against the running engine",
        };
        page::render(&DayReport { title: title.to_owned(), notes: self.notes(), cities: self.quality.clone() })
    }

    /// What must be known to read the figures.
    fn notes(&self) -> Vec<Note> {
        let timing = &self.timing;
        let mut notes = vec![
            Note::new("Run", format!("{} {}, load tester {}", self.mode, self.run_id, env!("CARGO_PKG_VERSION"))),
            Note::new("Machine", self.machine.to_string()),
            Note::new(
                "Clock",
                format!(
                    "{} times as fast as life; orders were placed for {:.0} s of it and worked off for {:.0} s, {}",
                    timing.clock_speed,
                    timing.placing_clock_s,
                    timing.draining_clock_s,
                    if timing.drained { "until all had ended" } else { "and some had not ended" }
                ),
            ),
            Note::new(
                "Cross-check",
                format!(
                    "{}: {} orders and {} histories read back, {} differences to what clients were told",
                    if self.ok { "clean" } else { "FAILED" },
                    self.crosscheck.orders,
                    self.crosscheck.histories,
                    self.crosscheck.differences
                ),
            ),
        ];
        if let Value::Object(config) = &self.config {
            // What these say stands among the others in words.
            let spoken = ["manners", "data", "from_s", "to_s"];
            let others = config.iter().filter(|(key, value)| !spoken.contains(&key.as_str()) && !value.is_null());
            notes.extend(others.map(|(key, value)| Note::new(label(key), words(value))));
            for (city, data) in config.get("data").and_then(Value::as_object).into_iter().flatten() {
                let words = DayNotes::deserialize(data).map_or_else(|_| data.to_string(), |notes| notes.words());
                notes.push(Note::new(format!("Data of {city}"), words));
            }
        }
        notes
    }

    /// How good it was, by city.
    fn quality_table(&self) -> String {
        self.quality.iter().map(|city| format!("\n{}\n{}\n", city.code, table::text(&city.runs))).collect()
    }

    /// For people.
    pub fn table(&self) -> String {
        let new = |header: &[&str]| {
            let mut table = Table::new();
            table.load_style(UTF8_FULL_CONDENSED).set_header(header);
            table
        };
        let mut times = new(&["time", "n", "mean", "p50", "p90", "p99", "p99.9", "max"]);
        let mut row = |name: &str, q: &Quantiles| {
            let values = [q.mean, q.p50, q.p90, q.p99, q.p999, q.max].map(|value| format!("{value:.1}"));
            times.add_row([name.to_owned(), q.count.to_string()].into_iter().chain(values));
        };
        row("due to assigned, s", &self.due_to_assigned_s);
        row("due to assigned, real ms", &self.due_to_assigned_s.scaled(1_000.0 / self.timing.clock_speed));
        row("placed to delivered, s", &self.placed_to_delivered_s);
        row("ready to pickup, s", &self.ready_to_pickup_s);
        row("offer to device, real ms", &self.offer_to_device_ms);
        for (name, quantiles) in &self.request_to_answer_ms {
            row(&format!("{name} to answer, real ms"), quantiles);
        }
        row("placement to answer, real ms", &self.placing_ms);
        row("placement behind schedule, real ms", &self.placing_lag_ms);

        let mut figures = new(&["figure", "value"]);
        let mut line = |name: &str, value: String| {
            figures.add_row([name.to_owned(), value]);
        };
        let percent = |share: f64| format!("{:.2} %", share * 100.0);
        line("run", format!("{} {} at clock speed {}", self.mode, self.run_id, self.timing.clock_speed));
        line("machine", self.machine.to_string());
        if let Some(acceptance) = self.config.get("acceptance").and_then(Value::as_str) {
            line("acceptance", acceptance.to_owned());
        }
        if let Some(detour) = self.config.get("detour").and_then(Value::as_f64) {
            line("street over straight line", detour.to_string());
        }
        line("riders, on duty at the start", format!("{}, {}", self.riders, self.riders_on_duty_at_start));
        let o = &self.orders;
        let placed = format!("{}, {}, {}, {}", o.planned, o.placed, o.not_placed, o.in_doubt);
        line("orders planned, placed, not placed, in doubt", placed);
        line("orders per real second", format!("{:.2}", self.orders.per_real_second));
        line("orders by status", listed(&self.orders.by_status));
        line("end reasons", listed(&self.orders.end_reasons));
        line("delivered, of those not cancelled", percent(self.orders.delivered_share));
        line("delivered or on their way", percent(self.orders.delivered_or_on_their_way_share));
        line("drained", format!("{} in {:.0} s", yes(self.timing.drained), self.timing.draining_clock_s));
        let pings = &self.pings;
        let points = &pings.points;
        line("points recorded, sent, settled", format!("{}, {}, {}", points.recorded, points.sent, points.settled));
        line(
            "points sent again, told as duplicates, given up",
            format!("{}, {}, {}", points.resent, points.duplicates, points.given_up),
        );
        line("most points that a device kept", points.worst_backlog.to_string());
        line("words about points never sent", points.strange.to_string());
        line("pings refused", listed(&pings.refused));
        line("pings refused rightly (lies, outages)", listed(&pings.refused_rightly));
        line("reconnects", self.reconnects.to_string());
        line("events", listed(&self.events));
        line("errors on sockets", listed(&self.socket_errors));
        line("errors over REST", listed(&self.rest_errors));
        let details: Vec<&str> = self.rest_details.values().map(String::as_str).collect();
        line("the first of each", details.join("\n"));
        line("failed connections", listed(&self.connect_errors));
        line("byes", listed(&self.byes));
        for panic in &self.panics {
            line("panic on purpose", panic.line());
        }
        let check = &self.crosscheck;
        line(
            "cross-check",
            format!(
                "{}: {} orders, {} histories, {} differences",
                if self.ok { "clean" } else { "FAILED" },
                check.orders,
                check.histories,
                check.differences
            ),
        );
        line("points in the database", self.points.words());
        format!("{times}\n{figures}\n{}", self.quality_table())
    }
}

/// A key of the settings, for people.
fn label(key: &str) -> String {
    let key = key.replace('_', " ");
    let mut letters = key.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A value of the settings, for people.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(words).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn listed(counts: &Counts) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let items: Vec<String> = counts.iter().map(|(what, n)| format!("{what} {n}")).collect();
    items.join("\n")
}

fn summarise(bodies: &[OrderBody]) -> Orders {
    let mut orders = Orders::default();
    for body in bodies {
        count(&mut orders.by_status, &body.status);
        if let Some(reason) = &body.end_reason {
            count(&mut orders.end_reasons, &format!("{}: {reason}", body.status));
        }
    }
    let wanted: Vec<&OrderBody> = bodies.iter().filter(|body| !called_off(body)).collect();
    let of = |statuses: &[&str]| wanted.iter().filter(|body| statuses.contains(&body.status.as_str())).count() as f64;
    let delivered = of(&["delivered"]);
    let under_way = of(&["assigned", "at_pickup", "picked_up", "at_dropoff", "attempt_failed", "returning"]);
    if !wanted.is_empty() {
        orders.delivered_share = delivered / wanted.len() as f64;
        orders.delivered_or_on_their_way_share = (delivered + under_way) / wanted.len() as f64;
    }
    orders
}
