//! The location log while Postgres goes away and comes back.

use std::{sync::Arc, time::Duration};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use dispatch_engine::{
    actors::location_log::{LogPoint, Options, Track, start},
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
async fn forward(listener: TcpListener, target: String) {
    while let Ok((mut from, _)) = listener.accept().await {
        let target = target.clone();
        tokio::spawn(async move {
            let mut to = TcpStream::connect(target).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        });
    }
}

#[actix_web::test]
async fn points_wait_while_the_database_is_away() {
    let direct = TestDatabase::create().await.db;
    let real = PgConnectOptions::clone(&direct.connect_options());
    let target = format!("{}:{}", real.get_host(), real.get_port());
    // The port is taken and nobody listens on it.
    let listener = tokio::net::TcpSocket::new_v4().unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let away = real.host("127.0.0.1").port(listener.local_addr().unwrap().port());
    let db: Db = PgPoolOptions::new().acquire_timeout(Duration::from_millis(50)).connect_lazy_with(away);

    let metrics = Metrics::new();
    let log = start(db, &metrics, Options { flush_rows: 2, flush_age_ms: 10, ..Options::default() });
    let rider = RiderId(Uuid::new_v4());
    let city = CityCode::parse("blr").unwrap();
    let track = Arc::new(Track::new(rider, city, BootId(Uuid::new_v4()), "d", 0, Timestamp::default()));
    let now = Clock::wall();
    for seq in 1..=5 {
        track.note_accepted(seq, Some(now));
        log.append(vec![LogPoint {
            track: track.clone(),
            seq,
            created_at: now,
            recorded_at: now,
            position: Position::new(12.9, 77.5).unwrap(),
            accuracy_m: None,
            speed_mps: None,
            heading_deg: None,
            flags: 0,
        }]);
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
