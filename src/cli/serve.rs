//! `dispatch serve`: production. It takes its database and Redis from the configuration and starts nothing of its own.

use std::net::TcpListener;

use anyhow::Context;

use super::{logging, stop::StopSignals};
use crate::{
    app::{self, App},
    clock::Clock,
    config::Config,
};

/// Serves until it is told to stop; with `take_over` no lease of another process is waited for.
///
/// # Errors
/// When the configuration lacks something, a service is away, or the end takes too long.
pub fn run(config: &Config, take_over: bool) -> anyhow::Result<()> {
    // What production cannot do without is asked for before anything starts.
    config.database_url()?;
    config.jwt_secret()?;
    config.sealer()?;
    logging::to_terminal(&config.log)?;
    app::run(async {
        let mut signals = StopSignals::listen()?;
        let address = config.server.listen;
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let clock = Clock::scaled(config.clock.speed);
        let app = if take_over {
            App::build_taking_over(config, clock, listener).await?
        } else {
            App::build(config, clock, listener).await?
        };
        tracing::info!(address = %app.address(), "serving");
        let stop = async move {
            let signal = signals.next().await;
            tracing::info!(signal, "stopping");
        };
        app.run_until_stopped(stop).await?;
        tracing::info!("stopped");
        Ok(())
    })?
}
