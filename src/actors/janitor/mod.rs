//! The janitor: what has to be done every hour so that tomorrow works. Month partitions are made ahead; contacts and
//! one-time codes of recipients, idempotency keys, answers to frames, refused points and the ids of location batches are
//! deleted when their time is over.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};

use crate::{
    clock::Clock,
    domain::time::Timestamp,
    store::{Db, StoreError, contacts, frames, idempotency, location_batches, otps, partitions, refused_points},
};

/// Between two rounds, in clock time.
const HOUR: Duration = Duration::from_secs(3_600);
/// Before a round that failed is tried again, in clock time. Partitions are made two months ahead: nothing hurries.
const SOON: Duration = Duration::from_secs(900);

/// The actor.
pub struct Janitor {
    db: Db,
    clock: Clock,
    /// How long the ids of stored location batches are remembered.
    batch_ids: Duration,
}

impl Janitor {
    /// Starts the janitor on the current arbiter. The first round is an hour away: the launcher of the cities has made the
    /// partitions at the start.
    /// `spool_days` is the longest that a batch of the location log may wait in a spool.
    pub fn start(db: Db, clock: Clock, spool_days: u32) {
        // A day more, because a batch may be stored and go to the spool a moment later.
        let batch_ids = 24 * HOUR * spool_days.saturating_add(1);
        Actor::start(Self { db, clock, batch_ids });
    }

    fn round_later(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(self.clock.real(pause), Self::round);
    }

    fn round(&mut self, ctx: &mut Context<Self>) {
        let (db, now, batch_ids) = (self.db.clone(), self.clock.now(), self.batch_ids);
        ctx.spawn(clean(db, now, batch_ids).into_actor(self).map(|result, janitor, ctx| match result {
            Ok(Swept { contacts, keys, frames, codes, points, batches }) => {
                tracing::info!(
                    contacts,
                    keys,
                    frames,
                    codes,
                    points,
                    batches,
                    "month partitions are there; what had expired is deleted"
                );
                janitor.round_later(HOUR, ctx);
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "a round of the janitor failed; trying again");
                janitor.round_later(SOON, ctx);
            }
        }));
    }
}

/// What a round has deleted, in rows.
struct Swept {
    contacts: u64,
    keys: u64,
    frames: u64,
    codes: u64,
    /// Refused points.
    points: u64,
    batches: u64,
}

/// One round. Safe to run twice.
async fn clean(db: Db, now: Timestamp, batch_ids: Duration) -> Result<Swept, StoreError> {
    partitions::ensure_months(&db, now).await?;
    Ok(Swept {
        contacts: contacts::delete_expired(&db, now).await?,
        keys: idempotency::delete_expired(&db, now).await?,
        frames: frames::delete_expired(&db, now).await?,
        codes: otps::delete_expired(&db, now).await?,
        points: refused_points::delete_expired(&db, now).await?,
        batches: location_batches::delete_before(&db, now - batch_ids).await?,
    })
}

impl Actor for Janitor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.round_later(HOUR, ctx);
    }
}
