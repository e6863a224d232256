//! What is done to the engine and its database, and when.

use std::time::Duration;

use nix::sys::signal::Signal;
use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use crate::{
    database::Database,
    engine::Engine,
    proxy::{Proxy, Way},
};

/// An orderly end may take so long: `server.shutdown_s` of the test, and some for a busy machine.
pub const SHUTDOWN_S: u64 = 10;

/// A kind of kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kill {
    /// `kill -9` of the engine; it is started again at once.
    Engine,
    /// SIGKILL of PostgreSQL and all its processes; it recovers from its log.
    Database,
    /// The connections to the database are reset for a while.
    Cut,
    /// SIGSTOP of the engine for longer than every timeout, then SIGCONT.
    Stop,
    /// SIGTERM: an orderly end, and a start.
    Terminate,
    /// The way to the database swallows everything for a while, and then delivers it.
    Held,
    /// The way to the database swallows everything for a while; connections of before stay dumb for ever.
    Forgotten,
    /// The way to the database is slow for a while.
    Slow,
    /// The engine is killed while its last commits hang on the way; they arrive beside its successor.
    EngineWhileHeld,
    /// The engine is killed while it starts.
    EngineTwice,
    /// The database is killed, and the engine while the database is away.
    Both,
}

impl Kill {
    /// Every kind; the first three are those of the short run.
    pub const ALL: [Self; 11] = [
        Self::Engine,
        Self::Database,
        Self::Cut,
        Self::Stop,
        Self::Terminate,
        Self::Held,
        Self::Forgotten,
        Self::Slow,
        Self::EngineWhileHeld,
        Self::EngineTwice,
        Self::Both,
    ];

    /// As many as asked for: each kind about as often as the others, in an order that the seed decides.
    pub fn plan(count: usize, rng: &mut ChaCha8Rng) -> Vec<Self> {
        let mut plan: Vec<Self> = Self::ALL.into_iter().cycle().take(count).collect();
        plan.shuffle(rng);
        plan
    }

    /// For a report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Engine => "kill -9 of the engine",
            Self::Database => "SIGKILL of PostgreSQL",
            Self::Cut => "connections reset",
            Self::Stop => "SIGSTOP of the engine",
            Self::Terminate => "SIGTERM",
            Self::Held => "black hole",
            Self::Forgotten => "black hole that forgets",
            Self::Slow => "slow connections",
            Self::EngineWhileHeld => "kill -9 with commits on the way",
            Self::EngineTwice => "kill -9, again while it starts",
            Self::Both => "SIGKILL of PostgreSQL, kill -9",
        }
    }
}

/// What can be killed.
pub struct Victims {
    /// The program.
    pub engine: Engine,
    /// Its database.
    pub database: Database,
    /// The way between them.
    pub proxy: Proxy,
}

impl Victims {
    /// Does it, and undoes what does not pass by itself. What broke a promise meanwhile is returned.
    pub async fn strike(&mut self, kill: Kill, rng: &mut ChaCha8Rng) -> Option<String> {
        let mut ms = |range: std::ops::Range<u64>| Duration::from_millis(rng.random_range(range));
        match kill {
            Kill::Engine => {
                self.engine.kill().await;
                sleep(ms(0..500)).await;
                self.engine.respawn();
            }
            Kill::Database => {
                self.database.kill().await;
                sleep(ms(0..2_000)).await;
                self.database.restart().await;
            }
            Kill::Cut => self.way(Way::Cut, ms(500..4_000)).await,
            Kill::Held => self.way(Way::Held, ms(2_000..7_000)).await,
            Kill::Forgotten => self.way(Way::Forgotten, ms(1_000..7_000)).await,
            Kill::Slow => {
                let slow = Way::Slow(ms(10..100));
                self.way(slow, ms(3_000..8_000)).await;
            }
            Kill::Stop => {
                self.engine.signal(Signal::SIGSTOP);
                sleep(ms(8_000..12_000)).await;
                self.engine.signal(Signal::SIGCONT);
            }
            Kill::Terminate => {
                let status = self.engine.terminate(Duration::from_secs(SHUTDOWN_S + 5)).await;
                let good = status.is_some_and(|status| status.success());
                if status.is_none() {
                    self.engine.kill().await;
                }
                self.engine.respawn();
                return (!good).then(|| format!("the orderly end was {status:?}"));
            }
            Kill::EngineWhileHeld => {
                self.proxy.set(Way::Held);
                sleep(ms(200..1_500)).await;
                self.engine.kill().await;
                self.engine.respawn();
                sleep(ms(0..1_500)).await;
                self.proxy.set(Way::Open);
            }
            Kill::EngineTwice => {
                self.engine.kill().await;
                self.engine.respawn();
                sleep(ms(50..1_500)).await;
                self.engine.kill().await;
                self.engine.respawn();
            }
            Kill::Both => {
                self.database.kill().await;
                sleep(ms(0..1_000)).await;
                self.engine.kill().await;
                self.engine.respawn();
                sleep(ms(0..1_000)).await;
                self.database.restart().await;
            }
        }
        None
    }

    async fn way(&self, way: Way, span: Duration) {
        self.proxy.set(way);
        sleep(span).await;
        self.proxy.set(Way::Open);
    }
}
