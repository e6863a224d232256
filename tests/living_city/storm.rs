//! Everybody loses the connection at once and comes back: hundreds of devices, while orders are in flight.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use dispatch_engine::{
    clock::Clock,
    wire::rider::{Down, DutyWish, Hello, Ping, SUBPROTOCOL_JSON, Up},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rand::RngExt;
use serde_json::json;
use sqlx::Executor;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{
    fleet::{Courier, Kitchen},
    support::{
        TestApp, TestDatabase,
        device::Socket,
        spawn_app_with, token,
        world::{KITCHEN, every_point, id_of, order},
    },
};

/// Riders who are connected and want no work.
const IDLE: usize = 500;
/// Riders who look at an offer and do not answer before the storm.
const HESITANT: usize = 5;
/// The earliest return of a device that is sent away, milliseconds.
const LEAST_MS: u64 = 100;
/// The longest that the test waits for anything, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a device was told.
#[derive(Clone, Debug, Default)]
struct Told {
    welcomes: usize,
    /// Reasons of goodbyes, and when to come back.
    byes: Vec<(String, u64)>,
    /// Offers, by the number of the connection on which they were told.
    offers: BTreeMap<Uuid, BTreeSet<usize>>,
    assigned: Vec<Uuid>,
}

/// A device that comes back by itself. It takes offers only when it is told of them again after a reconnect.
#[derive(Clone)]
struct Device {
    address: SocketAddr,
    rider: Uuid,
    boot: Uuid,
    clock: Clock,
    wants_work: bool,
    told: Arc<Mutex<Told>>,
    cut: watch::Receiver<()>,
}

impl Device {
    fn start(app: &TestApp, rider: Uuid, wants_work: bool, cut: &watch::Sender<()>) -> Arc<Mutex<Told>> {
        let told = Arc::<Mutex<Told>>::default();
        let (clock, cut) = (app.clock.clone(), cut.subscribe());
        let mut device =
            Self { address: app.address, rider, boot: Uuid::new_v4(), clock, wants_work, told: told.clone(), cut };
        tokio::spawn(async move {
            loop {
                let away = device.connection().await;
                sleep(Duration::from_millis(away)).await;
            }
        });
        told
    }

    /// One connection; the milliseconds to stay away after it.
    async fn connection(&mut self) -> u64 {
        let token = token("rider", &self.rider.to_string());
        let Ok(mut socket) = Socket::open(self.address, "/v1/rider/socket", &token, SUBPROTOCOL_JSON).await else {
            return LEAST_MS;
        };
        let (device_id, app_version, mono_ms) = (self.rider.to_string(), "1".to_owned(), 1);
        let (boot_id, at) = (self.boot, self.clock.now().as_millis());
        let hello = Hello { device_id, app_version, boot_id, mono_ms, at, battery: None, push: None, oldest: None };
        let mut out = vec![Up::Hello(hello)];
        let mut within = LEAST_MS;
        loop {
            for up in out.drain(..) {
                socket.try_send_text(serde_json::to_string(&up).unwrap()).await;
            }
            let frame = tokio::select! {
                frame = socket.next_frame::<Down>() => frame,
                _ = self.cut.changed() => None,
            };
            match frame {
                Some(Down::Bye { why, reconnect_after_ms }) => {
                    let after = reconnect_after_ms.unwrap();
                    self.told.lock().unwrap().byes.push((why, after));
                    return after;
                }
                Some(frame) => {
                    if let Down::Welcome(welcome) = &frame {
                        within = welcome.reconnect_within_ms;
                    }
                    out = self.hear(frame);
                }
                // Without a word: within the time that the welcome gave.
                None => return rand::rng().random_range(0..=within),
            }
        }
    }

    fn hear(&self, frame: Down) -> Vec<Up> {
        let mut told = self.told.lock().unwrap();
        match frame {
            Down::Welcome(welcome) => {
                told.welcomes += 1;
                let connection = told.welcomes;
                let mut out = vec![];
                if self.wants_work {
                    let (seq, at) = (connection as u64, self.clock.now().as_millis());
                    let (lat, lon, accuracy_m) = (KITCHEN.lat, KITCHEN.lon, Some(5.0));
                    let (speed_mps, heading_deg, mock) = (None, None, false);
                    if welcome.duty != "ON" {
                        out.push(Up::Duty { id: "on".into(), state: DutyWish::On });
                    }
                    let ping = Ping { seq, at, lat, lon, accuracy_m, speed_mps, heading_deg, mock };
                    out.push(Up::Pings { pings: vec![ping], oldest: None, sent_at: None });
                }
                if let Some(offer) = welcome.open_offer {
                    told.offers.entry(offer.offer).or_default().insert(connection);
                    out.push(Up::OfferAccept { id: offer.offer.to_string(), offer: offer.offer });
                }
                out
            }
            Down::Offer(offer) => {
                let connection = told.welcomes;
                told.offers.entry(offer.offer).or_default().insert(connection);
                vec![]
            }
            Down::Assigned { job, .. } => {
                told.assigned.extend(job.orders.iter().map(|order| order.order));
                vec![]
            }
            // The ping went before the duty was stored.
            Down::DutyChanged { duty, .. } if duty == "ON" => {
                let at = self.clock.now().as_millis();
                let (lat, lon, accuracy_m) = (KITCHEN.lat, KITCHEN.lon, Some(5.0));
                let (speed_mps, heading_deg, mock, seq) = (None, None, false, 1_000 + told.welcomes as u64);
                vec![Up::Pings {
                    pings: vec![Ping { seq, at, lat, lon, accuracy_m, speed_mps, heading_deg, mock }],
                    oldest: None,
                    sent_at: None,
                }]
            }
            _ => vec![],
        }
    }
}

async fn eventually(what: &str, check: impl AsyncFn() -> bool) {
    let waiting = async {
        while !check().await {
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "it did not happen: {what}");
}

/// Riders by the hundred, as one statement.
async fn riders(app: &TestApp, city: &str, count: usize) -> Vec<Uuid> {
    sqlx::query_scalar(
        "INSERT INTO riders (id, name, mobile, city, kyc_status, vehicle, created_at, updated_at)
         SELECT gen_random_uuid(), 'Asha', '+9177' || n, $1, 'APPROVED', 'motorcycle', 'epoch', 'epoch'
           FROM generate_series(10000000, 9999999 + $2) AS n RETURNING id",
    )
    .bind(city)
    .bind(i64::try_from(count).unwrap())
    .fetch_all(app.db())
    .await
    .unwrap()
}

async fn figure(app: &TestApp, line: &str) -> u64 {
    let text = app.get("/metrics").await.body.as_str().unwrap().to_owned();
    text.lines().find_map(|row| row.strip_prefix(line)?.trim().parse().ok()).unwrap_or_default()
}

fn all(devices: &[Arc<Mutex<Told>>], check: impl Fn(&Told) -> bool) -> bool {
    devices.iter().all(|told| check(&told.lock().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_back_in_and_no_offer_is_lost() {
    // Both ends of every socket are here.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(8_192), hard).unwrap();
    let app = spawn_app_with(TestDatabase::create().await, Clock::system(), |config| {
        (config.city.tick_ms, config.city.publish_ms) = (100, 100);
        (config.router.threads, config.router.restart_min_ms) = (1, 50);
        config.database.connections = 6;
        let session = &mut config.rider_session;
        (session.joins_at_once, session.join_queue) = (4, 50);
        (session.reconnect_after_ms, session.reconnects_per_s, session.reconnect_most_ms) = (LEAST_MS, 400, 5_000);
    });
    let app = Arc::new(app.await);
    // Where offers wait for long, and where orders are at work all the time.
    app.city("quiet", json!({ "offer_ttl_s": 600, "offer_hard_cap_s": 900 })).await;
    app.city("busy", every_point()).await;
    let merchant = app.merchant().await;
    let (cut, _) = watch::channel(());
    let mut couriers = Vec::new();
    for _ in 0..4 {
        couriers.push(Courier::start_on(&app, "busy", cut.subscribe()).await);
    }
    let kitchen = Kitchen::open(&app, "busy", merchant);
    let mut hesitant = Vec::new();
    for _ in 0..HESITANT {
        hesitant.push(Device::start(&app, app.rider("quiet").await, true, &cut));
    }
    let idle: Vec<_> =
        riders(&app, "busy", IDLE).await.into_iter().map(|rider| Device::start(&app, rider, false, &cut)).collect();
    eventually("everybody is in", async || all(&idle, |told| told.welcomes == 1)).await;
    let mut waiting = BTreeSet::new();
    for _ in 0..HESITANT {
        waiting.insert(id_of(&app.place(merchant, &order("quiet")).await));
    }
    eventually("everybody who hesitates has an offer", async || all(&hesitant, |told| told.offers.len() == 1)).await;
    let delivered = || couriers.iter().map(|courier| courier.told().delivered.len()).sum::<usize>();
    eventually("orders are at work", async || delivered() >= 4).await;
    let turned_away = figure(&app, r#"dispatch_rider_joins_total{result="busy"} "#).await;

    // The network goes, for everybody at once; the riders cannot be read until the line is full.
    let before = delivered();
    let mut slow = app.db().begin().await.unwrap();
    slow.execute("LOCK TABLE riders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    cut.send_replace(());
    eventually("some are turned away", async || {
        figure(&app, r#"dispatch_rider_joins_total{result="busy"} "#).await > turned_away
    })
    .await;
    slow.rollback().await.unwrap();
    eventually("everybody is back", async || all(&idle, |told| told.welcomes >= 2)).await;
    assert!(all(&idle, |told| told.byes.iter().all(|(why, after)| why == "busy" && *after <= 5_000)));
    // Each offer that was open is told again under its id, and can still be taken.
    eventually("every offer is taken", async || all(&hesitant, |told| told.assigned.len() == 1)).await;
    for told in hesitant.iter().map(|told| told.lock().unwrap().clone()) {
        let connections: Vec<_> = told.offers.values().collect();
        assert!(connections.len() == 1 && connections[0].len() >= 2, "{told:?}");
        assert!(waiting.remove(&told.assigned[0]), "{told:?}");
    }
    assert!(waiting.is_empty());
    eventually("orders move", async || delivered() >= before + 4).await;

    // A city fails: everybody there is told to come back, one after another.
    let (before, welcomes) = (delivered(), idle.iter().map(|t| t.lock().unwrap().welcomes).collect::<Vec<_>>());
    app.post("/v1/cities/busy/faults", &json!({ "kind": "panic" })).await.ok(202);
    eventually("everybody is back again", async || {
        idle.iter().zip(&welcomes).all(|(told, before)| told.lock().unwrap().welcomes > *before)
    })
    .await;
    let sent_away = |told: &Told| told.byes.iter().find(|(why, _)| why == "city_unavailable").map(|(_, after)| *after);
    let afters: Vec<u64> = idle.iter().filter_map(|told| sent_away(&told.lock().unwrap())).collect();
    assert_eq!(afters.len(), IDLE);
    // 500 at 400 per second take more than the 100 to 300 ms of a few.
    let late = afters.iter().filter(|after| **after > LEAST_MS * 3).count();
    assert!(late > IDLE / 2 && afters.iter().all(|after| (LEAST_MS..=5_000).contains(after)), "{afters:?}");
    eventually("orders move again", async || delivered() >= before + 4).await;

    // Nothing that was confirmed is lost, and no offer stays open for ever.
    let placed = BTreeSet::from_iter(kitchen.close().await.placed);
    eventually("all is delivered", async || {
        couriers.iter().flat_map(|courier| courier.told().delivered).collect::<BTreeSet<_>>() == placed
    })
    .await;
    for told in couriers.iter().map(Courier::told) {
        assert!(told.contradictions.is_empty(), "{:?}", told.contradictions);
    }
    let open: i64 =
        sqlx::query_scalar("SELECT count(*) FROM offers WHERE closed_at IS NULL").fetch_one(app.db()).await.unwrap();
    assert_eq!(open, 0);
    app.assert_consistent().await;
}
