//! The end of a demo: what happened, and whether every promise held.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use nix::sys::signal::Signal;

use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};

use crate::{
    domain::time::Timestamp,
    store::{Db, StoreError, checks},
};

use super::figures::{Figures, seconds};

/// How the load tester ended.
pub enum FleetEnd {
    /// By itself or when told to.
    Exited(ExitStatus),
    /// It could not be waited for.
    Lost(String),
}

impl FleetEnd {
    /// Whether it was told to stop before it listened for that: it placed nothing, and there is nothing to judge.
    pub fn before_it_began(&self) -> bool {
        matches!(self, Self::Exited(status) if status.signal() == Some(Signal::SIGINT as i32))
    }

    /// Its verdict, and whether it is a good one.
    fn verdict(&self) -> (String, bool) {
        match self {
            Self::Exited(status) if status.success() => ("clean".into(), true),
            Self::Exited(status) if status.code() == Some(1) => {
                ("what clients saw is not what is stored".into(), false)
            }
            Self::Exited(status) => (format!("no verdict: {status}"), false),
            Self::Lost(why) => (format!("no verdict: {why}"), false),
        }
    }
}

/// Prints the tables; says whether everything held.
///
/// # Errors
/// When the database does not answer.
pub async fn print(db: &Db, since: Timestamp, figures: &Figures, fleet: &FleetEnd) -> Result<bool, StoreError> {
    let mut facts = table(["figure", "value"]);
    for (status, count) in checks::orders_by_status(db, since).await? {
        facts.add_row([format!("orders {status}"), count.to_string()]);
    }
    facts.add_row(["pings received".into(), format!("{:.0}", figures.pings)]);
    if let Some(found) = checks::due_to_assigned(db, since).await? {
        for (name, value) in [("p50", found.p50_s), ("p90", found.p90_s), ("p99", found.p99_s)] {
            facts.add_row([format!("due-to-assigned {name} (engine time)"), seconds(value)]);
        }
    }
    println!("{facts}");

    let mut held = true;
    let mut promises = table(["promise", "result"]);
    for check in checks::run(db).await? {
        held &= check.broken == 0;
        let result = if check.broken == 0 { "holds".into() } else { format!("BROKEN by {} rows", check.broken) };
        promises.add_row([check.promise.to_owned(), result]);
    }
    let (verdict, clean) = fleet.verdict();
    promises.add_row(["what the clients saw is what is stored (load tester)".to_owned(), verdict]);
    println!("{promises}");
    Ok(held && clean)
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    table
}
