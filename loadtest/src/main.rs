//! The load tester: a black-box client of the dispatch engine. It shares only the engine's wire types, drives a fleet of
//! simulated devices over real websockets and merchants over REST, and at the end compares what the clients were told
//! with what the engine stored.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api;
mod area;
mod cli;
mod clock;
mod crosscheck;
mod device;
mod faults;
mod ledger;
mod live_line;
mod machine;
mod orders;
mod outcomes;
mod points;
mod report;
mod run;
mod setup;
mod stats;
mod stop;
mod token;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match Box::pin(run::run(&cli)).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}
