//! The configuration, and the only file that reads the environment. Later sources win over earlier ones: the defaults
//! in code, `config/default.toml` (the same values, documented), the file given with `--config`, environment variables
//! `DISPATCH__SECTION__KEY`, and the well-known ones below.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Environment as EnvironmentSource, File, FileFormat};
use serde::Deserialize;

use crate::{
    actors::{
        city, location_log, mirror::MirrorOptions, operator_session, order_journal, push as wakes, rider_session,
        router,
    },
    http::{self, auth::MIN_SECRET_BYTES, server::connection},
    push,
    store::contacts::Sealer,
};

/// Well-known environment variables and the keys they set.
const WELL_KNOWN: [(&str, &str); 7] = [
    ("DATABASE_URL", "database.url"),
    ("REDIS_URL", "redis.url"),
    ("DISPATCH_JWT_SECRET", "auth.jwt_secret"),
    ("DISPATCH_CONTACT_KEY", "contacts.key"),
    ("DISPATCH_FCM_ACCOUNT", "push.service_account"),
    ("PGBIN", "private.postgres_bin"),
    ("RUST_LOG", "log.filter"),
];

const JWT_SECRET: &str = "auth.jwt_secret (DISPATCH_JWT_SECRET)";
const CONTACT_KEY: &str = "contacts.key (DISPATCH_CONTACT_KEY)";

/// Everything that can be set. Every section takes its documented defaults where a key is missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The listening socket and the end of the program.
    pub server: ServerOptions,
    /// Every accepted connection.
    pub connection: connection::Options,
    /// The REST interface.
    pub http: http::Options,
    /// The city actors.
    pub city: city::Options,
    /// What starts the cities and keeps them up.
    pub router: router::Options,
    /// The way of orders' transitions into the database.
    pub order_journal: order_journal::Options,
    /// The sockets of riders' devices.
    pub rider_session: rider_session::Options,
    /// The sockets of operators.
    pub operator_session: operator_session::Options,
    /// The way of the points into the database.
    pub location_log: location_log::Options,
    /// The way of the live state into Redis.
    pub mirror: MirrorOptions,
    /// The database.
    pub database: DatabaseOptions,
    /// The mirror's Redis.
    pub redis: RedisOptions,
    /// The engine's clock.
    pub clock: ClockOptions,
    /// Tokens.
    pub auth: AuthOptions,
    /// Customer data.
    pub contacts: ContactOptions,
    /// What is logged.
    pub log: LogOptions,
    /// The private servers of `dispatch demo`.
    pub private: PrivateOptions,
    /// Who carries pushes.
    pub push: push::Options,
    /// Devices that are to be woken.
    pub wakes: wakes::Options,
    /// Reads of where riders are and were.
    pub reads: http::reads::Options,
}

/// The listening socket and the end of the program.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerOptions {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// HTTP worker threads; 0 means one per core.
    pub workers: usize,
    /// The longest an orderly end may take, seconds.
    pub shutdown_s: u64,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), workers: 0, shutdown_s: 20 }
    }
}

/// The database.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseOptions {
    /// `postgres://user@host:port/database`; may hold a password.
    pub url: Option<Secret>,
    /// Connections held open.
    pub connections: u32,
    /// The longest wait for a connection, milliseconds.
    pub acquire_timeout_ms: u64,
    /// The longest a statement may run, milliseconds.
    pub statement_timeout_ms: u64,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self { url: None, connections: 16, acquire_timeout_ms: 5_000, statement_timeout_ms: 30_000 }
    }
}

/// The mirror's Redis.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisOptions {
    /// `redis://host:port` or `redis+unix:///path`; the mirror lives in this process when absent.
    pub url: Option<Secret>,
}

/// The engine's clock.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClockOptions {
    /// How many times as fast as life; 1 in production.
    pub speed: f64,
}

impl Default for ClockOptions {
    fn default() -> Self {
        Self { speed: 1.0 }
    }
}

/// Tokens.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthOptions {
    /// Signs and checks bearer tokens, at least 32 bytes.
    pub jwt_secret: Option<Secret>,
}

/// Customer data.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContactOptions {
    /// Encrypts order contacts: 32 bytes in base64.
    pub key: Option<Secret>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people at a terminal.
    Plain,
    /// One JSON object per line.
    Json,
}

/// What is logged.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogOptions {
    /// How lines look.
    pub format: LogFormat,
    /// Levels by module, as in `info,dispatch_engine::actors=debug`.
    pub filter: String,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { format: LogFormat::Plain, filter: "info,actix_server=warn,sqlx::postgres::notice=warn".into() }
    }
}

/// The private servers of `dispatch demo`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivateOptions {
    /// Where they keep their data.
    pub data_dir: PathBuf,
    /// The folder that holds `initdb` and `postgres`; searched for when absent.
    pub postgres_bin: Option<PathBuf>,
}

impl Default for PrivateOptions {
    fn default() -> Self {
        Self { data_dir: ".dispatch".into(), postgres_bin: None }
    }
}

/// A value that never shows in a log or an error.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A source cannot be read, or a value has the wrong type. The message names the key and the source.
    #[error("configuration: {0}")]
    Unreadable(#[from] config::ConfigError),
    /// A value is missing or makes no sense.
    #[error("configuration: {key}: {problem}")]
    Invalid {
        /// The key, and how else it can be set.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl ConfigError {
    fn invalid(key: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { key, problem: problem.into() }
    }
}

/// The environment of this process, read once.
#[derive(Clone, Default)]
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// Reads it. A variable that is no UTF-8 counts as absent.
    #[must_use]
    pub fn of_process() -> Self {
        Self(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect())
    }

    /// Where programs are searched for.
    #[must_use]
    pub fn search_path(&self) -> &str {
        self.0.get("PATH").map_or("", String::as_str)
    }

    /// The cargo that runs us, under `cargo run`.
    #[must_use]
    pub fn cargo(&self) -> Option<&Path> {
        self.0.get("CARGO").map(Path::new)
    }

    /// The root of the sources, under `cargo run`.
    #[must_use]
    pub fn sources(&self) -> Option<&Path> {
        self.0.get("CARGO_MANIFEST_DIR").map(Path::new)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl Config {
    /// Reads and checks all sources.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key and the source at fault.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let config: Self = Self::sources(file, environment)?.try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    /// Reads the secret that signs tokens, and nothing else: whatever is wrong with the rest is no hindrance.
    ///
    /// # Errors
    /// [`ConfigError`] when it is not set or too short, or a source cannot be read.
    pub fn load_jwt_secret(file: Option<&Path>, environment: &Environment) -> Result<Secret, ConfigError> {
        let auth = match Self::sources(file, environment)?.get::<AuthOptions>("auth") {
            Err(config::ConfigError::NotFound(_)) => AuthOptions::default(),
            auth => auth?,
        };
        let secret = auth.secret()?;
        check_secret(secret)?;
        Ok(secret.clone())
    }

    fn sources(file: Option<&Path>, environment: &Environment) -> Result<config::Config, ConfigError> {
        let mut builder = config::Config::builder()
            .add_source(File::from_str(include_str!("../config/default.toml"), FileFormat::Toml));
        if let Some(file) = file {
            builder = builder.add_source(File::from(file).format(FileFormat::Toml));
        }
        let variables: config::Map<String, String> = environment
            .0
            .iter()
            .filter(|(key, _)| key.starts_with("DISPATCH__"))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let source = EnvironmentSource::with_prefix("DISPATCH").prefix_separator("__").separator("__");
        builder = builder.add_source(source.try_parsing(true).source(Some(variables)));
        for (variable, key) in WELL_KNOWN {
            let value = environment.0.get(variable).filter(|value| !value.is_empty());
            builder = builder.set_override_option(key, value.cloned())?;
        }
        Ok(builder.build()?)
    }

    /// Checks what the types do not; to be called again after an argument of the command line changed a value.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(self.clock.speed.is_finite() && (0.1..=1_000.0).contains(&self.clock.speed)) {
            return Err(ConfigError::invalid("clock.speed", "must lie in 0.1..=1000"));
        }
        if self.database.connections < 4 {
            return Err(ConfigError::invalid("database.connections", "must be at least 4"));
        }
        if self.server.shutdown_s == 0 {
            return Err(ConfigError::invalid("server.shutdown_s", "must be at least 1"));
        }
        if !(0.0..=1.0).contains(&self.order_journal.placement_share) {
            return Err(ConfigError::invalid("order_journal.placement_share", "must lie in 0..=1"));
        }
        if !self.rider_session.is_pressure_sound() {
            let problem = "levels must rise within 0..=1, factors must lie in 1..=100";
            return Err(ConfigError::invalid("rider_session.pressure_levels and pressure_factors", problem));
        }
        if self.router.lease_s == 0 {
            return Err(ConfigError::invalid("router.lease_s", "must be at least 1"));
        }
        if let Some((key, problem)) = self.reads.fault() {
            return Err(ConfigError::invalid(key, problem));
        }
        self.location_log.check().map_err(|(key, problem)| ConfigError::invalid(key, problem))?;
        // Or the log could hold no batch and what comes while it is written.
        let least = self.location_log.flush_rows.saturating_add(self.rider_session.max_points);
        if self.location_log.max_rows < least {
            let problem = format!("must be at least {least}: location_log.flush_rows and rider_session.max_points");
            return Err(ConfigError::invalid("location_log.max_rows", problem));
        }
        if let Some(secret) = &self.auth.jwt_secret {
            check_secret(secret)?;
        }
        if let Some(key) = &self.contacts.key {
            seal(key)?;
        }
        tracing_subscriber::EnvFilter::try_new(&self.log.filter)
            .map_err(|error| ConfigError::invalid("log.filter", error.to_string()))?;
        Ok(())
    }

    /// The address of the database.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when it is not set.
    pub fn database_url(&self) -> Result<&Secret, ConfigError> {
        let missing = || ConfigError::invalid("database.url (DATABASE_URL)", "is not set");
        self.database.url.as_ref().ok_or_else(missing)
    }

    /// What seals the contacts of orders.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when its key is not set.
    pub fn sealer(&self) -> Result<Sealer, ConfigError> {
        let missing = || ConfigError::invalid(CONTACT_KEY, "is not set; it takes 32 random bytes in base64");
        seal(self.contacts.key.as_ref().ok_or_else(missing)?)
    }

    /// The secret that signs tokens.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when it is not set.
    pub fn jwt_secret(&self) -> Result<&Secret, ConfigError> {
        self.auth.secret()
    }
}

impl AuthOptions {
    fn secret(&self) -> Result<&Secret, ConfigError> {
        let missing = || {
            let problem = format!("is not set; it takes at least {MIN_SECRET_BYTES} random bytes");
            ConfigError::invalid(JWT_SECRET, problem)
        };
        self.jwt_secret.as_ref().ok_or_else(missing)
    }
}

impl ServerOptions {
    /// The longest an orderly end may take.
    #[must_use]
    pub const fn shutdown_limit(&self) -> Duration {
        Duration::from_secs(self.shutdown_s)
    }
}

fn seal(key: &Secret) -> Result<Sealer, ConfigError> {
    Sealer::from_base64(key.expose()).map_err(|error| ConfigError::invalid(CONTACT_KEY, error.to_string()))
}

fn check_secret(secret: &Secret) -> Result<(), ConfigError> {
    if secret.expose().len() < MIN_SECRET_BYTES {
        let problem = format!("is too short: {} bytes, it takes at least {MIN_SECRET_BYTES}", secret.expose().len());
        return Err(ConfigError::invalid(JWT_SECRET, problem));
    }
    Ok(())
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
