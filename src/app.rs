//! The whole engine, assembled: the only file that sees every part. [`App::build`] connects and starts them,
//! [`App::run_until_stopped`] serves and ends them in order.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix::SystemRunner;
use actix_web::dev::Server;

use crate::{
    actors::router::Router,
    clock::Clock,
    config::{Config, ConfigError},
    metrics::Metrics,
    store::{
        Db, StoreError,
        migrate::{self, PoolOptions},
    },
};

/// Why the engine did not start, or did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Something is missing in the configuration, or makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database is away or refuses.
    #[error("the store")]
    Store(#[from] StoreError),
    /// The listening socket or a thread cannot be had.
    #[error("the server")]
    Io(#[from] io::Error),
    /// The end took longer than it may: some confirmed work may be unflushed, none is lost that was acknowledged.
    #[error("the engine did not end within {} s", limit.as_secs())]
    SlowEnd {
        /// The limit.
        limit: Duration,
    },
}

/// A running engine.
pub struct App {
    address: SocketAddr,
    server: Server,
    db: Db,
    router: Router,
    metrics: Metrics,
    shutdown_limit: Duration,
}

/// The runtime of the whole program: actix's system on a runtime with threads of its own, on which database
/// connections live. HTTP workers and cities have their own threads beside it.
///
/// # Errors
/// When the system gives no threads.
pub fn runtime() -> io::Result<SystemRunner> {
    // Built here first, because the system's own factory cannot fail.
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("store").enable_all().build()?;
    Ok(actix::System::with_tokio_rt(move || tokio))
}

/// Opens the pool.
///
/// # Errors
/// [`AppError`] when the address is missing or the database does not answer.
pub async fn connect(config: &Config) -> Result<Db, AppError> {
    let options = PoolOptions {
        connections: config.database.connections,
        acquire_timeout: Duration::from_millis(config.database.acquire_timeout_ms),
        statement_timeout: Duration::from_millis(config.database.statement_timeout_ms),
    };
    Ok(migrate::connect(config.database_url()?.expose(), options).await?)
}

impl App {
    /// Connects to what the configuration names, brings the schema up to date and starts every part.
    ///
    /// # Errors
    /// [`AppError`] when a part cannot start.
    pub async fn build(config: &Config, clock: Clock, listener: TcpListener) -> Result<Self, AppError> {
        let metrics = Metrics::new();
        let db = connect(config).await?;
        migrate::migrate(&db).await?;
        let router = Router::default();
        let _ = clock;
        let address = listener.local_addr()?;
        let server = actix_web::HttpServer::new(actix_web::App::new)
            .workers(workers(config.server.workers))
            .disable_signals()
            .listen(listener)?
            .run();
        Ok(Self { address, server, db, router, metrics, shutdown_limit: config.server.shutdown_limit() })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its figures.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Its cities.
    #[must_use]
    pub const fn router(&self) -> &Router {
        &self.router
    }

    /// Serves until `stop` completes, then ends every part in order.
    ///
    /// # Errors
    /// [`AppError::SlowEnd`], or what ended the server before it was told to.
    pub async fn run_until_stopped(self, stop: impl Future<Output = ()>) -> Result<(), AppError> {
        let handle = self.server.handle();
        let mut server = actix_web::rt::spawn(self.server);
        tokio::select! {
            () = stop => {}
            ended = &mut server => {
                ended.map_err(io::Error::other)??;
                return Err(io::Error::other("the server ended by itself").into());
            }
        }
        let limit = self.shutdown_limit;
        let orderly = async {
            handle.stop(true).await;
            self.db.close().await;
        };
        tokio::time::timeout(limit, orderly).await.map_err(|_elapsed| AppError::SlowEnd { limit })
    }
}

/// The number of threads asked for, or one per core.
fn workers(asked: usize) -> usize {
    if asked > 0 { asked } else { std::thread::available_parallelism().map_or(2, Into::into) }
}
