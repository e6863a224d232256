//! What a row of the location log costs Postgres (by index, order and batch size), how fast our path stores rows against the
//! INSERT of 100 rows that the seed of the project describes, and what an outage of two minutes comes to.
//! `cargo bench --bench location_log`; `-- --quick` for a look in a minute; `-- index`, `-- batches`, `-- path` or
//! `-- outage` for one part.

mod costs;
mod outage;
mod path;
mod rows;
mod surroundings;

use std::time::Duration;

use clap::{Parser, ValueEnum};
use dispatch_engine::{
    app,
    store::{
        Db,
        migrate::{self, PoolOptions},
    },
    supervisor::{DataDir, Postgres, PostgresOptions},
};

type Anyhow<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What rows of the location log cost, and how fast they are stored.
#[derive(Parser)]
struct Options {
    /// All of them, unless some are named.
    parts: Vec<Part>,
    /// Little of everything; the figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Index,
    Batches,
    Path,
    Outage,
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Scale {
    /// Rows of a large partition.
    large: u64,
    /// Batches of 10,000 rows per measurement.
    batches: u64,
    /// Seconds of one measurement of the path.
    path_s: u64,
    /// Seconds without Postgres.
    outage_s: u64,
}

const FULL: Scale = Scale { large: 5_000_000, batches: 20, path_s: 20, outage_s: 120 };
const QUICK: Scale = Scale { large: 100_000, batches: 3, path_s: 3, outage_s: 5 };

/// A private, durable PostgreSQL.
pub struct Server {
    folder: DataDir,
    options: PostgresOptions,
}

impl Server {
    async fn start(&self) -> Anyhow<Postgres> {
        Ok(Postgres::start(&self.folder, &self.options).await?)
    }

    async fn pool(&self, postgres: &Postgres) -> Anyhow<Db> {
        let options = PoolOptions {
            connections: 4,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(600),
        };
        let db = migrate::connect(&postgres.ensure_database("bench").await?, options).await?;
        migrate::migrate(&db).await?;
        Ok(db)
    }
}

async fn measure(chosen: Options) -> Anyhow<()> {
    let scale = if chosen.quick { QUICK } else { FULL };
    let wanted = |part: Part| chosen.parts.is_empty() || chosen.parts.contains(&part);
    let folder = tempfile::tempdir()?;
    let options = PostgresOptions {
        bin: std::env::var_os("PGBIN").map(Into::into),
        search_path: std::env::var("PATH").unwrap_or_default(),
        durable: true,
        max_connections: 30,
    };
    let server = Server { folder: DataDir::open(folder.path())?, options };
    let postgres = server.start().await?;
    let db = server.pool(&postgres).await?;
    surroundings::print(&db).await?;
    if wanted(Part::Index) {
        costs::by_index(&db, postgres.pid(), scale).await?;
    }
    if wanted(Part::Batches) {
        costs::by_batch(&db, postgres.pid(), scale).await?;
    }
    if wanted(Part::Path) {
        path::against_insert(&db, postgres.pid(), scale).await?;
    }
    let postgres =
        if wanted(Part::Outage) { outage::lived_through(&server, postgres, &db, scale).await? } else { postgres };
    println!("load       {} after", surroundings::load());
    db.close().await;
    Ok(postgres.stop().await?)
}

fn main() -> Anyhow<()> {
    app::run(measure(Options::parse()))?
}
