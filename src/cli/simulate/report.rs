//! What `dispatch simulate` tells at its end: what the machine did, and how good the days were, beside the oracles.

use std::{fmt::Write, fs, time::Duration};

use serde::Serialize;

use super::SimulateArgs;
use crate::{
    domain::ids::CityCode,
    replay::{
        page::{self, PageError},
        report::{CityRuns, Note, Report, Run},
        scenario::{Notes, Window},
        table,
        virtual_city::{Machine, NOT_SIMULATED},
    },
};

/// A city that was lived through.
#[derive(Debug)]
pub struct Lived {
    /// Its code.
    pub city: CityCode,
    /// Real seconds of the simulation, without reading the files and without the oracles.
    pub real_s: f64,
    /// Orders per real second.
    pub orders_per_real_s: f64,
    /// Commands of the engine per real second.
    pub commands_per_real_s: f64,
    /// What the machine did.
    pub machine: Machine,
    /// What was found in the data.
    pub data: Notes,
    /// What became of the day: the engine first, then the oracles.
    pub runs: Vec<Run>,
}

/// The whole report.
#[derive(Debug, Serialize)]
pub struct SimulationReport {
    /// The most memory that this process has held, where the system tells.
    peak_memory_kib: Option<u64>,
    machine: Vec<CityMachine>,
    #[serde(flatten)]
    days: Report,
}

/// What the machine did for a city.
#[derive(Debug, Serialize)]
struct CityMachine {
    city: CityCode,
    real_s: f64,
    orders_per_real_s: f64,
    commands_per_real_s: f64,
    #[serde(flatten)]
    machine: Machine,
}

impl SimulationReport {
    /// From the days that were lived.
    pub fn new(args: &SimulateArgs, window: &Window, cities: Vec<Lived>) -> Self {
        let mut notes = settings(args, window);
        for lived in &cities {
            notes.push(Note::new(format!("Data of {}", lived.city), lived.data.words()));
        }
        let (mut machine, mut runs) = (vec![], vec![]);
        for Lived { city, real_s, orders_per_real_s, commands_per_real_s, machine: did, data: _, runs: its } in cities {
            runs.push(CityRuns { code: city.to_string(), runs: its });
            machine.push(CityMachine { city, real_s, orders_per_real_s, commands_per_real_s, machine: did });
        }
        for did in &machine {
            notes.push(Note::new(format!("Machine, {}", did.city), did.line()));
        }
        let title = "A day in virtual time".to_owned();
        Self { peak_memory_kib: peak_memory_kib(), machine, days: Report { title, notes, cities: runs } }
    }

    /// One page for a browser.
    ///
    /// # Errors
    /// When the plotter refuses a plot.
    pub fn page(&self) -> Result<String, PageError> {
        page::render(&self.days)
    }

    /// For the terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for note in &self.days.notes {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{}: {}", note.label, note.text);
        }
        if let Some(kib) = self.peak_memory_kib {
            let _ = writeln!(text, "Peak memory: {:.0} MiB", kib as f64 / 1_024.0);
        }
        for city in &self.days.cities {
            let _ = write!(text, "\n{}\n{}\n", city.code, table::text(&city.runs));
        }
        text
    }
}

impl CityMachine {
    fn line(&self) -> String {
        let Machine { commands, effects, writes, fixes, events, lived_ms, peaks, .. } = &self.machine;
        let lived = Duration::from_secs(u64::try_from(lived_ms / 1_000).unwrap_or(0));
        format!(
            "{:.2} s for {} of virtual time ({:.0} times as fast as life), {:.0} orders/s, {:.0} commands/s; {commands} \
             commands with {fixes} points, {effects} effects, {writes} writes, {events} events; at most {} orders \
             waiting, {} writes pending, {} riders on duty",
            self.real_s,
            humantime::format_duration(lived),
            lived.as_secs_f64() / self.real_s.max(f64::MIN_POSITIVE),
            self.orders_per_real_s,
            self.commands_per_real_s,
            peaks.orders_waiting,
            peaks.writes_pending,
            peaks.riders_on_duty,
        )
    }
}

fn settings(args: &SimulateArgs, window: &Window) -> Vec<Note> {
    let manners = &args.manners;
    let policy = args.policy.as_ref().map_or("the default".to_owned(), |path| path.display().to_string());
    let ping =
        args.ping_every.map_or("as the policy says".to_owned(), |every| humantime::format_duration(every).to_string());
    let not_simulated: Vec<String> = NOT_SIMULATED.iter().map(|(name, why)| format!("{name} ({why})")).collect();
    vec![
        Note::new("Window", window.words()),
        Note::new("Fleet", format!("{:.0} % of the couriers", args.fleet * 100.0)),
        Note::new("Acceptance", manners.acceptance()),
        Note::new("Streets", format!("{} times as long as the straight line", args.detour)),
        Note::new("What goes wrong", manners.mishaps()),
        Note::new("Not simulated", not_simulated.join("; ")),
        Note::new("Policy", policy),
        Note::new("Pings", ping),
        Note::new("Journal", format!("answers after {} ms", args.commit_ms)),
        Note::new("Seed", args.seed.to_string()),
        Note::new("Program", concat!("dispatch ", env!("CARGO_PKG_VERSION"))),
    ]
}

/// The most memory that this process has held, where the system tells (Linux).
fn peak_memory_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn memory_is_read_where_there_is_proc() {
        assert_eq!(peak_memory_kib().is_some(), Path::new("/proc/self/status").exists());
    }
}
