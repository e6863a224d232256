//! What is stored of the runs of devices that come back after a restart, so that what they send again is recognised and
//! a late point does not move a rider's dot. One query for many riders: they stand at the door together.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Db, StoreError, location_logs::flags};
use crate::domain::{
    ping::run::{Run, StoredRun},
    time::Timestamp,
};

/// Rows per rider that are looked at, newest first: the first number answers for nearly everybody, the others are for
/// devices that were amid a backlog.
const LOOKS: [usize; 3] = [16, 512, 4_096];

/// How far the time of a point's recording may be wrong against the time of its receipt, milliseconds.
const SLACK_MS: i64 = 30_000;

/// A device that does not say what it holds, and still sends, was told within this time of what was stored; milliseconds.
const TOLD_WITHIN_MS: i64 = 600_000;

/// One row, as far as it matters.
#[derive(Clone, Copy, Debug)]
struct Row {
    created_at: DateTime<Utc>,
    recorded_at: DateTime<Utc>,
    seq: i64,
    flags: i16,
    /// Of the run that is asked for.
    same: bool,
}

/// What is stored of each run since a time: every stored point that the device may still hold, among the newest 4,096 of
/// its rider. Without `oldest` those are the ones of the last ten minutes in which the device was heard of.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn newest(db: &Db, runs: &[Run], since: Timestamp) -> Result<Vec<StoredRun>, StoreError> {
    let mut found = vec![StoredRun::default(); runs.len()];
    let mut wanted: Vec<usize> = (0..runs.len()).collect();
    for most in LOOKS {
        if wanted.is_empty() {
            break;
        }
        let asked: Vec<&Run> = wanted.iter().map(|at| &runs[*at]).collect();
        let rows = rows(db, &asked, since, most).await?;
        let mut open = Vec::new();
        for (at, rows) in wanted.iter().zip(rows) {
            found[*at] = read(&rows);
            if !is_enough(&runs[*at], &rows, most) {
                open.push(*at);
            }
        }
        wanted = open;
    }
    Ok(found)
}

/// The newest rows of each run's rider, newest first.
async fn rows(db: &Db, runs: &[&Run], since: Timestamp, most: usize) -> Result<Vec<Vec<Row>>, StoreError> {
    let riders: Vec<Uuid> = runs.iter().map(|run| run.rider.0).collect();
    let devices: Vec<String> = runs.iter().map(|run| run.device.clone()).collect();
    let boots: Vec<Uuid> = runs.iter().map(|run| run.boot.0).collect();
    let records = sqlx::query!(
        r#"SELECT w.ord AS "ord!", l.created_at, l.recorded_at, l.seq, l.flags,
                  (l.boot_id = w.boot AND l.device_id = w.device) AS "same!"
             FROM unnest($1::uuid[], $2::text[], $3::uuid[]) WITH ORDINALITY AS w (rider, device, boot, ord)
            CROSS JOIN LATERAL (
                  SELECT created_at, recorded_at, seq, flags, boot_id, device_id FROM location_logs
                   WHERE rider_id = w.rider AND created_at >= $4
                   ORDER BY created_at DESC, seq DESC LIMIT $5) AS l"#,
        &riders,
        &devices,
        &boots,
        since.to_datetime(),
        i64::try_from(most).unwrap_or(i64::MAX)
    )
    .fetch_all(db)
    .await?;
    let mut found = vec![Vec::new(); runs.len()];
    for record in records {
        // The ordinality counts from 1.
        let at = usize::try_from(record.ord - 1).ok().and_then(|at| found.get_mut(at));
        at.into_iter().for_each(|rows: &mut Vec<Row>| {
            rows.push(Row {
                created_at: record.created_at,
                recorded_at: record.recorded_at,
                seq: record.seq,
                flags: record.flags,
                same: record.same,
            });
        });
    }
    // Their order within a rider is promised by nobody.
    found.iter_mut().for_each(|rows| rows.sort_unstable_by_key(|row| std::cmp::Reverse((row.created_at, row.seq))));
    Ok(found)
}

fn is_live(row: &Row) -> bool {
    row.flags & flags::LATE == 0
}

fn read(rows: &[Row]) -> StoredRun {
    let live_at = rows.iter().filter(|row| is_live(row)).map(|row| row.recorded_at).max();
    let mut stored =
        StoredRun { live_at: live_at.map(|at| Timestamp::from_millis(at.timestamp_millis())), ..StoredRun::default() };
    let mut numbers: Vec<u64> =
        rows.iter().filter(|row| row.same).filter_map(|row| u64::try_from(row.seq).ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().for_each(|seq| stored.settled.insert(seq, seq));
    stored
}

/// Whether no row that matters can lie behind these. Where the newest rows are all of other runs, this one is new, or its
/// device was away for longer than it is waited for. And numbers count up with time: a point above `oldest` was recorded,
/// and so received, after every point below it was recorded.
fn is_enough(run: &Run, rows: &[Row], most: usize) -> bool {
    let Some(last) = rows.last().filter(|_| rows.len() >= most) else { return true };
    if !rows.iter().any(is_live) {
        return false;
    }
    let Some(newest) = rows.iter().find(|row| row.same) else { return true };
    let Some(oldest) = run.oldest else {
        return last.created_at.timestamp_millis() < newest.created_at.timestamp_millis() - TOLD_WITHIN_MS;
    };
    let below = |row: &&Row| row.same && u64::try_from(row.seq).is_ok_and(|seq| seq < oldest);
    let recorded = rows.iter().filter(below).map(|row| row.recorded_at).max();
    recorded.is_some_and(|at| last.created_at.timestamp_millis() < at.timestamp_millis() - SLACK_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{BootId, RiderId};

    fn run(oldest: Option<u64>) -> Run {
        Run { rider: RiderId(Uuid::nil()), device: "d".to_owned(), boot: BootId(Uuid::nil()), oldest }
    }

    fn row(seq: i64, created_s: i64, recorded_s: i64) -> Row {
        let at = |s: i64| Timestamp::from_millis(s * 1_000).to_datetime();
        let late = if created_s - recorded_s > 10 { flags::LATE } else { 0 };
        Row { created_at: at(created_s), recorded_at: at(recorded_s), seq, flags: late, same: true }
    }

    #[test]
    fn the_usual_device_needs_one_look() {
        // A point every five seconds, all told but the last.
        let rows: Vec<Row> = (0..16).map(|n| row(100 - n, 1_000 - n * 5, 1_000 - n * 5)).collect();
        assert!(is_enough(&run(Some(100)), &rows, 16));
        assert!(is_enough(&run(None), &rows, 17) && is_enough(&run(Some(1)), &rows, 17));
        assert!(!is_enough(&run(Some(1)), &rows, 16), "nothing was told: there may be more");
        let found = read(&rows);
        assert_eq!(found.settled.iter().collect::<Vec<_>>(), [(85, 100)]);
        assert_eq!(found.live_at, Some(Timestamp::from_millis(1_000_000)));
    }

    #[test]
    fn a_device_that_does_not_say_what_it_holds_is_known_by_ten_minutes() {
        let mut rows: Vec<Row> = (0..16).map(|n| row(100 - n, 1_000 - n * 5, 1_000 - n * 5)).collect();
        assert!(!is_enough(&run(None), &rows, 16));
        rows.push(row(30, 399, 399));
        assert!(is_enough(&run(None), &rows, 17));
        assert_eq!(read(&rows).settled.iter().collect::<Vec<_>>(), [(30, 30), (85, 100)], "and not what lies between");
    }

    #[test]
    fn runs_may_take_turns() {
        let other = |n: i64| Row { same: false, ..row(n, 1_000 - n * 5, 1_000 - n * 5) };
        let mut rows: Vec<Row> = (0..16).map(other).collect();
        assert!(is_enough(&run(Some(3)), &rows, 16), "a new run");
        rows[4].same = true;
        assert!(!is_enough(&run(Some(3)), &rows, 16), "there was something before the other device's turn");
    }

    #[test]
    fn a_backlog_hides_newer_points_that_came_before_it() {
        // Back on the air at 1,000 with point 200, then the backlog from 300 seconds ago on, oldest first.
        let backlog: Vec<Row> = (0..16).map(|n| row(150 - n, 1_010, 700 - n * 5)).collect();
        assert!(!is_enough(&run(Some(151)), &backlog, 16), "no live row, and 200 lies behind");
        let mut rows = backlog;
        rows.extend([row(200, 1_000, 1_000), row(120, 600, 600)]);
        assert!(is_enough(&run(Some(151)), &rows, 18));
    }
}
