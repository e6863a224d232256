//! The janitor on a real PostgreSQL.

use dispatch_engine::{actors::janitor::Janitor, clock::Clock};
use tokio::time::timeout;

use crate::support::{SOON, TestDatabase};

#[actix_web::test]
async fn it_makes_partitions_ahead_and_deletes_what_expired() {
    let db = TestDatabase::create().await.db;
    let months = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'orders'::regclass";
    let yesterday = Clock::wall().to_datetime() - chrono::TimeDelta::days(1);
    for statement in [
        "INSERT INTO order_contacts (order_id, key_id, sealed, expires_at) VALUES (gen_random_uuid(), '1', '', $1)",
        "INSERT INTO idempotency_keys (caller, key, digest, order_id, answer, created_at, expires_at)
         VALUES ('merchant:1', 'k', '', gen_random_uuid(), '{}', $1, $1)",
        "INSERT INTO location_batches (id, stored_at, rows) VALUES (gen_random_uuid(), $1, 1)",
        "INSERT INTO refused_points (rider_id, city, received_at, device_ms, lat, lon, reason, boot_id, device_id, expires_at)
         VALUES (gen_random_uuid(), 'blr', $1, 0, 'NaN', 200, 'out_of_world', gen_random_uuid(), 'd', $1)",
    ] {
        sqlx::query(statement).bind(yesterday).execute(&db).await.unwrap();
    }
    // An hour in about 0.4 ms. A first round makes four months; a fifth comes when the clock has reached the next.
    Janitor::start(db.clone(), Clock::scaled(1e7), 7);
    let five = async { while sqlx::query_scalar::<_, i64>(months).fetch_one(&db).await.unwrap() < 5 {} };
    timeout(SOON, five).await.unwrap();
    let left = "SELECT (SELECT count(*) FROM order_contacts) + (SELECT count(*) FROM idempotency_keys)
                + (SELECT count(*) FROM location_batches) + (SELECT count(*) FROM refused_points)";
    let none = async { while sqlx::query_scalar::<_, i64>(left).fetch_one(&db).await.unwrap() > 0 {} };
    timeout(SOON, none).await.unwrap();
}
