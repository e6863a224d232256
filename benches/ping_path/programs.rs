//! The programs of a measurement, each in a process of its own: the engine, the echo server and the clients.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};

use crate::{
    fleet::{Counts, Fleet, Word},
    support::SECRET,
};

/// The longest wait for a program to be there, or for the clients to answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// What of the bench's environment the engine gets: its settings, and other allocators or their settings.
const PASSED: [&str; 3] = ["DISPATCH__", "LD_PRELOAD", "MALLOC_"];

/// A server; killed when dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl Server {
    /// Its process.
    pub fn pid(&self) -> Result<i32> {
        Ok(self.child.id().context("the server has ended")?.try_into()?)
    }

    /// Ends it without ceremony.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// SIGTERM; a program that does not end in good order is a failure.
    pub async fn terminate(mut self) -> Result<()> {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()?), nix::sys::signal::Signal::SIGTERM)?;
        let status = timeout(PATIENCE, self.child.wait()).await??;
        if !status.success() {
            bail!("the engine ended with {status}");
        }
        Ok(())
    }
}

/// `dispatch serve` on a database, with one HTTP worker per core; its output goes to `log`.
pub async fn engine(database: &str, workers: usize, log: &Path) -> Result<Server> {
    let address = free_address()?;
    let out = File::options().create(true).append(true).open(log)?;
    let child = Command::new(env!("CARGO_BIN_EXE_dispatch"))
        .arg("serve")
        .env_clear()
        .envs(std::env::vars().filter(|(name, _)| PASSED.iter().any(|passed| name.starts_with(passed))))
        .envs([
            ("DATABASE_URL", database),
            ("DISPATCH_JWT_SECRET", SECRET),
            ("DISPATCH_CONTACT_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
            ("DISPATCH__SERVER__LISTEN", &address.to_string()),
            ("DISPATCH__SERVER__WORKERS", &workers.to_string()),
        ])
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .kill_on_drop(true)
        .spawn()?;
    let mut server = Server { address, child };
    let until = Instant::now() + PATIENCE;
    let client = reqwest::Client::new();
    let url = format!("http://{address}/health/ready");
    while !client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
        if Instant::now() > until || server.child.try_wait()?.is_some() {
            bail!("the engine does not serve; see {}", log.display());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(server)
}

/// The echo server.
pub async fn echo(workers: usize) -> Result<Server> {
    let mut child = again(&["echo".into(), workers.to_string()]).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("no output")?;
    let address = BufReader::new(output).lines().next_line().await?.context("the echo server ended")?.parse()?;
    Ok(Server { address, child })
}

/// The clients; killed when dropped.
pub struct Clients {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Clients {
    /// Starts them and waits until all are connected and, before the engine, on duty.
    pub async fn start(fleet: Fleet) -> Result<(Self, Counts)> {
        let arguments: Vec<String> = std::iter::once("fleet".to_owned()).chain(fleet.arguments()).collect();
        let mut child = again(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().context("no input")?;
        let output = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut clients = Self { _child: child, input, output };
        let counts = clients.answer().await?;
        Ok((clients, counts))
    }

    /// Tells all of them.
    pub async fn tell(&mut self, word: Word) -> Result<()> {
        self.input.write_all(format!("{}\n", serde_json::to_string(&word)?).as_bytes()).await?;
        Ok(self.input.flush().await?)
    }

    /// Tells all of them, and hears what they have done.
    pub async fn ask(&mut self, word: Word) -> Result<Counts> {
        self.tell(word).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Counts> {
        let line = timeout(PATIENCE, self.output.next_line()).await.context("the clients do not answer")??;
        Ok(serde_json::from_str(&line.context("the clients have ended")?)?)
    }
}

/// This program once more, in another part.
fn again(arguments: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_default());
    command.args(arguments).kill_on_drop(true);
    command
}

/// Below the ports that the system hands out to clients, so that none of them can be given it.
fn free_address() -> Result<SocketAddr> {
    let mut free = (0..2_000).map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(15_000..32_000))));
    free.find(|address| TcpListener::bind(address).is_ok()).context("no free port")
}
