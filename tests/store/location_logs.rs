//! Points go in by binary COPY and read back the same.

use chrono::{DateTime, Utc};
use dispatch_engine::{
    domain::{
        ids::{BootId, RiderId},
        position::Position,
        time::Timestamp,
    },
    store::location_logs::{CopyBatch, LocationRow, append, flags},
};
use sqlx::Row;
use uuid::Uuid;

use crate::support::TestDatabase;

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
    assert_eq!(append(&db, &batch).await.unwrap(), 2);

    let stored = sqlx::query(
        "SELECT tableoid::regclass::text AS child, created_at, recorded_at, city, lat, lon, accuracy_m, speed_mps,
                heading_deg, seq, boot_id, device_id, flags
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
    assert_eq!((first.get("city"), first.get("device_id")), ("test-copy", "ünïcode-device"));
    assert_eq!((first.get("lat"), first.get("lon")), (-12.345_678_9, 77.000_001));
    assert_eq!(
        (first.get("accuracy_m"), first.get("speed_mps"), first.get("heading_deg")),
        (Some(4.5_f32), None::<f32>, Some(359.5_f32))
    );
    assert_eq!((first.get("seq"), second.get("seq")), (1_i64, i64::MAX));
    assert_eq!((first.get("boot_id"), first.get("flags")), (Uuid::from_u128(7), 3_i16));
}
