//! The side of the shell that moves batches into the spool and out of it. The disk blocks, so it is on threads that may.

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use tokio::time::Instant;

use super::{
    flow::{Sealed, Spooled, Why},
    shell::LocationLog,
    spool::{Aside, Entry, Folder, ReadError, file_size},
};
use crate::store::{
    StoreError,
    location_batches::{self, Appended},
};

/// What became of a batch on its way out of the spool.
enum Drained {
    /// Postgres has it.
    Stored(Appended),
    /// It is set aside.
    Aside(Aside, u64),
    /// It stays where it is; the reason was logged.
    Stays,
}

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    // Nobody cancels it.
    done.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
}

impl LocationLog {
    /// Writes a batch to the spool, when there is room.
    pub(super) fn spool(&mut self, sealed: Sealed, why: Why, ctx: &mut Context<Self>) {
        let Some(place) = self.ledger.admit(file_size(&sealed.rows)) else {
            if why == Why::Refused {
                tracing::error!(rows = sealed.rows.rows(), "no room in the spool for points that the database refused");
            } else {
                tracing::warn!(rows = sealed.rows.rows(), "the spool is full; points wait in memory");
            }
            return self.spooled(sealed, why, Spooled::Shut);
        };
        for gone in &place.instead_of {
            self.figures.drop_rows("spool_full", gone.rows);
            tracing::error!(rows = gone.rows, id = %gone.id, "the spool is full; its oldest points were dropped");
        }
        let (folder, rows, id, at) = (self.folder.clone(), sealed.rows.clone(), sealed.batch.id, self.clock.now());
        let number = place.number;
        let aside = (why == Why::Refused).then_some(Aside::Refused);
        let put = blocking(move || {
            for gone in &place.instead_of {
                remove(&folder, gone);
            }
            folder.put(number, id, &rows, at, aside)
        });
        ctx.spawn(put.into_actor(self).map(move |result, log, ctx| {
            let rows = sealed.rows.rows();
            match result {
                Ok(synced) => {
                    log.figures.fsync_seconds.observe(synced.sync.as_secs_f64());
                    log.figures.spill(why, rows);
                    if let Some(why) = aside {
                        log.figures.set_aside(why, rows);
                        log.ledger.set_aside(synced.bytes);
                    } else {
                        log.ledger.add(Entry { number, id, rows, bytes: synced.bytes, spooled_at: at });
                    }
                    log.spooled(sealed, why, Spooled::Kept);
                }
                Err(error) => {
                    log.figures.spool_failures.inc();
                    tracing::error!(%error, rows, folder = %log.folder.path().display(), "the spool cannot be written");
                    log.spooled(sealed, why, Spooled::Shut);
                }
            }
            log.go_on(ctx);
        }));
    }

    fn spooled(&mut self, sealed: Sealed, why: Why, result: Spooled) {
        let lost = self.flow.spooled(self.now(), sealed, why, result);
        if lost > 0 {
            self.figures.drop_rows("refused", lost as u64);
        }
    }

    /// Sends the batch at a place of the line to Postgres.
    pub(super) fn drain(&mut self, place: usize, ctx: &mut Context<Self>) {
        let Some(entry) = self.ledger.take(place) else { return };
        self.drain.begun();
        let (folder, db, at, limit, begun) =
            (self.folder.clone(), self.db.clone(), self.clock.now(), self.limit, Instant::now());
        let work = async move {
            let reader = folder.clone();
            let result = match blocking(move || reader.read(&entry)).await {
                Ok(rows) => Ok(location_batches::append(&db, entry.id, &rows, at, limit).await),
                Err(error) => Err(error),
            };
            // The file goes only after the commit is known.
            blocking(move || finish(&folder, &entry, result)).await
        };
        self.draining = Some(ctx.spawn(work.into_actor(self).map(move |drained, log, ctx| {
            log.draining = None;
            log.drained(&entry, &drained, begun);
            log.go_on(ctx);
        })));
    }

    fn drained(&mut self, entry: &Entry, drained: &Drained, begun: Instant) {
        match drained {
            Drained::Stored(appended) => {
                self.count(*appended, entry.rows);
                self.figures.drained.inc_by(entry.rows);
                self.flow.reached();
                self.ledger.remove(entry.number);
            }
            Drained::Aside(why, rows) => {
                self.figures.set_aside(*why, *rows);
                self.ledger.remove(entry.number);
                self.ledger.set_aside(entry.bytes);
            }
            Drained::Stays => {
                self.figures.failures.inc();
                self.ledger.stay();
                return self.drain.failed(self.now());
            }
        }
        self.flow.spool_has_room();
        self.drain.done(self.now(), begun.elapsed());
        if self.ledger.len() == 0 {
            tracing::info!("the spool is drained");
        }
    }

    /// Shows what is in the spool.
    pub(super) fn show_spool(&self) {
        let shown = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.figures.spool_batches.set(shown(self.ledger.len() as u64));
        self.figures.spool_rows.set(shown(self.ledger.rows()));
        self.figures.spool_bytes.set(shown(self.ledger.bytes()));
        let age = self.ledger.oldest().map_or(0, |oldest| self.clock.now().since(oldest.spooled_at).as_secs());
        self.figures.spool_age.set(shown(age));
    }
}

/// Does to the file what Postgres' answer asks for.
fn finish(folder: &Folder, entry: &Entry, result: Result<Result<Appended, StoreError>, ReadError>) -> Drained {
    let (why, rows) = match result {
        Ok(Ok(appended)) => {
            remove(folder, entry);
            return Drained::Stored(appended);
        }
        Ok(Err(error)) if error.is_transient() => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, id = %entry.id, "a spooled batch could not be stored; trying again");
            return Drained::Stays;
        }
        Err(ReadError::Io(error)) => {
            tracing::error!(%error, id = %entry.id, "a spooled batch cannot be read; trying again");
            return Drained::Stays;
        }
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, id = %entry.id, rows = entry.rows, "the database refused a spooled batch; set aside");
            (Aside::Refused, entry.rows)
        }
        Err(error @ ReadError::Damaged { .. }) => {
            tracing::error!(%error, id = %entry.id, rows = entry.rows, "a spooled batch is damaged; set aside");
            (Aside::Damaged, entry.rows)
        }
    };
    match folder.set_aside(entry.number, entry.id, why) {
        Ok(()) => Drained::Aside(why, rows),
        Err(error) => {
            tracing::error!(%error, id = %entry.id, "a spooled batch cannot be set aside; trying again");
            Drained::Stays
        }
    }
}

/// Removes the file of a batch. One that cannot be removed is found stored after the next start.
fn remove(folder: &Folder, entry: &Entry) {
    if let Err(error) = folder.remove(entry) {
        tracing::error!(%error, id = %entry.id, "a batch cannot be removed from the spool");
    }
}
