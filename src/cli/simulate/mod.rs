//! `dispatch simulate`: a real city's day through the pure engine in virtual time, without sockets, database or
//! configuration, as fast as the processor allows.

mod report;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::{Value, json};
use tokio::time::Instant;

use self::report::{Lived, SimulationReport};
use super::{BROKEN, UsageError};
use crate::{
    domain::{ids::CityCode, policy::DispatchPolicy},
    replay::{
        day::{CityDay, time_of_day},
        manners::{Manners, share},
        oracle::{self, Dispatch},
        report::Run,
        scenario::{Scenario, Window},
        virtual_city::{self, Failure, Settings},
    },
};

/// The longest time in which the orders of a window can be worked off.
const LONGEST_DRAIN: Duration = Duration::from_secs(7 * 86_400);

/// Which day is lived, and how. Durations and rates are in virtual time.
#[derive(Clone, Debug, Args)]
pub struct SimulateArgs {
    /// The city's code, for the report. Several cities are several groups of --city, --orders and --couriers, matched in
    /// their order; without any they are numbered
    #[arg(long, value_name = "CODE", value_parser = super::small::city)]
    city: Vec<CityCode>,
    /// The orders (CSV); looked up below --data as well
    #[arg(long, required = true, value_name = "FILE")]
    orders: Vec<PathBuf>,
    /// The couriers (CSV); looked up below --data as well
    #[arg(long, required = true, value_name = "FILE")]
    couriers: Vec<PathBuf>,
    /// A folder of data sets
    #[arg(long, env = "DISPATCH_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Start of the window, HH:MM of the day
    #[arg(long, default_value = "00:00", value_parser = time_of_day)]
    from: u32,
    /// End of the window; 24:00 is the end of the day
    #[arg(long, default_value = "24:00", value_parser = time_of_day)]
    to: u32,
    /// Share of the couriers that turn up
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    fleet: f64,
    /// Street distance over straight-line distance
    #[arg(long, default_value_t = 1.4, value_parser = detour)]
    detour: f64,
    /// Whatever is left to chance follows from this number
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Time granted for the orders to end after the window
    #[arg(long, value_name = "TIME", default_value = "3h", value_parser = humantime::parse_duration)]
    drain_for: Duration,
    /// A dispatch policy (JSON, as stored in city_policies.policy); what it leaves out has its default
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Time between the pings of a device; as the policy says when absent
    #[arg(long, value_name = "TIME", value_parser = ping_every)]
    ping_every: Option<Duration>,
    /// Milliseconds that the journal takes to store a write
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(..=3_600_000))]
    commit_ms: u32,
    /// Check the engine's invariants after every command; slow
    #[arg(long)]
    check: bool,
    /// Where to write the report as JSON
    #[arg(long, value_name = "FILE")]
    report_json: Option<PathBuf>,
    /// Where to write the report as one page for a browser, with plots over the day
    #[arg(long, value_name = "FILE")]
    report_html: Option<PathBuf>,
    /// Where to write what became of every order and rider as JSON
    #[arg(long, value_name = "FILE")]
    outcomes: Option<PathBuf>,
    /// Print nothing
    #[arg(long)]
    quiet: bool,
    /// How riders and merchants behave
    #[command(flatten)]
    manners: Manners,
}

fn detour(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|d| (1.0..=5.0).contains(d)).ok_or_else(|| "must lie in 1 to 5".to_owned())
}

fn ping_every(text: &str) -> Result<Duration, String> {
    let every = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let fits = (Duration::from_millis(100)..=Duration::from_secs(3_600)).contains(&every);
    if fits { Ok(every) } else { Err("must lie in 100ms to 1h".to_owned()) }
}

/// Simulates every city, each on a thread of its own.
///
/// # Errors
/// When a file cannot be read or written, or the arguments do not go together.
pub fn run(args: &SimulateArgs) -> anyhow::Result<ExitCode> {
    let (window, plans) = plan(args)?;
    let done: Vec<anyhow::Result<Lived>> = thread::scope(|threads| {
        let running: Vec<_> = plans.into_iter().map(|plan| threads.spawn(move || live(plan))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("the simulation of a city panicked")))
        };
        running.into_iter().map(join).collect()
    });
    // A city that fails takes nothing away from the others: theirs are reported, and the exit code tells.
    let (mut cities, mut code) = (vec![], ExitCode::SUCCESS);
    for lived in done {
        match lived {
            Ok(lived) => cities.push(lived),
            Err(error) => {
                let broken = error.chain().any(|cause| matches!(cause.downcast_ref(), Some(Failure::Broken { .. })));
                eprintln!("dispatch: {error:#}");
                if broken || code == ExitCode::SUCCESS {
                    code = if broken { ExitCode::from(BROKEN) } else { ExitCode::FAILURE };
                }
            }
        }
    }
    if cities.is_empty() {
        return Ok(code);
    }
    if let Some(path) = &args.outcomes {
        let every = cities.iter().map(|lived| json!({ "city": lived.city, "outcomes": lived.runs[0].outcomes() }));
        write(path, &serde_json::to_vec(&every.collect::<Value>())?)?;
    }
    let report = SimulationReport::new(args, &window, cities);
    if let Some(path) = &args.report_json {
        write(path, &serde_json::to_vec_pretty(&report)?)?;
    }
    if let Some(path) = &args.report_html {
        write(path, report.page()?.as_bytes())?;
    }
    if !args.quiet {
        // Whoever reads it may have seen enough.
        let _ = writeln!(std::io::stdout().lock(), "{}", report.text());
    }
    Ok(code)
}

/// What one thread does.
struct Plan {
    scenario: Scenario,
    settings: Settings,
}

fn plan(args: &SimulateArgs) -> anyhow::Result<(Window, Vec<Plan>)> {
    let usage = |words: &str| Err(anyhow::Error::from(UsageError(words.to_owned())));
    if args.from >= args.to {
        return usage("--from must come before --to");
    }
    if args.orders.len() != args.couriers.len() || ![0, args.orders.len()].contains(&args.city.len()) {
        return usage("each --city needs its --orders and its --couriers");
    }
    let named = (1..=args.orders.len()).map(|number| CityCode::parse(&format!("city-{number}")));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let codes = if args.city.is_empty() { &named } else { &args.city };
    if codes.iter().collect::<std::collections::BTreeSet<_>>().len() != codes.len() {
        return usage("a --city is named twice");
    }
    let policy = match &args.policy {
        Some(path) => policy(path)?,
        None => DispatchPolicy::default(),
    };
    if args.drain_for > LONGEST_DRAIN {
        return usage("--drain-for must not be longer than 7days");
    }
    let drain_ms = i64::try_from(args.drain_for.as_millis()).unwrap_or(i64::MAX);
    let window = Window { from_s: args.from, to_s: args.to, drain_ms, fleet: args.fleet };
    let mut plans = vec![];
    for (index, (code, files)) in codes.iter().zip(args.orders.iter().zip(&args.couriers)).enumerate() {
        let day = CityDay::read(files.0, files.1, args.data.as_deref()).with_context(|| format!("city `{code}`"))?;
        let city = virtual_city::city_around(code.clone(), day.places(), policy.clone())
            .map_err(|problem| UsageError(format!("city `{code}`: {problem}")))?;
        plans.push(Plan {
            scenario: Scenario::new(&day, &window, &args.manners, index, args.seed),
            settings: Settings {
                city,
                index,
                window,
                manners: args.manners.clone(),
                detour: args.detour,
                seed: args.seed,
                // At most an hour.
                ping_every_ms: args.ping_every.map(|every| every.as_millis() as i64),
                commit_ms: args.commit_ms.into(),
                check: args.check,
            },
        });
    }
    Ok((window, plans))
}

/// Reads a policy.
fn policy(path: &Path) -> anyhow::Result<DispatchPolicy> {
    let bad = |problem: String| UsageError(format!("{}: {problem}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let policy: DispatchPolicy = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    policy.validate().map_err(|error| bad(error.to_string()))?;
    Ok(policy)
}

fn live(Plan { scenario, settings }: Plan) -> anyhow::Result<Lived> {
    let (city, data) = (settings.city.code.clone(), scenario.notes.clone());
    let Settings { window, manners, detour, .. } = settings.clone();
    let began = Instant::now();
    let done = virtual_city::run(scenario.clone(), settings).with_context(|| format!("city `{city}`"))?;
    let real_s = began.elapsed().as_secs_f64();
    let per_s = |count: f64| count / real_s.max(f64::MIN_POSITIVE);
    let (orders_per_real_s, commands_per_real_s) =
        (per_s(done.outcomes.orders.len() as f64), per_s(done.machine.commands as f64));
    let oracles = Dispatch::BOTH.map(|dispatch| oracle::solve(&scenario, &window, &manners, detour, dispatch));
    let runs = std::iter::once(done.outcomes).chain(oracles).map(Run::new).collect();
    Ok(Lived { city, real_s, orders_per_real_s, commands_per_real_s, machine: done.machine, data, runs })
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn parse(line: &str) -> Result<SimulateArgs, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.args)
    }

    #[test]
    fn groups_are_matched_and_have_defaults() {
        let args = parse("x --orders o.csv --couriers c.csv").unwrap();
        assert_eq!((args.from, args.to, args.seed, args.commit_ms), (0, 86_400, 1, 5));
        assert_eq!(args.drain_for, Duration::from_secs(3 * 3_600));
        let error = |line: &str| plan(&parse(line).unwrap()).err().unwrap();
        for line in [
            "x --orders o.csv --orders p.csv --couriers c.csv",
            "x --city aa --city bb --orders o.csv --couriers c.csv",
            "x --city aa --city aa --orders o.csv --orders p.csv --couriers c.csv --couriers d.csv",
            "x --orders o.csv --couriers c.csv --from 12:00 --to 12:00",
            "x --orders o.csv --couriers c.csv --policy no/such/file",
            "x --orders o.csv --couriers c.csv --drain-for 8days",
        ] {
            assert!(error(line).is::<UsageError>(), "{line}");
        }
        assert!(format!("{:#}", error("x --orders no/such.csv --couriers c.csv")).contains("no/such.csv"));
        assert!(parse("x --orders o.csv --couriers c.csv --detour 0.5").is_err());
        assert!(parse("x --orders o.csv --couriers c.csv --ping-every 1ms").is_err());
    }

    #[test]
    fn a_policy_is_read_and_judged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.json");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            policy(&path)
        };
        assert_eq!(read(r#"{"candidates": 3}"#).unwrap().candidates, 3);
        assert!(read(r#"{"candidates": 0}"#).unwrap_err().to_string().contains("policy.json: candidates: must lie"));
        assert!(read(r#"{"candidate": 3}"#).unwrap_err().to_string().contains("unknown field"));
    }
}
