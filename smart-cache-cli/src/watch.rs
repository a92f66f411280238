//! `stats --watch` on a terminal: numbers that stay in their places, and how they went.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};
use smart_cache::SmartCache;
use smart_cache::inspect::ProcessReport;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::output::{bytes, duration, printable};
use crate::stats::{Look, Rates, headline, ratio};

/// Looks that are remembered: more than a terminal is wide.
const REMEMBERED: usize = 500;

pub(crate) async fn run(cache: &SmartCache, every: Duration) -> Result<(), Failure> {
    // The first look fails before the terminal is taken.
    let mut view = View::default();
    view.see(Look::take(cache).await);
    let mut events = events();
    let mut terminal = ratatui::try_init()?;
    let ended = loop {
        if let Err(why) = terminal.draw(|frame| view.draw(frame)) {
            break Err(why);
        }
        tokio::select! {
            () = tokio::time::sleep(every) => view.see(Look::take(cache).await),
            event = events.recv() => match event {
                Some(event) if !ends(&event) => {}
                _ => break Ok(()),
            },
        }
    };
    ratatui::restore();
    Ok(ended?)
}

/// Keys, from a thread of its own: reading them blocks.
fn events() -> mpsc::UnboundedReceiver<Event> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

fn ends(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    let quits = matches!(key.code, KeyCode::Char('q') | KeyCode::Esc);
    key.kind == KeyEventKind::Press && (ctrl_c || quits)
}

/// What is on the screen.
#[derive(Debug, Default)]
struct View {
    look: Look,
    rates: Rates,
    /// Requests a second, the newest last.
    history: VecDeque<u64>,
    /// Why the last look failed; what is shown is older then.
    trouble: Option<String>,
}

impl View {
    fn see(&mut self, look: Result<Look, Failure>) {
        match look {
            Ok(look) => {
                let rate = self.rates.after(&look);
                self.history.push_back(rate.round() as u64);
                if self.history.len() > REMEMBERED {
                    self.history.pop_front();
                }
                (self.look, self.trouble) = (look, None);
            }
            Err(why) => self.trouble = Some(why.to_string()),
        }
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let rows = [
            Constraint::Length(2),
            Constraint::Length(3),
            Constraint::Length(8),
            Constraint::Min(3),
            Constraint::Length(1),
        ];
        let [head, numbers, plot, table, foot] = Layout::vertical(rows).areas(frame.area());
        let title = Line::from(vec![
            Span::styled("smart-cache ", Style::new().add_modifier(Modifier::BOLD)),
            Span::raw(printable(&headline(&self.look.server))),
        ]);
        frame.render_widget(Paragraph::new(title), head);
        self.numbers(frame, numbers);
        self.plot(frame, plot);
        frame.render_widget(self.table(), table);
        let foot_line = match &self.trouble {
            Some(why) => Line::from(format!("shown is the last answer: {}", printable(why))).red(),
            None => Line::from("q quits · processes report every few seconds").dim(),
        };
        frame.render_widget(Paragraph::new(foot_line), foot);
    }

    fn numbers(&self, frame: &mut Frame<'_>, area: Rect) {
        let total = &self.look.total;
        let rate = self.history.back().copied().unwrap_or(0);
        let pending = self.look.pending_clears();
        let shown = [
            ("requests/s", rate.to_string(), false),
            ("from the cache", ratio(total), false),
            (
                "time saved",
                duration(Duration::from_micros(total.saved_us)),
                false,
            ),
            ("stored", bytes(total.stored_bytes), false),
            ("bypassed", total.bypassed().to_string(), false),
            ("clears pending", pending.to_string(), pending > 0),
        ];
        let areas = Layout::horizontal([Constraint::Fill(1); 6]).split(area);
        for ((name, value, alarming), area) in shown.into_iter().zip(areas.iter()) {
            let value = if alarming {
                Line::from(value).red().bold()
            } else {
                Line::from(value).bold()
            };
            let lines = vec![Line::from(name).dim(), value];
            frame.render_widget(Paragraph::new(lines), *area);
        }
    }

    fn plot(&self, frame: &mut Frame<'_>, area: Rect) {
        let most = self.history.iter().max().copied().unwrap_or(0);
        let block = Block::bordered().title(format!(" requests/s, up to {most} "));
        let width = usize::from(area.width.saturating_sub(2));
        let newest = self.history.len().saturating_sub(width);
        let values: Vec<u64> = self.history.iter().skip(newest).copied().collect();
        frame.render_widget(Sparkline::default().block(block).data(values), area);
    }

    fn table(&self) -> Table<'_> {
        let names = [
            "process", "build", "requests", "cache", "local", "lookup", "state",
        ];
        let widths = [
            Constraint::Fill(2),
            Constraint::Length(14),
            Constraint::Length(12),
            Constraint::Length(7),
            Constraint::Length(11),
            Constraint::Length(12),
            Constraint::Fill(1),
        ];
        let rows = self.look.processes.iter().map(row);
        Table::new(rows, widths)
            .header(Row::new(names).dim())
            .block(Block::bordered().title(" processes "))
    }
}

fn row(process: &ProcessReport) -> Row<'static> {
    let local = match process.local {
        Some(local) if local.live => bytes(local.bytes),
        Some(_) => "silent".to_owned(),
        None => "-".to_owned(),
    };
    let mean = process.lookup_time.as_micros() as u64 / process.lookups.max(1);
    let state = match (process.available, process.pending_clears) {
        (false, _) => "breaker open".to_owned(),
        (true, 0) => "ok".to_owned(),
        (true, count) => format!("{count} clears pending"),
    };
    let row = Row::new([
        printable(&process.process),
        printable(&process.version),
        process.total.requests().to_string(),
        ratio(&process.total),
        local,
        duration(Duration::from_micros(mean)),
        state,
    ]);
    if process.available && process.pending_clears == 0 {
        row
    } else {
        row.red()
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn screen(view: &View) -> String {
        let mut terminal = Terminal::new(TestBackend::new(110, 24)).expect("a screen in memory");
        terminal.draw(|frame| view.draw(frame)).expect("drawn");
        terminal.backend().to_string()
    }

    #[test]
    fn an_empty_fleet_is_drawn_and_says_what_it_waits_for() {
        let mut view = View::default();
        view.see(Ok(Look::default()));
        let text = screen(&view);
        assert!(text.contains("requests/s"), "{text}");
        assert!(
            text.contains("processes report every few seconds"),
            "{text}"
        );
    }

    #[test]
    fn an_answer_that_fails_leaves_the_last_one_and_says_why() {
        let mut view = View::default();
        let mut look = Look::default();
        look.server.namespace = "shop".to_owned();
        view.see(Ok(look));
        view.see(Err(Failure::NotRedis("memory".to_owned())));
        let text = screen(&view);
        assert!(text.contains("shop"), "{text}");
        assert!(text.contains("shown is the last answer"), "{text}");
    }

    #[test]
    fn a_small_terminal_is_no_trouble() {
        let mut terminal = Terminal::new(TestBackend::new(12, 5)).expect("a screen in memory");
        let view = View::default();
        terminal.draw(|frame| view.draw(frame)).expect("drawn");
    }
}
