//! The schema: migrations are part of the program.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::{Db, StoreError};

/// Every migration, in order.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// How the pool is set up.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// Connections, all held open.
    pub connections: u32,
    /// The longest wait for one.
    pub acquire_timeout: Duration,
    /// The longest a statement may run.
    pub statement_timeout: Duration,
}

/// Opens the pool. All connections are opened here and held: a connection belongs to the runtime that opened it, and
/// one opened by a busy worker or city thread would make everybody else who borrows it wait for that thread.
///
/// # Errors
/// [`StoreError`] when the database does not answer or the address is malformed.
pub async fn connect(url: &str, options: PoolOptions) -> Result<Db, StoreError> {
    let connect: PgConnectOptions = url.parse()?;
    let timeout = format!("{}ms", options.statement_timeout.as_millis());
    let connect = connect.application_name("dispatch").options([("statement_timeout", timeout.as_str())]);
    let pool = PgPoolOptions::new()
        .min_connections(options.connections)
        .max_connections(options.connections)
        .acquire_timeout(options.acquire_timeout)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(connect)
        .await?;
    Ok(pool)
}

/// Brings the schema up to date; safe to run by several processes at once and again.
///
/// # Errors
/// [`StoreError::Migration`] when a migration fails or a stored one was changed since.
pub async fn migrate(db: &Db) -> Result<(), StoreError> {
    MIGRATIONS.run(db).await.map_err(StoreError::Migration)
}
