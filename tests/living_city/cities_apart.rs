//! What goes wrong in one city stays there: two cities on one thread, under load, and one of them panics.

use std::{
    collections::BTreeSet,
    panic,
    sync::{Arc, Mutex, Once},
    thread::{self, ThreadId},
    time::Duration,
};

use dispatch_engine::{
    clock::Clock,
    domain::ids::CityCode,
    store::epochs,
    wire::{
        operator::{OperatorDown, SUBPROTOCOL_OPERATOR_JSON},
        rider::Down,
    },
};
use reqwest::Method;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite;
use uuid::Uuid;

use crate::{
    fleet::{Courier, Kitchen},
    support::{
        SOON, TestApp, TestDatabase,
        client::{Answer, answer},
        device::{Device, Socket, watch},
        spawn_app_with, token,
        world::{KITCHEN, every_point, id_of, order},
    },
};

/// Times that a device stays away after a goodbye, milliseconds.
const AWAY: std::ops::RangeInclusive<u64> = 100..=300;
/// The same where its city is kept down.
const LATER: std::ops::RangeInclusive<u64> = 1_000..=3_000;

/// Two cities that share one thread, and restart soon.
async fn two_cities(cities: [&str; 2], max_panics: u32) -> Arc<TestApp> {
    let app = spawn_app_with(TestDatabase::create().await, Clock::system(), |config| {
        (config.router.threads, config.router.restart_min_ms) = (1, 50);
        (config.router.max_panics, config.router.panic_window_s) = (max_panics, 3_600);
        (config.city.tick_ms, config.city.publish_ms) = (100, 100);
        config.rider_session.reconnect_after_ms = *AWAY.start();
        config.rider_session.reconnect_later_ms = *LATER.start();
        config.database.connections = 8;
    });
    let app = app.await;
    for city in cities {
        app.city(city, every_point()).await;
    }
    Arc::new(app)
}

async fn eventually(what: &str, check: impl AsyncFn() -> bool) {
    let waiting = async {
        while !check().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(SOON, waiting).await.is_ok(), "it did not happen: {what}");
}

async fn inject(app: &TestApp, city: &str) -> Answer {
    app.post(&format!("/v1/cities/{city}/faults"), &json!({ "kind": "panic" })).await
}

async fn epoch(app: &TestApp, city: &str) -> i64 {
    epochs::holder(app.db(), &CityCode::parse(city).unwrap()).await.unwrap().unwrap().0
}

async fn state(app: &TestApp, city: &str) -> String {
    app.get("/health/ready").await.body["cities"][city].as_str().unwrap().to_owned()
}

/// Makes a city panic and waits for its next incarnation.
async fn fail_once(app: &TestApp, city: &str) {
    let before = epoch(app, city).await;
    inject(app, city).await.ok(202);
    eventually("a new incarnation", async || {
        epoch(app, city).await == before + 1 && state(app, city).await == "running"
    })
    .await;
}

async fn count(app: &TestApp, sql: &'static str, ids: &[Uuid]) -> usize {
    let count: i64 = sqlx::query_scalar(sql).bind(ids).fetch_one(app.db()).await.unwrap();
    usize::try_from(count).unwrap()
}

fn delivered(fleet: &[Courier]) -> BTreeSet<Uuid> {
    fleet.iter().flat_map(|courier| courier.told().delivered).collect()
}

/// Where the city was when it was told to panic, each time.
fn threads_that_panicked(city: &str) -> Vec<ThreadId> {
    let told = format!("the city {city} was told to panic");
    PANICS.lock().unwrap().iter().filter(|(message, _)| *message == told).map(|(_, thread)| *thread).collect()
}

static PANICS: Mutex<Vec<(String, ThreadId)>> = Mutex::new(Vec::new());

fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let message = info.payload_as_str().unwrap_or_default().to_owned();
            PANICS.lock().unwrap().push((message, thread::current().id()));
            before(info);
        }));
    });
}

/// Reads an operator's page for as long as it is open.
fn follow(mut page: Socket) -> Arc<Mutex<Vec<OperatorDown>>> {
    let frames = Arc::<Mutex<Vec<_>>>::default();
    let seen = frames.clone();
    tokio::spawn(async move {
        while let Some(frame) = page.next_frame().await {
            seen.lock().unwrap().push(frame);
        }
    });
    frames
}

fn byes(frames: &Mutex<Vec<OperatorDown>>) -> Vec<String> {
    let bye = |frame: &OperatorDown| match frame {
        OperatorDown::Bye { why, .. } => Some(why.clone()),
        _ => None,
    };
    frames.lock().unwrap().iter().filter_map(bye).collect()
}

#[tokio::test]
async fn a_panic_under_load_stays_in_its_city() {
    const PANICS: usize = 3;
    let (failing, sound) = ("apart-a", "apart-b");
    note_panics();
    let app = two_cities([failing, sound], 10).await;
    let merchant = app.merchant().await;
    let (mut here, mut there) = (vec![], vec![]);
    for _ in 0..4 {
        here.push(Courier::start(&app, failing).await);
        there.push(Courier::start(&app, sound).await);
    }
    let (kitchen, other_kitchen) = (Kitchen::open(&app, failing, merchant), Kitchen::open(&app, sound, merchant));
    let (page, other_page) = (follow(watch(&app, failing).await), follow(watch(&app, sound).await));
    let sound_epoch = epoch(&app, sound).await;

    for panics in 1..=PANICS + 1 {
        let (before, other_before) = (delivered(&here).len(), delivered(&there).len());
        eventually("both cities deliver", async || {
            delivered(&here).len() >= before + 4 && delivered(&there).len() >= other_before + 4
        })
        .await;
        if panics <= PANICS {
            fail_once(&app, failing).await;
            eventually("every device is back", async || here.iter().all(|c| c.told().welcomes == panics + 1)).await;
        }
    }

    // Every order that was confirmed is delivered, once, and its rider was told.
    let (receipts, other_receipts) = (kitchen.close().await, other_kitchen.close().await);
    for (fleet, placed) in [(&here, &receipts.placed), (&there, &other_receipts.placed)] {
        let placed = BTreeSet::from_iter(placed.iter().copied());
        eventually("all is delivered", async || delivered(fleet) == placed).await;
        let sql = "SELECT count(*) FROM orders WHERE id = ANY($1) AND status = 'delivered'";
        assert_eq!(count(&app, sql, &Vec::from_iter(placed.clone())).await, placed.len());
    }
    assert_eq!(count(&app, "SELECT count(*) FROM orders WHERE id <> ALL($1)", &[]).await, {
        receipts.placed.len() + other_receipts.placed.len()
    });

    // The failing city's clients were told what to do, and nothing else.
    for courier in &here {
        let told = courier.told();
        assert!(told.byes.iter().all(|(why, after)| why == "city_unavailable" && AWAY.contains(&after.unwrap())));
        // One that comes back sooner than its city is sent away once more.
        assert!(told.welcomes == PANICS + 1 && told.byes.len() >= PANICS && told.lost == 0, "{told:?}");
        assert!(told.contradictions.is_empty(), "{:?}", told.contradictions);
        assert!(told.errors.iter().all(|code| code == "city_unavailable"), "{:?}", told.errors);
        // Each point of the device is stored, whichever incarnation it was sent to.
        eventually("the points are stored", async || courier.told().stored_to >= told.points).await;
        let sql = "SELECT count(DISTINCT seq) FROM location_logs WHERE rider_id = ANY($1)";
        assert!(count(&app, sql, &[courier.rider]).await as u64 >= told.points);
    }
    assert!(here.iter().map(|courier| courier.told().repeated).sum::<usize>() > 0, "nothing was asked twice");
    let refusal = (503, "city_unavailable".to_owned(), Some("5".to_owned()));
    assert!(receipts.refused.iter().all(|refused| *refused == refusal), "{:?}", receipts.refused);
    assert_eq!(byes(&page), ["city_unavailable"]);

    // The sound city's clients noticed nothing.
    for told in there.iter().map(Courier::told) {
        assert_eq!((told.welcomes, told.byes.len(), told.lost, told.repeated), (1, 0, 0, 0), "{told:?}");
        assert!(told.errors.is_empty() && told.contradictions.is_empty(), "{told:?}");
    }
    assert!(other_receipts.refused.is_empty(), "{:?}", other_receipts.refused);
    assert!(byes(&other_page).is_empty());
    assert_eq!(epoch(&app, sound).await, sound_epoch);

    // One thread has carried both cities all along: numbers of threads are never used again.
    fail_once(&app, sound).await;
    let threads = [threads_that_panicked(failing), threads_that_panicked(sound)].concat();
    assert_eq!(threads.len(), PANICS + 1);
    assert_eq!(BTreeSet::from_iter(threads.iter().map(|id| format!("{id:?}"))).len(), 1, "{threads:?}");
    let restarts = format!(r#"dispatch_city_restarts_total{{city="{failing}",reason="panicked"}} {PANICS}"#);
    assert!(app.get("/metrics").await.body.as_str().unwrap().contains(&restarts));
    app.assert_consistent().await;
}

#[tokio::test]
async fn a_city_that_keeps_panicking_is_kept_down_until_somebody_has_looked() {
    let (failing, sound) = ("down-a", "down-b");
    let app = two_cities([failing, sound], 1).await;
    let merchant = app.merchant().await;
    let before = id_of(&app.place(merchant, &order(failing)).await);
    let (courier, other) = (Courier::start(&app, sound).await, Kitchen::open(&app, sound, merchant));
    fail_once(&app, failing).await;
    inject(&app, failing).await.ok(202);
    eventually("quarantine", async || state(&app, failing).await == "quarantined").await;

    // Whoever asks for the city hears that it is not served now.
    let refused = app.place(merchant, &order(failing)).await;
    refused.problem(503, "city_unavailable");
    assert_eq!(refused.headers["retry-after"], "5");
    app.get(&format!("/v1/cities/{failing}/snapshot")).await.problem(503, "city_unavailable");
    inject(&app, failing).await.problem(503, "city_unavailable");
    let mut device = Device::hello(&app, app.rider(failing).await).await;
    let bye = device.wait_for(|down| match down {
        Down::Bye { why, reconnect_after_ms } => Some((why.clone(), *reconnect_after_ms)),
        _ => None,
    });
    let (why, after) = bye.await;
    assert_eq!((why.as_str(), after.map(|after| LATER.contains(&after))), ("city_unavailable", Some(true)));
    let path = format!("/v1/operator/cities/{failing}/socket");
    match Socket::open(app.address, &path, &token("operator", "olga"), SUBPROTOCOL_OPERATOR_JSON).await {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status().as_u16(), 503),
        other => panic!("let in: {:?}", other.map(|_| ())),
    }

    // The process stays in service for the other city, and shows what is wrong.
    let health = app.get("/health/ready").await;
    assert_eq!(health.ok(200)["cities"], json!({ failing: "quarantined", sound: "running" }));
    let figure = async |name: &str, city: &str| {
        let line = format!("{name}{{city=\"{city}\"}} ");
        let text = app.get("/metrics").await.body.as_str().unwrap().to_owned();
        text.lines().find_map(|row| row.strip_prefix(&line).map(str::to_owned)).unwrap_or_default()
    };
    for (city, quarantined, up) in [(failing, "1", "0"), (sound, "0", "1")] {
        assert_eq!(figure("dispatch_city_quarantined", city).await, quarantined, "{city}");
        assert_eq!(figure("dispatch_city_up", city).await, up, "{city}");
    }
    let so_far = courier.told().delivered.len();
    eventually("the other city delivers", async || courier.told().delivered.len() >= so_far + 3).await;
    let receipts = other.close().await;
    assert!(receipts.refused.is_empty(), "{:?}", receipts.refused);

    // Somebody has looked: the city comes back with what it had.
    app.city(failing, json!({})).await.ok(200);
    assert_eq!(state(&app, failing).await, "running");
    assert_eq!(figure("dispatch_city_quarantined", failing).await, "0");
    let mut device = Device::on_duty(&app, failing, KITCHEN).await;
    assert_eq!(device.take_offer().await.job.orders[0].order, before);
    // Its earlier panics are forgiven.
    fail_once(&app, failing).await;
    app.assert_consistent().await;
}

#[tokio::test]
async fn only_an_administrator_makes_a_city_fail_and_only_in_known_ways() {
    let (one, other) = ("fault-a", "fault-b");
    let app = two_cities([one, other], 1).await;
    let path = format!("/v1/cities/{one}/faults");
    let panic = json!({ "kind": "panic" });
    for role in ["operator", "merchant", "rider"] {
        let token = token(role, &Uuid::new_v4().to_string());
        answer(app.request(Method::POST, &path, &token).json(&panic)).await.problem(403, "wrong_role");
    }
    let refused = app.post(&path, &json!({ "kind": "dance" })).await;
    assert_eq!(refused.problem(422, "invalid_field")["pointer"], "/kind");
    app.post(&path, &json!({})).await.problem(400, "missing_field");
    app.post(&path, &json!({ "kind": "panic", "when": "now" })).await.problem(400, "unknown_field");
    app.post("/v1/cities/nowhere/faults", &panic).await.problem(404, "unknown_city");
    assert_eq!((epoch(&app, one).await, epoch(&app, other).await), (1, 1), "nothing has failed");
}
