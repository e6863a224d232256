//! What a run of points has to say for itself.

use std::{collections::BTreeMap, time::Duration};

use dispatch_engine::replay::device::keeper::Tally;

use super::{Plan, Strike, auditor::Findings, diary::Diary};

/// All of it.
pub struct Report {
    /// What was planned.
    pub plan: Plan,
    /// What the devices wrote down.
    pub diaries: Vec<Diary>,
    /// What the auditor found.
    pub findings: Findings,
    /// What else happened to devices.
    pub counts: BTreeMap<String, u64>,
    /// Points that were settled while PostgreSQL was away.
    pub settled_without: u64,
    /// The most bytes that the spool held when the engine was killed.
    pub spooled_bytes: u64,
    /// The length of the run.
    pub took: Duration,
}

impl Report {
    /// Prints the summary, and fails when a promise was broken or nothing was tried.
    pub fn conclude(self) {
        let Self { plan, diaries, findings, counts, settled_without, spooled_bytes, took } = self;
        let mut tally = Tally::default();
        diaries.iter().for_each(|diary| tally.add(&diary.tally));
        let lies = diaries.iter().flat_map(|diary| &diary.entries).filter(|entry| entry.lie.is_some()).count();
        println!("\nsummary after {:.0} s, KILL_SEED={}", took.as_secs_f64(), plan.seed);
        let figures = [
            ("strikes survived", plan.strikes.len() as u64),
            ("points recorded", tally.recorded),
            ("of them lies", lies as u64),
            ("rows", findings.rows as u64),
            ("settled", tally.settled),
            ("settled while PostgreSQL was away", settled_without),
            ("bytes in the spool at a kill, at most", spooled_bytes),
            ("sent again", tally.resent),
            ("told to be there already", tally.duplicates),
            ("most points that a device kept", tally.worst_backlog),
            ("lost", findings.lost.len() as u64),
            ("missing", findings.missing.len() as u64),
            ("doubled", findings.doubled.len() as u64),
            ("stored otherwise than sent", findings.changed.len() as u64),
            ("other broken promises", findings.broken.len() as u64),
            ("corrected times off by at most, ms", findings.worst_time_ms.unsigned_abs()),
        ];
        for (what, count) in figures {
            println!("  {what:<38} {count:>8}");
        }
        for (what, count) in tally.refused.iter().chain(&counts) {
            println!("    {what:<36} {count:>8}");
        }
        let broken = findings.all();
        assert!(broken.is_empty(), "KILL_SEED={}\n{}", plan.seed, broken.join("\n"));
        // A storm without load proves nothing.
        assert!(tally.recorded > 20 * plan.devices as u64, "only {} points", tally.recorded);
        assert!(tally.resent > 0 && tally.duplicates > 0 && tally.worst_backlog > 1, "nothing was sent twice");
        let spooled = [Strike::SpoolThenKill, Strike::KillWhileDraining];
        if plan.strikes.iter().any(|strike| spooled.contains(strike)) {
            assert!(settled_without > 0 && spooled_bytes > 0, "the engine was never killed over its spool");
        }
    }
}
