//! One actor per connected rider device: the socket's shell.

mod acks;
mod admission;
mod answers;
mod codec;
mod convert;
mod figures;
mod in_hand;
mod keys;
mod lane;
mod options;
mod outbox;
mod ping_figures;
mod pings;
mod protocol;
mod recall;
mod session;
mod tracks;
mod worker;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws;
use tokio::sync::watch;

pub use figures::Figures;
pub use options::Options;
pub use outbox::{CutOff, Deliver, RiderOutbox};

use super::{
    city::Engaged,
    location_log::{LocationLogHandle, SpooledRun},
    order_journal::Availability,
    pressure::Pressure,
    refused_points::RefusedPoints,
    router::Router,
    socket::{FrameGuard, negotiate},
};
use crate::{
    clock::Clock,
    domain::ids::{RiderId, SessionId},
    metrics::Metrics,
    store::{Db, contacts::Sealer},
    wire::frames::Encoding,
};
use admission::Admission;
use session::RiderSession;
use tracks::Tracks;

/// What rider sockets need. Cheap to clone; one per app.
#[derive(Clone)]
pub struct RiderSocketDeps(Arc<Shared>);

struct Shared {
    app: u64,
    db: Db,
    router: Router,
    clock: Clock,
    log: LocationLogHandle,
    admission: Admission,
    options: Options,
    figures: Figures,
    tracks: Tracks,
    /// Makes the digests of recipients' one-time codes.
    sealer: Sealer,
    /// Turns true when the app stops: every session says goodbye.
    stopping: watch::Receiver<bool>,
    storage: Availability,
    pressure: Pressure,
    refused: RefusedPoints,
}

/// Numbers of sessions and apps, never used again within a process.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl RiderSocketDeps {
    /// Gathers them. `stopping` turns true (or its sender goes) when the app stops: every session then says
    /// `bye {going_away}`. Riders are read, and the pressure is measured, on the current runtime. `storage` says why an answer takes long.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "parts of the app, each of its own type, named once")]
    pub fn new(
        db: Db,
        router: Router,
        engaged: Engaged,
        clock: Clock,
        log: LocationLogHandle,
        metrics: &Metrics,
        options: Options,
        stopping: watch::Receiver<bool>,
        storage: Availability,
        sealer: Sealer,
    ) -> Self {
        Self(Arc::new(Shared {
            app: NEXT.fetch_add(1, Ordering::Relaxed),
            db: db.clone(),
            pressure: Pressure::start(options.pressure(), router.clone(), log.clone(), metrics),
            router,
            log,
            admission: Admission::new(db.clone(), engaged, clock.clone(), &options, metrics),
            clock,
            figures: Figures::new(metrics),
            refused: RefusedPoints::start(db, metrics),
            tracks: Tracks::new(options.max_tracks),
            sealer,
            options,
            stopping,
            storage,
        }))
    }

    /// Points of a run that a spool holds on disk since before this process began: settled, and not in the database. To
    /// be said before the first device comes.
    pub fn seed(&self, spooled: &SpooledRun<'_>) {
        self.0.tracks.seed(spooled);
    }
}

impl std::fmt::Debug for RiderSocketDeps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RiderSocketDeps({} sessions)", self.0.figures.sessions.get())
    }
}

/// Turns a request of an authenticated rider into a socket; everything further is said on it.
///
/// # Errors
/// When the handshake is none. A request that is no upgrade, or offers no subprotocol of ours, is answered with a
/// problem instead.
pub fn upgrade(
    req: &HttpRequest,
    payload: web::Payload,
    rider: RiderId,
    deps: &RiderSocketDeps,
) -> Result<HttpResponse, actix_web::Error> {
    let encoding = match negotiate(req, &Encoding::SUBPROTOCOLS) {
        // JSON is spoken unasked.
        Ok(subprotocol) => Encoding::of(subprotocol).unwrap_or(Encoding::Json),
        Err(refused) => return Ok(*refused),
    };
    let max = deps.0.options.max_frame_bytes;
    let session = RiderSession::new(SessionId(NEXT.fetch_add(1, Ordering::Relaxed)), rider, encoding, deps.clone());
    ws::WsResponseBuilder::new(session, req, FrameGuard::new(payload, max))
        .protocols(&[encoding.subprotocol()])
        .frame_size(max)
        .start()
}
