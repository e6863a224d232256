//! What was answered under an idempotency key. The journal writes these rows, in the transaction of the order itself.

use serde_json::Value;

use super::{Db, StoreError};
use crate::domain::time::Timestamp;

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

/// Deletes the keys whose time is over, and counts them.
///
/// # Errors
/// [`StoreError`].
pub async fn delete_expired(db: &Db, now: Timestamp) -> Result<u64, StoreError> {
    let done =
        sqlx::query!("DELETE FROM idempotency_keys WHERE expires_at <= $1", now.to_datetime()).execute(db).await?;
    Ok(done.rows_affected())
}
