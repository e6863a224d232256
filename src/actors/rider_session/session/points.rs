//! A session's points on their way to the lane, and the acks on their way back. The regular ack goes with the keep-alive,
//! in one write and without a timer of its own, unless it is wanted more often.

use std::time::Duration;

use actix::AsyncContext;

use super::{
    super::{acks::Due, pings::Judged},
    Context, RiderSession,
};

/// The timer of the next ack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AckTimer {
    /// None: there is nothing to tell, or the keep-alive comes soon enough.
    Off,
    /// The regular one.
    Regular,
    /// The short one.
    Soon,
}

impl RiderSession {
    pub(super) fn points(&mut self, judged: Judged, ctx: &mut Context) {
        self.deps.0.figures.points.count(&judged);
        self.deps.0.refused.keep(judged.kept);
        if let Some(city) = &self.city {
            self.protocol.located(&city.rules(), judged.live);
            self.worker.lane.take(city, self.arrived, judged.points);
        }
        self.arm_ack(ctx);
    }

    /// Points that were left out of the log at first and are wanted after all.
    pub(super) fn store_boundary(&mut self) {
        let points = self.protocol.take_boundary();
        if let Some(city) = self.city.as_ref().filter(|_| !points.is_empty()) {
            self.worker.lane.take(city, self.arrived, points);
        }
    }

    pub(super) fn ack(&mut self, ctx: &mut Context) {
        if let Some(ack) = self.protocol.ack() {
            self.say(&ack, ctx);
        }
        self.arm_ack(ctx);
    }

    fn arm_ack(&mut self, ctx: &mut Context) {
        if self.protocol.is_ended() {
            return;
        }
        let options = &self.deps.0.options;
        let (timer, wait) = match self.protocol.ack_due() {
            Due::Never => return,
            // Nothing is due at once after that.
            Due::Now => return self.ack(ctx),
            Due::Regular if options.ack_every() >= Duration::from_secs(options.ping_every_s) => return,
            Due::Regular => (AckTimer::Regular, options.ack_every()),
            Due::Soon => (AckTimer::Soon, options.ack_soon()),
        };
        if timer <= self.ack_timer {
            return;
        }
        self.ack_timer = timer;
        ctx.run_later(wait, |session, ctx| {
            session.ack_timer = AckTimer::Off;
            if !session.protocol.is_ended() {
                session.ack(ctx);
            }
        });
    }
}
