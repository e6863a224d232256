//! A device's request on its way to the city and back, however long the database takes.

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use tokio::time::Instant;

use super::{
    super::{convert::Request, recall},
    Context, RiderSession,
};
use crate::engine::{answered::FrameKey, command::Command};

impl RiderSession {
    pub(super) fn ask(&mut self, key: FrameKey, request: Request, ctx: &mut Context) {
        let Some(city) = self.city.clone() else { return };
        let (deadline, rider, session, asked) =
            (self.deps.0.options.answer_within(), self.rider, self.id, request.clone());
        let begun = Instant::now();
        let storage = self.deps.0.storage.clone();
        let (db, now, id, asked_key) = (self.deps.0.db.clone(), self.deps.0.clock.now(), key.id.clone(), key.clone());
        self.watch_storage(id.clone(), ctx);
        let answer = async move {
            let command = move |reply| {
                let command = Box::new(asked.command(rider, session, reply));
                Command::Framed { key: asked_key, command }
            };
            let result = city.ask_through_outages(deadline, storage, command).await;
            recall::first_answer(&db, rider, &key, now, result).await
        };
        ctx.spawn(answer.into_actor(self).map(move |result, session, ctx| {
            session.deps.0.figures.answer_seconds.observe(begun.elapsed().as_secs_f64());
            if session.protocol.is_ended() {
                return;
            }
            let reply = session.protocol.answered(session.deps.0.clock.now(), &id, &request, result);
            session.store_boundary();
            for _ in 0..reply.times {
                session.say(&reply.frame, ctx);
            }
            if let Some(farewell) = reply.end {
                session.farewell(farewell, ctx);
            }
            session.pace(session.deps.0.clock.now(), ctx);
        }));
    }

    /// Tells the device if its request waits for a database that does not answer.
    fn watch_storage(&self, id: String, ctx: &mut Context) {
        ctx.run_later(self.deps.0.options.storage_notice(), move |session, ctx| {
            if session.protocol.is_ended() || !session.protocol.awaits(&id) {
                return;
            }
            if session.deps.0.storage.is_up() {
                return session.watch_storage(id, ctx);
            }
            if let Some(notice) = session.protocol.waits_for_storage(&id) {
                session.say(&notice, ctx);
            }
        });
    }
}
