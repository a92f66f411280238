//! What is printed: lines for people, or one JSON document for each line.

use std::io::{IsTerminal as _, StdoutLock, Write as _};
use std::time::{Duration, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;

/// Standard output.
pub(crate) struct Output {
    json: bool,
    to: StdoutLock<'static>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            to: std::io::stdout().lock(),
        }
    }

    /// Whether programs read this.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints `line` for people, and `document` for programs.
    pub(crate) fn print(
        &mut self,
        document: &impl Serialize,
        line: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json {
            serde_json::to_writer(&mut self.to, document)?;
            self.to.write_all(b"\n")?;
            return Ok(());
        }
        self.say(&line())
    }

    /// Prints a line for people only.
    pub(crate) fn say(&mut self, line: &str) -> Result<(), Failure> {
        if !self.json {
            writeln!(self.to, "{}", printable(line))?;
        }
        Ok(())
    }

    /// Writes bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.to.write_all(bytes)?;
        Ok(self.to.flush()?)
    }
}

/// Keys and headers come from outside: what would steer a terminal is shown instead, and what would
/// turn a line's direction around.
pub(crate) fn printable(text: &str) -> String {
    let turns = |char| matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown = |char: char| -> String {
        if turns(char) || char.is_control() && char != '\n' {
            char.escape_default().collect()
        } else {
            char.to_string()
        }
    };
    text.chars().map(shown).collect()
}

/// A bar over something whose length may be unknown; nothing where nobody looks.
pub(crate) fn progress(length: Option<u64>, what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "{msg} {wide_bar} {human_pos}/{human_len} {eta}",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}"),
    };
    // The templates are ours; a default bar is what remains of a wrong one.
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.set_style(style);
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// `1.2 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    bytesize::ByteSize::b(count).display().iec().to_string()
}

/// `3m 20s`, `45ms`: two units at most.
pub(crate) fn duration(of: Duration) -> String {
    let rounded = match of.as_secs() {
        0 => Duration::from_micros(of.as_micros() as u64),
        1..60 => Duration::from_millis(of.as_millis() as u64),
        _ => Duration::from_secs(of.as_secs()),
    };
    let text = humantime::format_duration(rounded).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// How long ago something was.
pub(crate) fn ago(at: SystemTime) -> String {
    duration(at.elapsed().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\tc"), "a\\u{1b}[2Jb\\tc");
        assert_eq!(printable("käse"), "käse");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
    }

    #[test]
    fn times_are_short() {
        assert_eq!(duration(Duration::from_micros(1_234)), "1ms 234us");
        assert_eq!(duration(Duration::from_secs(200_000)), "2days 7h");
    }
}
