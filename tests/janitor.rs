//! The janitor on a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use dispatch_engine::{actors::janitor::Janitor, clock::Clock};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// The longest the test waits for something that should happen at once.
const SOON: Duration = Duration::from_secs(20);

#[sqlx::test(migrations = "./migrations")]
async fn it_makes_partitions_ahead_every_day(_: PgPoolOptions, options: PgConnectOptions) {
    let run = || {
        actix::System::new().block_on(async {
            let db = PgPoolOptions::new().max_connections(2).connect_with(options).await.unwrap();
            let months = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'orders'::regclass";
            // A day in about 9 ms. A first round makes four months; a fifth comes when the clock has reached the next.
            Janitor::start(db.clone(), Clock::scaled(1e7));
            let five = async { while sqlx::query_scalar::<_, i64>(months).fetch_one(&db).await.unwrap() < 5 {} };
            tokio::time::timeout(SOON, five).await.unwrap();
            db.close().await;
        });
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}
