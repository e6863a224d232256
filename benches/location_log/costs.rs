//! What a row costs Postgres: CPU of all its processes, bytes of its write-ahead log, and time.

use std::time::{Duration, Instant};

use dispatch_engine::{
    clock::Clock,
    store::{Db, location_batches::append, location_logs::CopyBatch},
};
use sqlx::{AssertSqlSafe, Executor};

use crate::{
    Anyhow, Scale,
    rows::{Order, Traffic},
    surroundings::cpu,
};

const RIDERS: usize = 10_000;
const BATCH: usize = 10_000;
const LIMIT: Duration = Duration::from_secs(600);
const BTREE: &str = "CREATE INDEX bench_btree ON location_logs (rider_id, created_at)";
const BRIN: &str = "CREATE INDEX bench_brin ON location_logs USING brin (created_at)";

/// What rows cost.
pub struct Cost {
    rows: f64,
    seconds: f64,
    cpu: Duration,
    wal: f64,
}

impl Cost {
    /// Stores batches and measures. The first batches are not counted: after a checkpoint each page goes to the log whole
    /// when it is touched first, which would be counted to whoever comes first.
    pub async fn of(db: &Db, pid: i32, warm: &[CopyBatch], batches: &[CopyBatch]) -> Anyhow<Self> {
        db.execute("CHECKPOINT").await?;
        for batch in warm {
            store(db, batch).await?;
        }
        let (wal, begun, used) = (wal(db).await?, Instant::now(), cpu(pid));
        let mut rows = 0;
        for batch in batches {
            store(db, batch).await?;
            rows += batch.rows();
        }
        let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu(pid).saturating_sub(used));
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        Ok(Self { rows: rows as f64, seconds, cpu, wal: wal_since(db, wal).await? as f64 })
    }

    /// A line of the table.
    pub fn print(&self, name: &str) {
        println!(
            "{name:<44} {:>10.0} {:>12.2} {:>12.0}",
            self.rows / self.seconds,
            self.cpu.as_secs_f64() * 1e6 / self.rows,
            self.wal / self.rows
        );
    }
}

fn head(what: &str) {
    println!("\n{what:<44} {:>10} {:>12} {:>12}", "rows/s", "PG CPU us", "WAL bytes");
}

async fn store(db: &Db, batch: &CopyBatch) -> Anyhow<()> {
    let clock = Clock::system();
    append(db, clock.new_id(), batch, clock.now(), LIMIT).await?;
    Ok(())
}

async fn wal(db: &Db) -> Anyhow<String> {
    Ok(sqlx::query_scalar("SELECT pg_current_wal_insert_lsn()::text").fetch_one(db).await?)
}

async fn wal_since(db: &Db, before: String) -> Anyhow<i64> {
    let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::pg_lsn)::bigint";
    Ok(sqlx::query_scalar(sql).bind(before).fetch_one(db).await?)
}

/// By index, in an empty and in a large partition, in both orders.
pub async fn by_index(db: &Db, pid: i32, scale: Scale) -> Anyhow<()> {
    let named: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_index JOIN pg_class c ON c.oid = indexrelid
         WHERE indrelid = 'location_logs'::regclass",
    )
    .fetch_all(db)
    .await?;
    let definitions: Vec<String> =
        sqlx::query_scalar("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexname = ANY($1)")
            .bind(&named)
            .fetch_all(db)
            .await?;
    for index in &named {
        db.execute(AssertSqlSafe(format!("DROP INDEX {index}"))).await?;
    }
    let mut traffic = Traffic::new(RIDERS);
    for large in [false, true] {
        db.execute("TRUNCATE location_logs").await?;
        if large {
            for _ in 0..scale.large / BATCH as u64 {
                store(db, &traffic.batch(BATCH, Order::Arrival)).await?;
            }
        }
        head(&format!("by index, {} rows there", if large { scale.large } else { 0 }));
        for (name, indexes) in [("no index", &[][..]), ("btree", &[BTREE]), ("btree and BRIN", &[BTREE, BRIN])] {
            for index in indexes {
                db.execute(*index).await?;
            }
            for (order, text) in [(Order::Arrival, "as they come"), (Order::Rider, "sorted by rider")] {
                if !large {
                    db.execute("TRUNCATE location_logs").await?;
                }
                let mut some = |count| (0..count).map(|_| traffic.batch(BATCH, order)).collect::<Vec<_>>();
                let (warm, batches) = (some(2), some(scale.batches));
                Cost::of(db, pid, &warm, &batches).await?.print(&format!("{name}, {text}"));
            }
            db.execute("DROP INDEX IF EXISTS bench_btree, bench_brin").await?;
        }
    }
    db.execute("TRUNCATE location_logs").await?;
    for definition in definitions {
        db.execute(AssertSqlSafe(definition.replace(" ON ONLY ", " ON "))).await?;
    }
    Ok(())
}

/// By rows in a batch, with the indexes of the schema.
pub async fn by_batch(db: &Db, pid: i32, scale: Scale) -> Anyhow<()> {
    let mut traffic = Traffic::new(RIDERS);
    head("by batch, indexes of the schema, sorted");
    for rows in [100, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000] {
        let total = (scale.batches * BATCH as u64).min(rows as u64 * 500);
        let mut some = |count| (0..count).map(|_| traffic.batch(rows, Order::Rider)).collect::<Vec<_>>();
        let (warm, batches) = (some(2), some((total / rows as u64).max(2)));
        Cost::of(db, pid, &warm, &batches).await?.print(&format!("{rows} rows"));
    }
    db.execute("TRUNCATE location_logs").await?;
    Ok(())
}
