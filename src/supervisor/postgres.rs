//! A private PostgreSQL cluster.

use std::{
    fmt::Write,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use sqlx::{Connection, PgConnection, migrate::MigrateDatabase};

use super::{
    DataDir, SupervisorError, binaries,
    identity::Identity,
    process::{Kind, Server, recover, tail},
};

/// SIGINT is a fast shutdown, SIGQUIT an immediate one (recovery at the next start).
const POSTGRES: Kind = Kind { program: "postgres", gentle: Signal::SIGINT, harsh: Signal::SIGQUIT };

/// A start may have to replay the log of a crash first.
const START_LIMIT: Duration = Duration::from_secs(120);

/// The superuser of a private cluster.
const USER: &str = "app";

/// Names the socket's file; nothing listens on a port of this number.
const PORT: u16 = 5432;

/// A log beyond this many bytes begins anew at the next start.
const LOG_LIMIT: u64 = 16 * 1024 * 1024;

/// How a private cluster is run.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// The folder that holds `initdb` and `postgres`; searched for when absent.
    pub bin: Option<PathBuf>,
    /// The search path, as in PATH.
    pub search_path: String,
    /// Whether a commit survives a power cut. Tests may do without.
    pub durable: bool,
    /// Connections at most.
    pub max_connections: u32,
}

/// A running private cluster, reachable by this user only, through a unix socket in a private folder: it trusts whoever
/// connects, and whoever connects is its superuser, who may run programs in its name.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    sockets: PathBuf,
}

impl Postgres {
    /// Starts the cluster of a data folder, made first when it is not there; what a crash left running is ended before.
    ///
    /// # Errors
    /// Any [`SupervisorError`].
    pub async fn start(dir: &DataDir, options: &PostgresOptions) -> Result<Self, SupervisorError> {
        let bin = binaries::postgres(options.bin.as_deref(), &options.search_path).await?;
        let identity = Identity::choose().await?;
        let (home, sockets) = quarters(identity, dir).await?;
        let data = home.join("data");
        let log = home.join("log");
        begin_anew_if_long(&log);
        let pid_file = data.join("postmaster.pid");
        recover(POSTGRES, &pid_file, &data).await?;
        let owned = |folder: &Path| identity.own(folder).map_err(SupervisorError::io("cannot be given away", folder));
        owned(&home)?;
        owned(&sockets)?;
        forget_socket(&sockets)?;
        if !data.join("PG_VERSION").is_file() {
            initdb(identity, &bin, &home, &data).await?;
        }
        // Again for the backends of a killed postmaster that are still leaving.
        let mut tries = 3;
        loop {
            tries -= 1;
            match Self::try_start(identity, &bin, &data, &log, &sockets, options).await {
                Err(SupervisorError::DidNotStart { .. }) if tries > 0 => {
                    tokio::time::sleep(Duration::from_millis(700)).await;
                }
                other => return other,
            }
        }
    }

    /// Throws the cluster of a data folder away, if there is one.
    ///
    /// # Errors
    /// Any [`SupervisorError`].
    pub async fn discard(dir: &DataDir) -> Result<(), SupervisorError> {
        let (home, _) = quarters(Identity::choose().await?, dir).await?;
        let data = home.join("data");
        recover(POSTGRES, &data.join("postmaster.pid"), &data).await?;
        fs::remove_dir_all(&home).map_err(SupervisorError::io("the cluster cannot be removed", &home))
    }

    async fn try_start(
        identity: Identity,
        bin: &Path,
        data: &Path,
        log: &Path,
        sockets: &Path,
        options: &PostgresOptions,
    ) -> Result<Self, SupervisorError> {
        let mut command = identity.command(&bin.join("postgres"));
        command.current_dir(data).arg("-D").arg(data).arg("-k").arg(sockets).arg("-p").arg(PORT.to_string());
        let mut set = |setting: &str| {
            command.arg("-c").arg(setting);
        };
        // Here and not in pg_hba.conf, because older data folders have one that trusts loopback.
        set("listen_addresses=");
        set("unix_socket_permissions=0700");
        set("log_line_prefix=%m [%p] %d ");
        set(&format!("max_connections={}", options.max_connections));
        if !options.durable {
            for setting in ["fsync=off", "full_page_writes=off", "synchronous_commit=off"] {
                set(setting);
            }
        }
        let server = Server::spawn(POSTGRES, command, log.to_owned())?;
        let mut started = Self { server, sockets: sockets.to_owned() };
        started.server.watch(&data.join("postmaster.pid"))?;
        let url = started.url("postgres");
        let ready = async || match PgConnection::connect(&url).await {
            Ok(connection) => connection.close().await.is_ok(),
            Err(_not_yet) => false,
        };
        started.server.wait_ready(START_LIMIT, ready).await?;
        Ok(started)
    }

    /// The address of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@localhost:{PORT}/{database}?host={}", percent_encoded(&self.sockets))
    }

    /// How to look into it: arguments for `psql`.
    #[must_use]
    pub fn psql(&self, database: &str) -> String {
        format!("psql -h {} -p {PORT} -U {USER} {database}", self.sockets.display())
    }

    /// The pid of its postmaster.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.server.pid()
    }

    /// Makes a database when it is not there, and returns its address.
    ///
    /// # Errors
    /// [`SupervisorError::Database`].
    pub async fn ensure_database(&self, name: &str) -> Result<String, SupervisorError> {
        let url = self.url(name);
        let made = async {
            if !sqlx::Postgres::database_exists(&url).await? {
                sqlx::Postgres::create_database(&url).await?;
            }
            Ok(())
        };
        made.await.map_err(|source| SupervisorError::Database { name: name.to_owned(), source })?;
        Ok(url)
    }

    /// Stops it: open transactions are rolled back, everything committed is on disk.
    ///
    /// # Errors
    /// [`SupervisorError::DidNotStop`].
    pub async fn stop(self) -> Result<(), SupervisorError> {
        self.server.stop().await
    }
}

/// Where the cluster and its socket live: in the data folder, or elsewhere when the user who runs it cannot get there.
async fn quarters(identity: Identity, dir: &DataDir) -> Result<(PathBuf, PathBuf), SupervisorError> {
    if identity.reaches(dir.root().parent().unwrap_or_else(|| dir.root())).await {
        return Ok((dir.folder("pg")?, dir.sockets().to_owned()));
    }
    let outside = dir.outside("pg")?;
    tracing::info!(folder = %outside.root.display(), "PostgreSQL's user cannot reach the data folder; it keeps its data here");
    identity.own(&outside.root).map_err(SupervisorError::io("cannot be given away", &outside.root))?;
    Ok((outside.home, outside.sockets))
}

/// Makes the cluster in a folder beside its final place first: an interrupted run leaves no half cluster there.
async fn initdb(identity: Identity, bin: &Path, home: &Path, data: &Path) -> Result<(), SupervisorError> {
    let making = home.join("data.new");
    if making.exists() {
        fs::remove_dir_all(&making).map_err(SupervisorError::io("a half-made cluster cannot be removed", &making))?;
    }
    let mut command = identity.command(&bin.join("initdb"));
    command.current_dir(home).arg("-D").arg(&making).args(["-U", USER, "-E", "UTF8", "--locale=C.UTF-8"]);
    // The folder of the socket says who may connect.
    command.args(["--auth-local=trust", "--auth-host=reject"]);
    let output =
        command.kill_on_drop(true).output().await.map_err(SupervisorError::io("initdb cannot be started", bin))?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(SupervisorError::DidNotStart { program: "initdb", log });
    }
    fs::rename(&making, data).map_err(SupervisorError::io("the new cluster cannot be put in place", data))
}

/// Removes what a killed postmaster left of its socket. Nothing serves this folder now, yet its number may be another
/// program's since, and a server that reads that in the socket's lock file does not start.
fn forget_socket(sockets: &Path) -> Result<(), SupervisorError> {
    for name in [format!(".s.PGSQL.{PORT}"), format!(".s.PGSQL.{PORT}.lock")] {
        let path = sockets.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(SupervisorError::io("a stale socket cannot be removed", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A path as a value in a URL's query.
fn percent_encoded(path: &Path) -> String {
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing into a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

fn begin_anew_if_long(log: &Path) {
    if fs::metadata(log).is_ok_and(|meta| meta.len() > LOG_LIMIT)
        && let Err(error) = fs::remove_file(log)
    {
        tracing::warn!(%error, log = %log.display(), tail = tail(log), "a long log cannot be removed");
    }
}
