//! The whole engine, assembled: the only file that sees every part. [`App::build`] connects and starts them,
//! [`App::run_until_stopped`] serves and ends them in order.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::dev::Server;
use tokio::sync::watch;

use crate::{
    actors::{
        city::{self, CityDeps, Engaged},
        janitor::Janitor,
        location_log::{self, LocationLogHandle, SpoolError},
        mirror::Mirror,
        operator_session::OperatorSocketDeps,
        order_journal::JournalHandle,
        push::PushHandle,
        rider_session::RiderSocketDeps,
        router::{Launcher, LauncherDeps, Router},
    },
    cache::{Cache, CacheError},
    clock::Clock,
    config::{Config, ConfigError},
    http::{
        self, Deps, PageKey,
        auth::Tokens,
        reads::Reads,
        server::{Settings, serve},
    },
    metrics::Metrics,
    push::{self, ProviderError},
    store::{
        Db, StoreError, cities,
        migrate::{self, PoolOptions},
    },
};

#[cfg(panic = "abort")]
compile_error!("a panic in one city must not end the others: build with panic = \"unwind\"");

/// Why the engine did not start, or did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Something is missing in the configuration, or makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database is away or refuses.
    #[error("the store")]
    Store(#[from] StoreError),
    /// The address of the cache has no valid form.
    #[error("redis.url (REDIS_URL)")]
    Cache(#[from] CacheError),
    /// Pushes cannot be sent with these settings.
    #[error("push")]
    Push(#[from] ProviderError),
    /// The folder of the location log's spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
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
    stopping: watch::Sender<bool>,
    db: Db,
    log: LocationLogHandle,
    launcher: Launcher,
    metrics: Metrics,
    limit: Duration,
}

/// Runs the program: actix's system on a runtime with threads of its own, on which database connections live. HTTP
/// workers and cities have their own threads beside it; they end with the work.
///
/// # Errors
/// When the system gives no threads.
pub fn run<T>(work: impl Future<Output = T>) -> io::Result<T> {
    // Built here first, because the system's own factory cannot fail.
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("store").enable_all().build()?;
    let system = actix::System::with_tokio_rt(move || tokio);
    let done = system.block_on(work);
    system.block_on(async { actix::System::current().stop() });
    system.run()?;
    Ok(done)
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
    /// Connects to what the configuration names, brings the schema up to date and starts every part. A city that another
    /// process holds is started when that lets go of it.
    ///
    /// # Errors
    /// [`AppError`] when a part cannot start.
    pub async fn build(config: &Config, clock: Clock, listener: TcpListener) -> Result<Self, AppError> {
        Self::assemble(config, clock, listener, false).await
    }

    /// The same, but takes every city at once from whoever holds it.
    ///
    /// # Errors
    /// [`AppError`] when a part cannot start.
    pub async fn build_taking_over(config: &Config, clock: Clock, listener: TcpListener) -> Result<Self, AppError> {
        Self::assemble(config, clock, listener, true).await
    }

    async fn assemble(config: &Config, clock: Clock, listener: TcpListener, take_over: bool) -> Result<Self, AppError> {
        #[cfg(feature = "fault-injection")]
        tracing::warn!("built with `fault-injection`: an administrator can make cities fail; not for production");
        let secret = config.jwt_secret()?.expose().as_bytes();
        let (tokens, pages) = (Tokens::new(secret), PageKey::derive(secret));
        let sealer = config.sealer()?;
        let provider = push::provider(&config.push)?;
        let metrics = Metrics::new();
        let (stopping, stop) = watch::channel(false);

        let db = connect(config).await?;
        migrate::migrate(&db).await?;
        let cache = match &config.redis.url {
            Some(url) => Cache::redis(url.expose())?,
            None => Cache::in_process(),
        };

        let journal = JournalHandle::start(db.clone(), config.order_journal.clone(), &metrics);
        let storage = journal.availability().clone();
        let mirror = Mirror::start(cache.clone(), config.mirror.clone(), &metrics);
        let (log, spooled) =
            location_log::start(db.clone(), clock.clone(), &metrics, config.location_log.clone()).await?;
        let push = PushHandle::start(db.clone(), clock.clone(), provider, config.wakes.clone(), &metrics);
        let address = listener.local_addr()?;
        let engaged = Engaged::default();
        let reads = Reads::new(config.reads.clone(), &metrics);
        let cities = cities::list(&db).await?;
        cities.iter().for_each(|city| reads.warn_of(city));
        let launcher = Launcher::launch(
            LauncherDeps {
                db: db.clone(),
                city: CityDeps {
                    clock: clock.clone(),
                    journal,
                    mirror,
                    figures: city::Figures::new(&metrics),
                    options: config.city.clone(),
                    push,
                    engaged: engaged.clone(),
                },
                options: config.router.clone(),
                holder: format!("process {} at {address}", std::process::id()),
                instance: config.router.instance(config.server.listen),
                take_over,
            },
            cities,
        )
        .await?;
        Janitor::start(db.clone(), clock.clone(), config.location_log.spool.max_age_days);

        let router = launcher.router().clone();
        let rider_sockets = RiderSocketDeps::new(
            db.clone(),
            router.clone(),
            engaged,
            clock.clone(),
            log.clone(),
            &metrics,
            config.rider_session.clone(),
            stop.clone(),
            storage.clone(),
            sealer.clone(),
        );
        spooled.iter().for_each(|run| rider_sockets.seed(&run));
        let apply = launcher.clone();
        let deps = Deps {
            db: db.clone(),
            router: router.clone(),
            apply_city: Arc::new(move |city| {
                let launcher = apply.clone();
                Box::pin(async move { Ok(launcher.apply_city(city).await?) })
            }),
            cache,
            clock: clock.clone(),
            metrics: metrics.clone(),
            figures: http::Figures::new(&metrics),
            tokens,
            pages,
            sealer: sealer.clone(),
            rider_sockets,
            operator_sockets: OperatorSocketDeps::new(
                clock.speed(),
                &metrics,
                config.operator_session.clone(),
                stop.clone(),
            ),
            options: config.http.clone(),
            storage,
            stopping: stop,
            reads,
        };
        let limit = config.server.shutdown_limit();
        let settings = Settings {
            workers: threads(config.server.workers),
            // What a session that does not hear its goodbye may take of the time for the end.
            shutdown_timeout_s: (limit.as_secs() / 4).max(1),
            connection: config.connection,
        };
        let server = serve(listener, move || http::app(deps.clone()), &settings)?;
        Ok(Self { address, server, stopping, db, log, launcher, metrics, limit })
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
    pub fn router(&self) -> &Router {
        self.launcher.router()
    }

    /// Serves until `stop` completes, then ends every part in order: no new connections, sessions say goodbye, cities
    /// stop, and what they handed over is written.
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
        let limit = self.limit;
        let orderly = async {
            handle.pause().await;
            self.stopping.send_replace(true);
            // Waits for the sessions, whose last requests the cities still answer.
            handle.stop(true).await;
            // Half of the time at most: the points of riders need some of it too.
            if !self.launcher.stop(limit / 2).await {
                tracing::error!("changes of orders that nobody was told of could not be stored before the end");
            }
            if !self.log.stop(limit / 4).await {
                tracing::error!("points of riders could not be stored before the end");
            }
            self.db.close().await;
        };
        tokio::time::timeout(limit, orderly).await.map_err(|_elapsed| AppError::SlowEnd { limit })
    }
}

/// The number of threads asked for, or one per core.
fn threads(asked: usize) -> usize {
    if asked > 0 { asked } else { std::thread::available_parallelism().map_or(2, Into::into) }
}
