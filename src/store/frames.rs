//! The first answers to frames of devices. The journal writes them, with what the frames changed; a city that starts reads
//! the latest ones, and an older one is looked up when its frame comes again.

use serde::Deserialize;
use serde_json::Value;

use super::{Db, StoreError};
use crate::{
    domain::{ids::RiderId, time::Timestamp},
    engine::answered::FirstAnswer,
};

/// A stored answer and the digest of the frame that got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// SHA-256 of what the frame asked for.
    pub digest: Vec<u8>,
    /// What it was answered.
    pub answer: FirstAnswer,
}

/// The first answer to a rider's frame, unless its time is over.
///
/// # Errors
/// [`StoreError`].
pub async fn find(db: &Db, rider: RiderId, id: &str, now: Timestamp) -> Result<Option<Answered>, StoreError> {
    let row = sqlx::query!(
        "SELECT digest, answer FROM device_frames WHERE rider_id = $1 AND frame_id = $2 AND expires_at > $3",
        rider.0,
        id,
        now.to_datetime()
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| Ok(Answered { digest: row.digest, answer: read(rider, &row.answer)? })).transpose()
}

/// Reads a stored answer.
pub(super) fn read(rider: RiderId, stored: &Value) -> Result<FirstAnswer, StoreError> {
    FirstAnswer::deserialize(stored).map_err(|error| StoreError::Corrupt(format!("an answer to {rider}: {error}")))
}

/// Deletes the answers whose time is over, and counts them.
///
/// # Errors
/// [`StoreError`].
pub async fn delete_expired(db: &Db, now: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query!("DELETE FROM device_frames WHERE expires_at <= $1", now.to_datetime()).execute(db).await?;
    Ok(done.rows_affected())
}
