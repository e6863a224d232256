//! The simulated fleet: the load tester as a child process, a black box that knows no more than any client.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};

use super::{DemoArgs, cities};
use crate::{
    config::{Environment, Secret},
    supervisor::Watchdog,
};

/// Its last frames, its report and its cross-check may take this long after it was told to stop.
const PATIENCE: Duration = Duration::from_secs(90);

/// What it prints is kept in the data folder.
const LOG: &str = "fleet.log";

/// A running load tester.
pub struct Fleet {
    child: Child,
    pid_file: PathBuf,
    /// Ends it when this process dies hard: without its engine there is nothing left to drain.
    watchdog: Option<Watchdog>,
}

impl Fleet {
    /// Starts it against an engine and its database; built first under `cargo run`, so that it is as new as this program.
    ///
    /// # Errors
    /// When there is no load tester, or it cannot be built or started.
    pub async fn start(
        args: &DemoArgs,
        (url, database): (&str, &str),
        secret: &Secret,
        folder: &Path,
        environment: &Environment,
    ) -> anyhow::Result<Self> {
        let program = program(environment).await?;
        let mut command = Command::new(&program);
        match args.fleet.split_first() {
            Some((mode, rest)) => {
                command.arg(mode).args(["--url", url]).args(rest);
                if !Self::reports_elsewhere(args) {
                    command.arg("--report-json").arg(folder.join("report.json"));
                }
            }
            None => {
                command.args(["synthetic", "--quiet", "--url", url, "--report-json"]).arg(folder.join("report.json"));
                made_up(args, &mut command);
            }
        }
        let log = fs::File::create(folder.join(LOG)).context("the fleet's log cannot be made")?;
        command.stdout(log.try_clone()?).stderr(log).stdin(Stdio::null());
        command.env("DISPATCH_JWT_SECRET", secret.expose()).env("DATABASE_URL", database);
        // A group of its own: Ctrl-C reaches us alone, and we tell it to drain.
        let child = command.process_group(0).kill_on_drop(true).spawn();
        let child = child.with_context(|| format!("{} cannot be started", program.display()))?;
        let pid_file = folder.join("fleet.pid");
        let mut fleet = Self { child, pid_file, watchdog: None };
        if let Some(pid) = fleet.pid() {
            fs::write(&fleet.pid_file, format!("{pid}\n")).context("the fleet's pid cannot be noted")?;
            fleet.watchdog = Some(Watchdog::over(pid, &fleet.pid_file, Signal::SIGKILL)?);
        }
        Ok(fleet)
    }

    /// Whether the caller has asked for the report in a file of their own.
    pub fn reports_elsewhere(args: &DemoArgs) -> bool {
        args.fleet.iter().any(|arg| arg.to_string_lossy().starts_with("--report-json"))
    }

    /// What it printed.
    pub fn log(folder: &Path) -> String {
        fs::read_to_string(folder.join(LOG)).unwrap_or_default()
    }

    fn pid(&self) -> Option<i32> {
        self.child.id().and_then(|id| i32::try_from(id).ok())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When the system cannot say.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Tells it to drain and report, and waits for that.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        if let Some(pid) = self.pid() {
            kill(Pid::from_raw(pid), Signal::SIGINT).context("the fleet cannot be told to stop")?;
        }
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        Ok(ended.context("the fleet did not drain in time")??)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Its number may be another program's from now on.
        let _ = fs::remove_file(&self.pid_file);
    }
}

/// The invented fleet of both demo cities.
fn made_up(args: &DemoArgs, command: &mut Command) {
    for code in cities::codes() {
        command.args(["--city", code]);
    }
    command.arg("--riders").arg(args.riders.to_string());
    command.arg("--orders-per-second").arg(args.orders_per_second().to_string());
    command.arg("--clock-speed").arg(args.clock_speed.to_string());
    command.arg("--seed").arg(args.seed.to_string());
    // The load tester's times are of the engine's clock.
    let engine_time = |real: Duration| format!("{}ms", real.mul_f64(args.clock_speed).as_millis());
    command.arg("--ping-every").arg(engine_time(args.ping_every));
    command.arg("--drain-for").arg(engine_time(args.drain_for));
    if let Some(span) = args.span {
        command.arg("--for").arg(engine_time(span));
    }
}

/// Where the load tester is: beside this program.
async fn program(environment: &Environment) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("this program cannot be found")?;
    let folder = own.parent().context("this program stands in no folder")?;
    let program = folder.join("loadtest");
    if let (Some(cargo), Some(sources)) = (environment.cargo(), environment.sources()) {
        let mut build = Command::new(cargo);
        // The same packages as `cargo run` selects, so that the same built dependencies serve.
        build.current_dir(sources).args(["build", "--quiet", "--bin", "loadtest"]);
        if folder.file_name().is_some_and(|name| name == "release") {
            build.arg("--release");
        }
        if let Some(target) = folder.parent() {
            build.arg("--target-dir").arg(target);
        }
        // Ctrl-C reaches us alone, and cuts the build off as a stop of ours.
        let built = build
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .status()
            .await
            .context("cargo cannot be started")?;
        ensure!(built.success(), "the load tester cannot be built");
    }
    if !program.is_file() {
        bail!("there is no load tester at {}; build it with `cargo build` and the same profile", program.display());
    }
    Ok(program)
}
