//! Where log lines go and how they look.

use std::{fs::File, io::IsTerminal, path::Path, sync::Arc};

use anyhow::Context;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::config::{LogFormat, LogOptions};

/// Logs to standard error.
///
/// # Errors
/// When logging was set up before.
pub fn to_terminal(options: &LogOptions) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    match options.format {
        LogFormat::Plain => {
            let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
            registry.with(layer).try_init()?;
        }
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init()?,
    }
    Ok(())
}

/// Logs to the end of a file, so that the terminal stays free for the live line.
///
/// # Errors
/// When the file cannot be opened, or logging was set up before.
pub fn to_file(options: &LogOptions, path: &Path) -> anyhow::Result<()> {
    let file = File::options().create(true).append(true).open(path);
    let file = Arc::new(file.with_context(|| format!("the log {} cannot be opened", path.display()))?);
    let filter = EnvFilter::try_new(&options.filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    match options.format {
        LogFormat::Plain => registry.with(fmt::layer().with_writer(file).with_ansi(false)).try_init()?,
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(file)).try_init()?,
    }
    Ok(())
}
