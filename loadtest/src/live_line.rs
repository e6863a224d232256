//! The progress bar.

use std::{
    sync::{Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::{device::Shared, stats::Stats};

/// Shows where a run stands.
#[derive(Debug)]
pub struct LiveLine {
    bar: ProgressBar,
    /// When points were counted last, and how many there were.
    last: Mutex<(Instant, u64, f64)>,
}

impl LiveLine {
    /// How often to show it, real time.
    pub const EVERY: Duration = Duration::from_millis(250);

    /// A bar over the time in which orders are placed (milliseconds), a spinner when that has no end, nothing when quiet.
    pub fn new(quiet: bool, place_for: Option<i64>) -> Self {
        let bar = match place_for {
            _ if quiet => ProgressBar::hidden(),
            Some(ms) => ProgressBar::new(u64::try_from(ms).unwrap_or(0)),
            None => ProgressBar::new_spinner(),
        };
        let template = if place_for.is_some() { "{wide_msg} {bar:20}" } else { "{spinner} {wide_msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, last: Mutex::new((Instant::now(), 0, 0.0)) }
    }

    /// Shows the figures of now; `t0` is the start of the plan.
    pub fn show(&self, doing: &str, shared: &Shared, t0: i64) {
        if self.bar.is_hidden() {
            return;
        }
        let stats = &shared.stats;
        let written = Stats::read(&stats.pings_written);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let since = last.0.elapsed().as_secs_f64();
        if since >= 1.0 {
            *last = (Instant::now(), written, (written - last.1) as f64 / since);
        }
        self.bar.set_position(u64::try_from(shared.clock.now() - t0).unwrap_or(0));
        self.bar.set_message(format!(
            "{doing}: {} on duty of {} connected, {:.0} pings/s, {} placed, {} delivered, {} reconnects",
            stats.on_duty.load(Relaxed),
            stats.connected.load(Relaxed),
            last.2,
            Stats::read(&stats.placed),
            Stats::read(&stats.delivered),
            Stats::read(&stats.reconnects),
        ));
    }

    /// Removes it.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
