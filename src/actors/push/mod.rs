//! Wakes devices: takes what cities want woken, finds the device, and hands the message to the provider until it is taken
//! or its time is over. No city waits for it, and nothing is decided by what comes of it.

mod retry;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use prometheus::{Histogram, IntCounterVec};
use serde::Deserialize;
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::gate::Gate;
use crate::{
    clock::Clock,
    domain::device::PushDevice,
    engine::wake::Wake,
    metrics::Metrics,
    push::{PushError, PushMessage, PushProvider, purpose},
    store::{Db, rider_devices},
};

/// Limits of waking.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Devices that may wait to be woken; one more is not woken, and counted.
    pub queue: usize,
    /// Devices that are woken at once: connections to the provider, and to the database while a device is looked up.
    pub at_once: usize,
    /// Times that a provider is asked for one device.
    pub tries: u32,
    /// Milliseconds (real time) before the second try; doubles from there. A provider that names a later time is obeyed.
    pub retry_min_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { queue: 4_096, at_once: 4, tries: 4, retry_min_ms: 500 }
    }
}

/// The way to the provider. Cheap to clone; all clones share one bound.
#[derive(Clone)]
pub struct PushHandle(Arc<Shared>);

struct Shared {
    db: Db,
    clock: Clock,
    provider: Arc<dyn PushProvider>,
    options: Options,
    gate: Gate,
    /// First come, first served.
    turns: Semaphore,
    /// Where the work runs: never on the thread of a city.
    runtime: Handle,
    /// The provider refuses us; logged once until it takes something again.
    refused: AtomicBool,
    pushes: IntCounterVec,
    seconds: Histogram,
}

/// What became of a wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Sent,
    NoDevice,
    Gone,
    Closed,
    TooLate,
    Unavailable,
    Misconfigured,
    StoreUnavailable,
    QueueFull,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::NoDevice => "no_device",
            Self::Gone => "token_gone",
            Self::Closed => "closed",
            Self::TooLate => "too_late",
            Self::Unavailable => "unavailable",
            Self::Misconfigured => "misconfigured",
            Self::StoreUnavailable => "store_unavailable",
            Self::QueueFull => "queue_full",
        }
    }
}

impl PushHandle {
    /// Starts to take wakes; the work runs on the current runtime.
    #[must_use]
    pub fn start(db: Db, clock: Clock, provider: Arc<dyn PushProvider>, options: Options, metrics: &Metrics) -> Self {
        let gate = Gate::new(
            options.queue,
            metrics.gauge("dispatch_push_queue_depth", "Devices that wait to be woken, those being woken included"),
            metrics.counter("dispatch_push_queue_refused_total", "Devices that were not woken because too many waited"),
        );
        let pushes = metrics.counters(
            "dispatch_pushes_total",
            "Devices to be woken, by what became of it (sent, no_device, token_gone, closed, too_late, unavailable, \
             misconfigured, store_unavailable, queue_full)",
            &["provider", "purpose", "result"],
        );
        let seconds =
            metrics.seconds("dispatch_push_seconds", "From a city's wish to wake a device to the provider's yes");
        let turns = Semaphore::new(options.at_once.max(1));
        let (runtime, refused) = (Handle::current(), AtomicBool::new(false));
        Self(Arc::new(Shared { db, clock, provider, options, gate, turns, runtime, refused, pushes, seconds }))
    }

    /// Wakes a rider's device, without waiting. When too many wait already it is dropped and counted: the offer stays
    /// open for its time, and goes to somebody else after it.
    pub fn wake(&self, wake: Wake) {
        let Some(permit) = self.0.gate.enter() else { return self.0.count(&wake, Outcome::QueueFull) };
        let (shared, begun) = (self.0.clone(), Instant::now());
        self.0.runtime.spawn(async move {
            let outcome = shared.carry_out(&wake).await;
            if outcome == Outcome::Sent {
                shared.seconds.observe(begun.elapsed().as_secs_f64());
            }
            shared.count(&wake, outcome);
            drop(permit);
        });
    }
}

impl Shared {
    fn count(&self, wake: &Wake, outcome: Outcome) {
        self.pushes.with_label_values(&[self.provider.name(), purpose(wake.why), outcome.as_str()]).inc();
    }

    /// Tries until the provider takes it, or nothing more can come of it. The turn is given back between two tries.
    async fn carry_out(&self, wake: &Wake) -> Outcome {
        for tried in 1.. {
            let left = self.left(wake);
            // It is never closed.
            let Ok(Ok(turn)) = timeout(left, self.turns.acquire()).await else { return Outcome::TooLate };
            let after = match self.attempt(wake).await {
                Ok(outcome) => return outcome,
                Err(after) => after,
            };
            drop(turn);
            match retry::pause(&self.options, tried, after, self.left(wake)) {
                Some(pause) => sleep(pause).await,
                None => return Outcome::Unavailable,
            }
        }
        Outcome::Unavailable
    }

    /// The real time in which waking is of use.
    fn left(&self, wake: &Wake) -> Duration {
        self.clock.real(wake.until.since(self.clock.now()))
    }

    /// One try over the rider's devices, newest first; an error says when the provider wants to be asked again. Whether
    /// the offer is still open is asked each time: the rider may have answered on the socket meanwhile.
    async fn attempt(&self, wake: &Wake) -> Result<Outcome, Option<Duration>> {
        let mut devices = match rider_devices::to_wake(&self.db, wake.rider, wake.offer).await {
            Ok(Some(devices)) => devices,
            Ok(None) => return Ok(Outcome::Closed),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, rider = %wake.rider, "no device to wake could be read");
                return Ok(Outcome::StoreUnavailable);
            }
        };
        devices.retain(|device| self.provider.takes(&device.provider));
        let mut nothing = Outcome::NoDevice;
        for device in &devices {
            let time_left = self.left(wake);
            if time_left.is_zero() {
                return Ok(Outcome::TooLate);
            }
            let message = PushMessage { why: wake.why, offer: wake.offer, expires_at: wake.until, time_left };
            let Ok(sent) = timeout(time_left, self.provider.send(&device.token, &message)).await else {
                return Ok(Outcome::TooLate);
            };
            match sent {
                Ok(sent) => {
                    self.refused.store(false, Ordering::Relaxed);
                    tracing::debug!(rider = %wake.rider, id = sent.id, "a device was woken");
                    return Ok(Outcome::Sent);
                }
                Err(PushError::TokenGone) => {
                    self.forget(device).await;
                    nothing = Outcome::Gone;
                }
                Err(PushError::Retryable { after, why }) => {
                    tracing::debug!(why, rider = %wake.rider, "the push provider does not take a message now");
                    return Err(after);
                }
                Err(PushError::Misconfigured(why)) => {
                    if !self.refused.swap(true, Ordering::Relaxed) {
                        tracing::error!(why, provider = self.provider.name(), "the push provider refuses us");
                    }
                    return Ok(Outcome::Misconfigured);
                }
            }
        }
        Ok(nothing)
    }

    async fn forget(&self, device: &PushDevice) {
        tracing::debug!(?device, "a push token is gone");
        if let Err(error) = rider_devices::forget(&self.db, device).await {
            // The provider says so again next time.
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, rider = %device.rider, "a push token that is gone could not be forgotten");
        }
    }
}

impl std::fmt::Debug for PushHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PushHandle({}, {} inside)", self.0.provider.name(), self.0.gate.inside())
    }
}
