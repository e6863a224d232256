//! Brings cities up and keeps them up: claims the epoch, reads the store, starts the actor, puts the slot; and again when
//! an incarnation panicked, because the supervisor of actix does not.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Arbiter, ArbiterHandle};
use tokio::{runtime::Handle, sync::mpsc, time::sleep};

use super::{
    Options, Router, Slot,
    restarts::{Restarts, Verdict, backoff},
};
use crate::{
    actors::city::{self, CityCallError, CityDeps, CityHandle, EndReport, Ended, Ending, Incarnation},
    clock::Clock,
    domain::{
        city::{City, CityStatus},
        ids::CityCode,
    },
    engine::command::Command,
    store::{Db, StoreError, epochs, partitions, recovery},
};

/// What the launcher needs.
#[derive(Clone)]
pub struct LauncherDeps {
    /// The store.
    pub db: Db,
    /// What the cities share.
    pub city: CityDeps,
    /// Settings.
    pub options: Options,
    /// Names this process in the epochs, for people.
    pub holder: String,
}

/// Why a city could not be brought up or changed.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// This process is ending.
    #[error("this process is ending")]
    Stopping,
    /// Another process took the city over; this one never takes it back by itself.
    #[error("another process holds the city")]
    Fenced,
    /// The store did not answer, or holds what cannot be read.
    #[error("the city could not be started")]
    Store(#[from] StoreError),
    /// The running city did not take the change.
    #[error("the city did not take the change")]
    City(#[from] CityCallError),
}

/// Starts, changes and stops the cities of this process. Cheap to clone.
#[derive(Clone)]
pub struct Launcher(Arc<Inner>);

struct Inner {
    deps: LauncherDeps,
    router: Router,
    /// Where the launcher's own work runs.
    runtime: Handle,
    arbiters: Vec<ArbiterHandle>,
    next_arbiter: AtomicUsize,
    records: Mutex<BTreeMap<CityCode, Arc<tokio::sync::Mutex<Record>>>>,
    ended: mpsc::UnboundedSender<Ended>,
    stopping: AtomicBool,
}

/// What the launcher knows of a city; its lock makes starts, changes and ends of one city follow each other.
struct Record {
    settings: City,
    running: Option<(i64, CityHandle)>,
    restarts: Restarts,
    /// Another process holds it.
    fenced: bool,
    /// It failed too often.
    quarantined: bool,
}

impl Record {
    /// Whether a start that was put off is still wanted: meanwhile the city may run, or somebody has decided otherwise.
    fn awaits_start(&self) -> bool {
        self.running.is_none() && !self.fenced && !self.quarantined && self.settings.status != CityStatus::Draft
    }
}

impl Launcher {
    /// Makes the month partitions and starts every city that is not a draft, on a pool of arbiters of its own. A city
    /// whose start fails because the database went away is tried again in the background.
    ///
    /// To be called inside the actor system.
    ///
    /// # Errors
    /// [`StoreError`] when the partitions cannot be made.
    pub async fn launch(deps: LauncherDeps, cities: Vec<City>) -> Result<Self, StoreError> {
        partitions::ensure_months(&deps.db, deps.city.clock.now()).await?;
        let threads = match deps.options.threads {
            0 => std::thread::available_parallelism().map_or(2, Into::into),
            threads => threads,
        };
        let (ended, ends) = mpsc::unbounded_channel();
        let launcher = Self(Arc::new(Inner {
            deps,
            router: Router::default(),
            runtime: Handle::current(),
            arbiters: (0..threads).map(|_| Arbiter::new().handle()).collect(),
            next_arbiter: AtomicUsize::new(0),
            records: Mutex::new(BTreeMap::new()),
            ended,
            stopping: AtomicBool::new(false),
        }));
        launcher.0.runtime.spawn(follow_ends(Arc::downgrade(&launcher.0), ends));
        for city in cities {
            let code = city.code.clone();
            match launcher.apply_city(city).await {
                Ok(()) => {}
                Err(RouterError::Store(error)) if error.is_transient() => {
                    launcher.0.runtime.spawn(launcher.clone().keep_trying(code));
                }
                // Logged where it was found; the other cities go on.
                Err(_) => {}
            }
        }
        Ok(launcher)
    }

    /// Where the cities are.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.0.router
    }

    /// Starts a stored city, or tells the running one its new settings. A city that became a draft is stopped; one in
    /// quarantine is given another chance.
    ///
    /// # Errors
    /// [`RouterError`]; what is stored holds all the same, and the next start of the city reads it.
    pub async fn apply_city(&self, city: City) -> Result<(), RouterError> {
        let code = city.code.clone();
        let record = self.record(&city);
        let mut record = record.lock().await;
        record.settings = city;
        if record.fenced {
            return Err(RouterError::Fenced);
        }
        if record.running.is_none() {
            // Somebody has looked.
            record.restarts.forgive();
            self.quarantine(&mut record, false);
        }
        if record.settings.status == CityStatus::Draft {
            self.0.router.put(code, Slot::Down("draft"));
            if let Some((_, handle)) = record.running.take() {
                handle.stop().await;
            }
            return Ok(());
        }
        if let Some((_, handle)) = &record.running {
            return match handle.tell(Command::SetCity(Box::new(record.settings.clone()))) {
                // Its next incarnation starts with them.
                Ok(()) | Err(CityCallError::Gone) => Ok(()),
                Err(error) => Err(error.into()),
            };
        }
        self.0.router.put(code, Slot::Down("starting"));
        self.bring_up(&mut record).await
    }

    /// Ends every city and waits until the journal has stored what they decided; `false` when that took longer than
    /// `deadline`. Call it when no new work comes in any more.
    pub async fn stop(&self, deadline: Duration) -> bool {
        self.0.stopping.store(true, Ordering::Release);
        let journal = &self.0.deps.city.journal;
        let all = async {
            // First the writes under way, so that whoever waits for them still hears.
            let mut flushed = journal.flush(deadline).await;
            let records: Vec<_> = self.records().values().cloned().collect();
            for record in records {
                let mut record = record.lock().await;
                self.0.router.put(record.settings.code.clone(), Slot::Down("stopping"));
                if let Some((_, handle)) = record.running.take() {
                    handle.stop().await;
                    self.0.deps.city.figures.up(&record.settings.code, false);
                }
            }
            flushed &= journal.flush(deadline).await;
            flushed
        };
        let flushed = tokio::time::timeout(deadline, all).await.unwrap_or(false);
        self.0.arbiters.iter().for_each(|arbiter| {
            arbiter.stop();
        });
        flushed
    }

    /// One try to start an incarnation.
    async fn bring_up(&self, record: &mut Record) -> Result<(), RouterError> {
        if self.0.stopping.load(Ordering::Acquire) {
            return Err(RouterError::Stopping);
        }
        let deps = &self.0.deps;
        let code = record.settings.code.clone();
        let loaded = async {
            let now = deps.city.clock.now();
            let epoch = epochs::claim(&deps.db, &code, &deps.holder, now).await?;
            let report_age = record.settings.policy.max_report_age();
            Ok((epoch, recovery::load_city(&deps.db, &code, now, report_age).await?))
        };
        let (epoch, image) = loaded.await.inspect_err(|error: &StoreError| {
            let why = if error.is_transient() { "starting" } else { "unreadable" };
            self.0.router.put(code.clone(), Slot::Down(why));
            let error = error as &dyn std::error::Error;
            tracing::error!(city = %code, error, "a city could not be started");
        })?;
        let report = EndReport::new(code.clone(), epoch, self.0.ended.clone());
        let incarnation = Incarnation { settings: record.settings.clone(), epoch, image };
        let handle = city::start(self.arbiter(), deps.city.clone(), incarnation, report);
        record.running = Some((epoch, handle.clone()));
        self.0.router.put(code, Slot::Running(handle));
        Ok(())
    }

    /// Tries to start a city until it runs, or somebody else has decided about it.
    async fn keep_trying(self, code: CityCode) {
        for failed in 1.. {
            sleep(backoff(&self.0.deps.options, failed)).await;
            let Some(record) = self.records().get(&code).cloned() else { return };
            let mut record = record.lock().await;
            if !record.awaits_start() {
                return;
            }
            match self.bring_up(&mut record).await {
                Err(RouterError::Store(error)) if error.is_transient() => {}
                _ => return,
            }
        }
    }

    async fn city_ended(self, ended: Ended) {
        let Some(record) = self.records().get(&ended.city).cloned() else { return };
        let mut record = record.lock().await;
        if record.running.as_ref().is_none_or(|(epoch, _)| *epoch != ended.epoch) {
            return;
        }
        record.running = None;
        self.0.deps.city.figures.up(&ended.city, false);
        let down = |why| self.0.router.put(ended.city.clone(), Slot::Down(why));
        match ended.why {
            Ending::Stopped => down("stopped"),
            Ending::Fenced => {
                record.fenced = true;
                down("fenced");
            }
            // The end of the process drops its actors without a word.
            Ending::Panicked | Ending::Diverged if self.0.stopping.load(Ordering::Acquire) => down("stopping"),
            Ending::Panicked | Ending::Diverged => {
                match record.restarts.panicked(Clock::wall(), &self.0.deps.options) {
                    Verdict::Quarantine => {
                        tracing::error!(city = %ended.city, epoch = ended.epoch, "a city keeps failing; it stays down");
                        self.quarantine(&mut record, true);
                        down("quarantined");
                    }
                    Verdict::Restart(pause) => {
                        tracing::error!(city = %ended.city, epoch = ended.epoch, ?pause, "a city failed; it is rebuilt");
                        self.0.deps.city.figures.restarted(&ended.city, ended.why);
                        down("restarting");
                        drop(record);
                        sleep(pause).await;
                        self.rebuild(ended.city).await;
                    }
                }
            }
        }
    }

    async fn rebuild(self, code: CityCode) {
        let Some(record) = self.records().get(&code).cloned() else { return };
        let mut record = record.lock().await;
        if !record.awaits_start() {
            return;
        }
        if let Err(RouterError::Store(error)) = self.bring_up(&mut record).await
            && error.is_transient()
        {
            drop(record);
            self.keep_trying(code).await;
        }
    }

    fn quarantine(&self, record: &mut Record, quarantined: bool) {
        record.quarantined = quarantined;
        self.0.deps.city.figures.quarantined(&record.settings.code, quarantined);
    }

    fn record(&self, city: &City) -> Arc<tokio::sync::Mutex<Record>> {
        let fresh = || Record {
            settings: city.clone(),
            running: None,
            restarts: Restarts::default(),
            fenced: false,
            quarantined: false,
        };
        self.records().entry(city.code.clone()).or_insert_with(|| Arc::new(fresh().into())).clone()
    }

    fn records(&self) -> std::sync::MutexGuard<'_, BTreeMap<CityCode, Arc<tokio::sync::Mutex<Record>>>> {
        self.0.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Round robin over the pool.
    fn arbiter(&self) -> &ArbiterHandle {
        let next = self.0.next_arbiter.fetch_add(1, Ordering::Relaxed);
        &self.0.arbiters[next % self.0.arbiters.len()]
    }
}

/// Hears of every incarnation's end while the launcher lives.
async fn follow_ends(launcher: Weak<Inner>, mut ends: mpsc::UnboundedReceiver<Ended>) {
    while let Some(ended) = ends.recv().await {
        let Some(inner) = launcher.upgrade() else { return };
        let runtime = inner.runtime.clone();
        runtime.spawn(Launcher(inner).city_ended(ended));
    }
}

impl std::fmt::Debug for Launcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Launcher({:?})", self.0.router)
    }
}
