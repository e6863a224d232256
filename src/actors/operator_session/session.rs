//! The shell of an operator's session: writes what the city shows, keeps the socket alive, takes no frames.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc, time::Duration};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, StreamHandler, WrapFuture};
use actix_web_actors::ws::{self, CloseCode, CloseReason, ProtocolError, WebsocketContext};
use tokio::time::Instant;

use super::{
    OperatorSocketDeps,
    convert::frame,
    outbox::{OperatorOutbox, Show, Watched},
};
use crate::{
    actors::{
        city::{CityCallError, CityHandle, Ending},
        gate::Gate,
        socket::{Silence, jittered_ms},
    },
    engine::view::CityChanges,
    wire::{codes::operator_bye, operator::OperatorDown},
};

type Context = WebsocketContext<OperatorSession>;

/// How long a client may take to answer our close frame.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

thread_local! {
    /// The last deltas of this worker, encoded: each is written once per worker, however many operators watch. Holding
    /// the changes keeps their address from being used again.
    static ENCODED: RefCell<VecDeque<(Arc<CityChanges>, Rc<str>)>> = const { RefCell::new(VecDeque::new()) };
}
/// Deltas remembered: more than the cities that publish at the same moment need not be.
const REMEMBERED: usize = 16;

/// One socket of one operator.
pub struct OperatorSession {
    city: CityHandle,
    deps: OperatorSocketDeps,
    silence: Silence,
    ended: bool,
}

impl OperatorSession {
    pub(super) fn new(city: CityHandle, deps: OperatorSocketDeps) -> Self {
        let silence = Silence::new(Duration::from_secs(deps.0.options.ping_every_s));
        Self { city, deps, silence, ended: false }
    }

    fn farewell(&mut self, why: &'static str, ctx: &mut Context) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.deps.0.byes.with_label_values(&[why]).inc();
        let after = Duration::from_millis(self.deps.0.options.reconnect_after_ms);
        ctx.text(encode(&OperatorDown::Bye { why: why.to_owned(), reconnect_after_ms: Some(jittered_ms(after)) }));
        ctx.close(Some(CloseReason { code: CloseCode::Away, description: None }));
        ctx.run_later(CLOSE_WITHIN, |_, ctx| ctx.stop());
    }

    fn beat(&mut self, ctx: &mut Context) {
        if self.silence.beat(Instant::now()) >= self.deps.0.options.silent_intervals && !self.ended {
            self.deps.0.byes.with_label_values(&["silent"]).inc();
            self.ended = true;
            ctx.stop();
        } else {
            ctx.ping(b"");
        }
    }
}

fn encode(frame: &OperatorDown) -> String {
    // Plain data with text keys: there is nothing that JSON could not hold.
    serde_json::to_string(frame).unwrap_or_else(|error| {
        tracing::error!(%error, "a frame could not be encoded");
        String::new()
    })
}

fn encoded(watched: &Watched, clock_speed: f64) -> Rc<str> {
    let Watched::Delta { changes, .. } = watched else { return encode(&frame(watched, clock_speed)).into() };
    ENCODED.with_borrow_mut(|recent| {
        if let Some((_, text)) = recent.iter().find(|(known, _)| Arc::ptr_eq(known, changes)) {
            return text.clone();
        }
        let text: Rc<str> = encode(&frame(watched, clock_speed)).into();
        if recent.len() >= REMEMBERED {
            recent.pop_front();
        }
        recent.push_back((changes.clone(), text.clone()));
        text
    })
}

impl Actor for OperatorSession {
    type Context = Context;

    fn started(&mut self, ctx: &mut Context) {
        let shared = self.deps.0.clone();
        shared.sessions.inc();
        let outbox = OperatorOutbox::new(ctx.address().recipient(), Gate::unmetered(shared.options.max_frames));
        match self.city.watch(outbox) {
            Ok(()) => {}
            Err(CityCallError::Full) => self.farewell(operator_bye::CITY_BUSY, ctx),
            Err(_) => self.farewell(operator_bye::CITY_UNAVAILABLE, ctx),
        }
        ctx.run_interval(Duration::from_secs(shared.options.ping_every_s), Self::beat);
        ctx.spawn(self.city.ended().into_actor(self).map(|ending, session, ctx| {
            let why = match ending {
                Ending::Fenced => operator_bye::CITY_MOVED,
                Ending::Stopped | Ending::Diverged | Ending::Panicked => operator_bye::CITY_UNAVAILABLE,
            };
            session.farewell(why, ctx);
        }));
        let mut stopping = shared.stopping.clone();
        // A sender that is gone means the same.
        let stopped = async move { drop(stopping.wait_for(|stopping| *stopping).await) };
        ctx.spawn(stopped.into_actor(self).map(|(), session, ctx| session.farewell(operator_bye::GOING_AWAY, ctx)));
    }

    fn stopped(&mut self, _: &mut Context) {
        self.deps.0.sessions.dec();
    }
}

impl Handler<Show> for OperatorSession {
    type Result = ();

    fn handle(&mut self, show: Show, ctx: &mut Context) {
        if self.ended {
            return;
        }
        let kind = match &show.frame {
            Watched::Snapshot(_) => "snapshot",
            Watched::Delta { .. } => "delta",
            Watched::Alert(_) => "alert",
        };
        self.deps.0.frames.with_label_values(&[kind]).inc();
        ctx.text(&*encoded(&show.frame, self.deps.0.clock_speed));
    }
}

impl StreamHandler<Result<ws::Message, ProtocolError>> for OperatorSession {
    fn handle(&mut self, message: Result<ws::Message, ProtocolError>, ctx: &mut Context) {
        self.silence.heard();
        match message {
            Ok(ws::Message::Ping(payload)) => ctx.pong(&payload),
            Ok(ws::Message::Close(reason)) => {
                if !self.ended {
                    self.ended = true;
                    ctx.close(reason);
                }
                ctx.stop();
            }
            Ok(ws::Message::Text(_) | ws::Message::Binary(_) | ws::Message::Continuation(_)) => {
                self.deps.0.ignored.inc();
            }
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Err(error) => {
                tracing::debug!(%error, "an operator socket broke the websocket protocol");
                ctx.stop();
            }
        }
    }
}
