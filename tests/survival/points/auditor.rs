//! Compares what devices recorded and were told with the rows of `location_logs`, once everything is quiet.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use dispatch_engine::store::Db;
use uuid::Uuid;

use super::diary::{Diary, Entry};

/// Flag of a point that its platform says was made up.
const MOCK: i16 = 2;

/// Differences of a kind that are named one by one.
const NAMED: usize = 10;

/// A row.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Row {
    /// Whose.
    pub rider_id: Uuid,
    /// Of which run of the app.
    pub boot_id: Uuid,
    /// Of which device.
    pub device_id: String,
    /// Its number.
    pub seq: i64,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Metres.
    pub accuracy_m: Option<f32>,
    /// Metres per second.
    pub speed_mps: Option<f32>,
    /// Degrees.
    pub heading_deg: Option<f32>,
    /// As the device said.
    pub device_at: DateTime<Utc>,
    /// The same, corrected.
    pub recorded_at: DateTime<Utc>,
    /// Bits.
    pub flags: i16,
}

/// What was found; every list is empty when the promises were kept.
#[derive(Debug, Default)]
pub struct Findings {
    /// Settled, and not stored.
    pub lost: Vec<String>,
    /// Recorded, sent until the end, and not stored.
    pub missing: Vec<String>,
    /// Stored more than once.
    pub doubled: Vec<String>,
    /// Stored otherwise than sent.
    pub changed: Vec<String>,
    /// Everything else that is wrong.
    pub broken: Vec<String>,
    /// Rows.
    pub rows: usize,
    /// How far a corrected time was off at most, milliseconds; not judged.
    pub worst_time_ms: i64,
}

impl Findings {
    /// Every broken promise, with its kind; the first of each.
    pub fn all(&self) -> Vec<String> {
        let kinds = [
            ("lost", &self.lost),
            ("missing", &self.missing),
            ("doubled", &self.doubled),
            ("changed", &self.changed),
            ("broken", &self.broken),
        ];
        let named = |(kind, list): (&str, &Vec<String>)| {
            let mut lines: Vec<String> = list.iter().take(NAMED).map(|what| format!("{kind}: {what}")).collect();
            if list.len() > NAMED {
                lines.push(format!("{kind}: {} in all", list.len()));
            }
            lines
        };
        kinds.into_iter().flat_map(named).collect()
    }
}

/// How many rows there are.
pub async fn count(db: &Db) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM location_logs").fetch_one(db).await.unwrap()
}

/// Reads the rows.
pub async fn read(db: &Db) -> Vec<Row> {
    let sql = "SELECT rider_id, boot_id, device_id, seq, lat, lon, accuracy_m, speed_mps, heading_deg, device_at, recorded_at, \
               flags FROM location_logs";
    sqlx::query_as(sql).fetch_all(db).await.unwrap()
}

/// Compares.
pub fn audit(rows: Vec<Row>, diaries: &[Diary]) -> Findings {
    let mut findings = Findings { rows: rows.len(), ..Findings::default() };
    let mut stored: BTreeMap<(Uuid, Uuid, i64), Vec<Row>> = BTreeMap::new();
    for row in rows {
        stored.entry((row.rider_id, row.boot_id, row.seq)).or_default().push(row);
    }
    for diary in diaries {
        for entry in &diary.entries {
            let seq = i64::try_from(entry.ping.seq).unwrap();
            let rows = stored.remove(&(diary.rider, diary.boot, seq)).unwrap_or_default();
            judge(diary, entry, &rows, &mut findings);
        }
        if diary.kept > 0 {
            findings.broken.push(format!("{} still keeps {} points", diary.rider, diary.kept));
        }
        if diary.tally.strange > 0 {
            findings.broken.push(format!("{} heard {} strange words", diary.rider, diary.tally.strange));
        }
    }
    findings.broken.extend(stored.keys().map(|(rider, boot, seq)| format!("nobody sent {seq} of {rider}, {boot}")));
    findings
}

fn judge(diary: &Diary, entry: &Entry, rows: &[Row], findings: &mut Findings) {
    let name = || format!("{} of {} ({:?})", entry.ping.seq, diary.rider, diary.kind);
    if entry.lie.is_some() || entry.refused.is_some() {
        if !rows.is_empty() {
            findings.broken.push(format!("{} had to be refused and is stored", name()));
        }
        return;
    }
    match rows {
        [] if entry.settled => findings.lost.push(name()),
        [] => findings.missing.push(name()),
        [row] => {
            let off = (row.recorded_at.timestamp_millis() - entry.true_at).abs();
            findings.worst_time_ms = findings.worst_time_ms.max(off);
            if !same(diary, entry, row) {
                findings.changed.push(format!("{}: {:?} is stored as {row:?}", name(), entry.ping));
            }
        }
        rows => findings.doubled.push(format!("{} {} times", name(), rows.len())),
    }
}

/// Whether a row says what the device said.
fn same(diary: &Diary, entry: &Entry, row: &Row) -> bool {
    let ping = &entry.ping;
    let place = (row.lat, row.lon) == (ping.lat, ping.lon);
    let around =
        (row.accuracy_m, row.speed_mps, row.heading_deg) == (ping.accuracy_m, ping.speed_mps, ping.heading_deg);
    let device = row.device_id == format!("device-{}", diary.rider.simple());
    place && around && device && row.device_at.timestamp_millis() == ping.at && (row.flags & MOCK != 0) == ping.mock
}

#[cfg(test)]
#[path = "auditor_tests.rs"]
mod tests;
