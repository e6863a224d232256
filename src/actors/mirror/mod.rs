//! The mirror: what the cities publish, written to the cache. It is told and never asked; nobody decides by it.

mod latest;

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use prometheus::{IntCounter, IntGauge};
use serde::Deserialize;

use crate::{
    actors::gate::{Gate, Permit},
    cache::{Cache, CacheWrite},
    domain::ids::{CityCode, OrderId},
    engine::view::{CityChanges, CitySnapshot},
    metrics::Metrics,
};

use latest::Latest;

/// Settings of the mirror.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MirrorOptions {
    /// Milliseconds between two flushes.
    pub flush_ms: u64,
    /// Changes in one pipeline.
    pub pipeline: usize,
    /// Published changes that may wait to be taken in.
    pub queue: usize,
}

impl Default for MirrorOptions {
    fn default() -> Self {
        Self { flush_ms: 250, pipeline: 1_000, queue: 1_024 }
    }
}

/// Everything is written again this often: the duty keys live for 300 s, and a cache that was flushed by hand heals.
const RENEW_ALL: Duration = Duration::from_secs(120);

/// The longest pause between two tries while the cache is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a city publishes.
#[derive(Clone, Debug)]
pub enum Published {
    /// What changed, and the queue when that changed.
    Changes(CityCode, Arc<CityChanges>, Option<Vec<OrderId>>),
    /// A whole city, after a start or when changes could not be taken in.
    Whole(Arc<CitySnapshot>, Vec<OrderId>),
}

/// The sending side of the mirror's queue.
#[derive(Clone, Debug)]
pub struct MirrorHandle {
    inbox: Addr<Mirror>,
    gate: Gate,
}

impl MirrorHandle {
    /// Publishes; `false` when the queue is full, and the city then publishes itself whole next time.
    #[must_use]
    pub fn publish(&self, published: Published) -> bool {
        let Some(permit) = self.gate.enter() else { return false };
        self.inbox.do_send(Publish { _permit: permit, published });
        true
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Publish {
    _permit: Permit,
    published: Published,
}

struct Figures {
    writes: IntCounter,
    failures: IntCounter,
    unavailable: IntGauge,
}

/// The actor.
pub struct Mirror {
    cache: Cache,
    options: MirrorOptions,
    latest: Latest,
    figures: Figures,
    /// Tries in a row that failed.
    failed: u32,
    renew_in: Duration,
}

impl Mirror {
    /// Starts the mirror on the current arbiter.
    #[must_use]
    pub fn start(cache: Cache, options: MirrorOptions, metrics: &Metrics) -> MirrorHandle {
        let gate = Gate::new(
            options.queue,
            metrics.gauge("dispatch_mirror_queue_depth", "Published changes that wait for the mirror"),
            metrics.counter("dispatch_mirror_queue_refused_total", "Published changes that found the queue full"),
        );
        let figures = Figures {
            writes: metrics.counter("dispatch_mirror_writes_total", "Changes written to the cache"),
            failures: metrics.counter("dispatch_mirror_failures_total", "Pipelines that the cache did not take"),
            unavailable: metrics.gauge("dispatch_mirror_unavailable", "1 while the cache does not answer"),
        };
        let mirror = Self { cache, options, latest: Latest::default(), figures, failed: 0, renew_in: RENEW_ALL };
        MirrorHandle { inbox: Actor::start(mirror), gate }
    }

    fn flush_later(&mut self, ctx: &mut Context<Self>) {
        let every = Duration::from_millis(self.options.flush_ms.max(10));
        // Doubles with each failure.
        let pause = every.saturating_mul(1 << self.failed.min(10)).min(LONGEST_PAUSE.max(every));
        self.renew_in = self.renew_in.saturating_sub(pause);
        ctx.run_later(pause, Self::flush);
    }

    fn flush(&mut self, ctx: &mut Context<Self>) {
        if self.renew_in.is_zero() {
            self.renew_in = RENEW_ALL;
            self.latest.rebuild();
        }
        let writes = self.latest.take_writes();
        let cache = self.cache.clone();
        let chunk = self.options.pipeline.max(1);
        // One flush at a time: the next is planned when this one has ended.
        let written = async move {
            for writes in writes.chunks(chunk) {
                cache.apply(writes).await?;
            }
            Ok::<usize, crate::cache::CacheError>(count(&writes))
        };
        ctx.spawn(written.into_actor(self).map(|result, mirror, ctx| {
            mirror.flushed(result);
            mirror.flush_later(ctx);
        }));
    }

    fn flushed(&mut self, result: Result<usize, crate::cache::CacheError>) {
        match result {
            Ok(written) => {
                self.figures.writes.inc_by(written as u64);
                if self.failed > 0 {
                    tracing::info!(tries = self.failed, "the cache answers again; the mirror was rebuilt");
                    self.figures.unavailable.set(0);
                }
                self.failed = 0;
            }
            Err(error) => {
                self.figures.failures.inc();
                self.figures.unavailable.set(1);
                if self.failed == 0 {
                    tracing::warn!(%error, "the cache does not answer; the mirror keeps the latest values");
                }
                self.failed = self.failed.saturating_add(1);
                // Nobody knows what arrived, or what a restarted server has lost.
                self.latest.rebuild();
            }
        }
    }
}

/// Changes that say something; the renewal of a pool's life alone does not.
fn count(writes: &[CacheWrite]) -> usize {
    writes
        .iter()
        .filter(|write| !matches!(write, CacheWrite::Pool { add, remove, .. } if add.is_empty() && remove.is_empty()))
        .count()
}

impl Actor for Mirror {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.options.queue);
        self.flush_later(ctx);
    }
}

impl Handler<Publish> for Mirror {
    type Result = ();

    fn handle(&mut self, message: Publish, _: &mut Self::Context) {
        match message.published {
            Published::Changes(city, changes, queue) => self.latest.change(&city, &changes, queue),
            Published::Whole(snapshot, queue) => self.latest.replace(&snapshot, queue),
        }
    }
}
