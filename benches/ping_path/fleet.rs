//! The process of the clients, so that their processor time and their descriptors are not the server's: told what to do
//! by lines on its input, and answering by lines on its output.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::rider::{Encoding, Order, Peer, Rider, Tally};

/// Connections that are opened at once.
const AT_ONCE: usize = 128;
/// The longest wait for the engine's word that every point is stored.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Word {
    /// Send frames.
    Ride { every_us: u64, points: u32 },
    /// Say how many.
    Count,
    /// Stop sending, wait for what is under way, and say how many.
    Rest,
}

/// What the clients have done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub frames: u64,
    pub points: u64,
    pub bytes: u64,
    pub heard: u64,
    pub settled: u64,
    pub refused: u64,
}

/// What the clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    pub peer: Peer,
    pub address: SocketAddr,
    pub encoding: Encoding,
    pub riders: u32,
}

impl Fleet {
    /// As arguments of its process.
    pub fn arguments(self) -> Vec<String> {
        let peer = if self.peer == Peer::Engine { "engine" } else { "echo" };
        vec![peer.into(), self.address.to_string(), self.encoding.name().into(), self.riders.to_string()]
    }

    /// Reads [`Fleet::arguments`].
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let [peer, address, encoding, riders] = arguments else { bail!("four arguments are needed") };
        Ok(Self {
            peer: if peer == "engine" { Peer::Engine } else { Peer::Echo },
            address: address.parse()?,
            encoding: Encoding::named(encoding)?,
            riders: riders.parse()?,
        })
    }

    /// Opens every connection and follows the words until its input ends.
    pub fn run(self) -> Result<()> {
        // One thread: the cores are the server's.
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.follow())
    }

    async fn follow(self) -> Result<()> {
        let tally = Arc::new(Tally::default());
        let (orders, following) = watch::channel(Order::Rest);
        let (failed, mut failures) = mpsc::channel::<anyhow::Error>(1);
        let doors = Arc::new(Semaphore::new(AT_ONCE));
        let mut riders = JoinSet::new();
        for number in 0..self.riders {
            let rider = Rider {
                peer: self.peer,
                encoding: self.encoding,
                number,
                of: self.riders,
                tally: tally.clone(),
                orders: following.clone(),
            };
            let (doors, failed) = (doors.clone(), failed.clone());
            riders.spawn(async move {
                let lived = async {
                    let door = doors.acquire_owned().await?;
                    let riding = rider.start(self.address).await?;
                    drop(door);
                    riding.live().await
                };
                if let Err(error) = lived.await {
                    // Only the first failure is told.
                    let _ = failed.try_send(error.context(format!("rider {number}")));
                }
            });
        }
        while tally.ready.load(Relaxed) < self.riders.into() {
            if let Ok(failure) = failures.try_recv() {
                return Err(failure);
            }
            sleep(Duration::from_millis(20)).await;
        }
        answer(&tally)?;
        let mut words = words();
        loop {
            let word = tokio::select! {
                word = words.recv() => word,
                failure = failures.recv() => return Err(failure.context("no rider is left")?),
            };
            let Some(word) = word else { return Ok(()) };
            match word {
                Word::Ride { every_us, points } => {
                    orders.send_replace(Order::Ride { every: Duration::from_micros(every_us), points });
                }
                Word::Count => answer(&tally)?,
                Word::Rest => {
                    orders.send_replace(Order::Rest);
                    self.settle(&tally).await?;
                    answer(&tally)?;
                }
            }
        }
    }

    /// Waits until every point is settled, or every frame has come back.
    async fn settle(self, tally: &Tally) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let open = || match self.peer {
            Peer::Engine => tally.points.load(Relaxed) > tally.settled.load(Relaxed),
            Peer::Echo => tally.frames.load(Relaxed) > tally.heard.load(Relaxed),
        };
        while open() {
            if Instant::now() > end {
                bail!("after {PATIENCE:?} not everything is settled: {tally:?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// The lines of the input, read by a thread of their own.
fn words() -> mpsc::Receiver<Word> {
    let (sender, words) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Some(word) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { return };
            if sender.blocking_send(word).is_err() {
                return;
            }
        }
    });
    words
}

fn answer(tally: &Tally) -> Result<()> {
    let counts = Counts {
        frames: tally.frames.load(Relaxed),
        points: tally.points.load(Relaxed),
        bytes: tally.bytes.load(Relaxed),
        heard: tally.heard.load(Relaxed),
        settled: tally.settled.load(Relaxed),
        refused: tally.refused.load(Relaxed),
    };
    println!("{}", serde_json::to_string(&counts)?);
    Ok(())
}
