//! How soon the engine serves again after a `kill -9` in the middle of a busy evening, and whether a pause of a minute
//! harms anybody: the real program on a durable PostgreSQL. `cargo bench --bench recovery`; `-- serving` or `-- pause`
//! measures one of the two alone, `--quick` starts it once and leaves the pause out.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has nothing better to do")]

mod devices;
mod fill;

#[path = "../common/mod.rs"]
mod common;

#[allow(dead_code, reason = "the kill tests use the other part")]
#[path = "../../tests/survival/database.rs"]
mod database;
#[allow(dead_code, reason = "the kill tests use the other part")]
#[path = "../../tests/survival/engine.rs"]
mod engine;
#[allow(dead_code, reason = "the kill tests use the other part")]
#[path = "../../tests/survival/rest.rs"]
mod rest;
#[allow(dead_code, reason = "the kill tests use the other part")]
#[path = "../../tests/survival/socket.rs"]
mod socket;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::{path::Path, time::Duration};

use dispatch_engine::wire::{
    LatLon,
    rest::{NewCity, NewMerchant},
};
use nix::sys::signal::Signal;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use uuid::Uuid;

use common::{Surroundings, postgres_version, verdict};
use database::Database;
use devices::{Shared, note};
use engine::{Engine, Start};
use fill::{Mix, fill, finish, make_recent};
use rest::Rest;
use support::token;

const CITIES: [&str; 2] = ["blr", "hyd"];

/// Half of 5,000 open orders and of 20,000 riders.
const EVENING: Mix = Mix { riders: 10_000, queued: 1_000, offered: 300, in_hand: 300, delivered: 2_500 };
/// For the pause: riders who wait, and orders that wait for their answers.
const LULL: Mix = Mix { riders: 500, queued: 300, offered: 0, in_hand: 0, delivered: 0 };

/// Devices that come back while the engine starts.
const COMING_BACK: usize = 50;
const RUNS: usize = 5;
const AIM: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_secs(60);
/// Half of the pause: whoever counted it as the riders' silence would send all of them home.
const AUTO_OFF_S: u64 = 30;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let quick = asked.iter().any(|word| word == "--quick");
    let parts: Vec<&str> = asked.iter().map(String::as_str).filter(|word| !word.starts_with("--")).collect();
    let wanted = |part: &str| if parts.is_empty() { !quick || part == "serving" } else { parts.contains(&part) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let database = Database::start().await;
        let db = database.pool().await;
        let postgres = postgres_version(&db).await.unwrap();
        db.close().await;
        let command = format!("cargo bench --bench recovery -- {}", asked.join(" "));
        let surroundings = Surroundings::begin(&command, &[("PostgreSQL", postgres)]);
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("recovery-{}.log", std::process::id()));
        let merchant = found(&database, &log).await;
        if wanted("serving") {
            serving(&database, merchant, &log, if quick { 1 } else { RUNS }).await;
        }
        if wanted("pause") {
            pause(&database, merchant, &log).await;
        }
        database.stop().await;
        surroundings.end();
        std::fs::remove_file(log).unwrap();
    });
}

/// Cities and a merchant, made over REST, in the database that the others are copied from.
async fn found(database: &Database, log: &Path) -> Uuid {
    let start = Start::new(database.url(&database.name), &[], log);
    let mut engine = Engine::spawn(&start);
    engine.serving().await;
    let (rest, admin) = (Rest::new(start.address), token("admin", "bench"));
    let corners = [(12.90, 77.52), (12.90, 77.68), (13.05, 77.68), (13.05, 77.52)];
    for code in CITIES {
        let city = NewCity {
            code: code.into(),
            name: code.into(),
            status: None,
            boundary: corners.map(|(lat, lon)| LatLon { lat, lon }).to_vec(),
            time_zone: "Asia/Kolkata".into(),
            day_cutover_min: 240,
            currency: "INR".into(),
            policy: json!({ "auto_off_after_s": AUTO_OFF_S }),
            pay_base_minor: None,
            pay_per_km_minor: None,
        };
        rest.make("/v1/cities", &admin, &city).await;
    }
    let made = rest.make("/v1/merchants", &admin, &NewMerchant { name: "Dosa Corner".into() }).await;
    assert!(engine.terminate(Duration::from_secs(30)).await.unwrap().success());
    made["id"].as_str().unwrap().parse().unwrap()
}

/// From the start of the process to its readiness, to the first `welcome` and to the first offer.
async fn serving(database: &Database, merchant: Uuid, log: &Path, runs: usize) {
    let evening = copy(database, &database.name, "evening").await;
    let db = database.pool_of(&evening).await;
    let mut free = Vec::new();
    for city in CITIES {
        free.extend(fill(&db, city, merchant, EVENING).await.into_iter().take(COMING_BACK / CITIES.len()));
    }
    finish(&db).await;
    db.close().await;
    let cities = CITIES.len();
    println!(
        "\nstored: {} open orders, {} riders on duty, {} orders delivered lately; {cities} cities; {COMING_BACK} devices",
        EVENING.open() * cities,
        EVENING.riders * cities,
        EVENING.delivered * cities
    );
    println!("from the start of the process, ms    ready   first welcome   first offer");
    let mut all = Vec::new();
    for run in 1..=runs {
        let name = copy(database, &evening, &format!("evening_{run}")).await;
        let db = database.pool_of(&name).await;
        make_recent(&db).await;
        db.close().await;
        let start = Start::new(database.url(&name), &[], log);
        let notes = Shared::default();
        let (_takes, taking) = watch::channel(false);
        let mut devices = JoinSet::new();
        for (number, rider) in free.iter().enumerate() {
            devices.spawn(devices::live(start.address, *rider, number, taking.clone(), notes.clone()));
        }
        let began = Instant::now();
        let mut engine = Engine::spawn(&start);
        engine.serving().await;
        let ready = began.elapsed();
        let first = until(|| note(&notes, |notes| Some((notes.welcomed? - began, notes.offered? - began)))).await;
        engine.kill().await;
        devices.shutdown().await;
        let (welcome, offer) = first.expect("an offer");
        println!("run {run} {:>35} {:>15} {:>13}", ready.as_millis(), welcome.as_millis(), offer.as_millis());
        all.push((ready, welcome, offer));
    }
    let median = |of: fn(&(Duration, Duration, Duration)) -> Duration| {
        let mut times: Vec<Duration> = all.iter().map(of).collect();
        times.sort();
        times[times.len() / 2]
    };
    let (ready, welcome, offer) = (median(|t| t.0), median(|t| t.1), median(|t| t.2));
    println!("median {:>33} {:>15} {:>13}", ready.as_millis(), welcome.as_millis(), offer.as_millis());
    println!("aim: ready within {} ms: {}", AIM.as_millis(), verdict(ready <= AIM));
}

/// A minute without the engine, under connected devices that go on pinging.
async fn pause(database: &Database, merchant: Uuid, log: &Path) {
    let name = copy(database, &database.name, "lull").await;
    let db = database.pool_of(&name).await;
    let riders = fill(&db, CITIES[0], merchant, LULL).await;
    finish(&db).await;
    let start = Start::new(database.url(&name), &[], log);
    let mut engine = Engine::spawn(&start);
    engine.serving().await;
    let notes = Shared::default();
    let (takes, taking) = watch::channel(false);
    let mut devices = JoinSet::new();
    for (number, rider) in riders.iter().enumerate() {
        devices.spawn(devices::live(start.address, *rider, number, taking.clone(), notes.clone()));
    }
    until(|| note(&notes, |notes| (notes.online == riders.len() && notes.offers >= LULL.queued / 2).then_some(())))
        .await
        .expect("every device online");
    engine.signal(Signal::SIGSTOP);
    let before = note(&notes, |notes| (notes.offers, notes.connections));
    sleep(PAUSE).await;
    // Offers of before are left alone, so that they lie on the screens as stale as can be; new ones are taken.
    takes.send_replace(true);
    engine.signal(Signal::SIGCONT);
    let resumed = Instant::now();
    engine.serving().await;
    let serving = resumed.elapsed();
    // Long enough for riders who are silent from now on to be sent home.
    sleep(Duration::from_secs(AUTO_OFF_S + 10)).await;
    let stored: i64 =
        sqlx::query_scalar("SELECT count(*) FROM riders WHERE duty <> 'ON'").fetch_one(&db).await.unwrap();
    let logged: i64 = sqlx::query_scalar("SELECT count(*) FROM duty_logs").fetch_one(&db).await.unwrap();
    db.close().await;
    engine.kill().await;
    devices.shutdown().await;
    note(&notes, |notes| {
        println!(
            "\na pause of {} s (SIGSTOP), auto-off after {AUTO_OFF_S} s, {} devices on their sockets",
            PAUSE.as_secs(),
            riders.len()
        );
        println!("offers before the pause, unanswered    {:>6}", before.0);
        println!("serving again after, ms                {:>6}", serving.as_millis());
        println!("connections opened anew                {:>6}", notes.connections - before.1);
        println!("riders told that they are off duty     {:>6}", notes.sent_home);
        println!("riders stored as not on duty           {stored:>6}");
        println!("offers after the pause                 {:>6}", notes.offers - before.0);
        println!("of them accepted and the rider's       {:>6}", notes.assigned);
        println!("of them not open any more              {:>6} {:?}", notes.stale.len(), notes.stale);
        assert_eq!((notes.sent_home, stored, logged), (0, 0, 0), "a pause of the engine is nobody's silence");
        assert_eq!(notes.connections, before.1, "nobody loses the connection: {:?}", notes.ends);
        assert!(notes.stale.is_empty(), "an offer that comes after the pause is open");
        assert!(notes.assigned > 0, "nothing was offered after the pause");
    });
}

/// Makes a copy of a database that nobody is connected to; returns its name.
async fn copy(database: &Database, of: &str, suffix: &str) -> String {
    let copy = format!("{}_{suffix}", database.name);
    let mut admin = PgConnection::connect(&database.url("postgres")).await.unwrap();
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {copy} TEMPLATE {of}"))).await.unwrap();
    copy
}

/// Waits up to half a minute.
async fn until<T>(mut happened: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        if let Some(found) = happened() {
            return Some(found);
        }
        sleep(Duration::from_millis(2)).await;
    }
    None
}
