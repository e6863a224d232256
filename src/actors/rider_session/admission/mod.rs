//! The door: how many sessions may be on their way into their cities at once. When all devices come back at the same
//! time, those already inside, and the commits of orders, go first: one connection to the database reads many riders with
//! one query, few joins stand in the cities' queues, the rest waits here in two lines, and beyond them devices are told
//! when to come back. Handshakes per address are no criterion: behind a carrier's address stand thousands.

mod returns;
mod waiting;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus::{Histogram, IntCounterVec, IntGauge};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::Instant,
};

use self::{
    returns::{Returns, Spread},
    waiting::Waiting,
};
use crate::{
    actors::city::Engaged,
    clock::Clock,
    domain::{
        device::PushDevice,
        ids::RiderId,
        ping::run::{Run, StoredRun},
        rider::RiderProfile,
    },
    metrics::Metrics,
    store::{self, Db, StoreError, riders::StoredDuty},
};

use super::options::Options;

/// How far back stored points are looked for, engine time: a policy takes none that is older than seven days.
const LOOK_BACK: Duration = Duration::from_secs(7 * 86_400);

/// What a session that is let in holds until its city has answered.
pub type Place = OwnedSemaphorePermit;

/// The answer to a session that wants in.
#[derive(Debug)]
pub enum Admitted {
    /// This is the rider, and what is stored of the device's run if that was asked; go on to the city.
    In(Box<RiderProfile>, StoredDuty, Option<Box<StoredRun>>, Place),
    /// There is no such rider.
    UnknownRider,
    /// The database does not answer, or the rider's row cannot be read.
    StoreUnavailable,
    /// Too many wait.
    Busy,
}

/// The door of one app. Cheap to clone.
#[derive(Clone)]
pub struct Admission(Arc<Shared>);

struct Shared {
    db: Db,
    clock: Clock,
    engaged: Engaged,
    spread: Spread,
    at_once: usize,
    places: Arc<Semaphore>,
    runtime: Handle,
    state: Mutex<State>,
    figures: Figures,
}

struct State {
    waiting: Waiting<Ticket>,
    /// Somebody empties the lines.
    serving: bool,
    returns: Returns,
    /// What one session took lately, from its turn to the next one's.
    each: Duration,
}

struct Ticket {
    rider: RiderId,
    device: Option<PushDevice>,
    unknown: Option<Run>,
    since: Instant,
    answer: oneshot::Sender<Admitted>,
}

struct Figures {
    waiting: IntGauge,
    joins: IntCounterVec,
    wait: Histogram,
}

impl Admission {
    /// Opens the door; riders are read on the current runtime.
    #[must_use]
    pub fn new(db: Db, engaged: Engaged, clock: Clock, options: &Options, metrics: &Metrics) -> Self {
        let at_once = options.joins_at_once.max(1);
        let figures = Figures {
            waiting: metrics.gauge("dispatch_rider_joins_waiting", "Sessions that wait to be let in"),
            joins: metrics.counters(
                "dispatch_rider_joins_total",
                "Sessions that wanted in, by what they were told (admitted, busy, unknown_rider, store_unavailable)",
                &["result"],
            ),
            wait: metrics.seconds("dispatch_rider_join_wait_seconds", "From a hello to the session's turn"),
        };
        let state = State {
            waiting: Waiting::new(options.join_queue),
            serving: false,
            returns: Returns::new(Instant::now()),
            each: Duration::ZERO,
        };
        let spread = Spread {
            least: Duration::from_millis(options.reconnect_after_ms),
            per_second: options.reconnects_per_s,
            most: Duration::from_millis(options.reconnect_most_ms),
        };
        let (places, runtime) = (Arc::new(Semaphore::new(at_once)), Handle::current());
        Self(Arc::new(Shared {
            db,
            clock,
            engaged,
            spread,
            at_once,
            places,
            runtime,
            state: Mutex::new(state),
            figures,
        }))
    }

    /// Puts a session in line; the answer comes when it has its turn, or at once when there is no room. A session that
    /// drops the receiver has gone away. How its device can be woken is stored as well, once it is let in. What is stored
    /// of an `unknown` run is read with the rider.
    pub fn enter(
        &self,
        rider: RiderId,
        device: Option<PushDevice>,
        unknown: Option<Run>,
    ) -> oneshot::Receiver<Admitted> {
        let (answer, admitted) = oneshot::channel();
        let ticket = Ticket { rider, device, unknown, since: Instant::now(), answer };
        let goes_first = self.0.engaged.is(rider);
        let mut state = self.0.state();
        let left_out = state.waiting.enter(ticket, goes_first, |ticket| ticket.answer.is_closed());
        self.0.show(&state);
        if !std::mem::replace(&mut state.serving, true) {
            self.0.runtime.spawn(serve(self.0.clone()));
        }
        drop(state);
        if let Some(ticket) = left_out {
            self.0.answer(ticket, Admitted::Busy);
        }
        admitted
    }

    /// Milliseconds (real time) after which a device that is sent away now comes back: later, the more are sent away
    /// with it, and after those who wait when it is sent away for their sake.
    #[must_use]
    pub fn back_after_ms(&self, behind_those_who_wait: bool) -> u64 {
        let mut state = self.0.state();
        let waiting = u32::try_from(state.waiting.len()).unwrap_or(u32::MAX);
        let ahead = if behind_those_who_wait { state.each.saturating_mul(waiting) } else { Duration::ZERO };
        let after = state.returns.after(Instant::now(), ahead, &self.0.spread, rand::random());
        millis(after)
    }

    /// Milliseconds (real time) within which devices come back, should all that are connected now be lost at once.
    #[must_use]
    pub fn back_within_ms(&self, connected: usize) -> u64 {
        millis(self.0.spread.window(connected))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &State) {
        self.figures.waiting.set(i64::try_from(state.waiting.len()).unwrap_or(i64::MAX));
    }

    fn answer(&self, ticket: Ticket, admitted: Admitted) {
        let result = match &admitted {
            Admitted::In(..) => {
                self.figures.wait.observe(ticket.since.elapsed().as_secs_f64());
                "admitted"
            }
            Admitted::UnknownRider => "unknown_rider",
            Admitted::StoreUnavailable => "store_unavailable",
            Admitted::Busy => "busy",
        };
        self.figures.joins.with_label_values(&[result]).inc();
        // A session that has gone away gives its place back with the answer.
        let _ = ticket.answer.send(admitted);
    }

    /// As many as there are free places; `None` when nobody waits any more, and whoever comes next starts anew.
    fn next(&self, free: usize) -> Option<Vec<Ticket>> {
        let mut state = self.state();
        let next = std::iter::from_fn(|| state.waiting.next()).filter(|ticket| !ticket.answer.is_closed());
        let tickets: Vec<Ticket> = next.take(free).collect();
        state.serving = !tickets.is_empty();
        self.show(&state);
        state.serving.then_some(tickets)
    }

    /// Everybody who waits.
    fn all(&self) -> Vec<Ticket> {
        let mut state = self.state();
        let tickets = std::iter::from_fn(|| state.waiting.next()).collect();
        self.show(&state);
        tickets
    }

    fn took(&self, batch: Duration, sessions: usize) {
        let each = batch / u32::try_from(sessions.max(1)).unwrap_or(u32::MAX);
        let mut state = self.state();
        state.each = if state.each.is_zero() { each } else { (state.each * 7 + each) / 8 };
    }
}

/// Lets in who waits, batch by batch, until nobody does.
async fn serve(shared: Arc<Shared>) {
    loop {
        let begun = Instant::now();
        // The semaphore is never closed.
        let Ok(first) = shared.places.clone().acquire_owned().await else { return };
        let mut places = vec![first];
        while places.len() < shared.at_once
            && let Ok(place) = shared.places.clone().try_acquire_owned()
        {
            places.push(place);
        }
        let Some(tickets) = shared.next(places.len()) else { return };
        let sessions = tickets.len();
        let devices: Vec<PushDevice> = tickets.iter().filter_map(|ticket| ticket.device.clone()).collect();
        if let Err(error) = let_in(&shared, tickets, places).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "riders who come could not be read");
            // The others would fare no better, each after the longest wait for a connection.
            shared.all().into_iter().for_each(|ticket| shared.answer(ticket, Admitted::StoreUnavailable));
            continue;
        }
        if let Err(error) = store::rider_devices::upsert(&shared.db, &devices).await {
            // The next hello brings it again.
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "how devices can be woken could not be stored");
        }
        shared.took(begun.elapsed(), sessions);
    }
}

/// Reads the riders of a batch, and the runs of those whose process has not seen them, and answers their sessions.
async fn let_in(shared: &Shared, mut tickets: Vec<Ticket>, places: Vec<Place>) -> Result<(), StoreError> {
    let riders: Vec<RiderId> = tickets.iter().map(|ticket| ticket.rider).collect();
    let runs: Vec<Option<Run>> = tickets.iter_mut().map(|ticket| ticket.unknown.take()).collect();
    let found = async { Ok((store::riders::profiles(&shared.db, &riders).await?, stored(shared, &runs).await?)) };
    let ((profiles, stored), failed) = match found.await {
        Ok(found) => (found, None),
        Err(error) => ((Default::default(), vec![None; runs.len()]), Some(error)),
    };
    for ((ticket, place), run) in tickets.into_iter().zip(places).zip(stored) {
        // One rider may stand here with two devices.
        let admitted = match profiles.get(&ticket.rider) {
            _ if failed.is_some() => Admitted::StoreUnavailable,
            Some(Some((profile, duty))) => Admitted::In(Box::new(profile.clone()), *duty, run.map(Box::new), place),
            Some(None) => Admitted::StoreUnavailable,
            None => Admitted::UnknownRider,
        };
        shared.answer(ticket, admitted);
    }
    failed.map_or(Ok(()), Err)
}

/// What is stored of each run that is asked for. A history that cannot be read keeps nobody from work, unless it is the
/// whole database that does not answer: then a point that comes again is stored again.
async fn stored(shared: &Shared, runs: &[Option<Run>]) -> Result<Vec<Option<StoredRun>>, StoreError> {
    let asked: Vec<Run> = runs.iter().flatten().cloned().collect();
    let since = shared.clock.now() - LOOK_BACK;
    let mut found = match store::location_runs::newest(&shared.db, &asked, since).await {
        Err(error) if error.is_transient() => return Err(error),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "what is stored of devices could not be read");
            Vec::new().into_iter()
        }
        Ok(found) => found.into_iter(),
    };
    Ok(runs.iter().map(|run| run.as_ref().and_then(|_| found.next())).collect())
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Admission({} wait)", self.0.state().waiting.len())
    }
}
