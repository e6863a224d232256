//! Rows per second of our path, from the lane's hand to the commit, against an INSERT of 100 rows, in the same run.

use std::time::{Duration, Instant};

use dispatch_engine::{
    actors::location_log::{Options, start},
    clock::Clock,
    metrics::Metrics,
    store::{Db, partitions},
};
use sqlx::{Executor, Postgres, QueryBuilder};

use crate::{
    Anyhow, Scale,
    rows::{Lane, Traffic},
    surroundings::cpu,
};

const RIDERS: usize = 10_000;
/// What a lane hands over at once when there is much to do.
const LANE: usize = 256;
/// Rows under way at most: five batches.
const UNDER_WAY: u64 = 50_000;

/// A figure of the log.
pub fn figure(metrics: &Metrics, name: &str) -> u64 {
    let text = metrics.render().unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("dispatch_location_log_{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Both, one after the other.
pub async fn against_insert(db: &Db, pid: i32, scale: Scale) -> Anyhow<()> {
    let span = Duration::from_secs(scale.path_s);
    partitions::ensure_months(db, Clock::wall()).await?;
    println!(
        "\n{:<44} {:>10} {:>12} {:>12}",
        "one connection, indexes of the schema", "rows/s", "PG CPU us", "own CPU us"
    );
    let insert = inserts(db, pid, span).await?;
    db.execute("TRUNCATE location_logs").await?;
    let ours = ours(db, pid, span).await?;
    db.execute("TRUNCATE location_logs").await?;
    let verdict = if ours >= 5.0 * insert { "met" } else { "MISSED" };
    println!("{:<44} {:>10.1} (aim: 5, {verdict})", "ours against the INSERT", ours / insert);
    Ok(())
}

fn print(name: &str, rows: u64, took: Duration, postgres: Duration, own: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    let rows = rows as f64;
    let per_row = |cpu: Duration| cpu.as_secs_f64() * 1e6 / rows;
    let rate = rows / took.as_secs_f64();
    println!("{name:<44} {rate:>10.0} {:>12.2} {:>12.2}", per_row(postgres), per_row(own));
    rate
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

/// Own CPU time, without that of the server, which is a child of this process.
fn own() -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", own_pid())).unwrap_or_default();
    let fields: Vec<u64> = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    Duration::from_millis(fields.get(11..13).unwrap_or_default().iter().sum::<u64>() * 10)
}

async fn inserts(db: &Db, pid: i32, span: Duration) -> Anyhow<f64> {
    let mut lane = Lane::new(Traffic::new(RIDERS).tracks());
    let (begun, postgres, used) = (Instant::now(), cpu(pid), own());
    while begun.elapsed() < span {
        let points = lane.points(100);
        let mut query = QueryBuilder::<Postgres>::new(
            "INSERT INTO location_logs (rider_id, created_at, recorded_at, city, lat, lon, accuracy_m, speed_mps, \
             heading_deg, seq, boot_id, device_id, flags, device_at) ",
        );
        query.push_values(points.iter(), |mut row, point| {
            row.push_bind(point.track.rider.0)
                .push_bind(point.created_at.to_datetime())
                .push_bind(point.recorded_at.to_datetime())
                .push_bind(point.track.city.as_str())
                .push_bind(point.position.lat())
                .push_bind(point.position.lon())
                .push_bind(point.accuracy_m)
                .push_bind(point.speed_mps)
                .push_bind(point.heading_deg)
                .push_bind(i64::try_from(point.seq).unwrap_or(i64::MAX))
                .push_bind(point.track.boot.0)
                .push_bind(&*point.track.device)
                .push_bind(point.flags)
                .push_bind(point.device_at.to_datetime());
        });
        query.build().execute(db).await?;
    }
    let (took, postgres, used) = (begun.elapsed(), cpu(pid).saturating_sub(postgres), own().saturating_sub(used));
    Ok(print("INSERT of 100 rows", lane.sent(), took, postgres, used))
}

async fn ours(db: &Db, pid: i32, span: Duration) -> Anyhow<f64> {
    let folder = tempfile::tempdir()?;
    let (metrics, mut options) = (Metrics::new(), Options::default());
    options.spool.dir = folder.path().to_owned();
    let (log, _) = start(db.clone(), Clock::system(), &metrics, options).await?;
    let mut lane = Lane::new(Traffic::new(RIDERS).tracks());
    let (begun, postgres, used) = (Instant::now(), cpu(pid), own());
    let mut stored = 0;
    while begun.elapsed() < span {
        while lane.sent() - stored < UNDER_WAY {
            log.append(lane.points(LANE));
            if lane.sent().is_multiple_of(8_192) {
                tokio::task::yield_now().await;
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        stored = figure(&metrics, "stored_total");
    }
    let took = begun.elapsed();
    let (stored, postgres, used) =
        (figure(&metrics, "stored_total"), cpu(pid).saturating_sub(postgres), own().saturating_sub(used));
    let rate = print("ours: actor, sort, COPY, batch id", stored, took, postgres, used);
    if !log.stop(Duration::from_secs(30)).await {
        return Err("the log did not end".into());
    }
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM location_logs").fetch_one(db).await?;
    if u64::try_from(rows).ok() != Some(lane.sent()) {
        return Err(format!("{rows} rows of {} points", lane.sent()).into());
    }
    Ok(rate)
}
