//! The actor: gathers, hands one batch at a time to a task that commits it, and spreads the results.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::JoinError,
    time::{Instant, sleep, timeout},
};

use super::{Availability, JournalHandle, Options, figures::Figures, retry};
use crate::{
    actors::{city::CityHandle, gate::Permit},
    domain::ids::TransitionId,
    engine::command::RejectReason,
    metrics::Metrics,
    store::{
        Db,
        journal::{self, Answer, JournalEntry},
    },
};

/// A write with its place in the queue and the city that waits for it.
pub struct Queued {
    pub(super) permit: Permit,
    pub(super) city: CityHandle,
    pub(super) entry: JournalEntry,
}

/// Writes of one city, in order.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Submit(pub(super) Vec<Queued>);

/// Answer when nothing waits any more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Flush(pub(super) oneshot::Sender<()>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Gathering,
    Committing,
}

struct OrderJournal {
    db: Db,
    /// Where the statements run: never on the thread of a city.
    runtime: Handle,
    options: Options,
    figures: Figures,
    state: State,
    /// Bounded by the permits that its entries hold.
    waiting: VecDeque<Queued>,
    flushes: Vec<oneshot::Sender<()>>,
}

impl JournalHandle {
    /// Starts the journal on the current arbiter; its statements run on the current runtime.
    #[must_use]
    pub fn start(db: Db, options: Options, metrics: &Metrics) -> Self {
        let figures = Figures::new(metrics);
        let (gate, placements) = (Figures::gate(metrics, &options), options.placement_bound());
        let availability = Availability::new(figures.unavailable.clone());
        let refused = figures.refused.clone();
        let address = OrderJournal {
            db,
            runtime: Handle::current(),
            options,
            figures,
            state: State::Idle,
            waiting: VecDeque::new(),
            flushes: Vec::new(),
        }
        .start();
        Self {
            inbox: address.clone().recipient(),
            flushes: address.recipient(),
            gate,
            placements,
            availability,
            refused,
        }
    }
}

impl OrderJournal {
    fn commit_next(&mut self, ctx: &mut Context<Self>) {
        if self.state == State::Committing {
            return;
        }
        let size = self.waiting.len().min(self.options.max_batch.max(1));
        if size == 0 {
            self.state = State::Idle;
            self.flushes.drain(..).for_each(|done| {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            });
            return;
        }
        self.state = State::Committing;
        let (callers, entries): (Vec<_>, Vec<_>) =
            self.waiting.drain(..size).map(|queued| ((queued.permit, queued.city), queued.entry)).unzip();
        let entries: Arc<[JournalEntry]> = entries.into();
        let task = store(self.db.clone(), entries.clone(), self.options.clone(), self.figures.clone());
        let task = self.runtime.spawn(task);
        ctx.spawn(task.into_actor(self).map(move |result, journal, ctx| {
            journal.answer(&callers, &entries, result);
            journal.state = State::Idle;
            journal.commit_next(ctx);
        }));
    }

    fn answer(
        &self,
        callers: &[(Permit, CityHandle)],
        entries: &[JournalEntry],
        result: Result<Vec<Answer>, JoinError>,
    ) {
        let answers = match result {
            Ok(answers) => answers,
            // The runtime is going away, and the process with it.
            Err(ended) if ended.is_cancelled() => return,
            Err(panic) => {
                tracing::error!(%panic, "a batch of the journal could not be handled");
                vec![Err(RejectReason::Invalid("the journal failed".to_owned())); entries.len()]
            }
        };
        let mut results: BTreeMap<_, (&CityHandle, Vec<(TransitionId, Answer)>)> = BTreeMap::new();
        for ((_, city), (entry, answer)) in callers.iter().zip(entries.iter().zip(answers)) {
            if let Err(why) = &answer {
                self.figures.rejected(why);
            }
            // By incarnation: an older one may still be waiting for its last answers.
            let (_, list) = results.entry((&entry.city, entry.epoch)).or_insert_with(|| (city, Vec::new()));
            list.push((entry.write.transition(), answer));
        }
        for (city, list) in results.into_values() {
            city.journal_results(list);
        }
    }
}

/// Commits a batch, however long the database is away.
async fn store(db: Db, batch: Arc<[JournalEntry]>, options: Options, figures: Figures) -> Vec<Answer> {
    let started = Instant::now();
    let availability = Availability::new(figures.unavailable.clone());
    figures.batch.observe(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
    let mut failed = 0_u32;
    loop {
        let error = match attempt(&db, &batch, &options, &availability).await {
            Ok(answers) => {
                if availability.answers() {
                    tracing::info!(tries = failed + 1, "the database answers again; the journal goes on");
                }
                figures.commit.observe(started.elapsed().as_secs_f64());
                return answers;
            }
            Err(error) => error,
        };
        failed = failed.saturating_add(1);
        if availability.is_silent() || failed == 1 {
            let error = &*error as &dyn std::error::Error;
            tracing::error!(error, "the database does not answer; nothing is confirmed until it does");
        }
        figures.retries.inc();
        sleep(retry::pause(&options, failed, rand::random())).await;
    }
}

/// Tries once. Long before the attempt is given up, its silence is told to those who ask why nothing comes.
async fn attempt(
    db: &Db,
    batch: &[JournalEntry],
    options: &Options,
    availability: &Availability,
) -> Result<Vec<Answer>, Box<dyn std::error::Error + Send>> {
    let silent = Duration::from_millis(options.silent_ms);
    // A connection may hang without an end. Should the attempt that is given up still commit, the next one finds its
    // writes stored.
    let limit = Duration::from_millis(options.attempt_ms.max(1)).max(silent);
    let mut committing = std::pin::pin!(journal::commit(db, batch));
    let answer = match timeout(silent, &mut committing).await {
        Ok(answer) => Ok(answer),
        Err(_elapsed) => {
            if availability.is_silent() {
                tracing::warn!(
                    ?silent,
                    "the database has not answered for a while; nothing is confirmed until it does"
                );
            }
            timeout(limit - silent, committing).await
        }
    };
    match answer {
        Ok(Ok(answers)) => Ok(answers),
        Ok(Err(error)) => Err(Box::new(error)),
        Err(elapsed) => Err(Box::new(elapsed)),
    }
}

impl Actor for OrderJournal {
    type Context = Context<Self>;
}

impl Handler<Submit> for OrderJournal {
    type Result = ();

    fn handle(&mut self, Submit(writes): Submit, ctx: &mut Context<Self>) {
        self.waiting.extend(writes);
        match self.state {
            State::Committing => {}
            _ if self.waiting.len() >= self.options.max_batch => self.commit_next(ctx),
            State::Idle => {
                self.state = State::Gathering;
                ctx.run_later(Duration::from_millis(self.options.max_wait_ms), Self::commit_next);
            }
            State::Gathering => {}
        }
    }
}

impl Handler<Flush> for OrderJournal {
    type Result = ();

    fn handle(&mut self, Flush(done): Flush, ctx: &mut Context<Self>) {
        self.flushes.push(done);
        self.commit_next(ctx);
    }
}
