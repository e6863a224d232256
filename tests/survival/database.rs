//! A private PostgreSQL that writes as durably as in production, and that can be killed with all its processes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use dispatch_engine::{
    store::{
        Db,
        migrate::{self, PoolOptions},
    },
    supervisor::{DataDir, Postgres, PostgresOptions, SupervisorError},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

/// The server of one test.
pub struct Database {
    folder: DataDir,
    server: Option<Postgres>,
    /// The name of the test's own database.
    pub name: String,
    /// The file of the server's socket.
    pub socket: PathBuf,
}

impl Database {
    /// Starts one with an empty database.
    pub async fn start() -> Self {
        let folder = free_folder();
        let server = Postgres::start(&folder, &options()).await.unwrap();
        forget_earlier(&server).await;
        let name = format!("survival_{}", Uuid::new_v4().simple());
        let url = server.ensure_database(&name).await.unwrap();
        let (_, sockets) = url.split_once("?host=").unwrap();
        let socket = Path::new(sockets).join(".s.PGSQL.5432");
        Self { folder, server: Some(server), name, socket }
    }

    /// The address of the database behind a TCP port.
    pub fn url_through(&self, address: std::net::SocketAddr) -> String {
        format!("postgres://app@{address}/{}", self.name)
    }

    /// A small pool that goes straight to it.
    pub async fn pool(&self) -> Db {
        self.pool_of(&self.name).await
    }

    /// The address of one of the server's databases.
    pub fn url(&self, name: &str) -> String {
        self.server.as_ref().expect("a running server").url(name)
    }

    /// A small pool that goes straight to one of the server's databases.
    pub async fn pool_of(&self, name: &str) -> Db {
        let options = PoolOptions {
            connections: 2,
            acquire_timeout: Duration::from_secs(20),
            statement_timeout: Duration::from_secs(60),
        };
        migrate::connect(&self.url(name), options).await.unwrap()
    }

    /// SIGKILL to the postmaster and to every process that it started.
    pub async fn kill(&mut self) {
        let Some(server) = self.server.take() else { return };
        let postmaster = server.pid();
        // Its children lead groups of their own, so that a signal to its group would not reach them.
        let mut all = vec![postmaster];
        all.extend(children(postmaster));
        for pid in all.into_iter().filter(|pid| *pid > 1) {
            // One of them may have ended by itself since.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        while fs::read_to_string(format!("/proc/{postmaster}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts it again; it recovers from its log.
    pub async fn restart(&mut self) {
        self.server = Some(Postgres::start(&self.folder, &options()).await.unwrap());
    }

    /// Stops it in order.
    pub async fn stop(mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await.unwrap();
        }
    }
}

/// Drops what earlier programs left: a recovery reads every file of the server.
async fn forget_earlier(server: &Postgres) {
    let mut admin = PgConnection::connect(&server.url("postgres")).await.unwrap();
    let old = "SELECT datname::text FROM pg_database WHERE datname LIKE 'survival\\_%'";
    let old: Vec<String> = sqlx::query_scalar(old).fetch_all(&mut admin).await.unwrap();
    for name in old {
        admin.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
    }
}

fn options() -> PostgresOptions {
    PostgresOptions {
        bin: std::env::var_os("PGBIN").map(PathBuf::from),
        search_path: std::env::var("PATH").unwrap_or_default(),
        durable: true,
        max_connections: 100,
    }
}

fn children(parent: i32) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name in brackets: state, then the parent.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        after.split_whitespace().nth(1) == Some(parent.to_string().as_str())
    };
    pids.filter(is_child).collect()
}

/// Programs that run at the same time each have a folder, which the next one uses again.
fn free_folder() -> DataDir {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for number in 0..64 {
        match DataDir::open(&parent.join(format!("survival-{number}"))) {
            Err(SupervisorError::InUse { .. }) => {}
            other => return other.unwrap(),
        }
    }
    panic!("64 programs at once")
}
