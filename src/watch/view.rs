//! The picture of a city that snapshots and deltas add up to. Pure.

use std::collections::{BTreeMap, VecDeque};

use uuid::Uuid;

use crate::wire::operator::{CityCounts, CityDelta, CityState, OperatorDown, OrderRow, RiderRow};

/// States of a rider, in the order in which they are shown.
pub const RIDER_STATES: [&str; 6] = ["idle", "offered", "busy", "stale", "break", "off"];
/// Alerts kept.
const ALERTS: usize = 50;
/// Rates are taken over this much real time, milliseconds.
const WINDOW_MS: f64 = 60_000.0;

/// A city as last seen.
#[derive(Debug, Default)]
pub struct View {
    /// Which city; empty before the first snapshot.
    pub city: String,
    /// Server time, milliseconds.
    pub at: i64,
    /// How fast the server's clock runs.
    pub clock_speed: f64,
    /// The city's figures.
    pub counts: CityCounts,
    /// What is wrong with the connection, when something is.
    pub trouble: Option<String>,
    orders: BTreeMap<Uuid, OrderRow>,
    riders: BTreeMap<Uuid, RiderRow>,
    alerts: VecDeque<(i64, String)>,
    totals: Totals,
    samples: VecDeque<(i64, Totals)>,
}

/// Counters that only grow while a connection lasts.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    delivered: u64,
    offers: u64,
    fixes: u64,
}

/// Rates over the last minute (real time), in server time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Orders delivered per minute.
    pub delivered_per_min: f64,
    /// Offers made per minute.
    pub offers_per_min: f64,
    /// Live positions that moved per second, as far as the city shows them.
    pub fixes_per_s: f64,
}

impl View {
    /// Takes a frame in.
    pub fn apply(&mut self, frame: OperatorDown) {
        match frame {
            OperatorDown::Snapshot(state) => self.snapshot(state),
            OperatorDown::Delta(delta) => self.delta(delta),
            OperatorDown::Alert { kind, order, rider, detail } => {
                let whom = order.map(|id| format!(" order {}", short(id))).unwrap_or_default()
                    + &rider.map(|id| format!(" rider {}", short(id))).unwrap_or_default();
                self.alerts.push_front((self.at, format!("{kind}:{whom} {detail}")));
                self.alerts.truncate(ALERTS);
            }
            OperatorDown::Bye { why, .. } => self.note_lost(why),
        }
    }

    /// The socket is open again.
    pub fn note_connected(&mut self) {
        self.trouble = None;
    }

    /// The socket is gone.
    pub fn note_lost(&mut self, why: String) {
        self.trouble = Some(why);
    }

    fn snapshot(&mut self, state: CityState) {
        self.city = state.city;
        self.at = state.at;
        self.clock_speed = state.clock_speed;
        self.counts = state.counts;
        self.orders = state.orders.into_iter().map(|row| (row.order, row)).collect();
        self.riders = state.riders.into_iter().map(|row| (row.rider, row)).collect();
        // What happened before or meanwhile is not known: rates begin anew.
        self.totals = Totals { delivered: state.counts.delivered, ..Totals::default() };
        self.samples.clear();
        self.samples.push_back((self.at, self.totals));
    }

    fn delta(&mut self, delta: CityDelta) {
        self.at = delta.at;
        self.counts = delta.counts;
        for row in delta.orders {
            let before = self.orders.get(&row.order).map_or(0, |before| before.offers_tried);
            self.totals.offers += u64::from(row.offers_tried.saturating_sub(before));
            self.orders.insert(row.order, row);
        }
        for ended in delta.ended {
            self.orders.remove(&ended.order);
        }
        for row in delta.riders {
            let before = self.riders.get(&row.rider).and_then(|before| before.fix_at);
            self.totals.fixes += u64::from(row.fix_at.is_some() && row.fix_at != before);
            self.riders.insert(row.rider, row);
        }
        for gone in delta.gone {
            self.riders.remove(&gone);
        }
        self.totals.delivered = delta.counts.delivered;
        self.samples.push_back((self.at, self.totals));
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of some minutes")]
        while self.samples.len() > 2 && (self.at - self.samples[1].0) as f64 >= WINDOW_MS * self.clock_speed.max(1.0) {
            self.samples.pop_front();
        }
    }

    /// The waiting orders: due ones first, the longest due at the top, then by the time a rider must leave.
    #[must_use]
    pub fn queue(&self) -> Vec<&OrderRow> {
        let waits = |row: &&OrderRow| matches!(row.status.as_str(), "placed" | "queued" | "offered");
        let mut queue: Vec<&OrderRow> = self.orders.values().filter(waits).collect();
        queue.sort_by_key(|row| (row.due_at.is_none(), row.due_at.unwrap_or(row.leave_by), row.order));
        queue
    }

    /// How many riders are in each of [`RIDER_STATES`].
    #[must_use]
    pub fn riders_by_state(&self) -> [(&'static str, usize); 6] {
        RIDER_STATES.map(|state| (state, self.riders.values().filter(|row| row.state == state).count()))
    }

    /// Alerts with their times, newest first.
    pub fn alerts(&self) -> impl Iterator<Item = &(i64, String)> {
        self.alerts.iter()
    }

    /// Rates; zero before there is anything to compare.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts within some minutes")]
    pub fn rates(&self) -> Rates {
        let (Some((from, first)), Some((to, last))) = (self.samples.front(), self.samples.back()) else {
            return Rates::default();
        };
        let seconds = (to - from) as f64 / 1_000.0;
        if seconds <= 0.0 {
            return Rates::default();
        }
        let per_s = |last: u64, first: u64| last.saturating_sub(first) as f64 / seconds;
        Rates {
            delivered_per_min: per_s(last.delivered, first.delivered) * 60.0,
            offers_per_min: per_s(last.offers, first.offers) * 60.0,
            fixes_per_s: per_s(last.fixes, first.fixes),
        }
    }

    /// One order of the queue as the texts of [`QUEUE_COLUMNS`].
    #[must_use]
    pub fn queue_row(&self, row: &OrderRow) -> [String; 7] {
        let waiting = match row.due_at {
            Some(due) => span(self.at - due),
            None => format!("in {}", span(row.leave_by - self.at)),
        };
        [
            row.external_ref.clone().unwrap_or_else(|| short(row.order)),
            row.status.clone(),
            waiting,
            row.waiting_for.clone().unwrap_or_default(),
            row.offers_tried.to_string(),
            row.rider.map(short).unwrap_or_default(),
            span(row.promise_at - self.at),
        ]
    }

    /// The first line: where, when, how the connection is.
    #[must_use]
    pub fn headline(&self) -> String {
        if self.city.is_empty() {
            return self.trouble.as_ref().map_or("connecting".to_owned(), |why| format!("connecting again: {why}"));
        }
        let speed = if self.clock_speed == 1.0 { String::new() } else { format!("  clock x{}", self.clock_speed) };
        let trouble = self.trouble.as_ref().map(|why| format!("  CONNECTION LOST, trying again: {why}"));
        format!("{}  {} UTC{speed}{}", self.city, clock_time(self.at), trouble.unwrap_or_default())
    }

    /// The second line: figures and rates.
    #[must_use]
    pub fn figures(&self) -> String {
        let (counts, rates) = (self.counts, self.rates());
        format!(
            "waiting {} (due {})  active {}  offers open {}  delivered {}  otherwise {}  |  riders on duty {}  idle {}  \
             connected {}  |  per min: delivered {:.1}, offers {:.1}  fixes/s {:.1}  writes pending {}",
            counts.orders_waiting,
            counts.orders_due,
            counts.orders_active,
            counts.offers_open,
            counts.delivered,
            counts.ended_otherwise,
            counts.riders_on_duty,
            counts.riders_idle,
            counts.riders_connected,
            rates.delivered_per_min,
            rates.offers_per_min,
            rates.fixes_per_s,
            counts.writes_pending,
        )
    }
}

/// The columns of the queue.
pub const QUEUE_COLUMNS: [&str; 7] = ["order", "status", "due for", "waits for", "offers", "rider", "promise"];

/// The last eight digits: the first ones of a UUIDv7 are the time, and the same for neighbours.
#[must_use]
pub fn short(id: Uuid) -> String {
    let text = id.simple().to_string();
    text[text.len() - 8..].to_owned()
}

/// `HH:MM:SS` of a time in milliseconds.
#[must_use]
pub fn clock_time(at: i64) -> String {
    crate::domain::time::Timestamp::from_millis(at).to_datetime().format("%H:%M:%S").to_string()
}

/// A span in milliseconds as minutes and seconds, `-` before it when it is over.
#[must_use]
pub fn span(ms: i64) -> String {
    let seconds = ms.unsigned_abs() / 1_000;
    let sign = if ms < 0 && seconds > 0 { "-" } else { "" };
    match seconds {
        0..3_600 => format!("{sign}{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{sign}{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
pub mod tests;
