//! What a run has to say for itself.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{auditor::Findings, kills::Kill, ledger::Notes, storm::Plan};

/// A kill that was survived, or not.
pub struct Struck {
    /// What was done.
    pub kill: Kill,
    /// When.
    pub at: Instant,
    /// When in the run.
    pub moment: Duration,
    /// From the kill until the engine said again that it serves.
    pub back: Duration,
}

impl Struck {
    /// The longest wait of a client that this kill, the `next` one not counted, can have caused.
    fn outage(&self, notes: &Notes, next: Instant) -> Duration {
        let during = notes.outages.iter().filter(|outage| outage.from < next && outage.to > self.at);
        during.map(|outage| outage.to - outage.from).max().unwrap_or_default()
    }

    /// A line for whoever watches.
    pub fn line(&self, number: usize) -> String {
        format!(
            "kill {number:>3}  at {:>7.1} s  {:<32}  serving after {:>5.1} s",
            self.moment.as_secs_f64(),
            self.kill.name(),
            self.back.as_secs_f64(),
        )
    }
}

/// All of it.
pub struct Report {
    /// What was planned.
    pub plan: Plan,
    /// What was done.
    pub struck: Vec<Struck>,
    /// What the auditor found.
    pub findings: Findings,
    /// What clients wrote down.
    pub notes: Notes,
    /// When the storm was over.
    pub calm: Instant,
    /// The length of the run.
    pub took: Duration,
}

impl Report {
    /// Prints the summary, and fails when a promise was broken.
    pub fn conclude(self) {
        let mut kinds: BTreeMap<Kill, usize> = BTreeMap::new();
        self.struck.iter().for_each(|struck| *kinds.entry(struck.kill).or_default() += 1);
        let longest = self.notes.outages.iter().map(|outage| outage.to - outage.from).max().unwrap_or_default();
        println!("\nwhat clients noticed");
        for (at, struck) in self.struck.iter().enumerate() {
            let next = self.struck.get(at + 1).map_or(self.calm, |next| next.at);
            let outage = struck.outage(&self.notes, next).as_secs_f64();
            println!("{}, longest outage of a client {outage:>5.1} s", struck.line(at + 1));
        }
        println!("\nsummary after {:.0} s, KILL_SEED={}", self.took.as_secs_f64(), self.plan.seed);
        println!("  kills survived                     {:>6}", self.struck.len());
        for (kill, times) in kinds {
            println!("    {:<32} {times:>6}", kill.name());
        }
        println!("  orders acknowledged                {:>6}", self.notes.receipts.len());
        println!("  orders delivered                   {:>6}", self.findings.delivered);
        println!("  states told and checked            {:>6}", self.notes.told.len());
        println!("  lost                               {:>6}", self.findings.lost.len());
        println!("  doubled                            {:>6}", self.findings.doubled.len());
        println!("  devices that did not converge      {:>6}", self.findings.diverged.len());
        println!("  other broken promises              {:>6}", self.findings.broken.len());
        println!("  longest outage seen by a client    {:>6.1} s", longest.as_secs_f64());
        for (what, count) in &self.notes.counts {
            println!("    {what:<32} {count:>6}");
        }
        let broken = self.findings.all();
        assert!(broken.is_empty(), "KILL_SEED={}\n{}", self.plan.seed, broken.join("\n"));
        assert_eq!(self.findings.orders, self.notes.receipts.len());
        // A storm without load proves nothing.
        assert!(self.findings.delivered > self.struck.len(), "only {} deliveries", self.findings.delivered);
    }
}
