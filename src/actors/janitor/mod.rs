//! The janitor: what has to be done once a day so that tomorrow works. Now that is making month partitions ahead.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};

use crate::{
    clock::Clock,
    store::{Db, partitions},
};

/// Between two rounds, in clock time.
const DAY: Duration = Duration::from_secs(86_400);
/// Before a round that failed is tried again, in clock time. Partitions are made two months ahead, so it does not hurry.
const SOON: Duration = Duration::from_secs(900);

/// The actor.
pub struct Janitor {
    db: Db,
    clock: Clock,
}

impl Janitor {
    /// Starts the janitor on the current arbiter. The first round is a day away: the launcher of the cities has done its
    /// work at the start.
    pub fn start(db: Db, clock: Clock) {
        Actor::start(Self { db, clock });
    }

    fn round_later(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(self.clock.real(pause), Self::round);
    }

    fn round(&mut self, ctx: &mut Context<Self>) {
        let (db, now) = (self.db.clone(), self.clock.now());
        let made = async move { partitions::ensure_months(&db, now).await };
        ctx.spawn(made.into_actor(self).map(|result, janitor, ctx| match result {
            Ok(()) => {
                tracing::info!("month partitions are there for this month and the next two");
                janitor.round_later(DAY, ctx);
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "month partitions could not be made ahead; trying again");
                janitor.round_later(SOON, ctx);
            }
        }));
    }
}

impl Actor for Janitor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.round_later(DAY, ctx);
    }
}
