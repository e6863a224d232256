//! Batches of location rows, each stored once. The rows and the batch's id commit in one transaction, so that a batch whose
//! commit answer was lost is recognised when it comes again, from memory or from the spool.

use std::time::Duration;

use chrono::Months;
use sqlx::{Acquire, PgConnection, Postgres, pool::PoolConnection};
use uuid::Uuid;

use super::{
    Db, StoreError,
    location_logs::{CopyBatch, TRAILER},
    partitions::month_of,
};
use crate::domain::time::Timestamp;

/// SQLSTATE check_violation: what a row gets that no partition takes (tried; it has no code of its own).
const NO_PARTITION: &str = "23514";

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Its rows are committed.
    Stored,
    /// They were committed by an earlier attempt.
    Before,
}

/// A connection that goes back to the pool only when it is known to be idle. An attempt that is given up half way, or that
/// broke, leaves its connection in the middle of a statement: given back, it would wait in the pool's hands for a server
/// that may never answer, and the pool would run dry.
struct Borrowed {
    connection: PoolConnection<Postgres>,
    idle: bool,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if !self.idle {
            self.connection.close_on_drop();
        }
    }
}

/// Stores a batch, whole or not at all, and makes the partitions that it lacks. The same batch may come again with the same
/// id, as often as it takes; while an earlier attempt is still open on the server, this one waits for its end. `limit` is
/// the longest that it may take, in real time.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database does not answer in time: whether the batch is stored is not known.
/// [`StoreError::Refused`] when the database will not take the rows.
pub async fn append(
    db: &Db,
    id: Uuid,
    batch: &CopyBatch,
    at: Timestamp,
    limit: Duration,
) -> Result<Appended, StoreError> {
    match tokio::time::timeout(limit, store(db, id, batch, at)).await {
        Ok(result) => result,
        Err(_elapsed) => Err(StoreError::Unavailable(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))),
    }
}

async fn store(db: &Db, id: Uuid, batch: &CopyBatch, at: Timestamp) -> Result<Appended, StoreError> {
    let mut borrowed = Borrowed { connection: db.acquire().await?, idle: false };
    let mut result = attempt(&mut borrowed.connection, id, batch, at).await;
    if let Err(sqlx::Error::Database(refusal)) = &result
        && refusal.code().as_deref() == Some(NO_PARTITION)
    {
        make_partitions(&mut borrowed.connection, batch).await?;
        result = attempt(&mut borrowed.connection, id, batch, at).await;
    }
    borrowed.idle = result.is_ok();
    result.map_err(failure)
}

/// Only the database itself refuses rows. Whatever else goes wrong on the way, be it an answer that makes no sense, says
/// nothing about them: they come again.
fn failure(error: sqlx::Error) -> StoreError {
    match StoreError::from(error) {
        StoreError::Refused(error) if !matches!(error, sqlx::Error::Database(_)) => StoreError::Unavailable(error),
        other => other,
    }
}

/// One transaction. The id goes first: it is what an attempt has to wait for, and most of them need not send their rows.
async fn attempt(
    connection: &mut PgConnection,
    id: Uuid,
    batch: &CopyBatch,
    at: Timestamp,
) -> Result<Appended, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let rows = i64::try_from(batch.rows()).unwrap_or(i64::MAX);
    let new = sqlx::query!(
        "INSERT INTO location_batches (id, stored_at, rows) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
        id,
        at.to_datetime(),
        rows
    )
    .execute(&mut *transaction)
    .await?;
    if new.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(Appended::Before);
    }
    match copy(&mut transaction, batch).await {
        Ok(_) => transaction.commit().await.map(|()| Appended::Stored),
        Err(error) => {
            // The refusal is what the caller must see; a connection that cannot even roll back is not used again.
            if matches!(error, sqlx::Error::Database(_)) {
                transaction.rollback().await?;
            }
            Err(error)
        }
    }
}

async fn copy(connection: &mut PgConnection, batch: &CopyBatch) -> Result<u64, sqlx::Error> {
    let mut sink = connection.copy_in_raw(batch.statement()).await?;
    sink.send(batch.encoded()).await?;
    sink.send(TRAILER.as_slice()).await?;
    sink.finish().await
}

async fn make_partitions(connection: &mut PgConnection, batch: &CopyBatch) -> Result<(), StoreError> {
    let (first, last) = batch.span();
    let last = month_of(last);
    let mut month = Some(month_of(first));
    while let Some(day) = month.filter(|day| *day <= last) {
        sqlx::query!("SELECT create_location_logs_partition($1)", day).execute(&mut *connection).await?;
        month = day.checked_add_months(Months::new(1));
    }
    Ok(())
}

/// Forgets the ids of batches stored before `before`, and counts them.
///
/// # Errors
/// [`StoreError`].
pub async fn delete_before(db: &Db, before: Timestamp) -> Result<u64, StoreError> {
    let done =
        sqlx::query!("DELETE FROM location_batches WHERE stored_at < $1", before.to_datetime()).execute(db).await?;
    Ok(done.rows_affected())
}
