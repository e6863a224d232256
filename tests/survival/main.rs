//! Kills of the real program: `dispatch serve` on a durable PostgreSQL behind a proxy of bytes, devices and merchants that
//! repeat themselves until they are answered, `kill -9` and worse at random moments. Afterwards an auditor compares what
//! clients were told with what is stored. It speaks the public protocol and knows no rule of the engine.
//!
//! Other devices do nothing but stream points (`points/`), which are counted one by one at the end.
//!
//! `KILL_SEED` repeats a run's choices, as far as chance outside the test allows. The long run is `make soak`.
#![allow(clippy::unwrap_used)]

mod auditor;
mod belief;
mod database;
mod device;
mod engine;
mod founding;
mod kills;
mod ledger;
mod merchant;
mod points;
mod proxy;
mod report;
mod rest;
mod socket;
mod storm;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::Mutex;

use kills::Kill;
use points::Strike;
use storm::Plan;

/// A number from the environment.
fn given(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// One run at a time: two engines and two databases beside each other on few cores would meet timeouts of no interest.
static TURN: Mutex<()> = Mutex::const_new(());

/// A file for the engine's log; it goes when the test succeeds.
fn log_of(test: &str) -> PathBuf {
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("survival-{test}-{}.log", std::process::id()));
    println!("the engine logs to {}", log.display());
    log
}

async fn run(plan: Plan) {
    let _turn = TURN.lock().await;
    let log = log_of("storm");
    storm::run(plan, &log).await.conclude();
    std::fs::remove_file(log).unwrap();
}

async fn stream(name: &str, plan: points::Plan) {
    let _turn = TURN.lock().await;
    let log = log_of(name);
    points::run(plan, &log).await.conclude();
    std::fs::remove_file(log).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_in_three_kills() {
    let seed = given("KILL_SEED").unwrap_or(1);
    let kills = Kill::ALL[..3].to_vec();
    run(Plan { seed, kills, riders: 16, merchants: 3, gap_ms: 1_500..4_000 }).await;
}

/// The engine and PostgreSQL are killed while points are on their way into the database, into the spool and out of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_point_is_stored_once_whatever_is_killed() {
    let seed = given("KILL_SEED").unwrap_or(1);
    let strikes = Strike::SERVERS[..4].to_vec();
    stream("points", points::Plan { seed, strikes, devices: 24, gap_ms: 1_000..3_000 }).await;
}

/// Lines that tear, hold, forget, crawl; nothing happens to the engine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_point_is_stored_once_over_bad_lines() {
    let seed = given("KILL_SEED").unwrap_or(1);
    let strikes = Strike::LINES.to_vec();
    stream("lines", points::Plan { seed, strikes, devices: 24, gap_ms: 500..2_000 }).await;
}

/// Part of `make soak`: twice as many strikes as kills, at servers and lines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes about ten seconds per strike"]
async fn soak_points() {
    let seed = given("KILL_SEED").unwrap_or_else(rand::random);
    let count = usize::try_from(given("KILLS").unwrap_or(20)).unwrap() * 2;
    let kinds = [&Strike::SERVERS[..], &Strike::LINES].concat();
    let strikes = Strike::plan(&kinds, count, &mut ChaCha8Rng::seed_from_u64(seed));
    stream("soak", points::Plan { seed, strikes, devices: 40, gap_ms: 1_000..5_000 }).await;
}

/// `make soak KILLS=20 SEED=7`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes about half a minute per kill"]
async fn soak() {
    let seed = given("KILL_SEED").unwrap_or_else(rand::random);
    let count = usize::try_from(given("KILLS").unwrap_or(20)).unwrap();
    let kills = Kill::plan(count, &mut ChaCha8Rng::seed_from_u64(seed));
    run(Plan { seed, kills, riders: 30, merchants: 5, gap_ms: 2_000..8_000 }).await;
}
