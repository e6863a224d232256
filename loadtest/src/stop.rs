//! When a run ends early: a signal, or an engine that does not answer any more. The second signal ends it at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::Instant,
};

use crate::{api::Api, clock::ServerClock};

/// Real time between two looks at the engine's clock.
const LOOK: Duration = Duration::from_secs(5);

/// Real time without an answer after which the engine counts as lost.
const LOST: Duration = Duration::from_secs(45);

/// Tells whether a run should end.
#[derive(Debug)]
pub struct Stop {
    told: watch::Receiver<bool>,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    lost: AtomicBool,
    /// The largest difference between the engine's clock and ours, microseconds of real time.
    drift_us: AtomicI64,
}

impl Stop {
    /// Turns true once.
    pub fn told(&self) -> watch::Receiver<bool> {
        self.told.clone()
    }

    /// Whether it has.
    pub fn was_told(&self) -> bool {
        *self.told.borrow()
    }

    /// Whether it has because the engine does not answer.
    pub fn engine_lost(&self) -> bool {
        self.seen.lost.load(Relaxed)
    }

    /// How far the engine's clock and ours were apart at most, real milliseconds, beyond what the answer's way explains.
    pub fn drift_ms(&self) -> f64 {
        self.seen.drift_us.load(Relaxed) as f64 / 1_000.0
    }
}

/// Watches for signals and over the engine.
///
/// # Errors
/// When signals cannot be listened for.
pub fn watch(api: Api, clock: ServerClock) -> std::io::Result<Stop> {
    let (tell, told) = watch::channel(false);
    let tell = Arc::new(tell);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let teller = Arc::clone(&tell);
    tokio::spawn(async move {
        let mut again = false;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if again {
                eprintln!("told twice: no report");
                std::process::exit(2);
            }
            again = true;
            teller.send_replace(true);
        }
    });
    let seen = Arc::new(Seen::default());
    let watcher = Arc::clone(&seen);
    tokio::spawn(async move {
        let mut answered = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            match api.clock().await {
                Ok((reading, _)) => {
                    answered = Instant::now();
                    let (early, late) = (clock.at(reading.asked), clock.at(reading.answered));
                    let apart = (early - reading.now).max(reading.now - late).max(0);
                    let apart = i64::try_from(clock.real_micros(apart)).unwrap_or(i64::MAX);
                    watcher.drift_us.fetch_max(apart, Relaxed);
                }
                Err(_) if answered.elapsed() > LOST => {
                    watcher.lost.store(true, Relaxed);
                    tell.send_replace(true);
                }
                Err(_) => {}
            }
        }
    });
    Ok(Stop { told, seen })
}
