//! The view without a terminal: a table every so often.

use std::{io::Write, time::Duration};

use comfy_table::{Table, presets};
use tokio::{sync::mpsc::Receiver, time::MissedTickBehavior};

use super::{
    feed::Feed,
    take,
    view::{QUEUE_COLUMNS, View, clock_time},
};

/// Rows of the queue that are printed.
const ROWS: usize = 10;

/// Prints until the output is closed or the engine refuses.
pub async fn run(mut frames: Receiver<Feed>, every: Duration) -> anyhow::Result<()> {
    let mut view = View::default();
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = frames.recv() => take(&mut view, message)?,
            _ = tick.tick() => {
                let mut out = std::io::stdout().lock();
                // Whoever read the output is gone: so are we.
                if writeln!(out, "{}", text(&view)).and_then(|()| out.flush()).is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// The view as text.
pub fn text(view: &View) -> String {
    let mut text = view.headline();
    if view.city.is_empty() {
        return text;
    }
    let riders = view.riders_by_state().map(|(state, count)| format!("{state} {count}")).join("  ");
    text += &format!("\n{}\nriders: {riders}\n", view.figures());
    let queue = view.queue();
    if !queue.is_empty() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(QUEUE_COLUMNS);
        for row in queue.iter().take(ROWS) {
            table.add_row(view.queue_row(row));
        }
        text += &format!("{table}\n");
        if queue.len() > ROWS {
            text += &format!("  and {} more\n", queue.len() - ROWS);
        }
    }
    for (at, alert) in view.alerts().take(3) {
        text += &format!("! {} {alert}\n", clock_time(*at));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_holds_what_the_view_knows() {
        assert_eq!(text(&View::default()), "connecting");
        let text = text(&super::super::view::tests::sample());
        for part in ["blr  00:00:10 UTC", "idle 1", "00000003", "no_rider_in_reach", "delivered 7"] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        let due = |id| text.find(id).unwrap();
        assert!(due("00000003") < due("00000002"));
    }
}
