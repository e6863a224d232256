//! The end of the real program: SIGTERM with sockets open and orders in flight.

use std::{net::SocketAddr, process::Stdio};

use dispatch_engine::wire::rider::{Down, Progress, Up};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    time::timeout,
};
use uuid::Uuid;

use crate::support::{
    SECRET, SOON, TestApp, TestDatabase,
    client::answer,
    device::Device,
    token,
    world::{KITCHEN, id_of, order},
};

/// The program, serving on a database of the tests; ended when dropped.
struct Engine {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Engine {
    async fn start(database: &TestDatabase) -> (Self, TestApp) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dispatch"))
            .arg("serve")
            .env("DATABASE_URL", &database.url)
            .env("DISPATCH_JWT_SECRET", SECRET)
            .env("DISPATCH_CONTACT_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            .env("DISPATCH__SERVER__LISTEN", "127.0.0.1:0")
            .env("DISPATCH__DATABASE__CONNECTIONS", "6")
            .env("DISPATCH__LOCATION_LOG__SPOOL__DIR", database.new_spool())
            .env("DISPATCH__LOG__FORMAT", "json")
            .env("RUST_LOG", "info")
            .env_remove("REDIS_URL")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut engine = Self { child, log };
        let serving = engine.logged("serving").await;
        let address: SocketAddr = serving["fields"]["address"].as_str().unwrap().parse().unwrap();
        (engine, TestApp::elsewhere(address, database.clone()))
    }

    /// The next line of the log with this message.
    async fn logged(&mut self, message: &str) -> Value {
        let reading = async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["fields"]["message"] == message {
                    return line;
                }
            }
            panic!("the log ended without: {message}");
        };
        timeout(SOON, reading).await.unwrap_or_else(|_| panic!("it was not logged: {message}"))
    }
}

fn bye(down: &Down) -> Option<(String, bool)> {
    match down {
        Down::Bye { why, reconnect_after_ms } => Some((why.clone(), reconnect_after_ms.is_some())),
        _ => None,
    }
}

async fn figure(app: &TestApp, name: &str) -> f64 {
    let text = app.get("/metrics").await.body.as_str().unwrap().to_owned();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn sigterm_finishes_what_was_asked_and_takes_nothing_more() {
    let database = TestDatabase::create().await;
    let (mut engine, app) = Engine::start(&database).await;
    app.city("blr", json!({})).await;
    let merchant = app.merchant().await;
    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    let taken = id_of(&app.place(merchant, &order("blr")).await);
    device.take_offer().await;
    let mut idle = Device::connect(&app, app.rider("blr").await).await.0;
    let merchants_token = token("merchant", &merchant.to_string());
    let place = || app.request(Method::POST, "/v1/orders", &merchants_token).json(&order("blr"));
    answer(place()).await.ok(201);

    // The database holds every commit up: a placement and a step of an order are on their way when the signal comes.
    let mut holding = database.db.begin().await.unwrap();
    sqlx::query("SELECT epoch FROM city_epochs FOR UPDATE").execute(&mut *holding).await.unwrap();
    let step = device.request();
    let at = app.clock.now().as_millis();
    let (id, step_name) = (step.clone(), "at_pickup".to_owned());
    let (position, reason, proof) = (Some(KITCHEN), None, None);
    device.send(&Up::Progress(Progress { id, order: taken, step: step_name, at, position, reason, proof })).await;
    let placing = tokio::spawn(answer(place()));
    let both = async {
        while figure(&app, "dispatch_journal_depth ").await < 2.0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, both).await.expect("two writes wait for their commit");
    kill(Pid::from_raw(engine.child.id().unwrap().try_into().unwrap()), Signal::SIGTERM).unwrap();

    // Who waits for nothing is sent away at once; who asks for more is not let in: the connection is refused, or reset
    // when it was still in the kernel's queue as the listener closed. Should it have been taken, the request is refused.
    assert_eq!(idle.wait_for(bye).await, ("going_away".to_owned(), true));
    if let Ok(refused) = place().send().await {
        assert_eq!(refused.status(), 503);
    }
    holding.rollback().await.unwrap();

    // What was asked before is answered, and then stored indeed.
    let answered = |down: &Down| match down {
        Down::OrderChanged { re: Some(re), status, .. } if *re == step => Some(status.clone()),
        Down::Bye { .. } => Some("bye".to_owned()),
        _ => None,
    };
    assert_eq!(device.wait_for(answered).await, "at_pickup");
    assert_eq!(device.wait_for(bye).await, ("going_away".to_owned(), true));
    let placed = placing.await.unwrap();
    placed.ok(201);
    engine.logged("stopped").await;
    let status = timeout(SOON, engine.child.wait()).await.expect("it ends").unwrap();
    assert!(status.success(), "{status}");
    let stored: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT id, status FROM orders ORDER BY id").fetch_all(&database.db).await.unwrap();
    assert_eq!(stored.len(), 3, "{stored:?}");
    assert!(stored.contains(&(taken, "at_pickup".to_owned())), "{stored:?}");
    assert!(stored.iter().any(|(id, _)| *id == id_of(&placed)), "{stored:?}");

    // The next one goes on where this one stopped.
    let (_engine, app) = Engine::start(&database).await;
    let (mut device, welcome) = Device::connect(&app, device.rider).await;
    assert_eq!(welcome.plan[0].orders[0].status, "at_pickup");
    assert_eq!(device.progress(&app, taken, "picked_up", KITCHEN).await, "picked_up");
    app.assert_consistent().await;
}
