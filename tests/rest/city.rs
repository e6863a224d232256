//! A stand-in for a city: stores placements and changes, or answers what a test put into its script.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use actix::{Actor, Context, Handler};
use dispatch_engine::{
    actors::city::{CityBody, CityMessage, Life},
    clock::Clock,
    domain::{
        ids::{CityCode, ReplyTo},
        order::{OrderSpec, OrderStatus},
    },
    engine::{
        command::{Command, Outcome, PlacementExtras, Refusal},
        view::{CitySnapshot, Counts},
    },
    store::Db,
};

/// Answers to be given instead of doing what was asked; `None` keeps the caller waiting.
pub type Script = Arc<Mutex<VecDeque<Option<Result<Outcome, Refusal>>>>>;

pub struct FakeCity {
    pub code: CityCode,
    pub db: Db,
    pub clock: Clock,
    pub script: Script,
    /// Ends with it.
    pub _life: Life,
}

impl Actor for FakeCity {
    type Context = Context<Self>;
}

impl Handler<CityMessage> for FakeCity {
    type Result = ();

    fn handle(&mut self, message: CityMessage, _: &mut Self::Context) {
        match message.body {
            CityBody::Ask { build, answer } => match self.script.lock().unwrap().pop_front() {
                Some(Some(result)) => drop(answer.send(result)),
                // The answer is held until the caller has given up.
                Some(None) => drop(actix::spawn(async move {
                    let mut answer = answer;
                    answer.closed().await;
                })),
                None => {
                    let (command, db, code) = (build(ReplyTo(1)), self.db.clone(), self.code.clone());
                    actix::spawn(async move {
                        let outcome = carry_out(&db, &code, command).await;
                        drop(answer.send(Ok(outcome)));
                    });
                }
            },
            CityBody::Snapshot(answer) => {
                let counts = Counts { orders_waiting: 3, ..Counts::default() };
                let city = self.code.clone();
                let snapshot = CitySnapshot { city, at: self.clock.now(), counts, orders: vec![], riders: vec![] };
                drop(answer.send(snapshot));
            }
            // Nobody is at work here.
            CityBody::Nearby(_, answer) => drop(answer.send(vec![])),
            CityBody::Whereabouts(_, answer) => drop(answer.send(None)),
            _ => {}
        }
    }
}

async fn carry_out(db: &Db, code: &CityCode, command: Command) -> Outcome {
    match command {
        Command::Place { spec, extras, .. } => {
            store(db, code, &spec, &extras).await;
            Outcome::Order { order: spec.id, status: OrderStatus::Queued, version: 1 }
        }
        Command::Cancel { order, reason, .. } => {
            let sql = "UPDATE orders SET status = 'cancelled', version = version + 1, end_reason = $2 WHERE id = $1";
            sqlx::query(sql).bind(order.0).bind(reason).execute(db).await.unwrap();
            Outcome::Order { order, status: OrderStatus::Cancelled, version: 2 }
        }
        Command::ChangeReady { order, ready_at, .. } => {
            let sql = "UPDATE orders SET ready_at = $2, version = version + 1 WHERE id = $1";
            sqlx::query(sql).bind(order.0).bind(ready_at.to_datetime()).execute(db).await.unwrap();
            Outcome::Order { order, status: OrderStatus::Queued, version: 2 }
        }
        other => panic!("REST does not send {other:?}"),
    }
}

async fn store(db: &Db, code: &CityCode, spec: &OrderSpec, extras: &PlacementExtras) {
    let placed = spec.placed_at.to_datetime();
    sqlx::query(
        "INSERT INTO orders (id, city, merchant_id, store, external_ref, status, version, next_seq, custody, pickup_lat,
             pickup_lon, drop_lat, drop_lon, ready_at, promise_at, currency, payout_minor, metadata, created_at, updated_at,
             needs_tags)
         VALUES ($1, $15, $2, $3, $4, 'queued', 1, 2, 'store', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14, $16)",
    )
    .bind(spec.id.0)
    .bind(spec.merchant.0)
    .bind(&spec.store)
    .bind(&spec.external_ref)
    .bind(spec.pickup.position.lat())
    .bind(spec.pickup.position.lon())
    .bind(spec.drop.position.lat())
    .bind(spec.drop.position.lon())
    .bind(spec.ready_at.to_datetime())
    .bind(spec.promise_at.to_datetime())
    .bind(spec.currency.as_str())
    .bind(spec.payout_minor)
    .bind(sqlx::types::Json(&spec.metadata))
    .bind(placed)
    .bind(code.as_str())
    .bind(spec.needs_tags.to_texts())
    .execute(db)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO order_events (order_id, seq, version, transition_id, kind, actor_kind, created_at)
         VALUES ($1, 1, 1, $1, 'placed', 'merchant', $2)",
    )
    .bind(spec.id.0)
    .bind(placed)
    .execute(db)
    .await
    .unwrap();
    if let Some(contact) = &extras.contact {
        sqlx::query("INSERT INTO order_contacts VALUES ($1, $2, $3, $4)")
            .bind(spec.id.0)
            .bind(&contact.key_id)
            .bind(&contact.sealed)
            .bind(contact.expires_at.to_datetime())
            .execute(db)
            .await
            .unwrap();
    }
    if let Some(record) = &extras.idempotency {
        sqlx::query("INSERT INTO idempotency_keys VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(&record.caller)
            .bind(&record.key)
            .bind(&record.digest)
            .bind(spec.id.0)
            .bind(&record.answer)
            .bind(placed)
            .bind(record.expires_at.to_datetime())
            .execute(db)
            .await
            .unwrap();
    }
}
