//! The shell of the location log: an actor on a thread of its own, because encoding a batch would hold up a city.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, Arbiter, AsyncContext, Context, Handler, SpawnHandle, WrapFuture};
use tokio::{sync::oneshot, time::Instant};

use super::{
    Figures, LocationLogHandle, Options,
    buffer::{Bounds, Buffer, Written},
    messages::{Append, Flush},
};
use crate::{
    actors::gate::Gate,
    metrics::Metrics,
    store::{Db, StoreError, location_logs},
};

struct LocationLog {
    db: Db,
    options: Options,
    figures: Figures,
    buffer: Buffer,
    /// Wakes the log when the oldest point is old enough, or after a failure.
    timer: Option<SpawnHandle>,
    waiting: Vec<oneshot::Sender<()>>,
}

/// Starts the location log; needs a running actix system, with which it ends.
#[must_use]
pub fn start(db: Db, metrics: &Metrics, options: Options) -> LocationLogHandle {
    let figures = Figures::new(metrics);
    let gate = Gate::new(options.max_messages, figures.depth.clone(), figures.refused.clone());
    let max_rows = options.max_rows.max(1);
    let log = LocationLog {
        db,
        buffer: Buffer::new(Bounds { flush_rows: options.flush_rows.max(1), max_rows }),
        options,
        figures: figures.clone(),
        timer: None,
        waiting: Vec::new(),
    };
    let address = LocationLog::start_in_arbiter(&Arbiter::new().handle(), |_| log);
    LocationLogHandle { append: address.clone().recipient(), flush: address.recipient(), gate, figures, max_rows }
}

impl Actor for LocationLog {
    type Context = Context<Self>;
}

impl Handler<Append> for LocationLog {
    type Result = ();

    fn handle(&mut self, message: Append, ctx: &mut Context<Self>) {
        let dropped = self.buffer.push(&message.points);
        drop(message.permit);
        if dropped > 0 {
            self.figures.dropped.with_label_values(&["buffer_full"]).inc_by(dropped as u64);
            tracing::warn!(dropped, "the location log's buffer is full; the oldest points were dropped");
        }
        self.go_on(ctx);
    }
}

impl Handler<Flush> for LocationLog {
    type Result = ();

    fn handle(&mut self, message: Flush, ctx: &mut Context<Self>) {
        self.waiting.push(message.done);
        self.write(ctx);
        self.go_on(ctx);
    }
}

impl LocationLog {
    /// Writes when a batch is due, and sees to it that the log wakes up in time otherwise.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        if self.buffer.is_due() {
            self.write(ctx);
        }
        self.figures.buffered.set(i64::try_from(self.buffer.len()).unwrap_or(i64::MAX));
        if self.buffer.is_empty() {
            for done in self.waiting.drain(..) {
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        } else if self.timer.is_none() {
            let age = Duration::from_millis(self.options.flush_age_ms);
            self.wake_in(age.max(self.buffer.backoff()), ctx);
        }
    }

    fn wake_in(&mut self, span: Duration, ctx: &mut Context<Self>) {
        self.timer = Some(ctx.run_later(span, |log, ctx| {
            log.timer = None;
            log.write(ctx);
            log.go_on(ctx);
        }));
    }

    fn write(&mut self, ctx: &mut Context<Self>) {
        let Some(batch) = self.buffer.begin() else { return };
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let (db, begun) = (self.db.clone(), Instant::now());
        let limit = Duration::from_millis(self.options.write_timeout_ms);
        let write = async move { tokio::time::timeout(limit, location_logs::append(&db, &batch)).await };
        ctx.spawn(write.into_actor(self).map(move |result, log, ctx| {
            log.figures.write_seconds.observe(begun.elapsed().as_secs_f64());
            log.written(result.unwrap_or_else(|_| Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut))), ctx);
        }));
    }

    fn written(&mut self, result: Result<u64, StoreError>, ctx: &mut Context<Self>) {
        match result {
            Ok(_) => {
                let rows = self.buffer.written(Written::Stored);
                self.figures.stored.inc_by(rows as u64);
            }
            Err(error) if error.is_transient() => {
                self.buffer.written(Written::Later);
                self.figures.failures.inc();
                tracing::warn!(error = &error as &dyn std::error::Error, "points could not be stored; trying again");
                if let Some(timer) = self.timer.take() {
                    ctx.cancel_future(timer);
                }
                self.wake_in(self.buffer.backoff(), ctx);
            }
            Err(error) => {
                let rows = self.buffer.written(Written::Refused);
                self.figures.dropped.with_label_values(&["refused"]).inc_by(rows as u64);
                tracing::error!(error = &error as &dyn std::error::Error, rows, "the database refused points");
            }
        }
        if !self.waiting.is_empty() && self.buffer.backoff().is_zero() {
            self.write(ctx);
        }
        self.go_on(ctx);
    }
}
