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
    Options, Router, Slot, leases,
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
    store::{
        Db, StoreError,
        epochs::{self, Claim, Claimant, Held},
        partitions, recovery,
    },
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
    /// The lasting name of this process: what it held before a restart is its own at once.
    pub instance: String,
    /// Whether the cities stored at the start are taken from whoever holds them.
    pub take_over: bool,
}

/// Why a city could not be brought up or changed.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// This process is ending.
    #[error("this process is ending")]
    Stopping,
    /// Another process took the city over; this one never takes it back by itself.
    #[error("another process took the city over")]
    Fenced,
    /// Another process holds the city; it is started here when that lets go of it.
    #[error("another process holds the city: {}, until {} or longer", .0.by, .0.until)]
    Held(Held),
    /// The store did not answer, or holds what cannot be read.
    #[error("the city could not be started")]
    Store(#[from] StoreError),
    /// The running city did not take the change.
    #[error("the city did not take the change")]
    City(#[from] CityCallError),
}

/// Starts, changes and stops the cities of this process. Cheap to clone.
#[derive(Clone)]
pub struct Launcher(pub(super) Arc<Inner>);

pub(super) struct Inner {
    deps: LauncherDeps,
    router: Router,
    /// Where the launcher's own work runs.
    runtime: Handle,
    arbiters: Vec<ArbiterHandle>,
    next_arbiter: AtomicUsize,
    records: Mutex<BTreeMap<CityCode, Arc<tokio::sync::Mutex<Record>>>>,
    ended: mpsc::UnboundedSender<Ended>,
    stopping: AtomicBool,
    /// The cities that this process holds, with their epochs: apart from the records, whose locks are held for as long as
    /// a start takes, and a lease must not run out meanwhile.
    pub(super) leased: Mutex<BTreeMap<CityCode, i64>>,
}

/// What the launcher knows of a city; its lock makes starts, changes and ends of one city follow each other.
pub(super) struct Record {
    pub(super) settings: City,
    pub(super) running: Option<(i64, CityHandle)>,
    restarts: Restarts,
    /// Another process took it over.
    pub(super) fenced: bool,
    /// It failed too often.
    quarantined: bool,
    /// The last epoch that was claimed here.
    pub(super) epoch: Option<i64>,
    /// Whether the next claim is granted whoever holds the city.
    take_over: bool,
    /// Whether a start that could not be made is being tried again.
    waits: bool,
}

impl Record {
    /// Whether a start that was put off is still wanted: meanwhile the city may run, or somebody has decided otherwise.
    pub(super) fn awaits_start(&self) -> bool {
        self.running.is_none() && !self.fenced && !self.quarantined && self.settings.status != CityStatus::Draft
    }
}

impl Launcher {
    /// Makes the month partitions and starts every city that is not a draft, on a pool of arbiters of its own. A city
    /// that cannot be started because the database went away, or because another process holds it, is tried again in the
    /// background.
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
            leased: Mutex::new(BTreeMap::new()),
        }));
        launcher.0.runtime.spawn(follow_ends(Arc::downgrade(&launcher.0), ends));
        let options = launcher.0.deps.options.clone();
        launcher.0.runtime.spawn(leases::keep(Arc::downgrade(&launcher.0), options));
        for city in cities {
            launcher.record(&city).lock().await.take_over = launcher.0.deps.take_over;
            // Logged where it was found, and tried again where that may help; the other cities go on.
            drop(launcher.apply_city(city).await);
        }
        Ok(launcher)
    }

    /// Where the cities are.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.0.router
    }

    /// Starts a stored city, or tells the running one its new settings. A city that became a draft is stopped; one in
    /// quarantine is given another chance; one that another process holds is started when that lets go of it.
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
                // What is stored later than the next owner's claim is fenced.
                self.0.deps.city.journal.flush(self.0.deps.options.lease()).await;
            }
            self.give_back(Some(&record.settings.code)).await;
            return Ok(());
        }
        if let Some((_, handle)) = &record.running {
            return match handle.tell(Command::SetCity(Box::new(record.settings.clone()))) {
                // Its next incarnation starts with them.
                Ok(()) | Err(CityCallError::Gone) => Ok(()),
                Err(error) => Err(error.into()),
            };
        }
        if !self.0.router.is_held(&code) {
            self.0.router.put(code, Slot::Down("starting"));
        }
        self.start(&mut record).await
    }

    /// Ends every city, waits until the journal has stored what they decided, and gives the cities back; `false` when that
    /// took longer than `deadline`. Call it when no new work comes in any more.
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
            if flushed {
                // Not before: what is stored later than the next owner's claim is fenced.
                self.give_back(None).await;
            }
            flushed
        };
        let flushed = tokio::time::timeout(deadline, all).await.unwrap_or(false);
        self.0.arbiters.iter().for_each(|arbiter| {
            arbiter.stop();
        });
        flushed
    }

    /// Starts an incarnation, or sees to it that it is tried again where that may help.
    async fn start(&self, record: &mut Record) -> Result<(), RouterError> {
        let started = self.bring_up(record).await;
        if let Err(error) = &started
            && let Some(pause) = self.pause_after(error, 1)
            && !std::mem::replace(&mut record.waits, true)
        {
            self.0.runtime.spawn(self.clone().keep_trying(record.settings.code.clone(), pause));
        }
        started
    }

    /// One try to start an incarnation.
    async fn bring_up(&self, record: &mut Record) -> Result<(), RouterError> {
        if self.is_stopping() {
            return Err(RouterError::Stopping);
        }
        let deps = &self.0.deps;
        let code = record.settings.code.clone();
        let by = Claimant {
            instance: &deps.instance,
            holder: &deps.holder,
            lease: deps.options.lease(),
            take_over: record.take_over,
        };
        let loaded = async {
            let now = deps.city.clock.now();
            let epoch = match epochs::claim(&deps.db, &code, &by, now, Clock::wall()).await? {
                Claim::Granted(epoch) => epoch,
                Claim::Held(held) => return Ok(Err(held)),
            };
            // From here on its lease is renewed, and another process that claims it is noticed.
            (record.epoch, record.take_over) = (Some(epoch), false);
            self.leased().insert(code.clone(), epoch);
            let report_age = record.settings.policy.max_report_age();
            Ok(Ok((epoch, recovery::load_city(&deps.db, &code, now, report_age).await?)))
        };
        let loaded = loaded.await.inspect_err(|error: &StoreError| {
            let why = if error.is_transient() { "starting" } else { "unreadable" };
            self.0.router.put(code.clone(), Slot::Down(why));
            let error = error as &dyn std::error::Error;
            tracing::error!(city = %code, error, "a city could not be started");
        })?;
        let (epoch, image) = match loaded {
            Ok(loaded) => loaded,
            Err(_) if record.epoch.is_some() => {
                // It was held here until it failed.
                self.is_fenced(record);
                return Err(RouterError::Fenced);
            }
            Err(held) => {
                self.is_held(record, &held);
                return Err(RouterError::Held(held));
            }
        };
        self.figures().held(&code, false);
        let report = EndReport::new(code.clone(), epoch, self.0.ended.clone());
        let incarnation = Incarnation { settings: record.settings.clone(), epoch, image };
        let handle = city::start(self.arbiter(), deps.city.clone(), incarnation, report);
        record.running = Some((epoch, handle.clone()));
        self.0.router.put(code, Slot::Running(handle));
        Ok(())
    }

    /// When to try again after the `n`th try in a row; `None` where it would not help.
    fn pause_after(&self, error: &RouterError, n: u32) -> Option<Duration> {
        match error {
            RouterError::Held(held) => Some(leases::next_look(held.until, Clock::wall())),
            RouterError::Store(error) if error.is_transient() => Some(backoff(&self.0.deps.options, n)),
            _ => None,
        }
    }

    /// Tries to start a city until it runs, or somebody else has decided about it.
    async fn keep_trying(self, code: CityCode, mut pause: Duration) {
        for failed in 2.. {
            sleep(pause).await;
            let Some(record) = self.records().get(&code).cloned() else { return };
            let mut record = record.lock().await;
            let again = if record.awaits_start() {
                let started = self.bring_up(&mut record).await;
                started.err().and_then(|error| self.pause_after(&error, failed))
            } else {
                None
            };
            match again {
                Some(again) => pause = again,
                None => {
                    record.waits = false;
                    return;
                }
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
            Ending::Fenced => self.is_fenced(&mut record),
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
        // What became of it is logged where it was found.
        drop(self.start(&mut record).await);
    }

    fn quarantine(&self, record: &mut Record, quarantined: bool) {
        record.quarantined = quarantined;
        self.0.deps.city.figures.quarantined(&record.settings.code, quarantined);
        if quarantined {
            // Not renewed any more: where there is another process, it may have better luck.
            self.leased().remove(&record.settings.code);
        }
    }

    fn record(&self, city: &City) -> Arc<tokio::sync::Mutex<Record>> {
        let fresh = || Record {
            settings: city.clone(),
            running: None,
            restarts: Restarts::default(),
            fenced: false,
            quarantined: false,
            epoch: None,
            take_over: false,
            waits: false,
        };
        self.records().entry(city.code.clone()).or_insert_with(|| Arc::new(fresh().into())).clone()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }

    pub(super) fn db(&self) -> &Db {
        &self.0.deps.db
    }

    pub(super) fn figures(&self) -> &city::Figures {
        &self.0.deps.city.figures
    }

    pub(super) fn records(&self) -> std::sync::MutexGuard<'_, BTreeMap<CityCode, Arc<tokio::sync::Mutex<Record>>>> {
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
