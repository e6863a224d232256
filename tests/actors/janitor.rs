//! The janitor on a real PostgreSQL.

use dispatch_engine::{actors::janitor::Janitor, clock::Clock};
use tokio::time::timeout;

use crate::support::{SOON, TestDatabase};

#[actix_web::test]
async fn it_makes_partitions_ahead_every_day() {
    let db = TestDatabase::create().await.db;
    let months = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'orders'::regclass";
    // A day in about 9 ms. A first round makes four months; a fifth comes when the clock has reached the next.
    Janitor::start(db.clone(), Clock::scaled(1e7));
    let five = async { while sqlx::query_scalar::<_, i64>(months).fetch_one(&db).await.unwrap() < 5 {} };
    timeout(SOON, five).await.unwrap();
}
