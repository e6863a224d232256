//! The way from a pool to PostgreSQL's unix socket, which can be cut, held up, or lose the answers to commits.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use dispatch_engine::store::Db;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::watch,
};

/// What happens to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They arrive.
    Open,
    /// Connections are cut, and so is every new one.
    Away,
    /// Nothing arrives until the way is open again.
    Held,
    /// A commit arrives, and its connection is cut before the answer does.
    LosesCommits,
}

/// The way; it ends with the runtime.
pub struct LossyLine {
    folder: TempDir,
    real: PgConnectOptions,
    way: watch::Sender<Way>,
    lost: Arc<AtomicUsize>,
}

impl LossyLine {
    /// A way to the server of a pool.
    pub fn to(db: &Db, way: Way) -> Self {
        let real = PgConnectOptions::clone(&db.connect_options());
        let name = format!(".s.PGSQL.{}", real.get_port());
        let target = real.get_socket().unwrap().join(&name);
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(&name)).unwrap();
        let (way, state) = watch::channel(way);
        let lost = Arc::<AtomicUsize>::default();
        let count = lost.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(carry(from, target.clone(), state.clone(), count.clone()));
            }
        });
        Self { folder, real, way, lost }
    }

    /// A pool whose connections go this way.
    pub fn pool(&self) -> Db {
        let options = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_millis(100));
        options.connect_lazy_with(self.real.clone().socket(self.folder.path()))
    }

    /// From now on.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Answers that were lost.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }
}

async fn carry(from: UnixStream, target: PathBuf, way: watch::Receiver<Way>, lost: Arc<AtomicUsize>) {
    if *way.borrow() == Way::Away {
        return;
    }
    let to = UnixStream::connect(target).await.unwrap();
    let (mut up_from, mut down_to) = from.into_split();
    let (mut down_from, mut up_to) = to.into_split();
    let doomed = AtomicBool::new(false);
    let up = async {
        let mut buffer = vec![0; 64 * 1_024];
        loop {
            let read = up_from.read(&mut buffer).await.unwrap_or(0);
            let state = passing(&way).await;
            let bytes = &buffer[..read];
            if state == Way::LosesCommits && bytes.windows(7).any(|word| word == b"COMMIT\0") {
                doomed.store(true, Ordering::SeqCst);
            }
            if read == 0 || up_to.write_all(bytes).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 64 * 1_024];
        loop {
            let read = down_from.read(&mut buffer).await.unwrap_or(0);
            passing(&way).await;
            if doomed.load(Ordering::SeqCst) {
                lost.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if read == 0 || down_to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    let mut watched = way.clone();
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = watched.wait_for(|way| *way == Way::Away) => {}
    }
}

/// Waits until bytes pass.
async fn passing(way: &watch::Receiver<Way>) -> Way {
    let mut way = way.clone();
    match way.wait_for(|way| *way != Way::Held).await.map(|way| *way) {
        Ok(way) => way,
        Err(_the_test_is_over) => std::future::pending().await,
    }
}
