//! The view on a terminal.

use std::time::Duration;

use anyhow::Context;
use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Block, Cell, Paragraph, Row, Table, Wrap},
};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::{
    feed::Feed,
    take,
    view::{QUEUE_COLUMNS, View, clock_time},
};

/// How often the screen is drawn at most.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// What a person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Quit,
    Redraw,
}

/// Draws until `q` is pressed or the engine refuses; the terminal is as before afterwards, whatever happened.
pub async fn run(frames: Receiver<Feed>) -> anyhow::Result<()> {
    let mut terminal = ratatui::try_init().context("the terminal cannot be used; try --plain")?;
    let shown = draw_until_quit(&mut terminal, frames).await;
    ratatui::restore();
    shown
}

async fn draw_until_quit(terminal: &mut DefaultTerminal, mut frames: Receiver<Feed>) -> anyhow::Result<()> {
    let (sender, mut acts) = mpsc::channel(16);
    let keys = std::thread::Builder::new().name("watch-keys".to_owned()).spawn(move || read_keys(&sender));
    keys.context("no thread for the keyboard")?;
    let mut view = View::default();
    let mut tick = tokio::time::interval(DRAW_EVERY);
    loop {
        let draw = tokio::select! {
            message = frames.recv() => {
                take(&mut view, message)?;
                false
            }
            act = acts.recv() => match act {
                Some(Act::Redraw) => true,
                Some(Act::Quit) | None => return Ok(()),
            },
            _ = tick.tick() => true,
        };
        if draw {
            terminal.draw(|frame| draw_view(frame, &view))?;
        }
    }
}

/// Reads the keyboard on a thread of its own; ends with the view, or when the terminal is gone.
fn read_keys(sender: &Sender<Act>) {
    while !sender.is_closed() {
        let act = match event::poll(DRAW_EVERY) {
            Ok(false) => continue,
            Ok(true) => event::read().map_or(Some(Act::Quit), |event| act_of(&event)),
            Err(_) => Some(Act::Quit),
        };
        if let Some(act) = act
            && sender.blocking_send(act).is_err()
        {
            return;
        }
    }
}

fn act_of(event: &Event) -> Option<Act> {
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
            KeyCode::Char('q') | KeyCode::Esc => Some(Act::Quit),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Act::Quit),
            _ => None,
        },
        Event::Resize(..) => Some(Act::Redraw),
        _ => None,
    }
}

fn draw_view(frame: &mut Frame<'_>, view: &View) {
    let [head, queue, riders, alerts] =
        Layout::vertical([Constraint::Length(4), Constraint::Min(5), Constraint::Length(3), Constraint::Length(6)])
            .areas(frame.area());
    let style = if view.trouble.is_some() { Style::new().fg(Color::Red).bold() } else { Style::new().bold() };
    let lines = vec![Line::styled(view.headline(), style), Line::raw(view.figures())];
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), head);

    let rows = view.queue();
    let title = format!(" queue: {} waiting, oldest due first ", rows.len());
    // No more rows than fit are made: a queue may hold thousands.
    let visible = rows.iter().take(usize::from(queue.height)).map(|row| {
        let style = match row.due_at {
            Some(_) if row.waiting_for.as_deref() == Some("offered") => Style::new().fg(Color::Cyan),
            Some(_) => Style::new().fg(Color::Yellow),
            None => Style::new().add_modifier(Modifier::DIM),
        };
        Row::new(view.queue_row(row).map(Cell::from)).style(style)
    });
    let widths = [14, 9, 10, 17, 6, 8, 8].map(Constraint::Min);
    let table = Table::new(visible, widths)
        .header(Row::new(QUEUE_COLUMNS).style(Style::new().underlined()))
        .block(Block::bordered().title(title));
    frame.render_widget(table, queue);

    let states = view.riders_by_state().map(|(state, count)| format!("{state} {count}")).join("   ");
    frame.render_widget(Paragraph::new(states).block(Block::bordered().title(" riders ")), riders);

    let lines: Vec<Line<'_>> =
        view.alerts().take(4).map(|(at, alert)| Line::raw(format!("{} {alert}", clock_time(*at)))).collect();
    let block = Block::bordered().title(" alerts ").title_bottom(" q quits ");
    frame.render_widget(Paragraph::new(lines).block(block), alerts);
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend, crossterm::event::KeyEvent};

    use super::*;

    #[test]
    fn the_screen_shows_the_city_at_any_size() {
        let view = super::super::view::tests::sample();
        for (width, height) in [(120, 40), (80, 24), (20, 8), (1, 1)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw_view(frame, &view)).unwrap();
            if width >= 80 {
                let shown = terminal.backend().to_string();
                for part in ["blr", "3 waiting", "00000003", "no_rider_in_reach", "idle 1", "alerts"] {
                    assert!(shown.contains(part), "{part} is missing at {width}x{height}:\n{shown}");
                }
            }
        }
    }

    #[test]
    fn q_quits_and_a_resize_draws() {
        assert_eq!(act_of(&Event::Key(KeyEvent::from(KeyCode::Char('q')))), Some(Act::Quit));
        assert_eq!(act_of(&Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL))), Some(Act::Quit));
        assert_eq!(act_of(&Event::Key(KeyEvent::from(KeyCode::Char('x')))), None);
        assert_eq!(act_of(&Event::Resize(3, 4)), Some(Act::Redraw));
    }
}
