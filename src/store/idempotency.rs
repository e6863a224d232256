//! What was answered under an idempotency key. The journal writes the rows of changes, in the transaction of the order
//! itself; what changed nothing is kept here.

use serde_json::Value;

use super::{Db, StoreError};
use crate::{
    domain::{ids::OrderId, time::Timestamp},
    engine::command::IdempotencyRecord,
};

/// An earlier request and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// SHA-256 of the request's canonical body.
    pub digest: Vec<u8>,
    /// The answer that it got.
    pub answer: Value,
}

/// The earlier request of a caller under a key that is not yet forgotten.
///
/// # Errors
/// [`StoreError`].
pub async fn find(db: &Db, caller: &str, key: &str, now: Timestamp) -> Result<Option<Answered>, StoreError> {
    Ok(sqlx::query_as!(
        Answered,
        "SELECT digest, answer FROM idempotency_keys WHERE caller = $1 AND key = $2 AND expires_at > $3",
        caller,
        key,
        now.to_datetime()
    )
    .fetch_optional(db)
    .await?)
}

/// Keeps the answer to a request that changed nothing, so that it is the same when it is asked again. A key that is taken
/// stays as it is: a request that changed something has stored it with the change.
///
/// # Errors
/// [`StoreError`].
pub async fn keep(db: &Db, record: &IdempotencyRecord, order: OrderId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO idempotency_keys (caller, key, digest, order_id, answer, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (caller, key) DO NOTHING",
        record.caller,
        record.key,
        record.digest,
        order.0,
        record.answer,
        now.to_datetime(),
        record.expires_at.to_datetime(),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes the keys whose time is over, and counts them.
///
/// # Errors
/// [`StoreError`].
pub async fn delete_expired(db: &Db, now: Timestamp) -> Result<u64, StoreError> {
    let done =
        sqlx::query!("DELETE FROM idempotency_keys WHERE expires_at <= $1", now.to_datetime()).execute(db).await?;
    Ok(done.rows_affected())
}
