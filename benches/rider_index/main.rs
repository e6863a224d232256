//! The rider index against a plain R-tree and Redis: what an update costs, what the nearest ten cost, what a crowd on one
//! spot does to them, and what memory a rider takes; then what a ping costs a whole city. `cargo bench --bench rider_index`;
//! riders per run as arguments, `--quick` for a small run that only shows that everything works.

mod city;
mod fleet;
mod redis;
mod rivals;

#[path = "../common/mod.rs"]
mod common;

use std::{
    hint::black_box,
    process::Command,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use self::{
    city::Work,
    fleet::{Fleet, Life, STEP_M},
    redis::Server,
    rivals::{Ours, Plain, Rival},
};

type Anyhow<T> = Result<T, Box<dyn std::error::Error>>;

/// Riders looked for in a search.
const NEAREST: usize = 10;

/// Updates told at once: as many as a pipeline to Redis takes.
const BATCH: usize = 1_000;

/// What takes longer counts as this.
const LONGEST_NS: u64 = 60_000_000_000;

/// How thoroughly to measure.
struct Effort {
    sizes: Vec<usize>,
    /// Longest time for one series; slow rivals do less in it.
    patience: Duration,
    searches: usize,
}

impl Effort {
    fn from(arguments: &[String]) -> Anyhow<Self> {
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let sizes = arguments.iter().filter(|argument| !argument.starts_with("--")).map(|argument| argument.parse());
        let mut sizes = sizes.collect::<Result<Vec<usize>, _>>()?;
        if sizes.is_empty() {
            sizes = if quick { vec![1_000] } else { vec![10_000, 100_000, 1_000_000] };
        }
        let (patience, searches) = if quick { (100, 200) } else { (5_000, 20_000) };
        Ok(Self { sizes, patience: Duration::from_millis(patience), searches })
    }
}

/// One line of the table.
struct Line {
    updates: u64,
    update_ns: f64,
    update_cpu_ns: f64,
    /// Of single updates, where they can be timed.
    update: Option<Histogram<u64>>,
    nearest: Histogram<u64>,
    nearest_cpu_ns: f64,
}

fn measure<R: Rival>(mut rival: R, n: usize, life: Life, effort: &Effort) -> Anyhow<Line> {
    let mut fleet = Fleet::new(n, life);
    fleet.first().chunks(BATCH).try_for_each(|pings| rival.put(pings))?;
    // A tree that has lived, not one as it was built.
    let patience = Instant::now();
    for pings in fleet.round().chunks(BATCH) {
        if patience.elapsed() > effort.patience {
            break;
        }
        rival.put(pings)?;
    }
    // The mean without a clock in between, the percentiles with one.
    let (mut updates, mut spent, mut cpu) = (0_u64, Duration::ZERO, Duration::ZERO);
    while spent < effort.patience && updates < 1_000_000 {
        for pings in fleet.round().chunks(BATCH) {
            let (start, before) = (Instant::now(), rival.cpu()?);
            rival.put(pings)?;
            cpu += rival.cpu()?.saturating_sub(before);
            spent += start.elapsed();
            updates += pings.len() as u64;
            if spent > effort.patience {
                break;
            }
        }
    }
    let mean = |span: Duration, by: u64| span.as_nanos() as f64 / by.max(1) as f64;
    let update = if R::TIMES_ONE { Some(one_by_one(&mut rival, &mut fleet, effort)?) } else { None };
    let mut nearest = Histogram::new_with_max(LONGEST_NS, 3)?;
    let (patience, before) = (Instant::now(), rival.cpu()?);
    for query in fleet.queries(effort.searches) {
        let start = Instant::now();
        let found = rival.nearest(&query)?;
        nearest.saturating_record(nanos(start));
        assert_eq!(found, NEAREST.min(n), "{} lost somebody", R::NAME);
        if patience.elapsed() > effort.patience {
            break;
        }
    }
    let nearest_cpu_ns = mean(rival.cpu()?.saturating_sub(before), nearest.len());
    let (update_ns, update_cpu_ns) = (mean(spent, updates), mean(cpu, updates));
    Ok(Line { updates, update_ns, update_cpu_ns, update, nearest, nearest_cpu_ns })
}

fn one_by_one(rival: &mut impl Rival, fleet: &mut Fleet, effort: &Effort) -> Anyhow<Histogram<u64>> {
    let mut update = Histogram::new_with_max(LONGEST_NS, 3)?;
    let patience = Instant::now();
    for ping in fleet.round().chunks(1).take(200_000) {
        if patience.elapsed() > effort.patience {
            break;
        }
        let start = Instant::now();
        rival.put(ping)?;
        update.saturating_record(nanos(start));
    }
    Ok(update)
}

fn nanos(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn show<R: Rival>(rival: R, n: usize, life: Life, effort: &Effort) -> Anyhow<Line> {
    let line = measure(rival, n, life, effort)?;
    let us = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    let one = |quantile| line.update.as_ref().map_or("-".to_owned(), |update| format!("{:.2}", us(update, quantile)));
    println!(
        "{n:>9}  {:<16} {:<12} {:>8.0} {:>8.0} {:>7} {:>7}   {:>8.2} {:>8.2} {:>9.2} {:>8.2}   {:>9}",
        life.name(),
        R::NAME,
        line.update_ns,
        line.update_cpu_ns,
        one(0.5),
        one(0.99),
        us(&line.nearest, 0.5),
        us(&line.nearest, 0.99),
        line.nearest.max() as f64 / 1_000.0,
        line.nearest_cpu_ns / 1_000.0,
        line.updates,
    );
    Ok(line)
}

fn index_table(effort: &Effort, redis: Option<&Server>) -> Anyhow<()> {
    println!("{:>9}  {:<29} {:>33}   {:>36}", "", "", "update", "nearest 10");
    println!(
        "{:>9}  {:<16} {:<12} {:>8} {:>8} {:>7} {:>7}   {:>8} {:>8} {:>9} {:>8}   {:>9}",
        "riders", "", "", "mean ns", "cpu ns", "p50 us", "p99 us", "p50 us", "p99 us", "max us", "cpu us", "updates"
    );
    for n in effort.sizes.iter().copied() {
        for life in [Life::City, Life::Crowd] {
            let ours = show(Ours::default(), n, life, effort)?;
            let plain = show(Plain::default(), n, life, effort)?;
            let mut against = format!("rstar {:.1}x", plain.update_cpu_ns / ours.update_cpu_ns);
            if let Some(server) = redis {
                let redis = show(server.rival(n)?, n, life, effort)?;
                against.push_str(&format!(", Redis {:.1}x", redis.update_cpu_ns / ours.update_cpu_ns));
            }
            println!("{:>9}  an update's processor time over ours: {against}", "");
        }
    }
    Ok(())
}

fn city_table(effort: &Effort) -> Anyhow<()> {
    println!(
        "\na ping inside a city: 250 fixes a message, changes asked for every 0.5 s, a tick a second; processor time"
    );
    println!(
        "{:>9}  {:<16} {:<19} {:>9} {:>12} {:>9}   {:>9}",
        "riders", "", "", "fix ns", "changes ns", "tick ms", "fixes"
    );
    for n in effort.sizes.iter().copied().filter(|n| *n <= 100_000) {
        for life in [Life::City, Life::Crowd] {
            for work in Work::ALL {
                let figures = city::measure(n, life, work, effort)?;
                println!(
                    "{n:>9}  {:<16} {:<19} {:>9.0} {:>12.0} {:>9.2}   {:>9}",
                    life.name(),
                    work.name(),
                    figures.fix_ns,
                    figures.changes_ns,
                    figures.tick_ms,
                    figures.fixes
                );
            }
        }
    }
    Ok(())
}

/// What a rival of `n` riders adds to the memory of this process, bytes per rider. To be asked of a fresh process.
fn memory_of(mut rival: impl Rival, n: usize) -> Anyhow<f64> {
    let mut fleet = Fleet::new(n, Life::City);
    let (first, round) = (fleet.first(), fleet.round());
    let resident = || common::process::resident(std::process::id().cast_signed());
    let before = resident()?;
    rival.put(&first)?;
    rival.put(&round)?;
    let grown = resident()?.saturating_sub(before);
    black_box(&rival);
    Ok(grown as f64 / n as f64)
}

fn ask_memory(rival: &str, n: usize) -> Anyhow<String> {
    let answer = Command::new(std::env::current_exe()?).args(["--memory", rival, &n.to_string()]).output()?;
    Ok(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}

fn memory_table(effort: &Effort, redis: Option<&Server>) -> Anyhow<()> {
    println!("\nmemory, bytes per rider");
    for n in effort.sizes.iter().copied() {
        print!("{n:>9}  rider index {:>5}   plain rstar {:>5}", ask_memory("ours", n)?, ask_memory("plain", n)?);
        if let Some(server) = redis {
            let mut geo = server.rival(n)?;
            let before = geo.memory()?;
            Fleet::new(n, Life::City).first().chunks(BATCH).try_for_each(|pings| geo.put(pings))?;
            print!("   Redis {:>5.0}", (geo.memory()? - before) / n as f64);
        }
        println!();
    }
    Ok(())
}

fn main() -> Anyhow<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [flag, rival, n] = &arguments[..]
        && flag == "--memory"
    {
        let n = n.parse()?;
        let bytes = if rival == "ours" { memory_of(Ours::default(), n)? } else { memory_of(Plain::default(), n)? };
        println!("{bytes:.0}");
        return Ok(());
    }
    let effort = Effort::from(&arguments)?;
    let redis = Server::start()?;
    let redis_version = redis.as_ref().map_or("is not installed: left out".to_owned(), |redis| redis.version.clone());
    let surroundings = common::Surroundings::begin(
        &format!("cargo bench --bench rider_index -- {}", arguments.join(" ")),
        &[("rstar", common::crate_version("rstar")), ("Redis", redis_version)],
    );
    println!(
        "city      30 km, riders move {STEP_M} m per ping in any order; {} searches where riders are",
        effort.searches
    );
    println!("Redis     a process of its own: a GEOADD per ping, {BATCH} in a pipeline; a GEOSEARCH at a time\n");
    index_table(&effort, redis.as_ref())?;
    memory_table(&effort, redis.as_ref())?;
    redis.map_or(Ok(()), Server::stop)?;
    city_table(&effort)?;
    surroundings.end();
    Ok(())
}
