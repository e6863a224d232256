//! The command line. One rule for every duration and rate on it: they are in the time of the server's clock, which runs
//! `speed` times as fast as life; at speed 1 that is real time.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use dispatch_engine::replay::{
    day::time_of_day,
    device::encoding::Encoding,
    manners::{Manners, rate, share},
};

/// Drives a rider fleet and its orders against a dispatch engine over real websockets, then compares what the clients
/// were told with what the engine stored. Exit code 0: ok; 1: a comparison failed; 2: usage or connection.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, about)]
pub struct Cli {
    /// What to drive.
    #[command(subcommand)]
    pub mode: Mode,
}

/// The two kinds of a run.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// A made-up fleet that moves believably and orders by a rate curve, in cities that the engine already runs.
    Synthetic(Synthetic),
    /// A real day's orders and couriers from CSV files, over a window of that day.
    Replay(Replay),
}

/// How to reach the engine, and what to do with the figures.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// The engine's address, such as `http://127.0.0.1:8080`.
    #[arg(long)]
    pub url: String,
    /// The secret that the engine checks tokens with; the tester mints its own.
    #[arg(long, env = "DISPATCH_JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: String,
    /// Whatever is the client's choice follows from this number.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Names the run in mobiles and external references, 1 to 24 letters, digits or `-`; drawn when absent.
    #[arg(long, value_parser = run_id)]
    pub run_id: Option<String>,
    /// Time between the pings of a device; as the engine says when absent.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub ping_every: Option<Duration>,
    /// How devices write their frames.
    #[arg(long, value_enum, default_value_t)]
    pub encoding: Encodings,
    /// The engine's database, to compare stored points with what devices were told; they are not compared when absent.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Local addresses 127.0.0.1, 127.0.0.2, ... to connect from, for fleets beyond the ports of one address.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=250))]
    pub sources: u8,
    /// Merchants that place the orders.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub merchants: u16,
    /// Time granted for the orders to end after the last placement; 10m in `synthetic`, 3h in `replay` when absent.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub drain_for: Option<Duration>,
    /// Orders whose whole history is read and checked at the end; above it an even sample, and the report says so.
    #[arg(long, default_value_t = 20_000)]
    pub histories: usize,
    /// Where to write the report as JSON.
    #[arg(long)]
    pub report_json: Option<PathBuf>,
    /// Where to write the report as one page for a browser, with plots over the day.
    #[arg(long)]
    pub report_html: Option<PathBuf>,
    /// No progress bar and no table.
    #[arg(long)]
    pub quiet: bool,
}

/// A made-up fleet.
#[derive(Clone, Debug, Args)]
pub struct Synthetic {
    /// How to reach the engine.
    #[command(flatten)]
    pub target: Target,
    /// Cities of the engine to work in; fleet and orders are divided evenly.
    #[arg(long, required = true)]
    pub city: Vec<String>,
    /// Riders, all cities together.
    #[arg(long)]
    pub riders: u32,
    /// Orders per second, all cities together; the mean of a smooth wave.
    #[arg(long, value_parser = rate)]
    pub orders_per_second: f64,
    /// How long to place orders; until SIGINT when absent.
    #[arg(long = "for", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// Make a city panic this long after the start, as in `blr@90s`; may be given several times.
    #[arg(long = "panic", value_name = "CODE@DURATION", value_parser = crate::faults::after_start)]
    pub panics: Vec<crate::faults::Wish>,
    /// The speed that the engine's clock must have, or `auto` for whatever it has.
    #[arg(long, default_value = "auto", value_parser = speed)]
    pub clock_speed: ExpectedSpeed,
    /// How riders and merchants behave.
    #[command(flatten)]
    pub manners: Manners,
}

/// A real day.
#[derive(Clone, Debug, Args)]
pub struct Replay {
    /// How to reach the engine.
    #[command(flatten)]
    pub target: Target,
    /// The city to run in; made around the data when the engine does not have it. Several cities are several groups of
    /// `--city`, `--orders` and `--couriers`, matched in their order.
    #[arg(long, required = true)]
    pub city: Vec<String>,
    /// The orders; looked up below --data as well.
    #[arg(long, required = true)]
    pub orders: Vec<PathBuf>,
    /// The couriers; looked up below --data as well.
    #[arg(long, required = true)]
    pub couriers: Vec<PathBuf>,
    /// A folder of data sets.
    #[arg(long, env = "DISPATCH_DATA")]
    pub data: Option<PathBuf>,
    /// Start of the window, `HH:MM` of the day.
    #[arg(long, value_parser = time_of_day)]
    pub from: u32,
    /// End of the window; `24:00` is the end of the day.
    #[arg(long, value_parser = time_of_day)]
    pub to: u32,
    /// Make a city panic at a time of the day, as in `blr@12:30`; may be given several times.
    #[arg(long = "panic", value_name = "CODE@HH:MM", value_parser = crate::faults::time_of_day)]
    pub panics: Vec<crate::faults::Wish>,
    /// The speed that the engine's clock must have, or `auto` for whatever it has.
    #[arg(long, default_value = "auto", value_parser = speed)]
    pub speed: ExpectedSpeed,
    /// Share of the couriers that turn up.
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    pub fleet: f64,
    /// Street distance over straight-line distance.
    #[arg(long, default_value_t = 1.4)]
    pub detour: f64,
    /// How riders and merchants behave.
    #[command(flatten)]
    pub manners: Manners,
}

/// How the devices of a fleet write their frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Encodings {
    /// All in JSON.
    #[default]
    Json,
    /// All in MessagePack.
    Msgpack,
    /// Every second one in MessagePack.
    Mixed,
}

impl Encodings {
    /// The encoding of a device, by its number in the run.
    pub const fn of(self, index: usize) -> Encoding {
        match self {
            Self::Mixed if index % 2 == 1 => Encoding::MessagePack,
            Self::Json | Self::Mixed => Encoding::Json,
            Self::Msgpack => Encoding::MessagePack,
        }
    }

    /// The word for it on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Msgpack => "msgpack",
            Self::Mixed => "mixed",
        }
    }
}

/// What the caller believes of the engine's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ExpectedSpeed {
    /// Whatever it is.
    Auto,
    /// This, or the run is refused.
    Exactly(f64),
}

impl ExpectedSpeed {
    /// Whether the engine's speed is what the caller believes.
    pub fn agrees_with(self, actual: f64) -> bool {
        match self {
            Self::Auto => true,
            Self::Exactly(expected) => (expected - actual).abs() <= 1e-6 * actual.abs(),
        }
    }
}

fn speed(text: &str) -> Result<ExpectedSpeed, String> {
    if text == "auto" {
        return Ok(ExpectedSpeed::Auto);
    }
    let speed = text.parse().ok().filter(|s: &f64| s.is_finite() && *s > 0.0);
    speed.map(ExpectedSpeed::Exactly).ok_or_else(|| "must be `auto` or a positive number".to_owned())
}

fn run_id(text: &str) -> Result<String, String> {
    let fits = (1..=24).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if fits { Ok(text.to_owned()) } else { Err("must be 1 to 24 letters, digits or -".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_modes_parse() {
        let cli = Cli::try_parse_from(
            "loadtest synthetic --url http://127.0.0.1:1 --jwt-secret s --city blr --city pnq --riders 10 \
             --orders-per-second 0.5 --ping-every 2s --for 180s --clock-speed auto --seed 1 --quiet --liars 0.01"
                .split_whitespace(),
        )
        .unwrap();
        let Mode::Synthetic(run) = cli.mode else { panic!("wrong mode") };
        assert_eq!((run.city.len(), run.target.ping_every), (2, Some(Duration::from_secs(2))));
        let cli = Cli::try_parse_from(
            "loadtest replay --url http://127.0.0.1:1 --jwt-secret s --city a --orders a/o.csv --couriers a/c.csv \
             --city b --orders b/o.csv --couriers b/c.csv --from 12:00 --to 24:00 --speed 20"
                .split_whitespace(),
        )
        .unwrap();
        let Mode::Replay(run) = cli.mode else { panic!("wrong mode") };
        assert_eq!((run.from, run.to), (43_200, 86_400));
        assert_eq!((run.city.len(), run.orders.len(), run.couriers.len()), (2, 2, 2));
        assert!(run.speed.agrees_with(20.0) && !run.speed.agrees_with(1.0));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(speed("0").is_err() && speed("inf").is_err());
        assert!(run_id("a b").is_err() && run_id("").is_err());
    }
}
