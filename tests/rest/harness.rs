//! One server per test on a free port, with a database of its own.

use std::{net::TcpListener, sync::Arc};

use actix::Actor;
use actix_web::dev::ServerHandle;
use dispatch_engine::{
    actors::{
        city::{CityHandle, Engaged, Life, RuleBoard},
        gate::Gate,
        location_log,
        operator_session::{self, OperatorSocketDeps},
        order_journal::Availability,
        rider_session::{self, RiderSocketDeps},
        router::{Router, Slot},
    },
    cache::Cache,
    clock::Clock,
    http::{
        self, Deps, PageKey,
        auth::Tokens,
        reads::{self, Reads},
        server::{Settings, connection, serve},
    },
    metrics::Metrics,
    store::{contacts::Sealer, partitions},
};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    city::{FakeCity, Script},
    support::{
        SECRET, TestDatabase,
        client::{Answer, answer},
        token,
    },
};

pub struct Rest {
    pub base: String,
    pub client: Client,
    pub deps: Deps,
    /// The address of its database.
    pub database_url: String,
    /// The city that it runs.
    pub city: String,
    pub script: Script,
    server: ServerHandle,
    /// Says that the app stops; its end means the same to sockets.
    pub stop: watch::Sender<bool>,
}

impl Drop for Rest {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

pub async fn start() -> Rest {
    start_with(http::Options::default()).await
}

pub async fn start_with(options: http::Options) -> Rest {
    start_reading(options, reads::Options::default()).await
}

pub async fn start_reading(options: http::Options, reads: reads::Options) -> Rest {
    let (database, clock) = (TestDatabase::create().await, Clock::system());
    let (db, metrics, router) = (database.db.clone(), Metrics::new(), Router::default());
    partitions::ensure_months(&db, clock.now()).await.unwrap();
    let script = Script::default();
    let city = "testville".to_owned();
    let (d, c, r, s) = (db.clone(), clock.clone(), router.clone(), script.clone());
    let apply_city: http::ApplyCity = Arc::new(move |city| {
        let (db, clock, router, script) = (d.clone(), c.clone(), r.clone(), s.clone());
        Box::pin(async move {
            if router.city(&city.code).is_err() {
                let code = city.code.clone();
                let life = Life::begin();
                let line = life.line();
                let actor = FakeCity { code: code.clone(), db, clock, script, _life: life }.start();
                let handle =
                    CityHandle::new(code.clone(), actor.recipient(), Gate::unmetered(100), line, RuleBoard::default());
                router.put(code, Slot::Running(handle));
            }
            Ok(())
        })
    });
    let mut log_options = location_log::Options::default();
    log_options.spool.dir = database.new_spool();
    let (log, _) = location_log::start(db.clone(), clock.clone(), &metrics, log_options).await.unwrap();
    let (stop, stopping) = watch::channel(false);
    let storage = Availability::new(metrics.gauge("journal_unavailable", "as the journal shows it"));
    let rider_options = rider_session::Options::default();
    let operator_options = operator_session::Options::default();
    let reads = Reads::new(reads, &metrics);
    let deps = Deps {
        rider_sockets: RiderSocketDeps::new(
            db.clone(),
            router.clone(),
            Engaged::default(),
            clock.clone(),
            log,
            &metrics,
            rider_options,
            stopping.clone(),
            storage.clone(),
            Sealer::new(&[9; 32]),
        ),
        operator_sockets: OperatorSocketDeps::new(clock.speed(), &metrics, operator_options, stopping.clone()),
        stopping,
        figures: http::Figures::new(&metrics),
        db,
        router,
        apply_city,
        cache: Cache::in_process(),
        clock,
        metrics,
        tokens: Tokens::new(SECRET.as_bytes()),
        pages: PageKey::derive(SECRET.as_bytes()),
        sealer: Sealer::new(&[9; 32]),
        options,
        storage,
        reads,
    };
    let app = deps.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let settings = Settings { workers: 1, shutdown_timeout_s: 5, connection: connection::Options::default() };
    let server = serve(listener, move || http::app(app.clone()), &settings).unwrap();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let rest =
        Rest { base, client: Client::new(), deps, database_url: database.url, city, script, server: handle, stop };
    rest.post("/v1/cities", &rest.admin(), &rest.new_city()).await.ok(201);
    rest
}

impl Rest {
    pub fn admin(&self) -> String {
        token("admin", "ada")
    }

    pub fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).bearer_auth(token)
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        answer(self.request(Method::GET, path, token)).await
    }

    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        answer(self.request(Method::POST, path, token).json(body)).await
    }

    pub fn new_city(&self) -> Value {
        json!({
            "code": self.city, "name": "Testville", "time_zone": "Asia/Kolkata", "currency": "INR",
            "boundary": [{"lat": 12.8, "lon": 77.4}, {"lat": 12.8, "lon": 77.8}, {"lat": 13.2, "lon": 77.8}, {"lat": 13.2, "lon": 77.4}],
        })
    }

    pub fn new_order(&self) -> Value {
        json!({ "city": self.city, "pickup": {"lat": 12.97, "lon": 77.59}, "drop": {"lat": 12.98, "lon": 77.59} })
    }

    pub fn new_order_of(&self, merchant: Uuid) -> Value {
        let mut order = self.new_order();
        order["merchant_id"] = json!(merchant);
        order
    }

    /// A new merchant: its id and its token.
    pub async fn merchant(&self) -> (Uuid, String) {
        let answer = self.post("/v1/merchants", &self.admin(), &json!({ "name": "Dosa Corner" })).await;
        let id: Uuid = answer.ok(201)["id"].as_str().unwrap().parse().unwrap();
        (id, token("merchant", &id.to_string()))
    }

    /// A new order of a merchant, stored.
    pub async fn order(&self, merchant: &str) -> Uuid {
        let answer = self.post("/v1/orders", merchant, &self.new_order()).await;
        answer.ok(201)["id"].as_str().unwrap().parse().unwrap()
    }
}
