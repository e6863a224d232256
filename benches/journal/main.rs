//! The order journal: transitions of orders per second with group commit against one transaction each, in one run, and how
//! long a transition waits for its commit at a tenth, at half and at nine tenths of what the journal can do.
//! `cargo bench --bench journal`; seconds per measurement as an argument, `--quick` for one.

mod life;

#[path = "../common/mod.rs"]
mod common;

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use actix::{Actor, Arbiter, Context, Handler};
use common::{Surroundings, crate_version, line, postgres_version};
use dispatch_engine::{
    actors::{
        city::{CityBody, CityHandle, CityMessage, Life as CityLife, RuleBoard},
        gate::Gate,
        order_journal::{JournalHandle, Options},
    },
    app,
    clock::Clock,
    domain::ids::{CityCode, TransitionId},
    engine::command::RejectReason,
    metrics::Metrics,
    store::{
        Db,
        epochs::{self, Claim, Claimant},
        journal::{self, JournalEntry},
        migrate::{self, PoolOptions},
        partitions,
    },
    supervisor::{DataDir, Postgres, PostgresOptions},
};
use hdrhistogram::Histogram;
use life::Life;
use tokio::sync::mpsc;

type Anyhow<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Writers that commit one transition each, at the same time.
const WRITERS: usize = 16;
/// Orders with a transition under way while the capacity is measured: two full batches.
const IN_FLIGHT: usize = 1_024;
/// Shares of the capacity at which the wait is measured.
const LOADS: [f64; 3] = [0.1, 0.5, 0.9];
/// The step of the open loop's schedule; several transitions may be due in one.
const STEP: Duration = Duration::from_millis(1);

/// What came back from the journal, and when.
type Answers = (Instant, Vec<(TransitionId, Result<(), RejectReason>)>);

/// Stands where a city does and hears the journal's answers.
struct City(mpsc::UnboundedSender<Answers>);

impl Actor for City {
    type Context = Context<Self>;
}

impl Handler<CityMessage> for City {
    type Result = ();

    fn handle(&mut self, message: CityMessage, _: &mut Context<Self>) {
        if let CityBody::Journal(results) = message.body {
            // Whoever measured may be done.
            let _ = self.0.send((Instant::now(), results));
        }
    }
}

/// The bench's world: a stored city, its orders, and a way to the database.
struct Bed {
    db: Db,
    clock: Clock,
    city: CityCode,
    epoch: i64,
    waiting: VecDeque<Life>,
}

impl Bed {
    async fn new(postgres: &Postgres) -> Anyhow<Self> {
        let options = PoolOptions {
            connections: u32::try_from(WRITERS)? + 2,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
        };
        let db = migrate::connect(&postgres.ensure_database("bench").await?, options).await?;
        migrate::migrate(&db).await?;
        let (clock, city) = (Clock::system(), CityCode::parse("blr")?);
        sqlx::query(
            "INSERT INTO cities (code, name, status, boundary, time_zone, currency, created_at, updated_at)
             VALUES ($1, 'Bengaluru', 'live', '{}', 'Asia/Kolkata', 'INR', $2, $2)",
        )
        .bind(city.as_str())
        .bind(clock.now().to_datetime())
        .execute(&db)
        .await?;
        partitions::ensure_months(&db, clock.now()).await?;
        let by = Claimant { instance: "bench", holder: "bench", lease: Duration::from_secs(3_600), take_over: false };
        let Claim::Granted(epoch) = epochs::claim(&db, &city, &by, clock.now(), Clock::wall()).await? else {
            return Err("somebody else holds a city of this new database".into());
        };
        Ok(Self { db, clock, city, epoch, waiting: VecDeque::new() })
    }

    /// Sees to it that so many orders are stored and wait.
    async fn provide(&mut self, orders: usize) -> Anyhow<()> {
        while self.waiting.len() < orders {
            let (lives, writes): (Vec<_>, Vec<_>) = (0..512).map(|_| Life::begin(&self.clock)).unzip();
            let batch: Vec<_> = writes.into_iter().map(|write| self.entry(write)).collect();
            let answers = journal::commit(&self.db, &batch).await?;
            all_stored(&answers)?;
            self.waiting.extend(lives);
        }
        Ok(())
    }

    fn entry(&self, write: dispatch_engine::engine::effect::Write) -> JournalEntry {
        JournalEntry { city: self.city.clone(), epoch: self.epoch, write }
    }

    /// Whole lives that take turns at one connection each, a transaction per transition; transitions per second.
    async fn one_by_one(&mut self, writers: usize, span: Duration) -> Anyhow<f64> {
        self.provide(10_000).await?;
        let mut shares: Vec<Vec<Life>> = (0..writers).map(|_| Vec::new()).collect();
        for (at, life) in self.waiting.drain(..).enumerate() {
            shares[at % writers].push(life);
        }
        let start = Instant::now();
        let tasks: Vec<_> = shares
            .into_iter()
            .map(|mut lives| {
                let (db, clock, city, epoch) = (self.db.clone(), self.clock.clone(), self.city.clone(), self.epoch);
                tokio::spawn(async move {
                    let mut stored = 0_u64;
                    while start.elapsed() < span {
                        let Some(mut life) = lives.pop() else { return Err("too few orders".into()) };
                        while !life.is_over() && start.elapsed() < span {
                            let entry = JournalEntry { city: city.clone(), epoch, write: life.next(&clock) };
                            all_stored(&journal::commit(&db, std::slice::from_ref(&entry)).await?)?;
                            stored += 1;
                        }
                    }
                    Anyhow::Ok(stored)
                })
            })
            .collect();
        let mut stored = 0;
        for task in tasks {
            stored += task.await??;
        }
        Ok(per_second(stored, start.elapsed()))
    }

    /// As much as goes through the journal: the next transition follows each answer. Transitions per second.
    async fn capacity(&mut self, group: &mut Group, span: Duration) -> Anyhow<f64> {
        self.provide(30_000).await?;
        let mut under_way = HashMap::new();
        let (start, mut stored) = (Instant::now(), 0_u64);
        for _ in 0..IN_FLIGHT {
            let life = self.waiting.pop_front().ok_or("too few orders")?;
            group.submit(self, life, &mut under_way, start)?;
        }
        loop {
            let (at, results) = group.answers.recv().await.ok_or("the journal is gone")?;
            let on = at.duration_since(start) < span;
            for (transition, result) in results {
                let (life, _) = under_way.remove(&transition).ok_or("an answer that nobody waits for")?;
                result.map_err(|why| format!("not stored: {why:?}"))?;
                stored += u64::from(on);
                if on {
                    let next = if life.is_over() { self.waiting.pop_front().ok_or("too few orders")? } else { life };
                    group.submit(self, next, &mut under_way, at)?;
                } else if !life.is_over() {
                    self.waiting.push_back(life);
                }
            }
            if under_way.is_empty() {
                return Ok(per_second(stored, span));
            }
        }
    }

    /// Transitions that come by a schedule, whether or not the journal keeps up; each waits from its scheduled time.
    async fn open_loop(&mut self, group: &mut Group, rate: f64, span: Duration) -> Anyhow<Histogram<u64>> {
        // Should the journal fall behind, every arrival needs an order of its own.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bench of seconds")]
        self.provide((rate * span.as_secs_f64()) as usize).await?;
        let mut waits = Histogram::<u64>::new(3)?;
        let mut under_way = HashMap::new();
        let start = Instant::now();
        let mut ticks = tokio::time::interval(STEP);
        let mut sent = 0_u64;
        loop {
            tokio::select! {
                _ = ticks.tick(), if start.elapsed() < span => {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
                    let due = (start.elapsed().as_secs_f64() * rate) as u64;
                    while sent < due {
                        #[expect(clippy::cast_precision_loss, reason = "a small count")]
                        let scheduled = start + Duration::from_secs_f64(sent as f64 / rate);
                        let life = self.waiting.pop_front().ok_or("too few orders")?;
                        group.submit(self, life, &mut under_way, scheduled)?;
                        sent += 1;
                    }
                }
                answers = group.answers.recv() => {
                    let (at, results) = answers.ok_or("the journal is gone")?;
                    for (transition, result) in results {
                        let (life, scheduled) = under_way.remove(&transition).ok_or("an answer too many")?;
                        result.map_err(|why| format!("not stored: {why:?}"))?;
                        waits.record(u64::try_from(at.saturating_duration_since(scheduled).as_micros())?)?;
                        if !life.is_over() {
                            self.waiting.push_back(life);
                        }
                    }
                }
            }
            if under_way.is_empty() && start.elapsed() >= span {
                return Ok(waits);
            }
        }
    }
}

/// The journal and the city that submits to it.
struct Group {
    journal: JournalHandle,
    handle: CityHandle,
    answers: mpsc::UnboundedReceiver<Answers>,
}

impl Group {
    fn submit(
        &self,
        bed: &Bed,
        mut life: Life,
        under_way: &mut HashMap<TransitionId, (Life, Instant)>,
        at: Instant,
    ) -> Anyhow<()> {
        let write = life.next(&bed.clock);
        under_way.insert(write.transition(), (life, at));
        let refused = self.journal.submit(&self.handle, bed.epoch, vec![write]);
        if refused.is_empty() { Ok(()) } else { Err(format!("refused: {refused:?}").into()) }
    }
}

fn all_stored(answers: &[Result<(), RejectReason>]) -> Anyhow<()> {
    match answers.iter().find_map(|answer| answer.as_ref().err()) {
        Some(why) => Err(format!("not stored: {why:?}").into()),
        None => Ok(()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn per_second(count: u64, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64()
}

async fn surroundings(db: &Db, span: Duration) -> Anyhow<Surroundings> {
    let command = format!("cargo bench --bench journal -- {}", span.as_secs());
    let postgres = postgres_version(db).await?;
    let surroundings = Surroundings::begin(&command, &[("PostgreSQL", postgres), ("sqlx", crate_version("sqlx"))]);
    line("work", "offered, assigned (each with its offer), at_pickup, picked_up, at_dropoff, delivered (with ledger)");
    line("", &format!("{} s per measurement\n", span.as_secs()));
    Ok(surroundings)
}

async fn measure(span: Duration) -> Anyhow<()> {
    let folder = tempfile::tempdir()?;
    let folder = DataDir::open(folder.path())?;
    let options = PostgresOptions {
        bin: std::env::var_os("PGBIN").map(Into::into),
        search_path: std::env::var("PATH").unwrap_or_default(),
        durable: true,
        max_connections: 60,
    };
    let postgres = Postgres::start(&folder, &options).await?;
    let mut bed = Bed::new(&postgres).await?;
    let surroundings = surroundings(&bed.db, span).await?;

    let (sender, answers) = mpsc::unbounded_channel();
    let city = City::start_in_arbiter(&Arbiter::new().handle(), |_| City(sender));
    let life = CityLife::begin();
    let handle =
        CityHandle::new(bed.city.clone(), city.recipient(), Gate::unmetered(1), life.line(), RuleBoard::default());
    let journal = JournalHandle::start(bed.db.clone(), Options::default(), &Metrics::new());
    let mut group = Group { journal, handle, answers };

    println!("{:<44} {:>14} {:>10}", "transitions per second", "committed/s", "ratio");
    let single = bed.one_by_one(1, span).await?;
    println!("{:<44} {single:>14.0} {:>10}", "one transaction each, one writer", "1.0");
    let many = bed.one_by_one(WRITERS, span).await?;
    println!("{:<44} {many:>14.0} {:>10.1}", format!("one transaction each, {WRITERS} writers"), many / single);
    let capacity = bed.capacity(&mut group, span).await?;
    println!("{:<44} {capacity:>14.0} {:>10.1}", "group commit through the journal", capacity / single);
    println!("{:<44} {:>14} {:>10.1}\n", format!("  against the {WRITERS} writers"), "", capacity / many);

    println!("{:<44} {:>9} {:>9} {:>9}", "wait for the commit, open loop, ms", "p50", "p99", "max");
    for share in LOADS {
        let waits = bed.open_loop(&mut group, capacity * share, span).await?;
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a bench")]
        let [p50, p99, max] =
            [waits.value_at_quantile(0.5), waits.value_at_quantile(0.99), waits.max()].map(|us| us as f64 / 1_000.0);
        let name = format!("{:.0} % of the capacity, {:.0}/s", share * 100.0, capacity * share);
        println!("{name:<44} {p50:>9.1} {p99:>9.1} {max:>9.1}");
    }
    surroundings.end();
    bed.db.close().await;
    Ok(postgres.stop().await?)
}

fn main() -> Anyhow<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let seconds = match arguments.next().as_deref() {
        None => 10,
        Some("--quick") => 1,
        Some(seconds) => seconds.parse()?,
    };
    app::run(measure(Duration::from_secs(seconds)))?
}
