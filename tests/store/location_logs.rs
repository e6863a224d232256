//! Points go in by binary COPY and read back the same.

use chrono::{DateTime, Utc};
use dispatch_engine::{
    domain::{
        ids::{BootId, RiderId},
        position::Position,
        time::Timestamp,
    },
    store::{
        location_batches::{self, Appended, append},
        location_logs::{CopyBatch, LocationRow, flags},
    },
};
use sqlx::Row;
use uuid::Uuid;

use crate::support::{SOON, TestDatabase};

fn row(seq: i64, at: Timestamp, rider: RiderId) -> LocationRow<'static> {
    LocationRow {
        rider,
        created_at: at,
        recorded_at: Timestamp::from_millis(at.as_millis() - 1_234),
        city: "test-copy",
        position: Position::new(-12.345_678_9, 77.000_001).unwrap(),
        accuracy_m: Some(4.5),
        speed_mps: None,
        heading_deg: Some(359.5),
        seq,
        boot: BootId(Uuid::from_u128(7)),
        device: "ünïcode-device",
        flags: flags::LATE | flags::MOCK,
        device_at: Timestamp::from_millis(at.as_millis() - 5_000),
    }
}

#[tokio::test]
async fn rows_read_back_as_they_went_in_and_partitions_appear() {
    let db = TestDatabase::create().await.db;
    let rider = RiderId(Uuid::new_v4());
    let at = Timestamp::from_millis(1_559_347_199_999); // 2019-05-31T23:59:59.999Z
    let next = Timestamp::from_millis(1_559_347_200_000);
    let mut batch = CopyBatch::with_capacity(2);
    batch.push(&row(1, at, rider));
    batch.push(&row(i64::MAX, next, rider));
    assert_eq!(append(&db, Uuid::from_u128(1), &batch, at, SOON).await.unwrap(), Appended::Stored);

    let stored = sqlx::query(
        "SELECT tableoid::regclass::text AS child, created_at, recorded_at, city, lat, lon, accuracy_m, speed_mps,
                heading_deg, seq, boot_id, device_id, flags, device_at
           FROM location_logs WHERE rider_id = $1 ORDER BY created_at",
    )
    .bind(rider.0)
    .fetch_all(&db)
    .await
    .unwrap();
    let [first, second] = stored.as_slice() else { panic!("{} rows", stored.len()) };
    // No migration makes these months.
    assert_eq!(first.get::<&str, _>("child"), "location_logs_y2019m05");
    assert_eq!(second.get::<&str, _>("child"), "location_logs_y2019m06");
    assert_eq!(Timestamp::from(first.get::<DateTime<Utc>, _>("created_at")), at);
    assert_eq!(Timestamp::from(first.get::<DateTime<Utc>, _>("recorded_at")).millis_since(at), -1_234);
    assert_eq!(Timestamp::from(first.get::<DateTime<Utc>, _>("device_at")).millis_since(at), -5_000);
    assert_eq!((first.get("city"), first.get("device_id")), ("test-copy", "ünïcode-device"));
    assert_eq!((first.get("lat"), first.get("lon")), (-12.345_678_9, 77.000_001));
    assert_eq!(
        (first.get("accuracy_m"), first.get("speed_mps"), first.get("heading_deg")),
        (Some(4.5_f32), None::<f32>, Some(359.5_f32))
    );
    assert_eq!((first.get("seq"), second.get("seq")), (1_i64, i64::MAX));
    assert_eq!((first.get("boot_id"), first.get("flags")), (Uuid::from_u128(7), 3_i16));
}

fn batch(rider: RiderId, seqs: std::ops::RangeInclusive<i64>) -> CopyBatch {
    let mut batch = CopyBatch::with_capacity(8);
    for seq in seqs {
        batch.push(&row(seq, Timestamp::from_millis(1_559_347_200_000), rider));
    }
    batch
}

async fn stored(db: &sqlx::PgPool, rider: RiderId) -> i64 {
    let rows = sqlx::query_scalar("SELECT count(*) FROM location_logs WHERE rider_id = $1").bind(rider.0);
    rows.fetch_one(db).await.unwrap()
}

#[tokio::test]
async fn a_batch_that_comes_again_is_recognised_and_forgotten_in_time() {
    let db = TestDatabase::create().await.db;
    let (rider, id, at) = (RiderId(Uuid::new_v4()), Uuid::new_v4(), Timestamp::from_millis(1_559_347_200_000));
    let rows = batch(rider, 1..=3);
    let outcome = async || append(&db, id, &rows, at, SOON).await.unwrap();
    assert_eq!((outcome().await, outcome().await), (Appended::Stored, Appended::Before));
    assert_eq!(stored(&db, rider).await, 3);
    let noted: (i64, DateTime<Utc>) = sqlx::query_as("SELECT rows, stored_at FROM location_batches WHERE id = $1")
        .bind(id)
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(noted, (3, at.to_datetime()));
    assert_eq!(location_batches::delete_before(&db, at).await.unwrap(), 0);
    let later = at + std::time::Duration::from_millis(1);
    assert_eq!(location_batches::delete_before(&db, later).await.unwrap(), 1);
}

#[tokio::test]
async fn an_earlier_attempt_that_is_still_open_is_waited_for() {
    let database = TestDatabase::create().await;
    for commits in [true, false] {
        let (rider, id) = (RiderId(Uuid::new_v4()), Uuid::new_v4());
        // A pool of its own: the waiting attempt and the one before it each hold a connection.
        let mut earlier = database.db.begin().await.unwrap();
        sqlx::query("INSERT INTO location_batches (id, stored_at, rows) VALUES ($1, '2019-06-01', 3)")
            .bind(id)
            .execute(&mut *earlier)
            .await
            .unwrap();
        let db = database.db.clone();
        let at = Timestamp::from_millis(1_559_347_200_000);
        let again = tokio::spawn(async move { append(&db, id, &batch(rider, 1..=3), at, SOON).await });
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut *earlier).await.unwrap() == 0 {
            // The view is of one moment per transaction.
            sqlx::query("SELECT pg_stat_clear_snapshot()").execute(&mut *earlier).await.unwrap();
            assert!(!again.is_finished(), "it did not wait");
        }
        let wanted = if commits { Appended::Before } else { Appended::Stored };
        if commits {
            earlier.commit().await.unwrap()
        } else {
            earlier.rollback().await.unwrap()
        }
        assert_eq!(again.await.unwrap().unwrap(), wanted);
        assert_eq!(stored(&database.db, rider).await, if commits { 0 } else { 3 });
    }
}

#[tokio::test]
async fn a_refused_batch_leaves_no_trace_and_its_id_may_come_again() {
    let db = TestDatabase::create().await.db;
    let (rider, id, at) = (RiderId(Uuid::new_v4()), Uuid::new_v4(), Timestamp::from_millis(1_559_347_200_000));
    let mut rows = batch(rider, 1..=1);
    rows.push(&LocationRow { device: "a\0b", ..row(2, at, rider) });
    let error = append(&db, id, &rows, at, SOON).await.unwrap_err();
    assert!(!error.is_transient(), "{error}");
    assert_eq!(append(&db, id, &batch(rider, 1..=1), at, SOON).await.unwrap(), Appended::Stored);
    assert_eq!(stored(&db, rider).await, 1);
}

#[tokio::test]
async fn attempts_that_are_given_up_do_not_use_up_the_pool() {
    let database = TestDatabase::create().await;
    let (rider, id, at) = (RiderId(Uuid::new_v4()), Uuid::new_v4(), Timestamp::from_millis(1_559_347_200_000));
    let mut earlier = database.db.begin().await.unwrap();
    sqlx::query("INSERT INTO location_batches (id, stored_at, rows) VALUES ($1, '2019-06-01', 3)")
        .bind(id)
        .execute(&mut *earlier)
        .await
        .unwrap();
    // The pool has two connections: each of these would hold the other one until the first transaction ends.
    for _ in 0..3 {
        let limit = std::time::Duration::from_millis(300);
        let error = append(&database.db, id, &batch(rider, 1..=1), at, limit).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
    }
    assert_eq!(append(&database.db, Uuid::new_v4(), &batch(rider, 1..=1), at, SOON).await.unwrap(), Appended::Stored);
    earlier.rollback().await.unwrap();
}
