//! Idempotency keys: a write takes the key of its request before anything else is stored, with `ON CONFLICT ...
//! RETURNING`, so that a loser spoils no other write. Whoever takes a key and is refused later gives it back.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Answer;
use crate::{
    domain::{
        ids::{OrderId, TransitionId},
        time::Timestamp,
    },
    engine::{
        command::{IdempotencyRecord, RejectReason},
        effect::{OrderWrite, PlaceWrite},
    },
    store::StoreError,
};

/// A write that needs a key.
pub(super) struct Keyed<'a> {
    /// Its place in the batch.
    pub at: usize,
    pub order: OrderId,
    pub transition: TransitionId,
    pub made_at: Timestamp,
    pub record: &'a IdempotencyRecord,
}

impl<'a> Keyed<'a> {
    /// A placement, when its request had a key.
    pub fn place(at: usize, write: &'a PlaceWrite) -> Option<Self> {
        let record = write.extras.idempotency.as_ref()?;
        Some(Self { at, order: write.spec.id, transition: write.transition, made_at: write.spec.placed_at, record })
    }

    /// A change of an order, when its request had a key.
    pub fn change(at: usize, write: &'a OrderWrite) -> Option<Self> {
        let record = write.idempotency.as_ref()?;
        let made_at = write.state.updated_at;
        Some(Self { at, order: write.order, transition: write.transition, made_at, record })
    }
}

/// Takes the keys of a wave; answers the writes that do not get theirs, and returns their places.
pub(super) async fn take(
    tx: &mut PgConnection,
    keyed: &[Keyed<'_>],
    answers: &mut [Answer],
) -> Result<BTreeSet<usize>, StoreError> {
    if keyed.is_empty() {
        return Ok(BTreeSet::new());
    }
    let callers: Vec<&str> = keyed.iter().map(|write| write.record.caller.as_str()).collect();
    let keys: Vec<&str> = keyed.iter().map(|write| write.record.key.as_str()).collect();
    let digests: Vec<&[u8]> = keyed.iter().map(|write| write.record.digest.as_slice()).collect();
    let orders: Vec<Uuid> = keyed.iter().map(|write| write.order.0).collect();
    let written: Vec<serde_json::Value> = keyed.iter().map(|write| write.record.answer.clone()).collect();
    let created: Vec<DateTime<Utc>> = keyed.iter().map(|write| write.made_at.to_datetime()).collect();
    let expires: Vec<DateTime<Utc>> = keyed.iter().map(|write| write.record.expires_at.to_datetime()).collect();
    let transitions: Vec<Uuid> = keyed.iter().map(|write| write.transition.0).collect();
    // A key past its time is forgotten, whether or not its row has been swept yet.
    let won: BTreeSet<Uuid> = sqlx::query_scalar!(
        r#"INSERT INTO idempotency_keys (caller, key, digest, order_id, answer, created_at, expires_at, transition_id)
           SELECT * FROM UNNEST($1::text[], $2::text[], $3::bytea[], $4::uuid[], $5::jsonb[], $6::timestamptz[],
                                $7::timestamptz[], $8::uuid[])
           ON CONFLICT (caller, key) DO UPDATE
           SET digest = EXCLUDED.digest, order_id = EXCLUDED.order_id, answer = EXCLUDED.answer,
               created_at = EXCLUDED.created_at, expires_at = EXCLUDED.expires_at,
               transition_id = EXCLUDED.transition_id
           WHERE idempotency_keys.expires_at <= EXCLUDED.created_at
           RETURNING transition_id AS "transition_id!""#,
        &callers as &[&str],
        &keys as &[&str],
        &digests as &[&[u8]],
        &orders,
        &written,
        &created,
        &expires,
        &transitions,
    )
    .fetch_all(&mut *tx)
    .await?
    .into_iter()
    .collect();
    if won.len() == keyed.len() {
        return Ok(BTreeSet::new());
    }

    let rows = sqlx::query!(
        "SELECT k.caller, k.key, k.digest, k.transition_id, k.answer
         FROM idempotency_keys k JOIN UNNEST($1::text[], $2::text[]) AS u (caller, key)
           ON k.caller = u.caller AND k.key = u.key",
        &callers as &[&str],
        &keys as &[&str],
    )
    .fetch_all(tx)
    .await?;
    let held: BTreeMap<_, _> = rows.iter().map(|row| ((row.caller.as_str(), row.key.as_str()), row)).collect();
    let mut lost = BTreeSet::new();
    for write in keyed.iter().filter(|write| !won.contains(&write.transition.0)) {
        let IdempotencyRecord { caller, key, digest, .. } = write.record;
        answers[write.at] = match held.get(&(caller.as_str(), key.as_str())) {
            // A retry: this very write was stored, and its answer was lost.
            Some(row) if row.transition_id == Some(write.transition.0) => Ok(()),
            Some(row) if row.digest == *digest => Err(RejectReason::Replay(row.answer.clone())),
            // Another request has it, or had it until this moment.
            _ => Err(RejectReason::KeyReused),
        };
        lost.insert(write.at);
    }
    Ok(lost)
}

/// Removes the keys that refused writes took in this transaction.
pub(super) async fn give_back(tx: &mut PgConnection, losers: &[Keyed<'_>]) -> Result<(), StoreError> {
    if losers.is_empty() {
        return Ok(());
    }
    let callers: Vec<&str> = losers.iter().map(|write| write.record.caller.as_str()).collect();
    let keys: Vec<&str> = losers.iter().map(|write| write.record.key.as_str()).collect();
    let transitions: Vec<Uuid> = losers.iter().map(|write| write.transition.0).collect();
    sqlx::query!(
        "DELETE FROM idempotency_keys k
         USING UNNEST($1::text[], $2::text[], $3::uuid[]) AS u (caller, key, transition_id)
         WHERE k.caller = u.caller AND k.key = u.key AND k.transition_id = u.transition_id",
        &callers as &[&str],
        &keys as &[&str],
        &transitions,
    )
    .execute(tx)
    .await?;
    Ok(())
}
