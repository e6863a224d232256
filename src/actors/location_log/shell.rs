//! The shell of the location log: an actor on a thread of its own, because encoding a batch would hold up a city. The disk is
//! on other threads (`spooling.rs`).

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorContext, ActorFutureExt, Arbiter, AsyncContext, Context, Handler, SpawnHandle, WrapFuture};
use tokio::{sync::oneshot, time::Instant};

use super::{
    Figures, LocationLogHandle, Options,
    buffer::Bounds,
    drain::Drain,
    flow::{Flow, Sealed, Step, Written},
    messages::{Append, Stop},
    spool::{Folder, Ledger, Recovered, SpoolError, SpooledTracks, recover},
};
use crate::{
    actors::gate::Gate,
    clock::Clock,
    metrics::Metrics,
    store::{
        Db, StoreError,
        location_batches::{self, Appended},
    },
};

/// The actor. What belongs to the spool is moved in `spooling.rs`.
pub(super) struct LocationLog {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) figures: Figures,
    pub(super) flow: Flow,
    pub(super) folder: Arc<Folder>,
    pub(super) ledger: Ledger,
    pub(super) drain: Drain,
    /// The batch of the spool that is on its way to Postgres.
    pub(super) draining: Option<SpawnHandle>,
    /// The longest that Postgres may take over one batch.
    pub(super) limit: Duration,
    /// What the pure parts count their time from.
    began: Instant,
    /// The live batch that is on its way to Postgres.
    writing: Option<(SpawnHandle, Sealed)>,
    /// Wakes the log, and when.
    timer: Option<(Duration, SpawnHandle)>,
    stopping: Vec<oneshot::Sender<()>>,
}

/// Starts the location log; needs a running actix system, with which it ends. What an earlier engine left in the spool is
/// drained, and told beside the handle, because devices may send those points again before the database knows them.
///
/// # Errors
/// [`SpoolError`] when the folder of the spool cannot be used.
pub async fn start(
    db: Db,
    clock: Clock,
    metrics: &Metrics,
    options: Options,
) -> Result<(LocationLogHandle, SpooledTracks), SpoolError> {
    let (spool, now) = (options.spool.clone(), clock.now());
    let open = move || {
        let folder = Folder::open(&spool.dir)?;
        let found = recover(&folder, &spool, now)?;
        Ok((folder, found))
    };
    let opened = tokio::task::spawn_blocking(open).await;
    let (folder, found) = opened.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))?;
    let Recovered { ledger, tracks, aside } = found;
    let figures = Figures::new(metrics);
    for (why, rows) in aside {
        figures.set_aside(why, rows);
    }
    let (batches, rows) = (ledger.len(), ledger.rows());
    tracing::info!(folder = %folder.path().display(), batches, rows, devices = tracks.len(), "the spool is open");
    let gate = Gate::new(options.max_messages, figures.depth.clone(), figures.refused.clone());
    let bounds = Bounds {
        flush_rows: options.flush_rows.max(1),
        flush_age: Duration::from_millis(options.flush_age_ms),
        max_points: options.max_rows.max(1),
    };
    let log = LocationLog {
        db,
        clock,
        figures: figures.clone(),
        flow: Flow::new(bounds, options.spill_rows),
        folder: Arc::new(folder),
        ledger,
        drain: Drain::new(options.spool.drain_share),
        draining: None,
        limit: Duration::from_millis(options.write_timeout_ms),
        began: Instant::now(),
        writing: None,
        timer: None,
        stopping: Vec::new(),
    };
    log.show_spool();
    let address = LocationLog::start_in_arbiter(&Arbiter::new().handle(), |_| log);
    let handle = LocationLogHandle {
        append: address.clone().recipient(),
        stop: address.recipient(),
        gate,
        figures,
        max_rows: options.max_rows,
        max_spool_bytes: options.spool.max_bytes,
        stopping: Arc::default(),
    };
    Ok((handle, tracks))
}

impl Actor for LocationLog {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.go_on(ctx);
    }
}

impl Handler<Append> for LocationLog {
    type Result = ();

    fn handle(&mut self, message: Append, ctx: &mut Context<Self>) {
        let dropped = self.flow.push(self.now(), message.points);
        drop(message.permit);
        if dropped > 0 {
            self.figures.drop_rows("buffer_full", dropped as u64);
            tracing::warn!(dropped, "the location log's memory is full; the oldest points were dropped");
        }
        self.go_on(ctx);
    }
}

impl Handler<Stop> for LocationLog {
    type Result = ();

    fn handle(&mut self, message: Stop, ctx: &mut Context<Self>) {
        self.stopping.push(message.done);
        // What is in the spool stays there; the next engine drains it.
        if let Some(draining) = self.draining.take() {
            ctx.cancel_future(draining);
        }
        self.drain.suspend();
        self.flow.flush();
        let left = message.hurry_at.saturating_duration_since(Instant::now());
        ctx.run_later(left, |log, ctx| {
            log.flow.hurry();
            // Should it be stored all the same, the next engine finds it so.
            if let Some((writing, sealed)) = log.writing.take() {
                ctx.cancel_future(writing);
                log.flow.written(log.now(), sealed, Written::Failed);
            }
            log.go_on(ctx);
        });
        self.go_on(ctx);
    }
}

impl LocationLog {
    /// The time that the pure parts know.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes every step that can be taken now, and sees to it that the log wakes up for the next.
    pub(super) fn go_on(&mut self, ctx: &mut Context<Self>) {
        while let Some(step) = self.flow.next(self.now(), || self.clock.new_id()) {
            match step {
                Step::Write(sealed) => self.write(sealed, ctx),
                Step::Spool(sealed, why) => self.spool(sealed, why, ctx),
            }
        }
        if !self.flow.is_behind()
            && let Some(place) = self.drain.next(self.now(), self.ledger.len())
        {
            self.drain(place, ctx);
        }
        self.figures.buffered.set(i64::try_from(self.flow.held()).unwrap_or(i64::MAX));
        self.show_spool();
        if !self.stopping.is_empty() && self.flow.held() == 0 {
            for done in self.stopping.drain(..) {
                // Whoever waited may have given up.
                let _ = done.send(());
            }
            return ctx.stop();
        }
        self.wake(ctx);
    }

    fn wake(&mut self, ctx: &mut Context<Self>) {
        // A drain that waits for live rows is woken by the end of their write.
        let drain = self.drain.wake_at().filter(|_| self.ledger.len() > 0 && !self.flow.is_behind());
        let Some(at) = self.flow.wake_at().into_iter().chain(drain).min() else { return };
        if let Some((before, timer)) = self.timer.take() {
            if before <= at {
                // Too early does no harm.
                self.timer = Some((before, timer));
                return;
            }
            ctx.cancel_future(timer);
        }
        let wait = at.saturating_sub(self.now()).max(Duration::from_millis(1));
        let timer = ctx.run_later(wait, |log, ctx| {
            log.timer = None;
            log.go_on(ctx);
        });
        self.timer = Some((at, timer));
    }

    fn write(&mut self, sealed: Sealed, ctx: &mut Context<Self>) {
        let (db, begun, limit) = (self.db.clone(), Instant::now(), self.limit);
        let (id, rows, at) = (sealed.batch.id, sealed.rows.clone(), self.clock.now());
        let write = async move { location_batches::append(&db, id, &rows, at, limit).await };
        let handle = ctx.spawn(write.into_actor(self).map(move |result, log, ctx| {
            log.figures.write_seconds.observe(begun.elapsed().as_secs_f64());
            if let Some((_, sealed)) = log.writing.take() {
                log.written(sealed, result);
                log.go_on(ctx);
            }
        }));
        self.writing = Some((handle, sealed));
    }

    fn written(&mut self, sealed: Sealed, result: Result<Appended, StoreError>) {
        let rows = sealed.rows.rows();
        let result = match result {
            Ok(appended) => {
                self.count(appended, rows);
                Written::Stored
            }
            Err(error) if error.is_transient() => {
                self.figures.failures.inc();
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, rows, "points could not be stored; they go to the spool");
                Written::Failed
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, rows, id = %sealed.batch.id, "the database refused points");
                Written::Refused
            }
        };
        self.flow.written(self.now(), sealed, result);
    }

    /// Counts what Postgres has now.
    pub(super) fn count(&self, appended: Appended, rows: u64) {
        match appended {
            Appended::Stored => self.figures.stored.inc_by(rows),
            Appended::Before => self.figures.already_stored.inc_by(rows),
        }
    }
}
