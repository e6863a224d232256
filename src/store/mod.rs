//! Every SQL statement, one file per resource. Times are arguments: SQL never asks what time it is.

pub mod audit;
pub mod checks;
pub mod cities;
pub mod contacts;
pub mod disputes;
pub mod epochs;
pub mod frames;
pub mod idempotency;
pub mod journal;
pub mod location_batches;
pub mod location_logs;
pub mod location_runs;
pub mod merchants;
pub mod migrate;
pub mod orders;
pub mod otps;
pub mod partitions;
pub mod recovery;
pub mod refused_points;
pub mod rider_devices;
pub mod riders;
pub mod tracks;

/// A pool of connections to Postgres.
pub type Db = sqlx::PgPool;

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, slow or out of connections: the same call may succeed later.
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// The database refused the statement, or a stored row cannot be read: trying again will not help.
    #[error("the database refused the statement")]
    Refused(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the schema could not be brought up to date")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// A stored row holds what the domain does not know.
    #[error("a stored row cannot be read: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let transient = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            // Classes 08 connection, 40 rollback, 53 resources, 55 not ready, 57 operator intervention, 58 system error;
            // 25006 is a server that became a standby, 25P03 a transaction that lay idle while this process was stopped
            // (PostgreSQL, appendix A).
            sqlx::Error::Database(refusal) => refusal.code().is_some_and(|code| {
                ["08", "25006", "25P03", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class))
            }),
            _ => false,
        };
        if transient { Self::Unavailable(error) } else { Self::Refused(error) }
    }
}

/// Whether the database answers at all.
///
/// # Errors
/// [`StoreError`].
pub async fn ping(db: &Db) -> Result<(), StoreError> {
    sqlx::query_scalar!("SELECT 1").fetch_one(db).await?;
    Ok(())
}
