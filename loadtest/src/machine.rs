//! The machine a run was made on, for its report.

use serde::Serialize;

/// The machine that the tester ran on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Processors that it may use.
    pub cores: usize,
    /// The operating system and its kernel.
    pub os: String,
    /// The processor's name, where the system tells.
    pub cpu: Option<String>,
    /// Main memory, MiB, where the system tells.
    pub memory_mib: Option<u64>,
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} cores", self.cores)?;
        if let Some(cpu) = &self.cpu {
            write!(f, " of {cpu}")?;
        }
        if let Some(mib) = self.memory_mib {
            write!(f, ", {:.0} GiB", mib as f64 / 1_024.0)?;
        }
        write!(f, ", {}", self.os)
    }
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib = memory.and_then(|text| text.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()));
        let kernel = read("/proc/sys/kernel/osrelease");
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            os: format!("{} {} {}", std::env::consts::OS, std::env::consts::ARCH, kernel.trim()).trim().to_owned(),
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            memory_mib: kib.map(|kib| kib / 1_024),
        }
    }
}
