//! `dispatch watch CITY`: a terminal view of one city, over the operators' socket. It reads wire types only and keeps
//! its own picture of the city, so it shows exactly what an operator's page would.

mod feed;
mod plain;
mod screen;
mod view;

use std::{io::IsTerminal, time::Duration};

use anyhow::Context;
use tokio::sync::mpsc;

use feed::Feed;
use view::View;

/// What to watch and how.
#[derive(Clone, Debug, clap::Args)]
pub struct WatchArgs {
    /// The code of the city.
    pub city: String,
    /// Where the engine serves.
    #[arg(long, env = "DISPATCH_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// A token of an operator of the city, or of an administrator.
    #[arg(long, env = "DISPATCH_TOKEN", hide_env_values = true)]
    pub token: String,
    /// Print tables instead of drawing a screen, as happens by itself when the output is no terminal.
    #[arg(long)]
    pub plain: bool,
    /// Time between two printed tables, such as 2s or 500ms.
    #[arg(long, default_value = "2s", value_parser = parse_span)]
    pub every: Duration,
}

/// Watches until `q` is pressed (on a screen) or the process is told to stop. It reconnects by itself.
///
/// # Errors
/// When the address or the token is refused, or the terminal cannot be used.
pub async fn run(args: WatchArgs) -> anyhow::Result<()> {
    let address = feed::address(&args.url, &args.city)?;
    let (sender, frames) = mpsc::channel(256);
    let feeding = tokio::spawn(feed::follow(address, args.token.clone(), sender));
    let shown = if args.plain || !std::io::stdout().is_terminal() {
        plain::run(frames, args.every).await
    } else {
        screen::run(frames).await
    };
    feeding.abort();
    shown
}

/// Takes a message of the feed in.
///
/// # Errors
/// When the feed has ended for good.
fn take(view: &mut View, message: Option<Feed>) -> anyhow::Result<()> {
    match message.context("the connection ended")? {
        Feed::Frame(frame) => view.apply(*frame),
        Feed::Connected => view.note_connected(),
        Feed::Lost(why) => view.note_lost(why),
        Feed::Refused(why) => anyhow::bail!("the engine refused the connection: {why}"),
    }
    Ok(())
}

fn parse_span(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is no duration; write 2s or 500ms"))?;
    let span = match unit {
        "ms" => Duration::from_millis(number),
        "" | "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err(format!("`{unit}` is no unit; write ms, s or m")),
    };
    if span.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_their_unit() {
        assert_eq!(parse_span("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_span("1m"), Ok(Duration::from_secs(60)));
        for wrong in ["", "s", "0s", "2h", "-1s", "2.5s"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}
