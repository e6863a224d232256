//! A whole run: a city under load, kills, calm, and the audit.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use dispatch_engine::{
    store::Db,
    wire::{
        LatLon,
        rest::{NewCity, NewMerchant, NewRider},
    },
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::{
    auditor::{self, Findings},
    belief::Belief,
    database::Database,
    device::{Device, Standing},
    engine::{Engine, Start},
    kills::{Kill, SHUTDOWN_S, Victims},
    ledger::Ledger,
    merchant::Merchant,
    proxy::Proxy,
    report::{Report, Struck},
    rest::Rest,
    socket::Socket,
    support::{token, world::KITCHEN},
};

/// The city of the test.
pub const CITY: &str = "blr";

/// The longest that the work left behind by the storm may take.
const DRAIN: Duration = Duration::from_secs(120);

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Load and kills.
    Storm,
    /// No new orders; riders finish what there is.
    Calm,
    /// Everybody stops.
    Over,
}

/// How large a run is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything that chance decides here.
    pub seed: u64,
    /// What is done, in order.
    pub kills: Vec<Kill>,
    /// Devices.
    pub riders: usize,
    /// Merchants.
    pub merchants: usize,
    /// Between a recovery and the next kill, milliseconds.
    pub gap_ms: std::ops::Range<u64>,
}

/// Everything shorter than in production, so that a run meets every timeout.
const SETTINGS: [(&str, &str); 15] = [
    ("SERVER__WORKERS", "1"),
    ("ROUTER__THREADS", "1"),
    ("CITY__TICK_MS", "200"),
    ("DATABASE__CONNECTIONS", "6"),
    ("DATABASE__ACQUIRE_TIMEOUT_MS", "3000"),
    ("DATABASE__STATEMENT_TIMEOUT_MS", "5000"),
    ("ORDER_JOURNAL__ATTEMPT_MS", "4000"),
    ("ORDER_JOURNAL__RETRY_MAX_MS", "500"),
    ("HTTP__ASK_MS", "3000"),
    ("RIDER_SESSION__PING_EVERY_S", "1"),
    ("RIDER_SESSION__SILENT_INTERVALS", "4"),
    ("RIDER_SESSION__ANSWER_WITHIN_MS", "3000"),
    ("RIDER_SESSION__RECONNECT_AFTER_MS", "300"),
    ("LOCATION_LOG__WRITE_TIMEOUT_MS", "4000"),
    ("ROUTER__RESTART_MAX_MS", "1000"),
];

/// Runs a plan; prints a line per kill and the summary.
pub async fn run(plan: Plan, log: &Path) -> Report {
    println!(
        "KILL_SEED={}  {} kills, {} riders, {} merchants",
        plan.seed,
        plan.kills.len(),
        plan.riders,
        plan.merchants
    );
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let database = Database::start().await;
    let proxy = Proxy::start(database.socket.clone()).await;
    let shutdown = SHUTDOWN_S.to_string();
    let mut settings = SETTINGS.to_vec();
    settings.push(("SERVER__SHUTDOWN_S", shutdown.as_str()));
    let start = Start::new(database.url_through(proxy.address), &settings, log);
    let mut engine = Engine::spawn(&start);
    engine.serving().await;
    let mut victims = Victims { engine, database, proxy };

    let began = Instant::now();
    let ledger = Arc::new(Ledger::default());
    let (phase, watched) = watch::channel(Phase::Storm);
    let rest = Rest::new(start.address);
    let (merchants, riders) = found(&rest, &plan).await;
    let mut devices = JoinSet::new();
    let mut standings = Vec::new();
    for rider in riders {
        let near = |rng: &mut ChaCha8Rng| rng.random_range(-0.006..0.006);
        let at = LatLon { lat: KITCHEN.lat + near(&mut rng), lon: KITCHEN.lon + near(&mut rng) };
        let (standing, stands) = watch::channel(Standing::default());
        standings.push(stands);
        let device = Device::new(rider, start.address, at, rng.random(), ledger.clone(), watched.clone());
        devices.spawn(async move { (rider, device.live(standing).await) });
    }
    let mut placing = JoinSet::new();
    for (number, id) in merchants.into_iter().enumerate() {
        let merchant = Merchant { id, number, rest: rest.clone(), ledger: ledger.clone() };
        placing.spawn(merchant.live(rng.random(), watched.clone()));
    }

    let mut struck = Vec::new();
    sleep(Duration::from_millis(rng.random_range(plan.gap_ms.clone()))).await;
    for kill in &plan.kills {
        let at = Instant::now();
        let broken = victims.strike(*kill, &mut rng).await;
        victims.engine.serving().await;
        let back = at.elapsed();
        if let Some(broken) = broken {
            ledger.complain(format!("{}: {broken}", kill.name()));
        }
        sleep(Duration::from_millis(rng.random_range(plan.gap_ms.clone()))).await;
        struck.push(Struck { kill: *kill, at, moment: at - began, back });
        println!("{}", struck[struck.len() - 1].line(struck.len()));
    }

    let calm = Instant::now();
    phase.send_replace(Phase::Calm);
    let db = victims.database.pool().await;
    let drained = drain(&db, &mut placing, &standings).await;
    phase.send_replace(Phase::Over);
    let mut beliefs = BTreeMap::new();
    while let Some(done) = devices.join_next().await {
        let (rider, belief) = done.unwrap();
        beliefs.insert(rider, belief);
    }
    // Nobody writes any more.
    let notes = std::mem::take(&mut *ledger.notes());
    let mut findings = auditor::audit(&db, &notes, &beliefs).await;
    findings.broken.extend(drained);
    welcomes(start.address, &beliefs, &mut findings).await;

    let end = victims.engine.terminate(Duration::from_secs(SHUTDOWN_S + 5)).await;
    if !end.is_some_and(|status| status.success()) {
        findings.broken.push(format!("the last orderly end was {end:?}"));
    }
    findings.broken.extend(suspicious(log));
    db.close().await;
    victims.database.stop().await;
    Report { plan, struck, findings, notes, calm, took: began.elapsed() }
}

/// A city with a policy of seconds, its merchants and its riders.
async fn found(rest: &Rest, plan: &Plan) -> (Vec<Uuid>, Vec<Uuid>) {
    let admin = token("admin", "tests");
    let corners = [(12.90, 77.52), (12.90, 77.68), (13.05, 77.68), (13.05, 77.52)];
    let city = NewCity {
        code: CITY.into(),
        name: "Bengaluru".into(),
        status: None,
        boundary: corners.map(|(lat, lon)| LatLon { lat, lon }).to_vec(),
        time_zone: "Asia/Kolkata".into(),
        day_cutover_min: 240,
        currency: "INR".into(),
        policy: json!({
            "offer_ttl_s": 3, "offer_hard_cap_s": 6, "radius_step_every_s": 1, "ignored_cooldown_s": 1,
            "unseen_cooldown_s": 1, "round_every_s": 2, "auto_off_after_s": 20, "ping_interval_s": 1,
            "fix_freshness_s": 6, "max_active_orders": 1,
        }),
        pay_base_minor: None,
        pay_per_km_minor: None,
    };
    rest.make("/v1/cities", &admin, &city).await;
    let id = |made: serde_json::Value| made["id"].as_str().unwrap().parse::<Uuid>().unwrap();
    let mut merchants = Vec::new();
    for number in 0..plan.merchants {
        merchants
            .push(id(rest.make("/v1/merchants", &admin, &NewMerchant { name: format!("Kitchen {number}") }).await));
    }
    let mut riders = Vec::new();
    for number in 0..plan.riders {
        let rider = NewRider {
            name: format!("Rider {number}"),
            mobile: format!("+91900000{number:04}"),
            city: CITY.into(),
            vehicle: "motorcycle".into(),
            capacity_units: None,
            tags: vec![],
            kyc_status: Some("APPROVED".into()),
        };
        riders.push(id(rest.make("/v1/riders", &admin, &rider).await));
    }
    (merchants, riders)
}

/// Waits until every request is answered, every order has ended and every device is quiet; returns what is not.
async fn drain(db: &Db, placing: &mut JoinSet<()>, standings: &[watch::Receiver<Standing>]) -> Vec<String> {
    let until = Instant::now() + DRAIN;
    let mut quiet_since = None;
    while Instant::now() < until {
        while let Some(done) = placing.try_join_next() {
            done.unwrap();
        }
        let all_quiet = standings.iter().all(|stands| stands.borrow().quiet);
        if placing.is_empty() && all_quiet && open_orders(db).await.is_empty() {
            // Late news still has a moment to arrive.
            if quiet_since.get_or_insert_with(Instant::now).elapsed() > Duration::from_millis(1_500) {
                return Vec::new();
            }
        } else {
            quiet_since = None;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let open = open_orders(db).await.into_iter().map(|(id, status)| format!("{id} is still {status}"));
    let busy = standings.iter().map(|stands| stands.borrow().clone()).filter(|standing| !standing.quiet);
    let waiting = (!placing.is_empty()).then(|| format!("{} merchants still wait for answers", placing.len()));
    open.chain(busy.map(|standing| format!("a device is not quiet: {}", standing.about))).chain(waiting).collect()
}

async fn open_orders(db: &Db) -> Vec<(Uuid, String)> {
    let sql = "SELECT id, status FROM orders WHERE status NOT IN ('delivered', 'returned', 'cancelled', 'expired')";
    sqlx::query_as(sql).fetch_all(db).await.unwrap()
}

/// What a device is told when it connects once more is what it believed.
async fn welcomes(address: std::net::SocketAddr, beliefs: &BTreeMap<Uuid, Belief>, findings: &mut Findings) {
    for (rider, belief) in beliefs {
        let welcome = match Socket::open(address, *rider, Uuid::new_v4()).await {
            Some(mut socket) => socket.welcome().await.ok(),
            None => None,
        };
        match welcome {
            Some(welcome) if Belief::of(&welcome).bare() == belief.bare() => {}
            Some(welcome) => findings.diverged.push(format!("{rider} believes {belief:?} and is told {welcome:?}")),
            None => findings.diverged.push(format!("{rider} is not welcome any more")),
        }
    }
}

/// Lines of the engine's log that no kill explains: panics, and stored states other than a city remembers.
fn suspicious(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let words = ["panicked at", "the store holds other versions", "it stays down", "cannot be read", "internal_error"];
    text.lines()
        .filter(|line| words.iter().any(|word| line.contains(word)))
        .map(|line| format!("log: {line}"))
        .collect()
}
