//! The schema: migrations are part of the program.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, Error,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};

use super::{Db, StoreError};

/// Every migration, in order.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// The longest that a transaction may lie idle between two statements. Nothing here thinks between them, so a session that
/// is silent for so long has lost its client, though the server may not hear of that for hours; ended, it no longer holds
/// the locks that the client's next attempt waits for.
const IDLE_IN_TRANSACTION: &str = "5s";

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
    let connect = address(url)?;
    let timeout = format!("{}ms", options.statement_timeout.as_millis());
    let connect = connect.application_name("dispatch").options([
        ("statement_timeout", timeout.as_str()),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION),
    ]);
    let pool = PgPoolOptions::new()
        .min_connections(options.connections)
        .max_connections(options.connections)
        .acquire_timeout(options.acquire_timeout)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(connect.clone())
        .await;
    match pool {
        Err(Error::PoolTimedOut) => Err(why_not(&connect, options).await.into()),
        other => Ok(other?),
    }
}

/// The parser's own words do not say what it read, and neither they nor ours hold the password.
fn address(url: &str) -> Result<PgConnectOptions, Error> {
    let malformed = |why: &dyn std::fmt::Display| {
        Error::Configuration(format!("the address of the database is malformed: {why}").into())
    };
    // The parser takes every scheme, and connects to this host where it finds none.
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(malformed(&"it does not begin with postgres://"));
    }
    url.parse().map_err(|error| malformed(&error))
}

/// Why a pool could not be opened in time: it tries again where the database refuses, and forgets why it did.
async fn why_not(connect: &PgConnectOptions, options: PoolOptions) -> Error {
    let open_all = async {
        let mut open = Vec::new();
        for _ in 0..options.connections.max(1) {
            match connect.connect().await {
                Ok(connection) => open.push(connection),
                Err(error) => return Some((error, open)),
            }
        }
        close(open).await;
        None
    };
    match tokio::time::timeout(options.acquire_timeout, open_all).await {
        Ok(Some((error, open))) => {
            close(open).await;
            error
        }
        // It answers by now, or it still does not say anything.
        Ok(None) | Err(_) => Error::PoolTimedOut,
    }
}
async fn close(open: Vec<PgConnection>) {
    for connection in open {
        if let Err(error) = connection.close().await {
            tracing::debug!(%error, "a connection did not close in order");
        }
    }
}

/// Brings the schema up to date; safe to run by several processes at once and again.
///
/// # Errors
/// [`StoreError::Migration`] when a migration fails or a stored one was changed since.
pub async fn migrate(db: &Db) -> Result<(), StoreError> {
    MIGRATIONS.run(db).await.map_err(StoreError::Migration)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn complaint(url: &str) -> String {
        let time = Duration::from_millis(200);
        let options = PoolOptions { connections: 2, acquire_timeout: time, statement_timeout: time };
        let error = connect(url, options).await.unwrap_err();
        format!("{:#}", anyhow::Error::from(error))
    }

    #[tokio::test]
    async fn the_real_cause_is_told_and_the_password_is_not() {
        // Bound and not listened on.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let refusing = format!("postgres://app:secret@{}/x", socket.local_addr().unwrap());
        for (url, cause) in [
            (refusing.as_str(), "refused"),
            ("postgres://app:secret@localhost:port/x", "malformed"),
            ("postgres//app:secret@localhost/x", "malformed"),
            ("mysql:app:secret", "malformed"),
        ] {
            let complaint = complaint(url).await;
            assert!(complaint.contains(cause) && !complaint.contains("secret"), "{url}: {complaint}");
        }
    }
}
