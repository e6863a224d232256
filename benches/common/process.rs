//! What a process has used: processor time and memory, as Linux counts them.

use std::{
    fs, io,
    ops::{Add, Sub},
    time::Duration,
};

/// Processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// In the program.
    pub user: Duration,
    /// In the kernel for it.
    pub system: Duration,
}

impl Cpu {
    /// Both.
    pub fn total(self) -> Duration {
        self.user + self.system
    }
}

impl Add for Cpu {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { user: self.user.saturating_sub(other.user), system: self.system.saturating_sub(other.system) }
    }
}

/// Ticks of 10 ms: Linux reports in them on every architecture that we know, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// What a process with all its threads has used since its start.
pub fn cpu_of(pid: i32) -> io::Result<Cpu> {
    Stat::read(pid).map(|stat| stat.own)
}

/// What a process, its children and those of them that have ended have used: a postmaster and its backends.
pub fn cpu_with_children(pid: i32) -> io::Result<Cpu> {
    let parent = Stat::read(pid)?;
    let others = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // A process that ends meanwhile is counted by its parent at the next look.
    let children = others.filter_map(|other| Stat::read(other).ok()).filter(|stat| stat.parent == pid);
    Ok(children.fold(parent.own + parent.ended, |sum, child| sum + child.own + child.ended))
}

/// Resident memory of a process that it has filled itself, bytes: the pages of its program are there once, and come into
/// memory as they are first used, however many clients there are.
pub fn resident(pid: i32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib =
        status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1_024).ok_or_else(|| io::Error::other("no RssAnon"))
}

/// The part of `/proc/PID/stat` that matters here.
struct Stat {
    parent: i32,
    own: Cpu,
    /// Of children that have ended and were waited for.
    ended: Cpu,
}

impl Stat {
    fn read(pid: i32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Self::parse(&text).ok_or_else(|| io::Error::other(format!("an odd stat: {text}")))
    }

    /// proc(5): after the name in brackets, which may hold spaces, come the state, the parent and, from the 14th field of
    /// the line on, the times.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |field: usize| fields.get(field)?.parse::<u32>().ok().map(|ticks| TICK * ticks);
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: Cpu { user: ticks(11)?, system: ticks(12)? },
            ended: Cpu { user: ticks(13)?, system: ticks(14)? },
        })
    }
}
