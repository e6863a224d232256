//! What a ping costs on its whole way, websocket to index to stored row: the real program with real clients, beside a
//! bare echo server on the same websocket crate, and what memory an idle connected rider takes.
//! `cargo bench --bench ping_path`; `-- --help` names what can be chosen, `-- --quick` is a short look.
#![allow(clippy::unwrap_used, reason = "the shared parts of the tests are a measurement's as well")]

mod bed;
mod echo;
mod fleet;
mod latency;
mod measure;
mod programs;
mod report;
mod rider;

#[path = "../common/mod.rs"]
mod common;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use bed::Bed;
use common::{Surroundings, crate_version, line, postgres_version};
use fleet::Fleet;
use measure::Load;
use rider::Encoding;

/// See [`Options::policy`].
const POLICY: &str = r#"{"auto_off_after_s": 3600, "pings": {"idle_store_every_s": 0, "max_per_s": 100}}"#;

/// The whole way of a ping, measured.
#[derive(Parser)]
struct Options {
    /// Seconds of each measurement; keep-alives come every 15.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Connections.
    #[arg(long, value_delimiter = ',', default_value = "10000,1000")]
    riders: Vec<u32>,
    /// json, msgpack.
    #[arg(long, value_delimiter = ',', default_value = "json,msgpack")]
    encodings: Vec<String>,
    /// Points per second of all riders together, one per frame; three times as many in frames of ten.
    #[arg(long, default_value_t = 10_000)]
    points_per_s: u32,
    /// The policy of the city. Unless told otherwise every point is stored, few riders stand for many (no device sends as
    /// fast as a tenth of a fleet together), and nobody goes home because a bench is silent for a while.
    #[arg(long, default_value = POLICY)]
    policy: String,
    /// Few connections, a few seconds.
    #[arg(long)]
    quick: bool,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    // Sockets by the ten thousand; what is started from here inherits it.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((part, rest)) if part == "fleet" => Fleet::parse(rest)?.run(),
        Some((part, rest)) if part == "echo" => echo::run(rest.first().context("how many workers?")?.parse()?),
        _ => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?
            .block_on(measure_all(Options::parse())),
    }
}

async fn measure_all(mut options: Options) -> Result<()> {
    if options.quick {
        (options.riders, options.seconds, options.points_per_s) = (vec![500], 3, 2_000);
    }
    let most = options.riders.iter().copied().max().context("no riders")?;
    let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(
        u64::from(most) + 100 < descriptors,
        "{most} connections need as many descriptors; {descriptors} are allowed"
    );
    let encodings = options.encodings.iter().map(|name| Encoding::named(name)).collect::<Result<Vec<_>>>()?;
    let span = Duration::from_secs(options.seconds.max(1));
    let load = Load {
        points_per_s: options.points_per_s,
        warm_up: Duration::from_secs(3).min(span),
        // A round of keep-alives.
        idle: Duration::from_secs(15).min(span),
        span,
    };
    let workers = std::thread::available_parallelism().map_or(2, Into::into);
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ping_path-{}.log", std::process::id()));
    let policy = serde_json::from_str(&options.policy)?;
    let bed = Bed::make(most, &policy, workers, &log).await?;

    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let surroundings = Surroundings::begin(
        &format!("cargo bench --bench ping_path -- {}", arguments.join(" ")),
        &[
            ("PostgreSQL", postgres_version(&bed.db).await?),
            ("actix-web-actors", crate_version("actix-web-actors")),
            ("actix-http", crate_version("actix-http")),
            ("tokio", crate_version("tokio")),
            ("serde_json", crate_version("serde_json")),
            ("rmp-serde", crate_version("rmp-serde")),
        ],
    );
    let (alone, together) = (options.points_per_s, options.points_per_s * 3 / 10);
    let threads = format!("{workers} HTTP workers each, clients and PostgreSQL on the same cores");
    line("frames", &format!("{alone}/s of one point, {together}/s of ten, open loop; {threads}"));
    let mut pairs = Vec::new();
    for riders in options.riders {
        for encoding in encodings.iter().copied() {
            let echo = measure::echo(encoding, riders, workers, load).await?;
            match measure::engine(&bed, encoding, riders, workers, load, &log).await {
                Ok(engine) => pairs.push((engine, echo)),
                Err(error) => line("missing", &format!("{riders} connections, {}: {error:#}", encoding.name())),
            }
        }
    }
    println!("\nProcessor time of a ping, socket to stored row\n");
    let mut met = report::cost(&pairs);
    println!("\nIdle connections\n");
    met &= report::idle(&pairs);
    println!("\nWhat was sent is stored\n");
    let whole = report::stored(&pairs);
    println!();
    report::latencies(&pairs);
    surroundings.end();
    line("aims", common::verdict(met));
    bed.end().await?;
    std::fs::remove_file(log)?;
    ensure!(whole || options.policy != POLICY, "points were lost");
    Ok(())
}
