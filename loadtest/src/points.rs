//! The cross-check of points: what devices were told of them against the rows of `location_logs`. It needs the engine's
//! database, which no client of the API sees; without its address there is no such check, and the report says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use dispatch_engine::replay::device::numbers::Numbers;
use futures_util::TryStreamExt;
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{device::pings::ToldPoints, ledger::Difference};

/// Riders whose rows are read by one query.
const RIDERS: usize = 200;

/// Real time in which what is settled must be in the database: an engine may have it on a disk of its own for a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// Real time between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// What the check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PointCheck {
    /// Whether the rows could be read.
    pub done: bool,
    /// Rows of the run's riders.
    pub rows: u64,
    /// Points that devices were told are settled.
    pub settled: u64,
    /// Settled points without a row that the policy of their city may have left out.
    pub left_out: u64,
    /// Settled points without a row that were under way when a connection was lost: their refusal may be lost with it.
    pub unheard: u64,
    /// What must not be.
    #[serde(skip)]
    pub differences: Vec<Difference>,
}

impl PointCheck {
    /// For people.
    pub fn words(&self) -> String {
        if !self.done {
            return "not compared: no --database-url".to_owned();
        }
        let Self { rows, settled, left_out, unheard, differences, .. } = self;
        let differences = differences.len();
        format!(
            "{rows} rows of {settled} settled points; {left_out} left out by policy, {unheard} whose refusal may be lost; \
             {differences} differences"
        )
    }
}

/// The rows of one run of one rider's app.
#[derive(Debug, Default)]
struct Rows {
    once: Numbers,
    twice: BTreeSet<u64>,
}

type Stored = BTreeMap<(Uuid, Uuid), Rows>;

/// Reads the rows that were received since a time of the engine's clock and compares; again for a while, when some are
/// missing. `full` says for each city whether it stores every point.
///
/// # Errors
/// When the database cannot be read.
pub async fn check(
    url: &str,
    told: &[ToldPoints],
    full: &[bool],
    since: DateTime<Utc>,
) -> Result<PointCheck, sqlx::Error> {
    let mut database = PgConnection::connect(url).await?;
    let until = Instant::now() + PATIENCE;
    loop {
        let stored = read(&mut database, told, since).await?;
        let check = compare(told, &stored, full);
        let missing = check.differences.iter().any(|difference| difference.kind == MISSING);
        if !missing || Instant::now() >= until {
            return Ok(check);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn read(database: &mut PgConnection, told: &[ToldPoints], since: DateTime<Utc>) -> Result<Stored, sqlx::Error> {
    let riders: BTreeSet<Uuid> = told.iter().map(|told| told.rider).collect();
    let riders: Vec<Uuid> = riders.into_iter().collect();
    let mut stored = Stored::new();
    for some in riders.chunks(RIDERS) {
        let rows = "SELECT rider_id, boot_id, seq FROM location_logs WHERE rider_id = ANY($1) AND created_at >= $2";
        let mut rows = sqlx::query_as::<_, (Uuid, Uuid, i64)>(rows).bind(some).bind(since).fetch(&mut *database);
        while let Some((rider, boot, seq)) = rows.try_next().await? {
            let (rows, seq) = (stored.entry((rider, boot)).or_default(), seq.unsigned_abs());
            if !rows.once.insert(seq) {
                rows.twice.insert(seq);
            }
        }
    }
    Ok(stored)
}

/// The kind of a difference that time may heal.
const MISSING: &str = "point_missing";

fn compare(told: &[ToldPoints], stored: &Stored, full: &[bool]) -> PointCheck {
    let mut check = PointCheck { done: true, ..PointCheck::default() };
    let none = Rows::default();
    for told in told {
        let rows = stored.get(&(told.rider, told.boot)).unwrap_or(&none);
        check.rows += rows.once.len() + rows.twice.len() as u64;
        check.settled += told.settled.len();
        let mut differ = |kind, seqs: Vec<u64>, what: &str| {
            if let (Some(first), count) = (seqs.first(), seqs.len()) {
                let detail = format!("{count} points of {}, boot {}, from {first} on: {what}", told.rider, told.boot);
                check.differences.push(Difference { kind, order: None, detail });
            }
        };
        differ("point_twice", rows.twice.iter().copied().collect(), "stored more than once");
        let refused = told.refused.iter().filter(|seq| rows.once.contains(*seq)).collect();
        differ("refused_point_stored", refused, "refused, and stored");
        let unknown = rows.once.iter().filter(|seq| *seq > told.last).collect();
        differ("point_unknown", unknown, "stored, and never sent");
        let missing: Vec<u64> = told.settled.iter().filter(|seq| !rows.once.contains(*seq)).collect();
        let (unheard, missing): (Vec<u64>, Vec<u64>) = missing.iter().partition(|seq| told.unheard.contains(**seq));
        let (mut left_out, mut lost) = (0, vec![]);
        if full.get(told.city).copied().unwrap_or(false) {
            lost = missing;
        } else {
            left_out = missing.len() as u64;
        }
        differ(MISSING, lost, "settled, and not stored");
        check.left_out += left_out;
        check.unheard += unheard.len() as u64;
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const BOOT: Uuid = Uuid::from_u128(2);

    fn told(settled: &[u64], refused: &[u64], unheard: &[u64]) -> ToldPoints {
        let set = |numbers: &[u64]| numbers.iter().copied().collect::<Numbers>();
        let (settled, refused, unheard) = (set(settled), set(refused), set(unheard));
        ToldPoints { rider: A, city: 0, boot: BOOT, last: 9, settled, refused, unheard }
    }

    fn kinds(told: ToldPoints, rows: &[u64], full: bool) -> (Vec<&'static str>, PointCheck) {
        let mut stored = Rows::default();
        for seq in rows {
            if !stored.once.insert(*seq) {
                stored.twice.insert(*seq);
            }
        }
        let check = compare(&[told], &BTreeMap::from([((A, BOOT), stored)]), &[full]);
        (check.differences.iter().map(|difference| difference.kind).collect(), check)
    }

    #[test]
    fn every_settled_point_has_one_row() {
        assert!(kinds(told(&[1, 2, 3], &[4], &[]), &[1, 2, 3, 5], true).0.is_empty());
        assert_eq!(kinds(told(&[1, 2], &[], &[]), &[1], true).0, ["point_missing"]);
        assert_eq!(kinds(told(&[1], &[], &[]), &[1, 1], true).0, ["point_twice"]);
        assert_eq!(kinds(told(&[1], &[4], &[]), &[1, 4], true).0, ["refused_point_stored"]);
        assert_eq!(kinds(told(&[1], &[], &[]), &[1, 10], true).0, ["point_unknown"]);
        assert_eq!(compare(&[told(&[1], &[], &[])], &BTreeMap::new(), &[true]).differences.len(), 1);
    }

    #[test]
    fn what_may_be_missing_is_counted() {
        let (found, check) = kinds(told(&[1, 2, 3], &[], &[2]), &[1], false);
        assert!(found.is_empty());
        assert_eq!((check.settled, check.rows, check.left_out, check.unheard), (3, 1, 1, 1));
        let (found, check) = kinds(told(&[1, 2], &[], &[2]), &[1], true);
        assert!(found.is_empty() && check.unheard == 1, "nobody heard whether it was refused");
        assert_eq!(kinds(told(&[1], &[], &[]), &[1, 1], false).0, ["point_twice"], "thinned or not");
    }
}
