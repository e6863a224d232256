//! A private PostgreSQL for this test program, and databases made from a migrated template.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use dispatch_engine::{
    store::{
        Db,
        migrate::{self, MIGRATIONS, PoolOptions},
    },
    supervisor::{DataDir, Postgres, PostgresOptions, SupervisorError},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

/// A database of one test.
#[derive(Clone)]
pub struct TestDatabase {
    /// Its address.
    pub url: String,
    /// A small pool on it.
    pub db: Db,
}

impl TestDatabase {
    /// A new one, with every migration.
    pub async fn create() -> Self {
        let cluster = cluster();
        let name = format!("test_{}", Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&cluster.url("postgres")).await.unwrap();
        let sql = format!("CREATE DATABASE {name} TEMPLATE {}", cluster.template);
        admin.execute(AssertSqlSafe(sql)).await.unwrap();
        let url = cluster.url(&name);
        let db = pool(&url).await;
        Self { url, db }
    }

    /// A place for the spool of one more engine on it.
    pub fn new_spool(&self) -> PathBuf {
        new_spool(&self.db)
    }
}

/// A place for the spool of one more engine on a database.
pub fn new_spool(db: &Db) -> PathBuf {
    spools().join(db.connect_options().get_database().unwrap()).join(Uuid::new_v4().simple().to_string())
}

/// The spools of all engines, by the names of their databases.
fn spools() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("spools")
}

/// The cluster of this test program.
struct Cluster {
    postgres: Postgres,
    template: String,
    /// Locked until the test program ends.
    _folder: DataDir,
}

impl Cluster {
    fn url(&self, database: &str) -> String {
        self.postgres.url(database)
    }
}

fn cluster() -> &'static Cluster {
    static CLUSTER: LazyLock<Cluster> = LazyLock::new(start);
    &CLUSTER
}

/// Starts the cluster on a thread of its own, because it outlives the runtime of the test that needs it first. When the
/// test program ends, the supervisor's watchdog ends the cluster. Its folder is used again by the next test program.
fn start() -> Cluster {
    let (started, start) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = first_free_folder();
            let options = PostgresOptions {
                bin: std::env::var_os("PGBIN").map(PathBuf::from),
                search_path: std::env::var("PATH").unwrap_or_default(),
                durable: false,
                max_connections: 300,
            };
            let postgres = Postgres::start(&folder, &options).await.unwrap();
            let mut admin = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
            let (template, old) = prepare(&postgres, &mut admin).await;
            started.send(Cluster { postgres, template, _folder: folder }).unwrap();
            // Beside the first tests, because each takes a checkpoint.
            for name in old {
                let _ = std::fs::remove_dir_all(spools().join(&name));
                admin.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
            }
            // It looks after the cluster's process.
            std::future::pending::<()>().await;
        });
    });
    start.recv().unwrap()
}

/// Test programs that run at the same time each have a folder.
fn first_free_folder() -> DataDir {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for number in 0..64 {
        match DataDir::open(&parent.join(format!("cluster-{number}"))) {
            Err(SupervisorError::InUse { .. }) => {}
            other => return other.unwrap(),
        }
    }
    panic!("64 test programs at once")
}

/// Makes the template when the migrations are new; returns its name and the databases of earlier test programs.
async fn prepare(postgres: &Postgres, admin: &mut PgConnection) -> (String, Vec<String>) {
    let mut hasher = DefaultHasher::new();
    MIGRATIONS.iter().for_each(|migration| migration.checksum.hash(&mut hasher));
    let template = format!("template_{:016x}", hasher.finish());
    let old = sqlx::query_scalar(
        "SELECT datname::text FROM pg_database
         WHERE (datname LIKE 'test\\_%' OR datname LIKE 'template\\_%') AND datname <> $1",
    );
    let old = old.bind(&template).fetch_all(admin).await.unwrap();
    let db = pool(&postgres.ensure_database(&template).await.unwrap()).await;
    migrate::migrate(&db).await.unwrap();
    db.close().await;
    (template, old)
}

async fn pool(url: &str) -> Db {
    let options = PoolOptions {
        connections: 2,
        acquire_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(20),
    };
    migrate::connect(url, options).await.unwrap()
}
