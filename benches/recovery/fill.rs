//! A city's evening, written straight into the store: what a city holds that was killed in the middle of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dispatch_engine::{
    clock::Clock,
    store::{Db, checks, partitions},
};
use uuid::Uuid;

use crate::support::world::{DOOR, KITCHEN};

/// How many orders stand where, per city.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Riders on duty.
    pub riders: usize,
    /// Orders that wait.
    pub queued: usize,
    /// Orders that a rider is being asked about.
    pub offered: usize,
    /// Orders on the way to the counter, at it, on the way to the door, at it; as many of each.
    pub in_hand: usize,
    /// Orders delivered within the last minutes, which a city still answers for.
    pub delivered: usize,
}

impl Mix {
    /// Orders that have not ended.
    pub const fn open(self) -> usize {
        self.queued + self.offered + self.in_hand * 4
    }
}

/// Fills a city, and returns its riders who have nothing in hand and are asked nothing.
pub async fn fill(db: &Db, city: &str, merchant: Uuid, mix: Mix) -> Vec<Uuid> {
    let clock = Clock::system();
    partitions::ensure_months(db, clock.now()).await.unwrap();
    let riders: Vec<Uuid> = (0..mix.riders).map(|_| Uuid::new_v4()).collect();
    sqlx::query(
        "INSERT INTO riders (id, name, mobile, city, kyc_status, vehicle, duty, duty_since, live_city, live_epoch,
                             created_at, updated_at)
         SELECT id, 'Ravi', id::text, $2, 'APPROVED', 'motorcycle', 'ON', $3, $2, 0, $3, $3 FROM UNNEST($1::uuid[]) AS id",
    )
    .bind(&riders)
    .bind(city)
    .bind(clock.now().to_datetime())
    .execute(db)
    .await
    .unwrap();
    let mut free = riders.iter().copied();
    let stages = [
        ("queued", mix.queued),
        ("offered", mix.offered),
        ("assigned", mix.in_hand),
        ("at_pickup", mix.in_hand),
        ("picked_up", mix.in_hand),
        ("at_dropoff", mix.in_hand),
        ("delivered", mix.delivered),
    ];
    for (status, count) in stages {
        let with_rider = status != "queued";
        let riders: Vec<Option<Uuid>> = (0..count).map(|_| with_rider.then(|| free.next()).flatten()).collect();
        let orders: Vec<Uuid> = (0..count).map(|_| clock.new_id()).collect();
        stage(db, city, merchant, status, &orders, &riders, clock.now().to_datetime()).await;
    }
    free.collect()
}

/// Orders that stand at one place, with their events, offers and wages.
async fn stage(
    db: &Db,
    city: &str,
    merchant: Uuid,
    status: &str,
    orders: &[Uuid],
    riders: &[Option<Uuid>],
    now: DateTime<Utc>,
) {
    let kinds = ["placed", "queued", "offered", "assigned", "at_pickup", "picked_up", "at_dropoff", "delivered"];
    let events = kinds.iter().position(|kind| *kind == status).map_or(2, |at| at + 1);
    let events = i32::try_from(events).unwrap();
    let version = events - 1;
    let ago = |seconds: u64| now - Duration::from_secs(seconds);
    sqlx::query(
        "INSERT INTO orders (id, city, merchant_id, external_ref, status, version, next_seq, rider_id, custody,
             custodian_id, pickup_lat, pickup_lon, drop_lat, drop_lon, ready_at, promise_at, due_at, assigned_at,
             picked_up_at, delivered_at, ended_at, currency, payout_minor, metadata, created_at, updated_at)
         SELECT id, $3, $4, NULL, $5, $6, $7, CASE WHEN $6 >= 3 THEN rider END,
             CASE WHEN $6 >= 7 THEN 'recipient' WHEN $6 >= 5 THEN 'rider' ELSE 'store' END,
             CASE WHEN $6 IN (5, 6) THEN rider END,
             $8 + (n % 100) * 0.0001, $9 + (n % 97) * 0.0001, $10, $11, $12, $13, $12,
             CASE WHEN $6 >= 3 THEN $12 END, CASE WHEN $6 >= 5 THEN $12 END, CASE WHEN $6 >= 7 THEN $14 END,
             CASE WHEN $6 >= 7 THEN $14 END, 'INR', 4000, '{\"basket\": 2}', $12, $14
         FROM UNNEST($1::uuid[], $2::uuid[]) WITH ORDINALITY AS given (id, rider, n)",
    )
    .bind(orders)
    .bind(riders)
    .bind(city)
    .bind(merchant)
    .bind(status)
    .bind(version)
    .bind(events + 1)
    .bind(KITCHEN.lat)
    .bind(KITCHEN.lon)
    .bind(DOOR.lat)
    .bind(DOOR.lon)
    .bind(ago(120))
    .bind(now + Duration::from_secs(2_400))
    .bind(ago(30))
    .execute(db)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO order_events (order_id, seq, version, transition_id, kind, actor_kind, actor_id, created_at)
         SELECT id, seq, greatest(seq - 1, 1), gen_random_uuid(), kind,
                CASE WHEN seq > 3 THEN 'rider' ELSE 'engine' END, CASE WHEN seq > 3 THEN rider::text END, $5
         FROM UNNEST($1::uuid[], $2::uuid[]) AS given (id, rider),
              UNNEST($3::text[]) WITH ORDINALITY AS happened (kind, seq) WHERE seq <= $4",
    )
    .bind(orders)
    .bind(riders)
    .bind(kinds.map(str::to_owned).to_vec())
    .bind(events)
    .bind(ago(60))
    .execute(db)
    .await
    .unwrap();
    if version >= 2 {
        sqlx::query(
            "INSERT INTO offers (id, job_id, city, rider_id, order_ids, state, round, payout_minor, currency,
                                 pickup_eta_ms, pickup_distance_m, sent_at, expires_at, closed_at)
             SELECT gen_random_uuid(), id, $3, rider, ARRAY[id], CASE WHEN $4 = 2 THEN 'sent' ELSE 'accepted' END, 0,
                    4000, 'INR', 60000, 500, $5, $5 + interval '60 s', CASE WHEN $4 > 2 THEN $5 END
             FROM UNNEST($1::uuid[], $2::uuid[]) AS given (id, rider)",
        )
        .bind(orders)
        .bind(riders)
        .bind(city)
        .bind(version)
        .bind(now)
        .execute(db)
        .await
        .unwrap();
    }
    if status == "delivered" {
        for sql in [
            "INSERT INTO wallet_ledger (rider_id, id, account, amount, currency, transaction_id, entry_type, order_id,
                                        idempotency_key, created_at)
             SELECT rider, gen_random_uuid(), 'earnings', 4000, 'INR', id, 'earning', id, id::text, $3
             FROM UNNEST($1::uuid[], $2::uuid[]) AS given (id, rider)",
            "INSERT INTO platform_ledger (id, account, amount, currency, transaction_id, entry_type, order_id,
                                          idempotency_key, created_at)
             SELECT gen_random_uuid(), 'platform', -4000, 'INR', id, 'delivery_fee', id, id::text, $3
             FROM UNNEST($1::uuid[], $2::uuid[]) AS given (id, rider)",
        ] {
            sqlx::query(sql).bind(orders).bind(riders).bind(now).execute(db).await.unwrap();
        }
    }
}

/// What was written keeps the promises that the engine keeps; statistics are as fresh as autovacuum keeps them.
pub async fn finish(db: &Db) {
    let broken: Vec<_> = checks::run(db).await.unwrap().into_iter().filter(|check| check.broken != 0).collect();
    assert!(broken.is_empty(), "{broken:?}");
    sqlx::query("ANALYZE").execute(db).await.unwrap();
    sqlx::query("CHECKPOINT").execute(db).await.unwrap();
}

/// Times of what is open are moved to now, as if the evening had gone on.
pub async fn make_recent(db: &Db) {
    for sql in [
        "UPDATE offers SET sent_at = $1, expires_at = $1 + interval '60 s', closed_at = closed_at + ($1 - sent_at)",
        "UPDATE orders SET ended_at = $1, delivered_at = $1 WHERE status = 'delivered'",
    ] {
        sqlx::query(sql).bind(Clock::wall().to_datetime()).execute(db).await.unwrap();
    }
}
