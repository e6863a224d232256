//! Clients that live through the failures of a city as good ones do: couriers keep their points until they are stored,
//! follow a goodbye, come back, and repeat what was not answered under its id; merchants send an order again under its
//! key. Everything that they are told is written down.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use dispatch_engine::{
    clock::Clock,
    wire::{
        LatLon,
        rider::{Down, DutyWish, Hello, Ping, Progress, SUBPROTOCOL_JSON, Up},
    },
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{interval, sleep},
};
use uuid::Uuid;

use crate::support::{
    TestApp, client,
    device::Socket,
    token,
    world::{DOOR, KITCHEN, id_of, order},
};

/// Time between two attempts of a client.
const PAUSE: Duration = Duration::from_millis(50);

/// What a courier was told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub welcomes: usize,
    /// Why the server said goodbye, and when to come back.
    pub byes: Vec<(String, Option<u64>)>,
    /// Connections that ended without a goodbye.
    pub lost: usize,
    /// Codes of errors.
    pub errors: Vec<String>,
    pub delivered: BTreeSet<Uuid>,
    /// Requests that were repeated after a reconnect and answered.
    pub repeated: usize,
    /// Answers that were not what the same request had been, or must be, answered with.
    pub contradictions: Vec<String>,
    /// Points made, and how far the server said they are stored.
    pub points: u64,
    pub stored_to: u64,
}

/// A courier at work; goes home when dropped.
pub struct Courier {
    pub rider: Uuid,
    told: Arc<Mutex<Told>>,
    task: JoinHandle<()>,
}

impl Courier {
    /// A new rider of a city, whose device is at work from now on.
    pub async fn start(app: &TestApp, city: &str) -> Self {
        Self::start_on(app, city, watch::channel(()).1).await
    }

    /// The same on a network that drops the connection whenever `cut` is sent something.
    pub async fn start_on(app: &TestApp, city: &str, cut: watch::Receiver<()>) -> Self {
        let rider = app.rider(city).await;
        let told = Arc::<Mutex<Told>>::default();
        let device = Device {
            address: app.address,
            clock: app.clock.clone(),
            rider,
            boot: Uuid::new_v4(),
            at: KITCHEN,
            on_duty: false,
            points: Vec::new(),
            open: BTreeMap::new(),
            before: BTreeSet::new(),
            last: None,
            done: BTreeSet::new(),
            told: told.clone(),
            cut,
        };
        Self { rider, told, task: tokio::spawn(device.live()) }
    }

    /// What it was told until now.
    pub fn told(&self) -> Told {
        assert!(!self.task.is_finished(), "the courier's device broke");
        self.told.lock().unwrap().clone()
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Device {
    address: SocketAddr,
    clock: Clock,
    rider: Uuid,
    boot: Uuid,
    at: LatLon,
    on_duty: bool,
    /// Points that are not stored yet, as far as the device knows.
    points: Vec<Ping>,
    /// Requests without an answer, by id.
    open: BTreeMap<String, Up>,
    /// Those of them that were asked on an earlier connection.
    before: BTreeSet<String>,
    /// The last request that was answered, and how.
    last: Option<(String, Up, String)>,
    /// Ids that were answered.
    done: BTreeSet<String>,
    told: Arc<Mutex<Told>>,
    cut: watch::Receiver<()>,
}

impl Device {
    async fn live(mut self) {
        loop {
            let after = self.connection().await;
            sleep(after).await;
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    /// One connection; how long to stay away after it.
    async fn connection(&mut self) -> Duration {
        let token = token("rider", &self.rider.to_string());
        let Ok(mut socket) = Socket::open(self.address, "/v1/rider/socket", &token, SUBPROTOCOL_JSON).await else {
            self.told().lost += 1;
            return PAUSE;
        };
        let mut out = vec![Up::Hello(Hello {
            device_id: format!("device-of-{}", self.rider),
            app_version: "1.0".into(),
            boot_id: self.boot,
            mono_ms: 1,
            at: self.clock.now().as_millis(),
            battery: None,
            push: None,
            oldest: None,
        })];
        let (mut ticks, mut welcome) = (interval(Duration::from_millis(100)), false);
        loop {
            for up in out.drain(..) {
                // Should the server be gone, the next read says so, or brings its goodbye.
                socket.try_send_text(serde_json::to_string(&up).unwrap()).await;
            }
            tokio::select! {
                frame = socket.next_frame::<Down>() => match frame {
                    Some(Down::Bye { why, reconnect_after_ms }) => {
                        self.told().byes.push((why, reconnect_after_ms));
                        return reconnect_after_ms.map_or(PAUSE, Duration::from_millis);
                    }
                    Some(frame) => {
                        welcome |= matches!(frame, Down::Welcome(_));
                        out = self.hear(frame);
                    }
                    None => {
                        self.told().lost += 1;
                        return PAUSE;
                    }
                },
                // A network that is never cut has nobody who could.
                Ok(()) = self.cut.changed() => {
                    self.told().lost += 1;
                    return PAUSE;
                }
                _ = ticks.tick(), if welcome && self.on_duty => out.push(self.ping()),
            }
        }
    }

    /// A new point; what is not stored goes again only after a reconnect.
    fn ping(&mut self) -> Up {
        let seq = self.told().points + 1;
        self.told().points = seq;
        let (at, LatLon { lat, lon }) = (self.clock.now().as_millis(), self.at);
        let ping = Ping { seq, at, lat, lon, accuracy_m: Some(5.0), speed_mps: None, heading_deg: None, mock: false };
        self.points.push(ping.clone());
        Up::Pings { pings: vec![ping], oldest: None, sent_at: None }
    }

    fn hear(&mut self, frame: Down) -> Vec<Up> {
        match frame {
            Down::Welcome(welcome) => {
                self.told().welcomes += 1;
                self.on_duty = welcome.duty == "ON";
                let mut out: Vec<Up> = self.open.values().cloned().collect();
                self.before = self.open.keys().cloned().collect();
                if self.open.is_empty()
                    && let Some((_, request, _)) = &self.last
                {
                    out.push(request.clone());
                }
                if !self.points.is_empty() {
                    out.push(Up::Pings { pings: self.points.clone(), oldest: None, sent_at: None });
                }
                if !self.on_duty && !self.open.keys().any(|id| id.starts_with("duty")) {
                    let id = format!("duty-{}", self.told().welcomes);
                    out.extend(self.ask(id.clone(), Up::Duty { id, state: DutyWish::On }));
                }
                for order in welcome.plan.iter().flat_map(|job| &job.orders) {
                    let asked = self.open.keys().any(|id| id.ends_with(&order.order.to_string()));
                    out.extend(if asked { None } else { self.next_step(order.order, &order.status) });
                }
                out.extend(welcome.open_offer.and_then(|offer| self.accept(offer.offer)));
                out
            }
            Down::PingsAck { stored_to, .. } => {
                self.points.retain(|ping| ping.seq > stored_to);
                self.told().stored_to = stored_to;
                vec![]
            }
            Down::Offer(offer) => self.accept(offer.offer).into_iter().collect(),
            Down::Assigned { re: Some(re), job } => {
                let order = job.orders[0].order;
                let first = self.answered(&re, &format!("assigned {order}"));
                first.then(|| self.next_step(order, "assigned")).flatten().into_iter().collect()
            }
            Down::OrderChanged { re: Some(re), order, status, .. } => {
                if self.open.contains_key(&re) && !re.starts_with(&status) {
                    self.told().contradictions.push(format!("{re}: {status}"));
                }
                if !self.answered(&re, &status) {
                    return vec![];
                }
                if status == "delivered" {
                    self.at = KITCHEN;
                    self.told().delivered.insert(order);
                }
                self.next_step(order, &status).into_iter().collect()
            }
            Down::DutyChanged { re, duty, .. } => {
                self.on_duty = duty == "ON";
                if let Some(re) = re {
                    self.answered(&re, &duty);
                }
                vec![]
            }
            Down::Error { re, code, .. } => self.failed(re.unwrap_or_default(), code),
            _ => vec![],
        }
    }

    fn failed(&mut self, id: String, code: String) -> Vec<Up> {
        self.told().errors.push(code.clone());
        let known = self.last.as_ref().is_some_and(|(last, ..)| *last == id);
        match code.as_str() {
            // A goodbye follows; it is asked again after it.
            "city_unavailable" => vec![],
            // It waits for the database; the answer follows.
            "storage_unavailable" => vec![],
            "storage_busy" | "order_busy" | "city_busy" => self.open.get(&id).cloned().into_iter().collect(),
            // Its time was over when it came.
            "offer_closed" if id.starts_with("accept") && !known => {
                self.open.remove(&id);
                vec![]
            }
            _ => {
                self.open.remove(&id);
                self.told().contradictions.push(format!("{id}: {code}"));
                vec![]
            }
        }
    }

    /// Takes note of an answer; `false` when it is one that came before.
    fn answered(&mut self, id: &str, answer: &str) -> bool {
        let Some(request) = self.open.remove(id) else {
            if let Some((last, _, first)) = self.last.clone()
                && last == id
            {
                self.told().repeated += 1;
                if first != answer {
                    self.told().contradictions.push(format!("{id}: {first}, then {answer}"));
                }
            }
            return false;
        };
        if self.before.remove(id) {
            self.told().repeated += 1;
        }
        self.done.insert(id.to_owned());
        self.last = Some((id.to_owned(), request, answer.to_owned()));
        true
    }

    fn ask(&mut self, id: String, request: Up) -> Option<Up> {
        if self.done.contains(&id) || self.open.contains_key(&id) {
            return None;
        }
        self.open.insert(id, request.clone());
        Some(request)
    }

    fn accept(&mut self, offer: Uuid) -> Option<Up> {
        let id = format!("accept-{offer}");
        self.ask(id.clone(), Up::OfferAccept { id, offer })
    }

    fn next_step(&mut self, order: Uuid, status: &str) -> Option<Up> {
        let (step, at) = match status {
            "assigned" => ("at_pickup", KITCHEN),
            "at_pickup" => ("picked_up", KITCHEN),
            "picked_up" => ("at_dropoff", DOOR),
            "at_dropoff" => ("delivered", DOOR),
            _ => return None,
        };
        self.at = at;
        let id = format!("{step}-{order}");
        let (step, now) = (step.to_owned(), self.clock.now().as_millis());
        let report = Progress { id: id.clone(), order, step, at: now, position: Some(at), reason: None, proof: None };
        self.ask(id, Up::Progress(report))
    }
}

/// What a merchant was told.
#[derive(Clone, Debug, Default)]
pub struct Receipts {
    /// Orders that were confirmed.
    pub placed: Vec<Uuid>,
    /// Status, code and `Retry-After` of what was refused.
    pub refused: Vec<(u16, String, Option<String>)>,
}

/// A merchant who places orders in a city, one after another, until told to stop.
pub struct Kitchen {
    receipts: Arc<Mutex<Receipts>>,
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Kitchen {
    /// Opens it.
    pub fn open(app: &Arc<TestApp>, city: &'static str, merchant: Uuid) -> Self {
        let (stop, stopped) = watch::channel(false);
        let receipts = Arc::<Mutex<Receipts>>::default();
        let (app, noted) = (app.clone(), receipts.clone());
        let work = async move {
            while !*stopped.borrow() {
                let (body, key) = (order(city), Uuid::new_v4().to_string());
                loop {
                    let answer: client::Answer = app.place_under(merchant, &body, &key).await;
                    if answer.status.is_success() {
                        noted.lock().unwrap().placed.push(id_of(&answer));
                        break;
                    }
                    let after = answer.headers.get("retry-after").map(|value| value.to_str().unwrap().to_owned());
                    let refused = (answer.status.as_u16(), answer.code().to_owned(), after);
                    noted.lock().unwrap().refused.push(refused);
                    sleep(PAUSE).await;
                }
                sleep(Duration::from_millis(250)).await;
            }
        };
        Self { receipts, task: tokio::spawn(work), stop }
    }

    /// Closes it once the last order is confirmed.
    pub async fn close(self) -> Receipts {
        self.stop.send_replace(true);
        self.task.await.unwrap();
        self.receipts.lock().unwrap().clone()
    }
}
