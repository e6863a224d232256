//! The shell of a session: carries out what the protocol decides, and keeps the socket alive. It holds no rule.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, StreamHandler, WrapFuture};
use actix_web_actors::ws::{self, CloseCode, CloseReason, ProtocolError, WebsocketContext};
use tokio::time::Instant;

use super::{
    RiderSocketDeps,
    admission::{Admitted, Place},
    codec::{BadFrame, Incoming, decode, encode},
    convert,
    outbox::{Deliver, RiderOutbox},
    protocol::{Farewell, Protocol, Step},
    tracks::Opened,
    worker::Worker,
};
use crate::{
    actors::{
        city::{CityCallError, CityHandle},
        gate::Gate,
        socket::{Assembled, Assembler, OVERSIZED, Silence, jittered_ms},
    },
    domain::{
        ids::{RiderId, SessionId},
        ping::run::{Run, StoredRun},
        rider::RiderProfile,
    },
    engine::{
        command::{Command, Outcome},
        effect::Notice,
    },
    store::riders::StoredDuty,
    wire::{
        codes::{frame, rider_bye},
        frames::{Encoded, Encoding},
        rider::{Down, Hello, Up},
    },
};
use points::AckTimer;

mod pacing;
mod points;
mod requests;
mod words;

type Context = WebsocketContext<RiderSession>;

/// How long a client may take to answer our close frame.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// A city that takes longer to answer a join keeps its own riders waiting, and nobody else's.
const PLACE_HELD: Duration = Duration::from_secs(1);

/// One socket of one device.
pub struct RiderSession {
    id: SessionId,
    rider: RiderId,
    encoding: Encoding,
    deps: RiderSocketDeps,
    worker: Rc<Worker>,
    protocol: Protocol,
    assembler: Assembler,
    /// Set as soon as the city may know the session.
    city: Option<CityHandle>,
    /// Notices that came before the `welcome` was written.
    early: Vec<Deliver>,
    /// The device does not read its notices.
    cut_off: Arc<AtomicBool>,
    silence: Silence,
    ack_timer: AckTimer,
    /// Held on the way into the city.
    place: Option<Place>,
    /// As read when the session began.
    stored_duty: Option<StoredDuty>,
    /// When the frame came that is being handled.
    arrived: Instant,
}

impl RiderSession {
    pub(super) fn new(id: SessionId, rider: RiderId, encoding: Encoding, deps: RiderSocketDeps) -> Self {
        let options = &deps.0.options;
        Self {
            id,
            rider,
            encoding,
            worker: Worker::of_this_thread(&deps.0),
            protocol: Protocol::new(options, deps.0.sealer.clone()),
            assembler: Assembler::new(options.max_frame_bytes),
            city: None,
            early: Vec::new(),
            cut_off: Arc::default(),
            silence: Silence::new(Duration::from_secs(options.ping_every_s)),
            ack_timer: AckTimer::Off,
            place: None,
            stored_duty: None,
            arrived: Instant::now(),
            deps,
        }
    }

    fn say(&self, down: &Down, ctx: &mut Context) {
        if let Down::Error { code, .. } = down {
            self.deps.0.figures.errors.with_label_values(&[code]).inc();
        }
        match encode(self.encoding, down) {
            Encoded::Text(text) => ctx.text(text),
            Encoded::Binary(bytes) => ctx.binary(bytes),
        }
    }

    fn carry_out(&mut self, step: Step, ctx: &mut Context) {
        match step {
            Step::Nothing => {}
            Step::Say(down) => self.say(&down, ctx),
            Step::Join(hello) => self.find(hello, ctx),
            Step::Ask { key, request } => self.ask(key, request, ctx),
            Step::Points(judged) => self.points(judged, ctx),
            Step::End(farewell) => self.farewell(farewell, ctx),
        }
    }

    fn farewell(&mut self, farewell: Farewell, ctx: &mut Context) {
        if self.protocol.is_ended() {
            return;
        }
        self.deps.0.figures.byes.with_label_values(&[farewell.why]).inc();
        if farewell.why == rider_bye::TAKEN_OVER {
            self.deps.0.figures.takeovers.inc();
        }
        let admission = &self.deps.0.admission;
        let reconnect_after_ms = farewell.again.then(|| {
            let after = admission.back_after_ms(farewell.why == rider_bye::BUSY);
            let later = farewell.later.then(|| jittered_ms(self.deps.0.options.reconnect_later()));
            after.max(later.unwrap_or(0))
        });
        self.say(&Down::Bye { why: farewell.why.to_owned(), reconnect_after_ms }, ctx);
        let code = if farewell.again { CloseCode::Away } else { CloseCode::Policy };
        self.close(code, ctx);
    }

    /// Closes in the orderly way: our close frame, the client's, then the connection.
    fn close(&mut self, code: CloseCode, ctx: &mut Context) {
        self.protocol.end();
        self.place = None;
        self.leave();
        ctx.close(Some(CloseReason { code, description: None }));
        ctx.run_later(CLOSE_WITHIN, |_, ctx| ctx.stop());
    }

    /// Tells the city that the session is over; a city that is full is told again for a while, and after that its own
    /// silence rules hold.
    fn leave(&mut self) {
        let Some(city) = self.city.take() else { return };
        let (rider, session) = (self.rider, self.id);
        if city.tell(Command::Disconnect { rider, session }) != Err(CityCallError::Full) {
            return;
        }
        actix_web::rt::spawn(async move {
            for _ in 0..50 {
                tokio::time::sleep(Duration::from_millis(200)).await;
                if city.tell(Command::Disconnect { rider, session }) != Err(CityCallError::Full) {
                    return;
                }
            }
            tracing::warn!(city = %city.code(), "a full city could not be told that a session ended");
        });
    }

    fn find(&mut self, hello: Hello, ctx: &mut Context) {
        let device = convert::push_device(self.rider, &hello, self.deps.0.clock.now());
        let run = convert::run(self.rider, hello);
        let unknown = (!self.deps.0.tracks.knows(&run)).then(|| run.clone());
        let admitted = self.deps.0.admission.enter(self.rider, device, unknown);
        ctx.spawn(admitted.into_actor(self).map(move |admitted, session, ctx| {
            // The door never drops a ticket while the program runs.
            session.admitted(admitted.unwrap_or(Admitted::StoreUnavailable), run, ctx);
        }));
    }

    fn admitted(&mut self, admitted: Admitted, run: Run, ctx: &mut Context) {
        if self.protocol.is_ended() {
            return;
        }
        let (profile, place, stored) = match admitted {
            Admitted::In(profile, duty, stored, place) => {
                self.stored_duty = Some(duty);
                (*profile, place, stored)
            }
            Admitted::UnknownRider => return self.farewell(Farewell::for_good(rider_bye::UNKNOWN_RIDER), ctx),
            Admitted::StoreUnavailable => return self.farewell(Farewell::for_now(rider_bye::STORE_UNAVAILABLE), ctx),
            Admitted::Busy => return self.farewell(Farewell::for_now(rider_bye::BUSY), ctx),
        };
        self.place = Some(place);
        ctx.run_later(PLACE_HELD, |session, _| session.place = None);
        match self.deps.0.router.city(&profile.city) {
            Ok(city) => self.join(city, profile, run, stored, ctx),
            Err(_) if self.deps.0.router.is_away(&profile.city) => {
                self.farewell(Farewell::for_a_while(rider_bye::CITY_UNAVAILABLE), ctx);
            }
            Err(failed) => self.farewell(Protocol::not_joined(&failed), ctx),
        }
    }

    fn join(
        &mut self,
        city: CityHandle,
        profile: RiderProfile,
        run: Run,
        stored: Option<Box<StoredRun>>,
        ctx: &mut Context,
    ) {
        let cut_off = self.cut_off.clone();
        let outbox = RiderOutbox::new(
            ctx.address().recipient(),
            Gate::unmetered(self.deps.0.options.max_notices),
            Arc::new(move || cut_off.store(true, Ordering::Release)),
        );
        self.city = Some(city.clone());
        self.protocol.rides(profile.vehicle);
        self.worker.ride(self.id, &city);
        let (deadline, id) = (self.deps.0.options.answer_within(), self.id);
        let joined = async move { city.join(deadline, profile, id, outbox).await };
        ctx.spawn(joined.into_actor(self).map(move |joined, session, ctx| {
            session.joined(joined, &run, stored.as_deref(), ctx);
        }));
    }

    fn joined(
        &mut self,
        joined: Result<Outcome, CityCallError>,
        run: &Run,
        stored: Option<&StoredRun>,
        ctx: &mut Context,
    ) {
        self.place = None;
        if self.protocol.is_ended() {
            return;
        }
        let mut sync = match joined {
            Ok(Outcome::Connected(sync)) => sync,
            Ok(other) => {
                tracing::error!(?other, "a city answered a join with something else");
                return self.farewell(Farewell::for_now(rider_bye::CITY_UNAVAILABLE), ctx);
            }
            Err(failed) => return self.farewell(Protocol::not_joined(&failed), ctx),
        };
        if let Some(stored) = self.stored_duty {
            convert::add_stored_duty(&mut sync, stored);
        }
        let Some(city) = self.city.as_ref().map(|city| city.code().clone()) else { return };
        let Opened { track, was_here, left_out } = self.deps.0.tracks.open(run, &city, stored);
        track.take_over(self.id);
        self.protocol.store_left_out(left_out);
        if was_here {
            self.deps.0.figures.reconnects.inc();
        }
        let clock = &self.deps.0.clock;
        let sessions = usize::try_from(self.deps.0.figures.sessions.get()).unwrap_or(0);
        let within = self.deps.0.admission.back_within_ms(sessions);
        let mut welcome = self.protocol.joined(clock.now(), clock.speed(), &city, &sync, track);
        if let Down::Welcome(welcome) = &mut welcome {
            welcome.reconnect_within_ms = within;
            welcome.ping_interval_ms = self.first_interval_ms(welcome.ping_interval_ms);
        }
        self.say(&welcome, ctx);
        self.store_boundary();
        for deliver in std::mem::take(&mut self.early) {
            self.deliver(deliver, ctx);
        }
        // A device that was here before learns at once which of its points arrived.
        self.ack(ctx);
    }

    fn deliver(&mut self, deliver: Deliver, ctx: &mut Context) {
        let is_offer = matches!(deliver.notice, Notice::Offer(_));
        let now = self.deps.0.clock.now();
        let step = self.protocol.notice(now, deliver.notice);
        self.carry_out(step, ctx);
        self.store_boundary();
        let waited = deliver.queued.elapsed().as_secs_f64();
        self.deps.0.figures.notice_seconds.observe(waited);
        if is_offer {
            self.deps.0.figures.offer_seconds.observe(waited);
        }
        self.pace(now, ctx);
    }

    /// Ends a session whose reader is too slow.
    fn check(&mut self, ctx: &mut Context) {
        if self.cut_off.load(Ordering::Acquire) {
            self.deps.0.figures.cut_off.inc();
            self.farewell(Farewell::for_now(rider_bye::SLOW_READER), ctx);
        }
    }

    fn message(&mut self, message: Result<Incoming<'_>, BadFrame>, ctx: &mut Context) {
        self.arrived = Instant::now();
        let decoded = message.and_then(|message| decode(self.encoding, message));
        if let (Ok(Up::Pings { .. }), Some(city)) = (&decoded, &self.city) {
            self.protocol.judge_by(&city.rules());
        }
        let figures = &self.deps.0.figures;
        match &decoded {
            Ok(up) => figures.frames.inc(convert::type_of(up)),
            Err(bad) => figures.refused_frames.with_label_values(&[bad.code]).inc(),
        }
        let now = self.deps.0.clock.now();
        let step = self.protocol.frame(now, decoded);
        self.carry_out(step, ctx);
        self.pace(now, ctx);
    }
}

impl Actor for RiderSession {
    type Context = Context;

    fn started(&mut self, ctx: &mut Context) {
        let shared = self.deps.0.clone();
        shared.figures.sessions.inc();
        ctx.run_later(Duration::from_secs(shared.options.hello_within_s), |session, ctx| {
            if session.protocol.awaits_hello() {
                session.farewell(Farewell::for_now(rider_bye::NO_HELLO), ctx);
            }
        });
        self.worker.enter(self.id, ctx.address().downgrade());
    }

    fn stopped(&mut self, _: &mut Context) {
        self.protocol.end();
        self.leave();
        self.worker.leave(self.id);
        self.deps.0.figures.sessions.dec();
    }
}

impl Handler<Deliver> for RiderSession {
    type Result = ();

    fn handle(&mut self, deliver: Deliver, ctx: &mut Context) {
        if self.protocol.is_live() {
            self.deliver(deliver, ctx);
        } else if !self.protocol.is_ended() {
            self.early.push(deliver);
        }
    }
}

impl StreamHandler<Result<ws::Message, ProtocolError>> for RiderSession {
    fn handle(&mut self, message: Result<ws::Message, ProtocolError>, ctx: &mut Context) {
        self.silence.heard();
        match message {
            Ok(ws::Message::Text(text)) => self.message(Ok(Incoming::Text(&text)), ctx),
            Ok(ws::Message::Binary(bytes)) => self.message(Ok(Incoming::Binary(&bytes)), ctx),
            Ok(ws::Message::Continuation(item)) => match self.assembler.add(item) {
                Assembled::More => {}
                Assembled::Text(text) => self.message(Ok(Incoming::Text(&text)), ctx),
                Assembled::Binary(bytes) => self.message(Ok(Incoming::Binary(&bytes)), ctx),
                Assembled::TooLarge => self.message(Err(too_large()), ctx),
                Assembled::NotUtf8 => {
                    self.message(Err(BadFrame::new(frame::MALFORMED_FRAME, "the text is not UTF-8")), ctx)
                }
            },
            Ok(ws::Message::Ping(payload)) => ctx.pong(&payload),
            Ok(ws::Message::Pong(payload)) if payload == OVERSIZED => self.message(Err(too_large()), ctx),
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Close(reason)) => {
                if !self.protocol.is_ended() {
                    self.protocol.end();
                    ctx.close(reason);
                }
                ctx.stop();
            }
            Err(error) => {
                // The frames themselves are broken; nothing behind this point can be read.
                tracing::debug!(%error, "a rider socket broke the websocket protocol");
                self.deps.0.figures.refused_frames.with_label_values(&["protocol_error"]).inc();
                if !self.protocol.is_ended() {
                    self.say(&convert::error(None, frame::MALFORMED_FRAME, "the websocket framing is broken"), ctx);
                    self.close(CloseCode::Protocol, ctx);
                }
                ctx.stop();
            }
        }
    }
}

fn too_large() -> BadFrame {
    BadFrame::new(frame::FRAME_TOO_LARGE, "the frame is larger than this server takes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_small() {
        // Paid once per connected rider, beside what the socket itself takes; most of the track is what the filters remember.
        let sizes = [size_of::<RiderSession>(), size_of::<Protocol>(), size_of::<crate::actors::location_log::Track>()];
        println!("a session takes {} bytes, its protocol {} of them, a track {}", sizes[0], sizes[1], sizes[2]);
        assert!(sizes[0] <= 768 && sizes[2] <= 1_024, "{sizes:?}");
    }
}
