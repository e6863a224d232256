//! Where and with what a table was made.

use std::process::Command;

/// Prints the machine, its load, and the versions of what is measured.
pub fn header(peers: &[(&str, String)]) {
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let run = |program: &str, arguments: &[&str]| {
        let out = Command::new(program).args(arguments).output().map(|out| out.stdout).unwrap_or_default();
        String::from_utf8_lossy(&out).trim().to_owned()
    };
    println!("machine   {}, {cores} cores", model.trim_start_matches([' ', '\t', ':']));
    println!("kernel    {}", read("/proc/sys/kernel/osrelease").trim());
    println!("commit    {}", run("git", &["rev-parse", "--short", "HEAD"]));
    let peers: Vec<String> = peers.iter().map(|(name, version)| format!("{name} {version}")).collect();
    println!("versions  {}, {}", run("rustc", &["--version"]), peers.join(", "));
    load();
}

/// Prints the load of the machine.
pub fn load() {
    println!("load      {}", read("/proc/loadavg").trim());
}

/// The newest version of a package in the lock file.
pub fn locked(package: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let name = format!("name = \"{package}\"\nversion = \"");
    // The newest one stands last; an older one belongs to a dependency.
    let version = lock.rsplit_once(name.as_str()).and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("?").to_owned()
}

/// Resident memory of this process, bytes.
pub fn resident() -> Option<f64> {
    let status = read("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok().map(|kb| kb * 1_024.0)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
