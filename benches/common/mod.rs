//! What all benches print around their figures: the machine, the versions of everything that is compared, the load, and
//! tables. A bench takes it in with `#[path = "../common/mod.rs"] mod common;`.
#![allow(dead_code, reason = "every bench uses another part of it")]

pub mod process;

use std::process::Command;

use comfy_table::{CellAlignment, Table, presets};

/// A bench run's surroundings: printed at its begin by [`Surroundings::begin`], with the load once more at its end.
#[must_use = "the load after the run belongs to the figures: call `end`"]
pub struct Surroundings(());

impl Surroundings {
    /// Says where and with what is measured. `command` is what repeats the run; `peers` are the programs and crates that
    /// are compared, each with its version.
    pub fn begin(command: &str, peers: &[(&str, String)]) -> Self {
        line("command", command);
        line(
            "build",
            if cfg!(debug_assertions) { "with debug assertions: its figures mean nothing" } else { "optimised" },
        );
        line("machine", &machine());
        line("system", &format!("Linux {}", read("/proc/sys/kernel/osrelease")));
        let peers = peers.iter().map(|(name, version)| format!("{name} {version}"));
        line("versions", &std::iter::once(output("rustc", &["--version"])).chain(peers).collect::<Vec<_>>().join(", "));
        line("commit", &commit());
        line("load", &format!("{} before", load()));
        println!();
        Self(())
    }

    /// Says how busy the machine was at the end.
    pub fn end(self) {
        println!();
        line("load", &format!("{} after", load()));
    }
}

/// One line of what stands above and below the tables.
pub fn line(name: &str, text: &str) {
    println!("{name:<10}{text}");
}

/// A table whose columns stand to the right, except the first one.
pub fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heads);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Whether an aim was reached, in one word.
pub const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

/// The version of a crate in the lock file; of several, the newest, because an older one belongs to a dependency.
pub fn crate_version(name: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let head = format!("name = \"{name}\"\nversion = \"");
    lock.rsplit_once(head.as_str()).and_then(|(_, rest)| rest.split('"').next()).unwrap_or("unknown").to_owned()
}

/// The version of the Redis that is installed, or that it is missing.
pub fn redis_version() -> String {
    let said = output("redis-server", &["--version"]);
    said.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("missing").to_owned()
}

/// The versions and settings of a running PostgreSQL that decide what a commit costs.
pub async fn postgres_version(db: &sqlx::PgPool) -> Result<String, sqlx::Error> {
    let mut settings = Vec::new();
    for name in ["server_version", "synchronous_commit", "fsync", "wal_sync_method"] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(db).await?;
        settings.push(if name == "server_version" { value } else { format!("{name} {value}") });
    }
    Ok(settings.join(" "))
}

/// Load averages over 1, 5 and 15 minutes; runnable and all threads.
fn load() -> String {
    read("/proc/loadavg").rsplit_once(' ').map_or_else(String::new, |(load, _)| load.to_owned())
}

fn machine() -> String {
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let gib = kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1_048_576.0;
    format!(
        "{}, {cores} cores, {gib:.1} GiB, shared with whatever is compared",
        model.trim_start_matches([' ', '\t', ':'])
    )
}

/// What is measured, and whether the sources had been changed since.
fn commit() -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let git = |arguments: &[&str]| output("git", &[&["-C", root], arguments].concat());
    match git(&["rev-parse", "--short", "HEAD"]) {
        commit if commit.is_empty() => "unknown".to_owned(),
        commit if git(&["status", "--porcelain", "--untracked-files=no"]).is_empty() => commit,
        commit => format!("{commit} with changes"),
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
