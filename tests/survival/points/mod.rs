//! A whole run of devices that stream points: strikes at the engine, its database and their lines, calm, and the audit:
//! every point exactly once, as it was sent.

mod auditor;
mod client;
mod diary;
mod kinds;
mod report;
mod strikes;

use std::{path::Path, sync::Arc, time::Duration};

use dispatch_engine::store::Db;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

pub use self::strikes::Strike;
use self::{
    client::{Client, Standing},
    diary::Diary,
    report::Report,
    strikes::Scene,
};
use crate::{
    database::Database,
    engine::{Engine, Start},
    founding,
    kills::Victims,
    ledger::Ledger,
    proxy::{Proxy, Target},
    rest::Rest,
    storm::{CITY, Phase},
};

/// The longest that everybody's coming on duty may take, what is left behind by the storm, and the way of what is settled
/// into the database.
const PATIENCE: Duration = Duration::from_secs(180);

/// Lines between devices and engine; each carries its share of them.
const LINES: usize = 4;

/// How large a run is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything that chance decides here.
    pub seed: u64,
    /// What is done, in order.
    pub strikes: Vec<Strike>,
    /// Devices.
    pub devices: usize,
    /// Between a recovery and the next strike, milliseconds.
    pub gap_ms: std::ops::Range<u64>,
}

/// Everything shorter than in production, so that a run meets every timeout.
const SETTINGS: [(&str, &str); 15] = [
    ("SERVER__WORKERS", "1"),
    ("ROUTER__THREADS", "1"),
    ("DATABASE__CONNECTIONS", "6"),
    ("DATABASE__ACQUIRE_TIMEOUT_MS", "2000"),
    ("DATABASE__STATEMENT_TIMEOUT_MS", "5000"),
    ("ORDER_JOURNAL__ATTEMPT_MS", "4000"),
    ("ORDER_JOURNAL__RETRY_MAX_MS", "500"),
    ("HTTP__ASK_MS", "3000"),
    ("RIDER_SESSION__PING_EVERY_S", "1"),
    ("RIDER_SESSION__SILENT_INTERVALS", "4"),
    ("RIDER_SESSION__ACK_EVERY_MS", "200"),
    ("RIDER_SESSION__RECONNECT_AFTER_MS", "300"),
    ("LOCATION_LOG__WRITE_TIMEOUT_MS", "2000"),
    ("LOCATION_LOG__FLUSH_AGE_MS", "500"),
    ("ROUTER__RESTART_MAX_MS", "1000"),
];

/// Runs a plan; prints a line per strike and the summary. The engine logs to `log`.
pub async fn run(plan: Plan, log: &Path) -> Report {
    println!("KILL_SEED={}  {} strikes, {} devices stream points", plan.seed, plan.strikes.len(), plan.devices);
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let database = Database::start().await;
    let proxy = Proxy::start(Target::Unix(database.socket.clone())).await;
    let spool = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut settings = SETTINGS.to_vec();
    settings.push(("LOCATION_LOG__SPOOL__DIR", spool.path().to_str().unwrap()));
    let start = Start::new(database.url_through(proxy.address), &settings, log);
    let mut engine = Engine::spawn(&start);
    engine.serving().await;
    let rest = Rest::new(start.address);
    // Every point is stored, whatever its rider does, and as many as come.
    let policy = json!({
        "auto_off_after_s": 3_600,
        "pings": { "idle_store_every_s": 0, "max_per_s": 100.0, "burst": 1_000_000, "rest_radius_m": 0 },
    });
    founding::city(&rest, CITY, policy).await;

    let began = Instant::now();
    let ledger = Arc::new(Ledger::default());
    let (phase, watched) = watch::channel(Phase::Storm);
    let mut lines = Vec::new();
    for _ in 0..LINES {
        lines.push(Proxy::start(Target::Tcp(start.address)).await);
    }
    let (mut devices, mut standings) = (JoinSet::new(), Vec::new());
    for (number, rider) in founding::riders(&rest, CITY, plan.devices).await.into_iter().enumerate() {
        let (standing, stands) = watch::channel(Standing::default());
        standings.push(stands);
        let line = lines[number % LINES].address;
        let client = Client::new(rider, number, line, rng.random(), ledger.clone(), watched.clone());
        devices.spawn(client.live(standing));
    }
    let victims = Victims { engine, database, proxy };
    let spool_dir = spool.path().to_owned();
    let mut scene = Scene { victims, lines, standings, spool: spool_dir, settled_without: 0, spooled_bytes: 0 };
    let on_duty = |stands: Standing| stands.on_duty;
    assert!(all(&scene.standings, on_duty).await, "not every device came on duty; see {}", log.display());

    let mut struck = Vec::new();
    for strike in &plan.strikes {
        sleep(Duration::from_millis(rng.random_range(plan.gap_ms.clone()))).await;
        let (at, moment) = (Instant::now(), began.elapsed());
        if let Some(broken) = scene.strike(*strike, &mut rng).await {
            ledger.complain(format!("{}: {broken}", strike.name()));
        }
        let (took, name) = (at.elapsed().as_secs_f64(), strike.name());
        println!("strike {:>3}  at {:>6.1} s  {name:<38}  {took:>5.1} s", struck.len() + 1, moment.as_secs_f64());
        struck.push(*strike);
    }
    sleep(Duration::from_millis(rng.random_range(plan.gap_ms.clone()))).await;

    phase.send_replace(Phase::Calm);
    all(&scene.standings, |stands| stands.kept == 0).await;
    phase.send_replace(Phase::Over);
    let mut diaries: Vec<Diary> = Vec::new();
    while let Some(done) = devices.join_next().await {
        diaries.push(done.unwrap());
    }
    let db = scene.victims.database.pool().await;
    arrived(&db, &diaries).await;
    let mut findings = auditor::audit(auditor::read(&db).await, &diaries);
    let notes = std::mem::take(&mut *ledger.notes());
    findings.broken.extend(notes.complaints.iter().cloned());
    findings.broken.extend(ended(&mut scene, log).await);
    db.close().await;
    scene.victims.database.stop().await;
    Report {
        plan,
        diaries,
        findings,
        counts: notes.counts,
        settled_without: scene.settled_without,
        spooled_bytes: scene.spooled_bytes,
        took: began.elapsed(),
    }
}

/// Waits until it is so for all; `false` when that takes too long.
async fn all(standings: &[watch::Receiver<Standing>], is_so: impl Fn(Standing) -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while !standings.iter().all(|stands| is_so(*stands.borrow())) {
        if Instant::now() >= until {
            return false;
        }
        sleep(Duration::from_millis(50)).await;
    }
    true
}

/// Waits until as many rows are there as honest points; too few of them are the auditor's business. More may still be on
/// their way then: a moment later there must not be any.
async fn arrived(db: &Db, diaries: &[Diary]) {
    let (until, honest) = (Instant::now() + PATIENCE, diaries.iter().flat_map(Diary::honest).count() as i64);
    while auditor::count(db).await < honest && Instant::now() < until {
        sleep(Duration::from_millis(200)).await;
    }
    sleep(Duration::from_secs(2)).await;
}

/// The orderly end, and what the engine's log says of the run.
async fn ended(scene: &mut Scene, log: &Path) -> Vec<String> {
    let end = scene.victims.engine.terminate(PATIENCE).await;
    let mut broken = Vec::new();
    if !end.is_some_and(|status| status.success()) {
        broken.push(format!("the orderly end was {end:?}"));
    }
    broken.extend(crate::storm::suspicious(log));
    broken
}
