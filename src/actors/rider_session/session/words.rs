//! What a session does at the words of its worker: its beats, and the ends that it shares with others.

use std::time::Duration;

use actix::{ActorContext, AsyncContext, Handler};
use tokio::time::Instant;

use super::{
    super::{protocol::Farewell, worker::Word},
    Context, RiderSession,
};
use crate::{actors::city::Ending, wire::codes::rider_bye};

/// How long the goodbye of an app that stops waits for the answers to a session's requests.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

impl RiderSession {
    /// Every few seconds: is the device still there, does it keep up?
    fn beat(&mut self, ctx: &mut Context) {
        if self.silence.beat(Instant::now()) >= self.deps.0.options.silent_intervals {
            // Nobody reads a goodbye here.
            self.deps.0.figures.byes.with_label_values(&["silent"]).inc();
            self.protocol.end();
            ctx.stop();
            return;
        }
        ctx.ping(b"");
        self.ack(ctx);
        self.check(ctx);
        self.pace(self.deps.0.clock.now(), ctx);
    }

    fn city_ended(&mut self, ending: Ending, ctx: &mut Context) {
        if let Some(farewell) = self.protocol.city_ended(ending) {
            self.farewell(farewell, ctx);
        }
    }

    /// Requests under way have their answers before the goodbye, or else hear of their fate after the reconnect.
    fn app_stops(&mut self, ctx: &mut Context) {
        if let Some(farewell) = self.protocol.app_stops() {
            return self.farewell(farewell, ctx);
        }
        ctx.run_later(LAST_ANSWERS, |session, ctx| {
            session.farewell(Farewell::for_now(rider_bye::GOING_AWAY), ctx);
        });
    }
}

impl Handler<Word> for RiderSession {
    type Result = ();

    fn handle(&mut self, word: Word, ctx: &mut Context) {
        match word {
            _ if self.protocol.is_ended() => {}
            Word::Beat => self.beat(ctx),
            Word::AppStops => self.app_stops(ctx),
            Word::CityEnded(ending) => self.city_ended(ending, ctx),
        }
    }
}
