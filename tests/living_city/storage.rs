//! PostgreSQL falls silent, or is away, under live sockets: devices stay connected and are told the truth when there is
//! one, new orders are put off, and everything goes on by itself.

use std::time::Duration;

use dispatch_engine::{
    clock::Clock,
    config::Config,
    store::migrate::{self, PoolOptions},
    supervisor::{DataDir, Postgres, PostgresOptions},
    wire::rider::{Down, Progress, Up},
};
use serde_json::json;
use sqlx::Executor;
use uuid::Uuid;

use crate::support::{
    TestApp, TestDatabase,
    device::Device,
    spawn_app_with,
    world::{DOOR, KITCHEN, id_of, order},
};

/// Deadlines that an outage of a second or two outlasts.
fn impatient(config: &mut Config) {
    (config.http.ask_ms, config.rider_session.answer_within_ms) = (1_000, 1_000);
    (config.order_journal.silent_ms, config.rider_session.storage_notice_ms) = (200, 300);
    config.order_journal.retry_max_ms = 200;
    config.database.acquire_timeout_ms = 2_000;
}

/// A city, a merchant, and a rider who has just taken the merchant's order.
async fn at_work(database: TestDatabase) -> (TestApp, Uuid, Device, Uuid) {
    let app = spawn_app_with(database, Clock::system(), impatient).await;
    app.city("blr", json!({})).await;
    let merchant = app.merchant().await;
    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    let order = id_of(&app.place(merchant, &order("blr")).await);
    device.take_offer().await;
    (app, merchant, device, order)
}

/// Reports a step without waiting for the answer.
async fn report(app: &TestApp, device: &mut Device, order: Uuid, step: &str) -> String {
    let id = device.request();
    let at = app.clock.now().as_millis();
    let report =
        Progress { id: id.clone(), order, step: step.into(), at, position: Some(KITCHEN), reason: None, proof: None };
    device.send(&Up::Progress(report)).await;
    id
}

/// The next frame about a request: a code, or the status of its order.
async fn heard(device: &mut Device, id: &str) -> String {
    let frame = device.wait_for(|down| match down {
        Down::Error { re: Some(re), code, .. } if re == id => Some(code.clone()),
        Down::OrderChanged { re: Some(re), status, .. } if re == id => Some(status.clone()),
        _ => None,
    });
    frame.await
}

/// The deliveries that follow, and what is stored in the end.
async fn all_is_well(app: &TestApp, merchant: Uuid, mut device: Device, id: Uuid) {
    for (step, at) in [("picked_up", KITCHEN), ("at_dropoff", DOOR), ("delivered", DOOR)] {
        assert_eq!(device.progress(app, id, step, at).await, step);
    }
    device.ping(app, KITCHEN).await;
    let next = id_of(&app.place(merchant, &order("blr")).await);
    assert_eq!(device.take_offer().await.job.orders[0].order, next);
    app.assert_consistent().await;
}

#[tokio::test]
async fn who_waits_for_a_silent_database_is_told_so_once_and_the_truth_later() {
    let (app, merchant, mut device, id) = at_work(TestDatabase::create().await).await;
    let mut silent = app.db().begin().await.unwrap();
    silent.execute("LOCK TABLE city_epochs IN ACCESS EXCLUSIVE MODE").await.unwrap();

    let waiting = report(&app, &mut device, id, "at_pickup").await;
    assert_eq!(heard(&mut device, &waiting).await, "storage_unavailable");
    // Reading goes on; a new order is put off, and may be stored all the same.
    let (body, key) = (order("blr"), "one-key");
    let put_off = app.place_under(merchant, &body, key).await;
    let problem = put_off.problem(503, "storage_unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("Idempotency-Key"), "{problem}");
    assert_eq!(put_off.headers["retry-after"], "5");
    let cancel = app.post(&format!("/v1/orders/{id}/cancel"), &json!({ "reason": "too late" })).await;
    cancel.problem(503, "storage_unavailable");
    // Longer than the deadline of the request.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    silent.rollback().await.unwrap();

    assert_eq!(heard(&mut device, &waiting).await, "at_pickup", "one notice, then the answer");
    // The cancellation of before takes effect too, before or after: nothing was picked up.
    let ended = |down: &Down| matches!(down, Down::OrderChanged { order, job: None, .. } if *order == id).then_some(());
    device.wait_for(ended).await;
    let again = app.place_under(merchant, &body, key).await;
    assert_eq!(again.ok(201)["status"], "queued");
    assert!(again.headers.contains_key("Idempotent-Replayed"), "{again:?}");
    let figures = app.get("/metrics").await.body.as_str().unwrap().to_owned();
    for counted in [
        r#"dispatch_rider_errors_total{code="storage_unavailable"} 1"#,
        r#"dispatch_http_problems_total{code="storage_unavailable"} 2"#,
        "dispatch_journal_unavailable 0",
    ] {
        assert!(figures.contains(counted), "{counted}");
    }
    device.ping(&app, KITCHEN).await;
    assert_eq!(device.take_offer().await.job.orders[0].order, id_of(&again));
    app.assert_consistent().await;
}

#[tokio::test]
async fn a_restart_of_the_database_ends_no_connection_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = DataDir::open(folder.path()).unwrap();
    let options = PostgresOptions {
        bin: std::env::var_os("PGBIN").map(Into::into),
        search_path: std::env::var("PATH").unwrap_or_default(),
        durable: false,
        max_connections: 40,
    };
    let postgres = Postgres::start(&folder, &options).await.unwrap();
    let url = postgres.ensure_database("dispatch").await.unwrap();
    let patience = Duration::from_secs(20);
    let pool = PoolOptions { connections: 2, acquire_timeout: patience, statement_timeout: patience };
    let db = migrate::connect(&url, pool).await.unwrap();
    let (app, merchant, mut device, id) = at_work(TestDatabase { url, db }).await;
    let mut idle = Device::on_duty(&app, "blr", DOOR).await;

    postgres.stop().await.unwrap();
    let waiting = report(&app, &mut device, id, "at_pickup").await;
    assert_eq!(heard(&mut device, &waiting).await, "storage_unavailable");
    let (body, key) = (order("blr"), "one-key");
    let put_off = app.place_under(merchant, &body, key).await;
    put_off.problem(503, "storage_unavailable");
    assert_eq!(put_off.headers["retry-after"], "5");
    app.get("/health/ready").await.ok(503);

    let postgres = Postgres::start(&folder, &options).await.unwrap();
    assert_eq!(heard(&mut device, &waiting).await, "at_pickup");
    let placed = id_of(&app.place_under(merchant, &body, key).await);
    // The device that asked for nothing heard nothing, and is still there.
    idle.ping(&app, KITCHEN).await;
    assert_eq!(idle.take_offer().await.job.orders[0].order, placed);
    all_is_well(&app, merchant, device, id).await;
    app.stop().await;
    postgres.stop().await.unwrap();
}
