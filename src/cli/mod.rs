//! The command line: `dispatch serve | demo | simulate | watch | migrate | token | check-config`.
//!
//! Exit codes: 0 done, 1 it failed while running, 2 wrong usage, configuration or data, 3 a demo or a simulation ran and an
//! invariant was broken.

mod demo;
mod logging;
mod serve;
mod simulate;
mod small;
mod stop;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    config::{Config, ConfigError, Environment, LogFormat},
    replay::day::BadDay,
    watch::{self, WatchArgs},
};

/// Wrong usage, configuration or data; clap uses the same.
const USAGE: u8 = 2;
/// A demo or a simulation ran, and an invariant was broken.
const BROKEN: u8 = 3;

#[derive(Debug, Parser)]
#[command(name = "dispatch", version, about = "Real-time dispatch engine for rider fleets")]
#[command(after_help = "Exit codes: 0 done; 1 failed while running; 2 wrong usage, configuration or \
                        data; 3 a demo or a simulation ran and an invariant was broken.")]
struct Args {
    /// A configuration file (TOML); see config/default.toml for every key
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How log lines look
    #[arg(long, global = true, value_enum)]
    log_format: Option<LogFormat>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the engine on the database of DATABASE_URL and the Redis of REDIS_URL
    Serve {
        /// How many times as fast as life the engine's clock runs, for replays; as configured when absent
        #[arg(long, value_name = "SPEED")]
        clock_speed: Option<f64>,
        /// Take every city at once from the process that holds it, instead of waiting until its lease has passed
        #[arg(long)]
        take_over: bool,
    },
    /// Start a private PostgreSQL and Redis, the engine, and a simulated fleet in two cities
    Demo(demo::DemoArgs),
    /// Live a real city's day through the pure engine in virtual time; needs no configuration
    Simulate(Box<simulate::SimulateArgs>),
    /// Watch a city in the terminal: its queue, oldest due first, and its riders
    Watch(WatchArgs),
    /// Bring the schema of DATABASE_URL up to date
    Migrate,
    /// Print a bearer token signed with DISPATCH_JWT_SECRET
    Token(small::TokenArgs),
    /// Read every source of the configuration and say what is wrong
    CheckConfig,
}

/// Arguments that do not go together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let environment = Environment::of_process();
    let config = Config::load(args.config.as_deref(), &environment).map(|mut config| {
        config.log.format = args.log_format.unwrap_or(config.log.format);
        config
    });
    let done = match (args.command, config) {
        // Needs no configuration, so that a broken one is no hindrance.
        (Command::Simulate(args), _) => simulate::run(&args),
        // Needs its secret only.
        (Command::Token(token), _) => {
            let secret = Config::load_jwt_secret(args.config.as_deref(), &environment).map_err(anyhow::Error::from);
            secret.and_then(|secret| small::token(&token, &secret)).map(|()| ExitCode::SUCCESS)
        }
        (_, Err(error)) => Err(error.into()),
        (Command::Serve { clock_speed, take_over }, Ok(mut config)) => {
            config.clock.speed = clock_speed.unwrap_or(config.clock.speed);
            let checked = config.check().map_err(anyhow::Error::from);
            checked.and_then(|()| serve::run(&config, take_over)).map(|()| ExitCode::SUCCESS)
        }
        (Command::Demo(demo), Ok(config)) => demo::run(demo, config, &environment),
        (Command::Watch(args), Ok(_)) => watch(args).map(|()| ExitCode::SUCCESS),
        (Command::Migrate, Ok(config)) => small::migrate(&config).map(|()| ExitCode::SUCCESS),
        (Command::CheckConfig, Ok(config)) => small::check_config(&config).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| report(&error))
}

fn watch(args: WatchArgs) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(watch::run(args))
}

/// Tells the person at the terminal what went wrong, with its causes.
fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("dispatch: {error:#}");
    let usage =
        error.chain().any(|cause| cause.is::<ConfigError>() || cause.is::<UsageError>() || cause.is::<BadDay>());
    if usage { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}
