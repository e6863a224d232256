//! One actor per watching operator: the socket's shell.

mod convert;
mod outbox;
mod session;

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws;
use prometheus::{IntCounter, IntCounterVec, IntGauge};
use serde::Deserialize;
use tokio::sync::watch;

pub use convert::{city_state, order as order_row};
pub use outbox::{OperatorOutbox, Show, Watched};

use super::{
    city::CityHandle,
    socket::{FrameGuard, negotiate},
};
use crate::{metrics::Metrics, wire::operator::SUBPROTOCOL_OPERATOR_JSON};
use session::OperatorSession;

/// The limits of an operator session; times are real.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Frames that may wait for the reader; when there are more, the reader gets a new snapshot later.
    pub max_frames: usize,
    /// The longest message from a client, bytes; nothing is expected.
    pub max_incoming_bytes: usize,
    /// Seconds between keep-alive pings.
    pub ping_every_s: u64,
    /// Keep-alive intervals without a sign of life after which the socket is closed.
    pub silent_intervals: u32,
    /// Milliseconds after which a client that is sent away comes back at the earliest; the latest is three times that.
    pub reconnect_after_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_frames: 32,
            max_incoming_bytes: 4_096,
            ping_every_s: 15,
            silent_intervals: 3,
            reconnect_after_ms: 1_000,
        }
    }
}

/// What operator sockets need. Cheap to clone; one per app.
#[derive(Clone, Debug)]
pub struct OperatorSocketDeps(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    clock_speed: f64,
    stopping: watch::Receiver<bool>,
    sessions: IntGauge,
    frames: IntCounterVec,
    ignored: IntCounter,
    byes: IntCounterVec,
}

impl OperatorSocketDeps {
    /// Gathers them. `stopping` turns true (or its sender goes) when the app stops: every session then says
    /// `bye {going_away}`.
    #[must_use]
    pub fn new(clock_speed: f64, metrics: &Metrics, options: Options, stopping: watch::Receiver<bool>) -> Self {
        Self(Arc::new(Shared {
            options,
            clock_speed,
            stopping,
            sessions: metrics.gauge("dispatch_operator_sessions", "Open operator sockets"),
            frames: metrics.counters("dispatch_operator_frames_total", "Frames sent to operators, by type", &["type"]),
            ignored: metrics
                .counter("dispatch_operator_ignored_frames_total", "Frames from operators, who have nothing to say"),
            byes: metrics.counters("dispatch_operator_byes_total", "Sessions that the server ended", &["why"]),
        }))
    }
}

/// Turns a request of an authorised operator into a socket that shows `city`.
///
/// # Errors
/// When the handshake is none. A request that is no upgrade, or offers no subprotocol of ours, is answered with a
/// problem instead.
pub fn upgrade(
    req: &HttpRequest,
    payload: web::Payload,
    city: CityHandle,
    deps: &OperatorSocketDeps,
) -> Result<HttpResponse, actix_web::Error> {
    if let Err(refused) = negotiate(req, &[SUBPROTOCOL_OPERATOR_JSON]) {
        return Ok(*refused);
    }
    let max = deps.0.options.max_incoming_bytes;
    ws::WsResponseBuilder::new(OperatorSession::new(city, deps.clone()), req, FrameGuard::new(payload, max))
        .protocols(&[SUBPROTOCOL_OPERATOR_JSON])
        .frame_size(max)
        .start()
}
