//! The location log while Postgres goes away and comes back.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use uuid::Uuid;

use dispatch_engine::{
    actors::location_log::{LogPoint, Options, PointBatch, Track, start},
    clock::Clock,
    domain::{
        ids::{BootId, CityCode, RiderId},
        position::Position,
        time::Timestamp,
    },
    metrics::Metrics,
    store::Db,
};

use crate::support::{SOON, TestDatabase, until};

/// Passes connections of `listener` on to the real database.
async fn forward(listener: UnixListener, target: PathBuf) {
    while let Ok((mut from, _)) = listener.accept().await {
        let target = target.clone();
        tokio::spawn(async move {
            let mut to = UnixStream::connect(target).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        });
    }
}

#[actix_web::test]
async fn points_wait_while_the_database_is_away() {
    let direct = TestDatabase::create().await.db;
    let real = PgConnectOptions::clone(&direct.connect_options());
    let name = format!(".s.PGSQL.{}", real.get_port());
    let target = real.get_socket().unwrap().join(&name);
    // The socket is there and nobody listens on it.
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixSocket::new_stream().unwrap();
    listener.bind(folder.path().join(&name)).unwrap();
    let away = real.socket(folder.path());
    let db: Db = PgPoolOptions::new().acquire_timeout(Duration::from_millis(50)).connect_lazy_with(away);

    let metrics = Metrics::new();
    let log = start(db, &metrics, Options { flush_rows: 2, flush_age_ms: 10, ..Options::default() });
    let rider = RiderId(Uuid::new_v4());
    let city = CityCode::parse("blr").unwrap();
    let track = Arc::new(Track::new(rider, city, BootId(Uuid::new_v4()), "d", 0, Timestamp::default()));
    let now = Clock::wall();
    for seq in 1..=5 {
        track.note_accepted(seq, Some(now));
        let point = LogPoint {
            track: track.clone(),
            seq,
            created_at: now,
            recorded_at: now,
            device_at: now,
            position: Position::new(12.9, 77.5).unwrap(),
            accuracy_m: None,
            speed_mps: None,
            heading_deg: None,
            flags: 0,
            store: true,
            dot: None,
        };
        log.append(PointBatch([point].into()));
    }
    let figures = || metrics.render().unwrap();
    let failed = || !figures().contains("dispatch_location_log_failures_total 0");
    until("a failed write", || failed().then_some(())).await;
    assert_eq!(track.stored_to(), 0);
    assert!(!log.flush(Duration::from_millis(20)).await, "nothing can be flushed now");

    tokio::spawn(forward(listener.listen(16).unwrap(), target));
    assert!(log.flush(SOON).await);
    assert_eq!(track.stored_to(), 5);
    let rows = sqlx::query_scalar("SELECT count(*) FROM location_logs WHERE rider_id = $1").bind(rider.0);
    let rows: i64 = rows.fetch_one(&direct).await.unwrap();
    assert_eq!(rows, 5);
    assert!(figures().contains("dispatch_location_log_stored_total 5"));
}
