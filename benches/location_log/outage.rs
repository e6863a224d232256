//! Minutes without Postgres at 10,000 points a second: what the spool takes, how fast it is drained beside the live traffic,
//! and whether every point is stored once.

use std::time::{Duration, Instant};

use dispatch_engine::{
    actors::location_log::{LocationLogHandle, Options, start},
    clock::Clock,
    metrics::Metrics,
    store::{Db, partitions},
    supervisor::Postgres,
};
use sqlx::Executor;

use crate::{
    Anyhow, Scale, Server,
    path::figure,
    rows::{Lane, Traffic},
};

const RIDERS: usize = 10_000;
const RATE: u64 = 10_000;
/// The rhythm of a lane.
const STEP: Duration = Duration::from_millis(10);

/// The traffic of a whole run, by schedule.
struct Feed {
    log: LocationLogHandle,
    lane: Lane,
    begun: Instant,
    buffered: u64,
}

impl Feed {
    /// Sends what is due, until `done` or for at most so long.
    async fn until(&mut self, metrics: &Metrics, limit: Duration, done: impl Fn() -> bool) -> Duration {
        let from = Instant::now();
        let mut ticks = tokio::time::interval(STEP);
        while from.elapsed() < limit && !done() {
            ticks.tick().await;
            #[expect(clippy::cast_possible_truncation, reason = "a run of minutes")]
            let due = self.begun.elapsed().as_millis() as u64 * RATE / 1_000;
            while self.lane.sent() < due {
                let count = usize::try_from(due - self.lane.sent()).unwrap_or(256).min(256);
                self.log.append(self.lane.points(count));
            }
            self.buffered = self.buffered.max(figure(metrics, "buffered_rows"));
        }
        from.elapsed()
    }
}

/// Stops the server and starts it again; returns the new one.
pub async fn lived_through(server: &Server, postgres: Postgres, db: &Db, scale: Scale) -> Anyhow<Postgres> {
    partitions::ensure_months(db, Clock::wall()).await?;
    db.execute("TRUNCATE location_logs").await?;
    let folder = tempfile::tempdir()?;
    let (metrics, mut options) = (Metrics::new(), Options::default());
    options.spool.dir = folder.path().to_owned();
    let (log, _) = start(db.clone(), Clock::system(), &metrics, options.clone()).await?;
    let lane = Lane::new(Traffic::new(RIDERS).tracks());
    let mut feed = Feed { log, lane, begun: Instant::now(), buffered: 0 };
    println!("\n{:<60} {:>14}", format!("{} s without PostgreSQL at {RATE} points/s", scale.outage_s), "");
    let line = |name: &str, value: String| println!("{name:<60} {value:>14}");

    feed.until(&metrics, Duration::from_secs(5), || false).await;
    line("most points in memory before the outage", feed.buffered.to_string());
    postgres.stop().await?;
    feed.buffered = 0;
    feed.until(&metrics, Duration::from_secs(scale.outage_s), || false).await;
    line("most points in memory during the outage", feed.buffered.to_string());
    let spooled = figure(&metrics, "spool_rows");
    line("rows in the spool", spooled.to_string());
    line("bytes in the spool", figure(&metrics, "spool_bytes").to_string());
    line("bytes per row", (figure(&metrics, "spool_bytes") / spooled.max(1)).to_string());
    line("batches in the spool", figure(&metrics, "spool_batches").to_string());
    let syncs = figure(&metrics, "fsync_seconds_count").max(1);
    let text = metrics.render()?;
    let sync: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("dispatch_location_log_fsync_seconds_sum ")?.parse().ok())
        .unwrap_or(0.0);
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    line("mean time of a sync, ms", format!("{:.1}", sync * 1e3 / syncs as f64));

    // What the next engine would have to read before it serves.
    let copy = tempfile::tempdir()?;
    for entry in std::fs::read_dir(folder.path())? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "points") {
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap_or_default()))?;
        }
    }
    let mut next = options.clone();
    next.spool.dir = copy.path().to_owned();
    let opening = Instant::now();
    let (second, found) = start(db.clone(), Clock::system(), &Metrics::new(), next).await?;
    line("seconds to open it at a start", format!("{:.2}", opening.elapsed().as_secs_f64()));
    line("devices found in it", found.len().to_string());
    if !second.stop(Duration::from_secs(10)).await {
        return Err("the second log did not end".into());
    }
    drop(copy);

    let postgres = server.start().await?;
    feed.buffered = 0;
    let (limit, before) = (Duration::from_secs(20 * scale.outage_s), figure(&metrics, "drained_total"));
    feed.until(&metrics, limit, || figure(&metrics, "drained_total") > before).await;
    let (live, drained) = (figure(&metrics, "stored_total"), figure(&metrics, "drained_total"));
    let took = feed.until(&metrics, limit, || figure(&metrics, "spool_batches") == 0).await;
    let drained = figure(&metrics, "drained_total") - drained;
    let live = figure(&metrics, "stored_total") - live - drained;
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let rate = |rows: u64| format!("{:.0}", rows as f64 / took.as_secs_f64());
    line("seconds until the spool was drained", format!("{:.1}", took.as_secs_f64()));
    line(&format!("drained rows/s (drain_share {})", options.spool.drain_share), rate(drained));
    line("live rows/s stored meanwhile", rate(live));
    line("most points in memory meanwhile", feed.buffered.to_string());
    line("spilled because PostgreSQL was slow", figure(&metrics, "spilled_total{reason=\"slow\"}").to_string());

    let sent = feed.lane.sent();
    if !feed.log.stop(Duration::from_secs(60)).await {
        return Err("the log did not end".into());
    }
    let (rows, points): (i64, i64) =
        sqlx::query_as("SELECT count(*), count(DISTINCT (rider_id, device_id, boot_id, seq)) FROM location_logs")
            .fetch_one(db)
            .await?;
    line("points sent", sent.to_string());
    line("rows stored", rows.to_string());
    line("different points stored", points.to_string());
    line("rows of batches that came again", figure(&metrics, "already_stored_total").to_string());
    let right = u64::try_from(rows).ok() == Some(sent) && rows == points;
    line("no row lost or doubled", if right { "met" } else { "MISSED" }.to_owned());
    if right { Ok(postgres) } else { Err("rows were lost or doubled".into()) }
}
