//! The real program, `dispatch serve`, as a process manager runs it: started again whenever it ends.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::support::SECRET;

/// The longest that anybody waits for the engine to serve; starts in a debug build beside other work take seconds.
const PATIENCE: Duration = Duration::from_secs(90);

/// How it is started.
#[derive(Clone, Debug)]
pub struct Start {
    /// Where it listens.
    pub address: SocketAddr,
    /// Environment variables.
    pub settings: Vec<(String, String)>,
    /// Where its output goes, one run after the other.
    pub log: PathBuf,
}

impl Start {
    /// On a free port, with a database; `settings` are the keys of the configuration, as in `SERVER__WORKERS`.
    pub fn new(database: String, settings: &[(&str, &str)], log: &Path) -> Self {
        let address = free_address();
        let mut all: Vec<(String, String)> = vec![
            ("DATABASE_URL".into(), database),
            ("DISPATCH_JWT_SECRET".into(), SECRET.into()),
            ("DISPATCH_CONTACT_KEY".into(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into()),
            ("DISPATCH__SERVER__LISTEN".into(), address.to_string()),
            ("DISPATCH__LOCATION_LOG__SPOOL__DIR".into(), spool_beside(log)),
        ];
        all.extend(settings.iter().map(|(key, value)| (format!("DISPATCH__{key}"), (*value).to_owned())));
        Self { address, settings: all, log: log.to_owned() }
    }

    /// Whether the engine says that it is ready.
    pub async fn is_ready(&self, client: &reqwest::Client) -> bool {
        let url = format!("http://{}/health/ready", self.address);
        let answer = client.get(url).timeout(Duration::from_secs(3)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

/// A spool of its own for the engine of a log; what an earlier test program left there is not this one's.
fn spool_beside(log: &Path) -> String {
    let folder = log.with_extension("spool");
    let _ = std::fs::remove_dir_all(&folder);
    folder.display().to_string()
}

/// A running engine; dropping it kills it.
pub struct Engine {
    start: Start,
    child: Child,
    client: reqwest::Client,
}

impl Engine {
    /// Starts the program and does not wait.
    pub fn spawn(start: &Start) -> Self {
        let client = reqwest::Client::new();
        Self { start: start.clone(), child: spawn(start), client }
    }

    /// Waits until it serves; a start that fails because the database is away is tried again.
    pub async fn serving(&mut self) {
        let until = Instant::now() + PATIENCE;
        while !self.start.is_ready(&self.client).await {
            assert!(Instant::now() < until, "the engine does not serve after {PATIENCE:?}; see {:?}", self.start.log);
            if !matches!(self.child.try_wait(), Ok(None)) {
                sleep(Duration::from_millis(100)).await;
                self.child = spawn(&self.start);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().await.unwrap();
    }

    /// Sends a signal; the process need not hear it.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1);
        if let Some(pid) = pid {
            kill(Pid::from_raw(pid), signal).unwrap();
        }
    }

    /// SIGTERM; how it ended, or `None` when it did not within the bound.
    pub async fn terminate(&mut self, within: Duration) -> Option<ExitStatus> {
        self.signal(Signal::SIGTERM);
        timeout(within, self.child.wait()).await.ok().map(Result::unwrap)
    }

    /// Starts it again after its end.
    pub fn respawn(&mut self) {
        self.child = spawn(&self.start);
    }
}

fn spawn(start: &Start) -> Child {
    let out = File::options().create(true).append(true).open(&start.log).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dispatch"));
    command.arg("serve").env_clear().envs(start.settings.iter().cloned());
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).kill_on_drop(true);
    command.spawn().unwrap()
}

/// Below the ports that the system hands out: a client that connects to a port of those while nobody listens there may be
/// given that very port, is then connected to itself, and the engine cannot have it any more.
fn free_address() -> SocketAddr {
    let mut free = (0..2_000).map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(15_000..32_000))));
    free.find(|address| TcpListener::bind(address).is_ok()).expect("a free port")
}
