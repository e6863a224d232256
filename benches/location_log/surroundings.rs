//! Where and with what is measured, and the CPU time of processes.

use std::{fs, process::Command, time::Duration};

use dispatch_engine::store::Db;

use crate::Anyhow;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Load averages over 1, 5 and 15 minutes; runnable and all threads.
pub fn load() -> String {
    read("/proc/loadavg").rsplit_once(' ').map_or_else(String::new, |(load, _)| load.to_owned())
}

/// Says so.
pub async fn print(db: &Db) -> Anyhow<()> {
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).trim().to_owned()
    };
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut settings = Vec::new();
    for name in ["server_version", "synchronous_commit", "fsync", "shared_buffers", "max_wal_size"] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(db).await?;
        settings.push(format!("{name} {value}"));
    }
    let build = if cfg!(debug_assertions) { "with debug assertions" } else { "optimised" };
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    println!("command    cargo bench --bench location_log -- {}", words.join(" "));
    println!("build      {build}, {}", output("rustc", &["--version"]));
    println!("machine    {}, {cores} cores, shared by all", model.trim_start_matches([' ', '\t', ':']));
    println!("system     Linux {}", read("/proc/sys/kernel/osrelease"));
    println!("PostgreSQL {}", settings.join(", "));
    println!("commit     {}", output("git", &["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short", "HEAD"]));
    println!("load       {} before", load());
    Ok(())
}

/// CPU time that a process has used, and all its children, those that ended included.
pub fn cpu(pid: i32) -> Duration {
    let own = fields(&format!("/proc/{pid}/stat")).unwrap_or_default();
    // utime, stime, cutime, cstime
    let mut ticks: u64 = own.get(11..15).unwrap_or_default().iter().sum();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path().join("stat");
        if let Some(child) = fields(&path.display().to_string())
            && child.get(1).copied() == u64::try_from(pid).ok()
        {
            ticks += child.get(11..15).unwrap_or_default().iter().sum::<u64>();
        }
    }
    // A tick is a hundredth of a second on every Linux that this runs on.
    Duration::from_millis(ticks * 10)
}

/// The numbers behind the name of a process; the first is its state and counts as zero.
fn fields(path: &str) -> Option<Vec<u64>> {
    let stat = fs::read_to_string(path).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
}
