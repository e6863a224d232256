//! Kills of the real program: `dispatch serve` on a durable PostgreSQL behind a proxy of bytes, devices and merchants that
//! repeat themselves until they are answered, `kill -9` and worse at random moments. Afterwards an auditor compares what
//! clients were told with what is stored. It speaks the public protocol and knows no rule of the engine.
//!
//! `KILL_SEED` repeats a run's choices, as far as chance outside the test allows. The long run is `make soak`.
#![allow(clippy::unwrap_used)]

mod auditor;
mod belief;
mod database;
mod device;
mod engine;
mod kills;
mod ledger;
mod merchant;
mod proxy;
mod report;
mod rest;
mod socket;
mod storm;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use kills::Kill;
use storm::Plan;

/// A number from the environment.
fn given(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

async fn run(plan: Plan) {
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("survival-{}.log", std::process::id()));
    let log = log.as_path();
    println!("the engine logs to {}", log.display());
    storm::run(plan, log).await.conclude();
    std::fs::remove_file(log).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_in_three_kills() {
    let seed = given("KILL_SEED").unwrap_or(1);
    let kills = Kill::ALL[..3].to_vec();
    run(Plan { seed, kills, riders: 16, merchants: 3, gap_ms: 1_500..4_000 }).await;
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
