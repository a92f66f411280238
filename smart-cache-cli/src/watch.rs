//! `stats --watch` on a terminal: numbers that stay in their places, and how they went.
//!
//! Over 400 lines with its tests, which look at the same screen.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Cell, Paragraph, Row, Sparkline, Table};
use smart_cache::SmartCache;
use smart_cache::inspect::{HandlerReport, ProcessReport};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::failure::Failure;
use crate::output::{bytes, duration, printable};
use crate::stats::{Look, Rates, headline, ratio};
use crate::stop::Stop;

/// Looks that are remembered: more than a terminal is wide.
const REMEMBERED: usize = 500;
/// Below this many lines the plot is small, and below `TINY` there is none.
const TALL: u16 = 30;
const TINY: u16 = 18;

/// Shows the numbers until `q`, Esc, Ctrl-C or a signal that ends programs; in each case the
/// terminal is left as it was found.
pub(crate) async fn run(cache: &SmartCache, every: Duration) -> Result<(), Failure> {
    // Before the terminal is taken: who never sees a number is told why, on an ordinary screen.
    let mut view = View::default();
    view.see(Ok(Look::take(cache).await?));
    let mut stop = Stop::listen()?;
    let mut looks = looks(cache.clone(), every);
    let mut terminal = ratatui::try_init().inspect_err(|_| {
        // It may have been taken half.
        let _ = ratatui::try_restore();
    })?;
    let mut events = events();
    let ended = loop {
        if let Err(why) = terminal.draw(|frame| view.draw(frame)) {
            break Err(why);
        }
        tokio::select! {
            Some(look) = looks.recv() => view.see(look),
            event = events.recv() => match event {
                Some(event) if !ends(&event) => {}
                _ => break Ok(()),
            },
            () = stop.asked() => break Ok(()),
        }
    };
    // The cursor comes back when `terminal` is dropped.
    ratatui::restore();
    Ok(ended?)
}

/// A look after the other, in a task of its own: a server that does not answer must not keep keys
/// waiting.
fn looks(cache: SmartCache, every: Duration) -> mpsc::Receiver<Result<Look, Failure>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut times = tokio::time::interval(every);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        times.reset();
        loop {
            times.tick().await;
            if sender.send(Look::take(&cache).await).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Keys and changes of size, from a thread of its own: reading them blocks.
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
        let area = frame.area();
        let plot = match area.height {
            TALL.. => 8,
            TINY.. => 5,
            _ => 0,
        };
        // Every process has its line, as long as the handlers keep a few.
        let processes = u16::try_from(self.look.processes.len()).unwrap_or(u16::MAX);
        let processes = processes.max(1).min(area.height / 4).saturating_add(3);
        let rows = [
            Constraint::Length(1),
            Constraint::Length(3),
            Constraint::Length(plot),
            Constraint::Length(processes),
            Constraint::Min(0),
            Constraint::Length(1),
        ];
        let [head, numbers, plot, processes, handlers, foot] = Layout::vertical(rows).areas(area);
        let title = Line::from(vec![
            Span::styled("smart-cache ", Style::new().add_modifier(Modifier::BOLD)),
            Span::raw(printable(&headline(&self.look.server))),
        ]);
        frame.render_widget(Paragraph::new(title), head);
        self.numbers(frame, numbers);
        if plot.height > 0 {
            self.plot(frame, plot);
        }
        frame.render_widget(self.processes(processes), processes);
        if handlers.height > 3 {
            frame.render_widget(self.handlers(handlers), handlers);
        }
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
            ("from cache", ratio(total), false),
            (
                "time saved",
                duration(Duration::from_micros(total.saved_us)),
                false,
            ),
            ("stored", bytes(total.stored_bytes), false),
            ("bypassed", total.bypassed().to_string(), false),
            ("to be cleared", pending.to_string(), pending > 0),
        ];
        let areas = Layout::horizontal([Constraint::Fill(1); 6]).split(area);
        for ((name, value, alarming), area) in shown.into_iter().zip(areas.iter()) {
            let value = if alarming {
                Line::from(value).red().bold()
            } else {
                Line::from(value).bold()
            };
            let lines = vec![Line::from(""), Line::from(name).dim(), value];
            frame.render_widget(Paragraph::new(lines), *area);
        }
    }

    fn plot(&self, frame: &mut Frame<'_>, area: Rect) {
        let most = self.history.iter().max().copied().unwrap_or(0);
        let block = framed(format!(" requests/s, up to {most} "));
        let width = usize::from(area.width.saturating_sub(2));
        let newest = self.history.len().saturating_sub(width);
        let values: Vec<u64> = self.history.iter().skip(newest).copied().collect();
        let plot = Sparkline::default().block(block).data(values);
        frame.render_widget(plot.style(Color::Cyan), area);
    }

    fn processes(&self, area: Rect) -> Table<'_> {
        let wide = area.width >= 100;
        let mut names = vec!["process", "requests", "cache", "local", "lookup", "state"];
        let mut widths = vec![
            Constraint::Fill(3),
            Constraint::Length(11),
            Constraint::Length(6),
            Constraint::Length(9),
            Constraint::Length(9),
            Constraint::Length(12),
        ];
        if wide {
            names.insert(1, "build");
            widths.insert(1, Constraint::Length(16));
        }
        let room = usize::from(area.height.saturating_sub(3));
        let (shown, hidden) = fitting(&self.look.processes, room);
        let title = titled("processes", hidden);
        let rows = shown.iter().map(|process| process_row(process, wide));
        Table::new(rows, widths)
            .header(header(names))
            .block(framed(title))
    }

    fn handlers(&self, area: Rect) -> Table<'_> {
        let wide = area.width >= 100;
        let mut names = vec!["key", "requests", "cache", "saved", "bypassed"];
        let mut widths = vec![
            Constraint::Fill(2),
            Constraint::Length(11),
            Constraint::Length(6),
            Constraint::Length(10),
            Constraint::Length(24),
        ];
        if wide {
            names.insert(1, "route");
            widths.insert(1, Constraint::Fill(2));
        }
        let room = usize::from(area.height.saturating_sub(3));
        let (shown, hidden) = fitting(&self.look.handlers, room);
        let title = titled("handlers", hidden);
        let rows = shown.iter().map(|handler| handler_row(handler, wide));
        Table::new(rows, widths)
            .header(header(names))
            .block(framed(title))
    }
}

fn framed(title: String) -> Block<'static> {
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(Color::DarkGray)
        .title(title.reset())
}

/// What fits into so many lines, and how many do not.
fn fitting<T>(all: &[T], room: usize) -> (&[T], usize) {
    let shown = &all[..all.len().min(room)];
    (shown, all.len() - shown.len())
}

fn titled(what: &str, hidden: usize) -> String {
    match hidden {
        0 => format!(" {what} "),
        more => format!(" {what}, and {more} more "),
    }
}

/// The names of columns, those of numbers above their last digit.
fn header(names: Vec<&'static str>) -> Row<'static> {
    let cell = |name: &'static str| match name {
        "requests" | "cache" => number(name.to_owned()),
        _ => Cell::from(name),
    };
    Row::new(names.into_iter().map(cell)).dim()
}

fn number(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

fn process_row(process: &ProcessReport, wide: bool) -> Row<'static> {
    let local = match process.local {
        Some(local) if local.live => bytes(local.bytes),
        Some(_) => "silent".to_owned(),
        None => "-".to_owned(),
    };
    let mean = process.lookup_time.as_micros() as u64 / process.lookups.max(1);
    let state = match (process.available, process.pending_clears) {
        (false, _) => "breaker open".to_owned(),
        (true, 0) => "ok".to_owned(),
        (true, count) => format!("{count} to clear"),
    };
    let mut cells = vec![
        printable(&process.process).into(),
        number(process.total.requests().to_string()),
        number(ratio(&process.total)),
        local.into(),
        micros(mean).into(),
        state.into(),
    ];
    if wide {
        cells.insert(1, printable(&process.version).into());
    }
    let row = Row::new(cells);
    if process.available && process.pending_clears == 0 {
        row
    } else {
        row.red()
    }
}

fn handler_row(handler: &HandlerReport, wide: bool) -> Row<'static> {
    let total = &handler.total;
    let bypasses: Vec<String> = total
        .bypasses
        .iter()
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    let mut cells = vec![
        printable(&handler.key).into(),
        number(total.requests().to_string()),
        number(ratio(total)),
        duration(Duration::from_micros(total.saved_us)).into(),
        printable(&bypasses.join(", ")).into(),
    ];
    if wide {
        cells.insert(1, printable(&handler.routes.join(" ")).into());
    }
    Row::new(cells)
}

/// A short time in one unit, so that it keeps its place.
fn micros(time: u64) -> String {
    match time {
        0..10_000 => format!("{time} µs"),
        _ => format!("{} ms", time / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn screen(view: &View, width: u16, height: u16) -> String {
        let mut terminal =
            Terminal::new(TestBackend::new(width, height)).expect("a screen in memory");
        terminal.draw(|frame| view.draw(frame)).expect("drawn");
        terminal.backend().to_string()
    }

    #[test]
    fn an_empty_fleet_is_drawn_and_says_what_it_waits_for() {
        let mut view = View::default();
        view.see(Ok(Look::default()));
        let text = screen(&view, 80, 24);
        assert!(text.contains("requests/s"), "{text}");
        assert!(
            text.contains("processes report every few seconds"),
            "{text}"
        );
    }

    #[test]
    fn no_name_of_a_number_is_cut_on_the_smallest_usual_terminal() {
        let mut view = View::default();
        view.see(Ok(Look::default()));
        let text = screen(&view, 80, 24);
        for name in [
            "requests/s ",
            "from cache ",
            "time saved ",
            "stored ",
            "bypassed ",
            "to be cleared",
            " processes ",
            " handlers ",
        ] {
            assert!(text.contains(name), "{name}: {text}");
        }
    }

    #[test]
    fn a_handler_is_named_with_its_route_and_why_it_was_bypassed() {
        let mut handler = HandlerReport::default();
        handler.key = "product:{id}".to_owned();
        handler.routes = vec!["/products/{id}".to_owned()];
        handler.total.hits = 97;
        handler.total.misses = 3;
        handler.total.bypasses = vec![("set-cookie".to_owned(), 12)];
        let look = Look {
            handlers: vec![handler; 40],
            ..Look::default()
        };
        let mut view = View::default();
        view.see(Ok(look));
        let text = screen(&view, 120, 40);
        for part in [
            "product:{id}",
            "/products/{id}",
            "112",
            "97.0%",
            "set-cookie 12",
            "more",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn an_answer_that_fails_leaves_the_last_one_and_says_why() {
        let mut view = View::default();
        let mut look = Look::default();
        look.server.namespace = "shop".to_owned();
        view.see(Ok(look));
        view.see(Err(Failure::Database("it is asleep".to_owned())));
        let text = screen(&view, 110, 24);
        assert!(text.contains("shop"), "{text}");
        assert!(text.contains("shown is the last answer"), "{text}");
    }

    #[test]
    fn a_small_terminal_is_no_trouble() {
        for (width, height) in [(1, 1), (12, 5), (30, 10), (79, 17)] {
            screen(&View::default(), width, height);
        }
    }
}
