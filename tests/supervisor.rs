//! The private servers, with the real binaries: life, crash, recovery, and two at once in one folder.
#![allow(clippy::unwrap_used)]

use std::{
    error::Error,
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use dispatch_engine::{
    store::migrate::{self, PoolOptions},
    supervisor::{DataDir, Postgres, PostgresOptions, Redis, SupervisorError},
};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use sqlx::{Connection, PgConnection};

fn options() -> PostgresOptions {
    let search_path = std::env::var("PATH").unwrap_or_default();
    let bin = std::env::var_os("PGBIN").map(Into::into);
    PostgresOptions { bin, search_path, durable: true, max_connections: 20 }
}

async fn start(dir: &Path) -> (DataDir, Postgres) {
    let folder = DataDir::open(dir).unwrap();
    let postgres = Postgres::start(&folder, &options()).await.unwrap();
    (folder, postgres)
}

async fn write_note(postgres: &Postgres, note: &'static str) {
    let url = postgres.ensure_database("notes").await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS notes (note text)").execute(&mut connection).await.unwrap();
    sqlx::query("INSERT INTO notes VALUES ($1)").bind(note).execute(&mut connection).await.unwrap();
}

async fn notes(postgres: &Postgres) -> Vec<String> {
    let mut connection = PgConnection::connect(&postgres.url("notes")).await.unwrap();
    sqlx::query_scalar("SELECT note FROM notes ORDER BY note").fetch_all(&mut connection).await.unwrap()
}

fn alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

#[tokio::test]
async fn a_stopped_cluster_keeps_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, postgres) = start(dir.path()).await;
    write_note(&postgres, "first").await;
    let pid = postgres.pid();
    postgres.stop().await.unwrap();
    assert!(!alive(pid));
    assert!(!folder.root().join("pg/data/postmaster.pid").exists());
    drop(folder);

    let (_folder, postgres) = start(dir.path()).await;
    assert_eq!(notes(&postgres).await, ["first"]);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn commits_survive_a_killed_postmaster() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, postgres) = start(dir.path()).await;
    write_note(&postgres, "committed").await;
    kill(Pid::from_raw(postgres.pid()), Signal::SIGKILL).unwrap();
    drop(postgres);
    drop(folder);

    let (_folder, postgres) = start(dir.path()).await;
    assert_eq!(notes(&postgres).await, ["committed"]);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_outlived_its_supervisor_is_ended_and_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, postgres) = start(dir.path()).await;
    write_note(&postgres, "before").await;
    let orphan = postgres.pid();
    std::mem::forget(postgres);
    drop(folder);
    assert!(alive(orphan));

    let (_folder, postgres) = start(dir.path()).await;
    assert_ne!(postgres.pid(), orphan);
    assert_eq!(notes(&postgres).await, ["before"]);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, postgres) = start(dir.path()).await;
    postgres.stop().await.unwrap();
    // The number of a program that is alive and no server of this folder: this test.
    let stale = format!("{}\n/elsewhere\n", std::process::id());
    fs::write(folder.root().join("pg/data/postmaster.pid"), &stale).unwrap();
    fs::write(folder.sockets().join(".s.PGSQL.5432.lock"), &stale).unwrap();
    drop(folder);

    let (_folder, postgres) = start(dir.path()).await;
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn two_starts_in_one_folder_do_not_fight() {
    let dir = tempfile::tempdir().unwrap();
    let _first = DataDir::open(dir.path()).unwrap();
    let refused = DataDir::open(dir.path()).unwrap_err();
    assert!(matches!(refused, SupervisorError::InUse { .. }));
    let message = refused.to_string();
    assert!(message.contains(&std::process::id().to_string()) && message.contains("--data-dir"), "{message}");
}

#[tokio::test]
async fn a_long_path_gets_a_short_place_for_sockets() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("a".repeat(60)).join("b".repeat(60));
    let (folder, postgres) = start(&long).await;
    assert!(!folder.sockets().starts_with(folder.root()));
    write_note(&postgres, "reachable").await;
    postgres.stop().await.unwrap();
    fs::remove_dir_all(folder.sockets()).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn setting(connection: &mut PgConnection, name: &str) -> String {
    sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn nobody_else_can_reach_the_cluster() {
    let dir = tempfile::tempdir().unwrap();
    // A path that a URL cannot hold as it is.
    let (folder, postgres) = start(&dir.path().join("100% & more?")).await;
    assert_eq!(mode(folder.sockets()), 0o700);
    assert_eq!(mode(&folder.sockets().join(".s.PGSQL.5432")), 0o700);
    let mut connection = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    assert_eq!(setting(&mut connection, "listen_addresses").await, "");
    assert_eq!(setting(&mut connection, "unix_socket_directories").await, folder.sockets().to_str().unwrap());
    let hosts = "SELECT DISTINCT auth_method FROM pg_hba_file_rules WHERE type <> 'local'";
    let hosts: Vec<String> = sqlx::query_scalar(hosts).fetch_all(&mut connection).await.unwrap();
    assert_eq!(hosts, ["reject"]);
    drop(connection);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_private_redis_answers_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataDir::open(dir.path()).unwrap();
    let path = options().search_path;
    assert!(Redis::start(&folder, "").await.unwrap().is_none());
    let first = Redis::start(&folder, &path).await.unwrap().unwrap();
    std::mem::forget(first);
    // The first one is still there: it is ended, and the second one serves the socket.
    let second = Redis::start(&folder, &path).await.unwrap().unwrap();
    let client = redis::Client::open(second.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let pong: String = redis::cmd("PING").query_async(&mut connection).await.unwrap();
    assert_eq!(pong, "PONG");
    let port: (String, String) =
        redis::cmd("CONFIG").arg("GET").arg("port").query_async(&mut connection).await.unwrap();
    assert_eq!(port.1, "0");
    assert_eq!(mode(second.socket()), 0o700);
    assert_eq!(mode(folder.sockets()), 0o700);
    second.stop().await.unwrap();
    assert!(client.get_multiplexed_async_connection().await.is_err());
}

#[tokio::test]
async fn a_pool_that_is_too_large_for_the_server_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (_folder, postgres) = start(dir.path()).await;
    let time = Duration::from_millis(700);
    let pool = PoolOptions { connections: 30, acquire_timeout: time, statement_timeout: time };
    let error = migrate::connect(&postgres.url("postgres"), pool).await.unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("too many clients"), "{cause}");
    postgres.stop().await.unwrap();
}

#[test]
fn ctrl_c_while_a_demo_starts_ends_it_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_dispatch"));
    demo.args(["demo", "--riders", "1", "--data-dir"]).arg(dir.path()).process_group(0).stdout(Stdio::piped());
    let demo = demo.spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while !dir.path().join("pg/data.new/PG_VERSION").exists() {
        assert!(Instant::now() < until, "initdb does not begin");
        std::thread::sleep(Duration::from_millis(2));
    }
    // As a terminal does: everybody in the group gets it.
    killpg(Pid::from_raw(demo.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let output = demo.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("no verdict"), "{}: {said}", output.status);
    for left in ["pg/data/postmaster.pid", "redis/pid", "fleet.pid", "run/.s.PGSQL.5432", "run/redis.sock"] {
        assert!(!dir.path().join(left).exists(), "{left}");
    }
}
