//! A private Redis: a unix socket only, nothing on disk.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::{net::UnixStream, process::Command};

use super::{
    DataDir, SupervisorError, binaries,
    process::{Kind, Server, recover},
};

const REDIS: Kind = Kind { program: "redis-server", gentle: Signal::SIGTERM, harsh: Signal::SIGKILL };
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running private Redis.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    socket: PathBuf,
    pid_file: PathBuf,
}

impl Redis {
    /// Starts a Redis for a data folder; `None` where none is installed.
    ///
    /// # Errors
    /// Any [`SupervisorError`] of a process that does not start.
    pub async fn start(dir: &DataDir, search_path: &str) -> Result<Option<Self>, SupervisorError> {
        let Some(program) = binaries::redis(search_path) else { return Ok(None) };
        let home = dir.folder("redis")?;
        let socket = dir.sockets().join("redis.sock");
        let pid_file = home.join("pid");
        recover(REDIS, &pid_file, &home).await?;
        let mut command = Command::new(program);
        command.current_dir(&home).args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.arg("--unixsocket").arg(&socket).args(["--unixsocketperm", "700", "--dir"]).arg(&home);
        command.stdin(std::process::Stdio::null());
        let mut server = Server::spawn(REDIS, command, home.join("log"))?;
        let noted = fs::write(&pid_file, format!("{}\n", server.pid()));
        noted.map_err(SupervisorError::io("the pid file cannot be written", &pid_file))?;
        server.watch(&pid_file)?;
        server.wait_ready(START_LIMIT, async || UnixStream::connect(&socket).await.is_ok()).await?;
        Ok(Some(Self { server, socket, pid_file }))
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Its socket, as in `redis-cli -s`.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The pid of the server.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.server.pid()
    }

    /// Stops it.
    ///
    /// # Errors
    /// [`SupervisorError::DidNotStop`].
    pub async fn stop(self) -> Result<(), SupervisorError> {
        self.server.stop().await?;
        // Gone already is as good.
        let _ = fs::remove_file(&self.pid_file);
        Ok(())
    }
}
