//! One supervised server process: started in a group of its own, watched, and ended by its pid only.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::SupervisorError;

/// Ends a server when the pipe on its standard input closes, that is when its supervisor is gone in whatever way. The
/// pid must still stand in the server's pid file: after an orderly stop it does not.
const WATCHDOG: &str = r#"cat >/dev/null; [ "$(head -n 1 "$2" 2>/dev/null)" = "$1" ] && kill -s "$3" "$1""#;

/// A small process that ends another one when this process is gone, in whatever way.
#[derive(Debug)]
pub struct Watchdog {
    /// Holds the write end of the pipe.
    _child: Child,
}

impl Watchdog {
    /// Sets one over a process: it gets the signal if the first line of the pid file still is its pid by then.
    ///
    /// # Errors
    /// [`SupervisorError::Io`].
    pub fn over(pid: i32, pid_file: &Path, signal: Signal) -> Result<Self, SupervisorError> {
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "sh"]).arg(pid.to_string()).arg(pid_file);
        command.arg(signal.as_str().trim_start_matches("SIG"));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let child = command.spawn().map_err(SupervisorError::io("the watchdog cannot be started", "sh"))?;
        Ok(Self { _child: child })
    }
}

/// How a kind of server is recognised and ended.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The name of its program, as the system shows it.
    pub program: &'static str,
    /// The signal for an orderly end.
    pub gentle: Signal,
    /// The signal for a quick end when that did not help.
    pub harsh: Signal,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    child: Child,
    pid: i32,
    log: PathBuf,
    watchdog: Option<Watchdog>,
}

impl Server {
    /// Starts a command whose output goes to the end of a log file.
    ///
    /// # Errors
    /// [`SupervisorError::Io`].
    pub fn spawn(kind: Kind, mut command: Command, log: PathBuf) -> Result<Self, SupervisorError> {
        let open = File::options().create(true).append(true).open(&log);
        let open = open.and_then(|out| Ok((out.try_clone()?, out)));
        let (out, err) = open.map_err(SupervisorError::io("the log cannot be opened", &log))?;
        // A group of its own: Ctrl-C at the terminal reaches us alone, and we stop the server when we no longer need it.
        let child = command.stdout(out).stderr(err).process_group(0).spawn();
        let child = child.map_err(SupervisorError::io("a server cannot be started", kind.program))?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
        Ok(Self { kind, child, pid, log, watchdog: None })
    }

    /// Its pid.
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Sets the watchdog over the server.
    ///
    /// # Errors
    /// [`SupervisorError::Io`].
    pub fn watch(&mut self, pid_file: &Path) -> Result<(), SupervisorError> {
        self.watchdog = Some(Watchdog::over(self.pid, pid_file, self.kind.gentle)?);
        Ok(())
    }

    /// Waits until `ready` says so.
    ///
    /// # Errors
    /// [`SupervisorError::DidNotStart`] when the server ends instead, [`SupervisorError::NotReady`] after `limit`.
    pub async fn wait_ready(
        &mut self,
        limit: Duration,
        mut ready: impl AsyncFnMut() -> bool,
    ) -> Result<(), SupervisorError> {
        let program = self.kind.program;
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Err(SupervisorError::DidNotStart { program, log: tail(&self.log) });
            }
            if ready().await {
                return Ok(());
            }
            sleep(Duration::from_millis(25)).await;
        }
        Err(SupervisorError::NotReady { program, after: limit, log: self.log.clone() })
    }

    /// Ends the server in order, harder when it takes too long, and then its watchdog.
    ///
    /// # Errors
    /// [`SupervisorError::DidNotStop`].
    pub async fn stop(mut self) -> Result<(), SupervisorError> {
        for (signal, patience) in [(self.kind.gentle, 20), (self.kind.harsh, 5), (Signal::SIGKILL, 5)] {
            if matches!(self.child.try_wait(), Ok(None)) {
                signal_pid(self.pid, signal);
            }
            if timeout(Duration::from_secs(patience), self.child.wait()).await.is_ok() {
                return Ok(());
            }
        }
        Err(SupervisorError::DidNotStop { program: self.kind.program, pid: self.pid })
    }
}

impl Drop for Server {
    /// The last resort where `stop` was not called: the server is told to end and nobody waits for it.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal_pid(self.pid, self.kind.gentle);
        }
    }
}

/// Ends what a crash left behind: the process that the pid file names, if it really is a server of this folder.
/// Afterwards nothing of ours serves the folder.
///
/// # Errors
/// [`SupervisorError::Occupied`] where it cannot be told whose process it is, [`SupervisorError::DidNotStop`].
pub async fn recover(kind: Kind, pid_file: &Path, dir: &Path) -> Result<(), SupervisorError> {
    let Some(pid) = read_pid(pid_file) else { return Ok(()) };
    match owner(kind, pid, dir) {
        Owner::Nobody => return Ok(()),
        Owner::Foreign => {
            // The number was given to another program since: the file is a left-over that would mislead the server.
            let removed = fs::remove_file(pid_file);
            return removed.map_err(SupervisorError::io("a stale pid file cannot be removed", pid_file));
        }
        Owner::Unknown => return Err(SupervisorError::Occupied { pid, dir: dir.to_owned() }),
        Owner::Ours => {}
    }
    tracing::warn!(program = kind.program, pid, "ending a server that an earlier run left behind");
    for (signal, patience) in [(kind.gentle, 20), (kind.harsh, 5), (Signal::SIGKILL, 5)] {
        signal_pid(pid, signal);
        let until = Instant::now() + Duration::from_secs(patience);
        while Instant::now() < until {
            if !matches!(owner(kind, pid, dir), Owner::Ours) {
                return Ok(());
            }
            sleep(Duration::from_millis(25)).await;
        }
    }
    Err(SupervisorError::DidNotStop { program: kind.program, pid })
}

enum Owner {
    Nobody,
    Ours,
    Foreign,
    Unknown,
}

/// Whose process a pid is: ours if it has the program's name and works in the folder, or was started with it.
fn owner(kind: Kind, pid: i32, dir: &Path) -> Owner {
    if matches!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH)) {
        return Owner::Nobody;
    }
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let Ok(name) = fs::read_to_string(proc.join("comm")) else {
        return if Path::new("/proc/self").exists() { Owner::Nobody } else { Owner::Unknown };
    };
    if fs::read_to_string(proc.join("stat")).is_ok_and(|stat| stat.contains(") Z ")) {
        return Owner::Nobody;
    }
    let works_there = fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd == dir);
    let started_there = fs::read(proc.join("cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).any(|arg| arg == dir.as_os_str().as_encoded_bytes()));
    if name.trim() == kind.program && (works_there || started_there) { Owner::Ours } else { Owner::Foreign }
}

fn read_pid(pid_file: &Path) -> Option<i32> {
    // Signals to 0, 1 or a negative number would reach far more than one server.
    fs::read_to_string(pid_file).ok()?.lines().next()?.trim().parse().ok().filter(|pid| *pid > 1)
}

fn signal_pid(pid: i32, signal: Signal) {
    if pid > 1
        && let Err(error) = kill(Pid::from_raw(pid), signal)
    {
        tracing::debug!(pid, %signal, %error, "a signal did not reach its process");
    }
}

/// The last lines of a log, for an error message.
pub fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let from = file.metadata()?.len().saturating_sub(2_000);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(12).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
