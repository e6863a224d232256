//! What the integration tests share: one private PostgreSQL per test program, a database per test made from a migrated
//! template, and the whole engine as production builds it, on a free port.
#![allow(dead_code, reason = "every test program uses another part of it")]

pub mod client;
pub mod database;
pub mod device;
pub mod rows;
pub mod world;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread::JoinHandle,
    time::Duration,
};

use dispatch_engine::{
    app::{self, App},
    clock::Clock,
    config::{Config, Secret},
    http::auth::Tokens,
    store::Db,
    wire::token::Claims,
};
use tokio::{sync::oneshot, time::timeout};

pub use database::TestDatabase;

/// The secret of every test's tokens.
pub const SECRET: &str = "a secret of the tests, more than 32 bytes long";

/// A running engine with a database of its own. It stops when it is dropped; [`TestApp::stop`] waits for that.
pub struct TestApp {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its database.
    pub database: TestDatabase,
    /// The clock that it runs on.
    pub clock: Clock,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

/// An engine at the speed of life.
pub async fn spawn_app() -> TestApp {
    spawn_app_with(TestDatabase::create().await, Clock::system(), |_| {}).await
}

/// An engine on a given database and clock, with a changed configuration.
pub async fn spawn_app_with(database: TestDatabase, clock: Clock, change: impl FnOnce(&mut Config)) -> TestApp {
    let mut config = Config::default();
    config.database.url = Some(Secret::new(database.url.clone()));
    config.database.connections = 5;
    config.server.workers = 1;
    config.router.threads = 1;
    // A quarter of it is granted to clients that do not read their goodbye, as a test's devices do not.
    config.server.shutdown_s = 4;
    // What a device hears that sends nothing more, as most of the tests' do.
    (config.rider_session.ack_every_ms, config.rider_session.ack_within_ms) = (200, 200);
    config.auth.jwt_secret = Some(Secret::new(SECRET.into()));
    config.contacts.key = Some(Secret::new("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into()));
    change(&mut config);
    let (stop, stopped) = oneshot::channel::<()>();
    let (started, start) = oneshot::channel();
    let its_clock = clock.clone();
    let serve = move || {
        app::run(async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let app = App::build(&config, its_clock, listener).await?;
            started.send(app.address()).ok();
            let stop = async move {
                let _ = stopped.await;
            };
            Ok(app.run_until_stopped(stop).await?)
        })?
    };
    let thread = std::thread::spawn(serve);
    let Ok(address) = start.await else { panic!("the engine did not start: {:?}", thread.join()) };
    TestApp { address, database, clock, stop: Some(stop), thread: Some(thread) }
}

impl TestApp {
    /// An engine that runs in a process of its own; whoever started it stops it.
    pub fn elsewhere(address: SocketAddr, database: TestDatabase) -> Self {
        Self { address, database, clock: Clock::system(), stop: None, thread: None }
    }

    /// A pool on its database.
    pub fn db(&self) -> &Db {
        &self.database.db
    }

    /// An address of its REST interface.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Stops it in order; a failure of the end fails the test. The database stays, for the next engine on it.
    pub async fn stop(mut self) -> TestDatabase {
        drop(self.stop.take());
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(move || thread.join()).await.unwrap().unwrap().unwrap();
        self.database.clone()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

/// A token for every city.
pub fn token(role: &str, sub: &str) -> String {
    token_for(role, sub, &[])
}

/// A token that holds for an hour; no cities stand for every city.
pub fn token_for(role: &str, sub: &str, cities: &[&str]) -> String {
    let iat = Clock::wall().as_millis() / 1_000;
    let cities = cities.iter().map(|city| (*city).to_owned()).collect();
    let claims = Claims { sub: sub.into(), role: role.into(), cities, iat, exp: iat + 3_600 };
    Tokens::new(SECRET.as_bytes()).issue(&claims)
}

/// The longest a test waits for something that should happen at once.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits for something that should happen soon.
pub async fn until<T>(what: &str, mut happened: impl FnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(result) = happened() {
                return result;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("it did not happen: {what}"))
}
