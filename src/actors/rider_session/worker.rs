//! What the sessions of one HTTP worker share: their ping lane, the clock of their keep-alives, and the wait for what ends
//! many of them at once, the app's stop and the end of a city. A session that had a timer and two waits of its own would look
//! after all three whenever a frame comes, and hold their memory all shift.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::{Rc, Weak},
    time::Duration,
};

use actix::{Message, WeakAddr};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{Shared, lane::Lane, session::RiderSession};
use crate::{
    actors::city::{CityHandle, Ending},
    domain::ids::SessionId,
};

/// How exactly beats are kept: those that are due within it come together.
const BEAT_GRAIN: Duration = Duration::from_millis(50);

/// What a worker tells its sessions.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) enum Word {
    /// It is time for a keep-alive.
    Beat,
    /// The app stops.
    AppStops,
    /// The incarnation of the session's city has ended.
    CityEnded(Ending),
}

/// The part of an app that runs on one thread.
pub(super) struct Worker {
    /// Where accepted points go.
    pub lane: Rc<Lane>,
    me: Weak<Self>,
    seats: RefCell<HashMap<SessionId, Seat>>,
    cities: RefCell<HashMap<Incarnation, Watched>>,
    next: Cell<u64>,
    stops: Cell<bool>,
    beat_every: Duration,
    /// Every session and when its next beat is due. One interval holds for all: who is due first stands first.
    beats: RefCell<VecDeque<(Instant, SessionId)>>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// A number of this worker's own for one incarnation of one city.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Incarnation(u64);

struct Seat {
    session: WeakAddr<RiderSession>,
    city: Option<Incarnation>,
}

struct Watched {
    city: CityHandle,
    _watches: AbortOnDropHandle<()>,
}

thread_local! {
    /// The workers of this thread by app: one in production, several where tests run apps side by side.
    static WORKERS: RefCell<Vec<(u64, Weak<Worker>)>> = const { RefCell::new(Vec::new()) };
}

impl Worker {
    /// This thread's part of an app. It lives as long as a session of it.
    pub fn of_this_thread(deps: &Shared) -> Rc<Self> {
        WORKERS.with_borrow_mut(|workers| {
            workers.retain(|(_, worker)| worker.strong_count() > 0);
            if let Some(worker) =
                workers.iter().find(|(of, _)| *of == deps.app).and_then(|(_, worker)| worker.upgrade())
            {
                return worker;
            }
            let worker = Self::new(deps);
            workers.push((deps.app, Rc::downgrade(&worker)));
            worker
        })
    }

    fn new(deps: &Shared) -> Rc<Self> {
        Rc::new_cyclic(|me: &Weak<Self>| {
            let (mut stopping, worker) = (deps.stopping.clone(), me.clone());
            let watch = actix_web::rt::spawn(async move {
                // A sender that is gone means the same.
                drop(stopping.wait_for(|stopping| *stopping).await);
                if let Some(worker) = worker.upgrade() {
                    worker.stops.set(true);
                    worker.tell(Word::AppStops, |_| true);
                }
            });
            let worker = me.clone();
            let clock = actix_web::rt::spawn(async move {
                // A task runs after its worker was made.
                while let Some(pause) = worker.upgrade().map(|worker| worker.beat(Instant::now())) {
                    sleep(pause).await;
                }
            });
            Self {
                lane: Lane::new(deps),
                me: me.clone(),
                seats: RefCell::default(),
                cities: RefCell::default(),
                next: Cell::new(0),
                stops: Cell::new(false),
                beat_every: Duration::from_secs(deps.options.ping_every_s),
                beats: RefCell::default(),
                _tasks: [watch, clock].map(AbortOnDropHandle::new),
            }
        })
    }

    /// A session begins: it will hear its beats, and of the app's stop.
    pub fn enter(&self, id: SessionId, session: WeakAddr<RiderSession>) {
        if self.stops.get()
            && let Some(session) = session.upgrade()
        {
            session.do_send(Word::AppStops);
        }
        self.seats.borrow_mut().insert(id, Seat { session, city: None });
        self.beats.borrow_mut().push_back((Instant::now() + self.beat_every, id));
    }

    /// A session goes to a city: it will hear of its end.
    pub fn ride(&self, id: SessionId, city: &CityHandle) {
        let mut seats = self.seats.borrow_mut();
        let Some(seat) = seats.get_mut(&id) else { return };
        let mut cities = self.cities.borrow_mut();
        let known = cities.iter().find(|(_, watched)| watched.city.is_same_as(city)).map(|(of, _)| *of);
        seat.city = Some(known.unwrap_or_else(|| {
            let of = Incarnation(self.next.replace(self.next.get() + 1));
            let (worker, ended) = (self.me.clone(), city.ended());
            let watch = actix_web::rt::spawn(async move {
                let ending = ended.await;
                if let Some(worker) = worker.upgrade() {
                    worker.tell(Word::CityEnded(ending), |seat| seat.city == Some(of));
                    worker.cities.borrow_mut().remove(&of);
                }
            });
            cities.insert(of, Watched { city: city.clone(), _watches: AbortOnDropHandle::new(watch) });
            of
        }));
    }

    /// A session is over.
    pub fn leave(&self, id: SessionId) {
        self.seats.borrow_mut().remove(&id);
    }

    /// Gives the beats that are due; says how long to wait for the next ones.
    fn beat(&self, now: Instant) -> Duration {
        let mut beats = self.beats.borrow_mut();
        let seats = self.seats.borrow();
        while let Some((_, id)) = beats.pop_front_if(|(due, _)| *due <= now) {
            // A session that is over has no seat, and no beats from then on.
            if let Some(session) = seats.get(&id).and_then(|seat| seat.session.upgrade()) {
                session.do_send(Word::Beat);
                beats.push_back((now + self.beat_every, id));
            }
        }
        beats.front().map_or(self.beat_every, |(due, _)| *due - now).max(BEAT_GRAIN)
    }

    fn tell(&self, word: Word, whom: impl Fn(&Seat) -> bool) {
        let seats = self.seats.borrow();
        let told = seats.values().filter(|seat| whom(seat)).filter_map(|seat| seat.session.upgrade());
        told.for_each(|session| session.do_send(word));
    }
}
