//! What a placement must win before its order is stored: its idempotency key and the merchant's own name for it. Taken
//! first, with `ON CONFLICT ... RETURNING`, so that a loser spoils no other write; its own rows are given back.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Answer, Numbered};
use crate::{
    engine::{
        command::{IdempotencyRecord, RejectReason},
        effect::PlaceWrite,
    },
    store::StoreError,
};

type Places<'a> = Vec<Numbered<'a, PlaceWrite>>;

/// Takes keys, then references; leaves in `places` what won all it needs, and answers the others.
pub(super) async fn take(
    tx: &mut PgConnection,
    places: &mut Places<'_>,
    answers: &mut [Answer],
) -> Result<(), StoreError> {
    take_keys(tx, places, answers).await?;
    take_references(tx, places, answers).await
}

async fn take_keys(tx: &mut PgConnection, places: &mut Places<'_>, answers: &mut [Answer]) -> Result<(), StoreError> {
    let keyed: Vec<(&PlaceWrite, &IdempotencyRecord)> =
        places.iter().filter_map(|p| Some((p.write, p.write.extras.idempotency.as_ref()?))).collect();
    if keyed.is_empty() {
        return Ok(());
    }
    let callers: Vec<&str> = keyed.iter().map(|(_, record)| record.caller.as_str()).collect();
    let keys: Vec<&str> = keyed.iter().map(|(_, record)| record.key.as_str()).collect();
    let digests: Vec<&[u8]> = keyed.iter().map(|(_, record)| record.digest.as_slice()).collect();
    let orders: Vec<Uuid> = keyed.iter().map(|(write, _)| write.spec.id.0).collect();
    let written: Vec<serde_json::Value> = keyed.iter().map(|(_, record)| record.answer.clone()).collect();
    let created: Vec<_> = keyed.iter().map(|(write, _)| write.spec.placed_at.to_datetime()).collect();
    let expires: Vec<_> = keyed.iter().map(|(_, record)| record.expires_at.to_datetime()).collect();
    // A key past its time is forgotten, whether or not its row has been swept yet.
    let won: BTreeSet<Uuid> = sqlx::query_scalar!(
        "INSERT INTO idempotency_keys (caller, key, digest, order_id, answer, created_at, expires_at)
         SELECT * FROM UNNEST($1::text[], $2::text[], $3::bytea[], $4::uuid[], $5::jsonb[], $6::timestamptz[],
                              $7::timestamptz[])
         ON CONFLICT (caller, key) DO UPDATE
         SET digest = EXCLUDED.digest, order_id = EXCLUDED.order_id, answer = EXCLUDED.answer,
             created_at = EXCLUDED.created_at, expires_at = EXCLUDED.expires_at
         WHERE idempotency_keys.expires_at <= EXCLUDED.created_at
         RETURNING order_id",
        &callers as &[&str],
        &keys as &[&str],
        &digests as &[&[u8]],
        &orders,
        &written,
        &created,
        &expires,
    )
    .fetch_all(&mut *tx)
    .await?
    .into_iter()
    .collect();
    if won.len() == keyed.len() {
        return Ok(());
    }

    let rows = sqlx::query!(
        "SELECT k.caller, k.key, k.digest, k.order_id, k.answer
         FROM idempotency_keys k JOIN UNNEST($1::text[], $2::text[]) AS u (caller, key)
           ON k.caller = u.caller AND k.key = u.key",
        &callers as &[&str],
        &keys as &[&str],
    )
    .fetch_all(tx)
    .await?;
    let held: BTreeMap<_, _> = rows.iter().map(|row| ((row.caller.as_str(), row.key.as_str()), row)).collect();
    places.retain(|place| {
        let Some(record) = &place.write.extras.idempotency else { return true };
        if won.contains(&place.write.spec.id.0) {
            return true;
        }
        answers[place.at] = match held.get(&(record.caller.as_str(), record.key.as_str())) {
            // A retry: this very placement was stored, and its answer was lost.
            Some(row) if row.order_id == place.write.spec.id.0 => Ok(()),
            Some(row) if row.digest == record.digest => Err(RejectReason::Replay(row.answer.clone())),
            // Another request has it, or had it until this moment.
            _ => Err(RejectReason::KeyReused),
        };
        false
    });
    Ok(())
}

async fn take_references(
    tx: &mut PgConnection,
    places: &mut Places<'_>,
    answers: &mut [Answer],
) -> Result<(), StoreError> {
    let named: Vec<(&PlaceWrite, &str)> =
        places.iter().filter_map(|p| Some((p.write, p.write.spec.external_ref.as_deref()?))).collect();
    if named.is_empty() {
        return Ok(());
    }
    let merchants: Vec<Uuid> = named.iter().map(|(write, _)| write.spec.merchant.0).collect();
    let references: Vec<&str> = named.iter().map(|(_, reference)| *reference).collect();
    let orders: Vec<Uuid> = named.iter().map(|(write, _)| write.spec.id.0).collect();
    let won: BTreeSet<Uuid> = sqlx::query_scalar!(
        "INSERT INTO order_refs (merchant_id, external_ref, order_id)
         SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::uuid[])
         ON CONFLICT (merchant_id, external_ref) DO NOTHING
         RETURNING order_id",
        &merchants,
        &references as &[&str],
        &orders,
    )
    .fetch_all(&mut *tx)
    .await?
    .into_iter()
    .collect();
    if won.len() == named.len() {
        return Ok(());
    }

    let rows = sqlx::query!(
        "SELECT r.merchant_id, r.external_ref, r.order_id
         FROM order_refs r JOIN UNNEST($1::uuid[], $2::text[]) AS u (merchant_id, external_ref)
           ON r.merchant_id = u.merchant_id AND r.external_ref = u.external_ref",
        &merchants,
        &references as &[&str],
    )
    .fetch_all(&mut *tx)
    .await?;
    let held: BTreeMap<_, _> = rows.iter().map(|row| ((row.merchant_id, row.external_ref.as_str()), row)).collect();
    let mut losers = Vec::new();
    places.retain(|place| {
        let spec = &place.write.spec;
        let Some(reference) = spec.external_ref.as_deref() else { return true };
        if won.contains(&spec.id.0) {
            return true;
        }
        answers[place.at] = match held.get(&(spec.merchant.0, reference)) {
            Some(row) if row.order_id == spec.id.0 => Ok(()),
            Some(row) => Err(RejectReason::DuplicateRef(row.order_id.into())),
            None => Err(RejectReason::Conflict),
        };
        if answers[place.at].is_err() {
            losers.push(place.write);
        }
        false
    });
    give_back(tx, &losers).await
}

/// Removes the keys and references that refused placements took in this transaction.
pub(super) async fn give_back(tx: &mut PgConnection, losers: &[&PlaceWrite]) -> Result<(), StoreError> {
    let keyed: Vec<(Uuid, &IdempotencyRecord)> =
        losers.iter().filter_map(|write| Some((write.spec.id.0, write.extras.idempotency.as_ref()?))).collect();
    if !keyed.is_empty() {
        let callers: Vec<&str> = keyed.iter().map(|(_, record)| record.caller.as_str()).collect();
        let keys: Vec<&str> = keyed.iter().map(|(_, record)| record.key.as_str()).collect();
        let orders: Vec<Uuid> = keyed.iter().map(|(order, _)| *order).collect();
        sqlx::query!(
            "DELETE FROM idempotency_keys k USING UNNEST($1::text[], $2::text[], $3::uuid[]) AS u (caller, key, order_id)
             WHERE k.caller = u.caller AND k.key = u.key AND k.order_id = u.order_id",
            &callers as &[&str],
            &keys as &[&str],
            &orders,
        )
        .execute(&mut *tx)
        .await?;
    }
    let named: Vec<(&PlaceWrite, &str)> =
        losers.iter().filter_map(|write| Some((*write, write.spec.external_ref.as_deref()?))).collect();
    if !named.is_empty() {
        let merchants: Vec<Uuid> = named.iter().map(|(write, _)| write.spec.merchant.0).collect();
        let references: Vec<&str> = named.iter().map(|(_, reference)| *reference).collect();
        let orders: Vec<Uuid> = named.iter().map(|(write, _)| write.spec.id.0).collect();
        sqlx::query!(
            "DELETE FROM order_refs r
             USING UNNEST($1::uuid[], $2::text[], $3::uuid[]) AS u (merchant_id, external_ref, order_id)
             WHERE r.merchant_id = u.merchant_id AND r.external_ref = u.external_ref AND r.order_id = u.order_id",
            &merchants,
            &references as &[&str],
            &orders,
        )
        .execute(tx)
        .await?;
    }
    Ok(())
}

/// Stores the sealed contacts of placements that were stored.
pub(super) async fn contacts(tx: &mut PgConnection, places: &Places<'_>) -> Result<(), StoreError> {
    let sealed: Vec<_> =
        places.iter().filter_map(|p| Some((p.write.spec.id.0, p.write.extras.contact.as_ref()?))).collect();
    if sealed.is_empty() {
        return Ok(());
    }
    let orders: Vec<Uuid> = sealed.iter().map(|(order, _)| *order).collect();
    let key_ids: Vec<&str> = sealed.iter().map(|(_, contact)| contact.key_id.as_str()).collect();
    let bytes: Vec<&[u8]> = sealed.iter().map(|(_, contact)| contact.sealed.as_slice()).collect();
    let expires: Vec<_> = sealed.iter().map(|(_, contact)| contact.expires_at.to_datetime()).collect();
    sqlx::query!(
        "INSERT INTO order_contacts (order_id, key_id, sealed, expires_at)
         SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::bytea[], $4::timestamptz[])",
        &orders,
        &key_ids as &[&str],
        &bytes as &[&[u8]],
        &expires,
    )
    .execute(tx)
    .await?;
    Ok(())
}
