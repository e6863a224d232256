//! What is done to the engine, its database and the lines of its devices while they stream points.

use std::{path::PathBuf, time::Duration};

use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::client::Standing;
use crate::{
    kills::Victims,
    proxy::{Proxy, Way},
    socket::now_ms,
};

/// The longest that points may take to be settled from the engine's own disk; a debug build beside other work is slow.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);

/// A kind of strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strike {
    /// `kill -9` of the engine.
    Engine,
    /// PostgreSQL is killed, points are settled without it, it comes back.
    Outage,
    /// PostgreSQL is killed, points are settled without it, and the engine is killed while only its own disk has them.
    SpoolThenKill,
    /// The same, and the engine is killed once more as soon as it serves again: while it drains what it had kept.
    KillWhileDraining,
    /// PostgreSQL is killed, and the engine before or after anything could be settled.
    Both,
    /// The engine is killed while its last writes hang on the way; they arrive beside its successor.
    KillWithWritesHeld,
    /// Some lines of devices are reset in mid-frame.
    Torn,
    /// Some lines swallow everything for a while, and then deliver it.
    Held,
    /// Some lines swallow everything for a while, and connections of before stay dumb for ever.
    Forgotten,
    /// Some lines are slow.
    Slow,
    /// Some lines are reset, and so is every new connection on them for a while.
    Cut,
}

impl Strike {
    /// Strikes at the engine and its database.
    pub const SERVERS: [Self; 6] = [
        Self::SpoolThenKill,
        Self::Engine,
        Self::KillWhileDraining,
        Self::Both,
        Self::Outage,
        Self::KillWithWritesHeld,
    ];

    /// Strikes at the lines of devices.
    pub const LINES: [Self; 5] = [Self::Torn, Self::Held, Self::Forgotten, Self::Slow, Self::Cut];

    /// As many of some kinds as asked for, in an order that the seed decides.
    pub fn plan(kinds: &[Self], count: usize, rng: &mut ChaCha8Rng) -> Vec<Self> {
        let mut plan: Vec<Self> = kinds.iter().copied().cycle().take(count).collect();
        plan.shuffle(rng);
        plan
    }

    /// For a report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Engine => "kill -9 of the engine",
            Self::Outage => "PostgreSQL away",
            Self::SpoolThenKill => "PostgreSQL away, kill -9 over a spool",
            Self::KillWhileDraining => "the same, and kill -9 in the drain",
            Self::Both => "PostgreSQL away, kill -9 at once",
            Self::KillWithWritesHeld => "kill -9 with writes on the way",
            Self::Torn => "lines torn in mid-frame",
            Self::Held => "lines held",
            Self::Forgotten => "lines held and forgotten",
            Self::Slow => "lines slow",
            Self::Cut => "lines reset",
        }
    }
}

/// What can be struck, and who is watched meanwhile.
pub struct Scene {
    /// The engine, its database, and the way between them.
    pub victims: Victims,
    /// The ways from the devices to the engine.
    pub lines: Vec<Proxy>,
    /// How the devices fare.
    pub standings: Vec<watch::Receiver<Standing>>,
    /// The folder of the engine's spool.
    pub spool: PathBuf,
    /// Points that were settled while PostgreSQL was away.
    pub settled_without: u64,
    /// The most bytes that were found in the spool when the engine was killed.
    pub spooled_bytes: u64,
}

impl Scene {
    /// Does it and undoes it, until the engine serves again. What broke a promise is returned.
    pub async fn strike(&mut self, strike: Strike, rng: &mut ChaCha8Rng) -> Option<String> {
        let ms = |rng: &mut ChaCha8Rng, range: std::ops::Range<u64>| Duration::from_millis(rng.random_range(range));
        let mut broken = None;
        match strike {
            Strike::Engine => self.kill(ms(rng, 0..500)).await,
            Strike::Outage | Strike::SpoolThenKill | Strike::KillWhileDraining => {
                self.victims.database.kill().await;
                broken = self.settled_meanwhile().await;
                if strike != Strike::Outage {
                    self.spooled_bytes = self.spooled_bytes.max(bytes_in(&self.spool));
                    self.victims.engine.kill().await;
                }
                sleep(ms(rng, 0..1_000)).await;
                self.victims.database.restart().await;
                if strike != Strike::Outage {
                    self.victims.engine.respawn();
                }
                if strike == Strike::KillWhileDraining {
                    self.victims.engine.serving().await;
                    sleep(ms(rng, 0..1_000)).await;
                    self.kill(ms(rng, 0..200)).await;
                }
            }
            Strike::Both => {
                self.victims.database.kill().await;
                sleep(ms(rng, 0..3_000)).await;
                self.kill(ms(rng, 0..500)).await;
                sleep(ms(rng, 0..500)).await;
                self.victims.database.restart().await;
            }
            Strike::KillWithWritesHeld => {
                self.victims.proxy.set(Way::Held);
                sleep(ms(rng, 1_000..3_000)).await;
                self.kill(Duration::ZERO).await;
                sleep(ms(rng, 0..1_500)).await;
                self.victims.proxy.set(Way::Open);
            }
            Strike::Torn => self.lines(Way::Torn, ms(rng, 500..2_000), rng).await,
            Strike::Held => self.lines(Way::Held, ms(rng, 1_000..6_000), rng).await,
            Strike::Forgotten => self.lines(Way::Forgotten, ms(rng, 1_000..6_000), rng).await,
            Strike::Slow => {
                let slow = Way::Slow(ms(rng, 20..200));
                self.lines(slow, ms(rng, 2_000..6_000), rng).await;
            }
            Strike::Cut => self.lines(Way::Cut, ms(rng, 200..3_000), rng).await,
        }
        self.victims.engine.serving().await;
        broken
    }

    async fn kill(&mut self, pause: Duration) {
        self.victims.engine.kill().await;
        sleep(pause).await;
        self.victims.engine.respawn();
    }

    /// Every second line, by chance.
    async fn lines(&self, way: Way, span: Duration, rng: &mut ChaCha8Rng) {
        let struck: Vec<&Proxy> = self.lines.iter().filter(|_| rng.random_bool(0.5)).collect();
        // One at least: a strike that hits nobody proves nothing.
        let struck = if struck.is_empty() { self.lines.iter().take(1).collect() } else { struck };
        struck.iter().for_each(|line| line.set(way));
        sleep(span).await;
        struck.iter().for_each(|line| line.set(Way::Open));
    }

    fn settled(&self) -> u64 {
        self.standings.iter().map(|stands| stands.borrow().settled).sum()
    }

    /// Waits until most devices were told that points are settled which they recorded after PostgreSQL had gone.
    async fn settled_meanwhile(&mut self) -> Option<String> {
        let (gone, before, until) = (now_ms(), self.settled(), Instant::now() + SETTLED_WITHIN);
        let told = |scene: &Self| scene.standings.iter().filter(|stands| stands.borrow().settled_at > gone).count();
        // Who was off the network when PostgreSQL went away is not let in before it is back.
        while told(self) * 2 < self.standings.len() && Instant::now() < until {
            sleep(Duration::from_millis(100)).await;
        }
        self.settled_without += self.settled() - before;
        let (told, all) = (told(self), self.standings.len());
        (told * 2 < all).then(|| format!("without PostgreSQL points were settled for {told} of {all} devices"))
    }
}

/// The bytes of all files in a folder.
fn bytes_in(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(is) if is.is_dir() => bytes_in(&entry.path()),
        Ok(is) => is.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
