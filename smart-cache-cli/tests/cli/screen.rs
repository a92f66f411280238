//! A terminal with the program on it, as a person sees it: a real pseudoterminal, and an emulator
//! that reads what is written to it.

use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use pty_process::blocking::{Command, Pty, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{InputModes, LocalModes, OutputModes, tcgetattr};
use smart_cache_tests::harness::eventually;

/// The program on a terminal of its own; killed when this drops.
pub(crate) struct Terminal {
    pty: Arc<Pty>,
    program: Child,
    reader: JoinHandle<()>,
    seen: Arc<Mutex<Seen>>,
    /// How the terminal was before the program came.
    found: Modes,
}

/// How a terminal treats what goes through it.
type Modes = (InputModes, OutputModes, LocalModes);

struct Seen {
    screen: vt100::Parser,
    /// Everything that was written, as it came.
    written: Vec<u8>,
}

/// What the program leaves when it ends.
pub(crate) struct Left {
    pub(crate) code: Option<i32>,
    /// The screen at the end.
    pub(crate) screen: String,
}

fn side(length: u16) -> NonZeroU16 {
    NonZeroU16::new(length).unwrap()
}

impl Terminal {
    /// Starts the program with exactly these settings, its three streams on the terminal.
    pub(crate) fn start(
        (width, height): (u16, u16),
        settings: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        Self::with((width, height), settings, arguments, None)
    }

    /// As [`Terminal::start`], but standard output goes elsewhere.
    pub(crate) fn start_with_output_to(
        output: Stdio,
        settings: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        Self::with((80, 24), settings, arguments, Some(output))
    }

    fn with(
        (width, height): (u16, u16),
        settings: &[(&str, &str)],
        arguments: &[&str],
        output: Option<Stdio>,
    ) -> Self {
        let (pty, terminal) = open().unwrap();
        pty.resize(pty_process::Size::new(height, width)).unwrap();
        let pty = Arc::new(pty);
        let found = modes(&pty);
        let mut program = Command::new(env!("CARGO_BIN_EXE_smart-cache"))
            .args(arguments)
            .env_clear()
            .env("TERM", "xterm-256color")
            .envs(settings.iter().copied());
        if let Some(output) = output {
            program = program.stdout(output);
        }
        let program = program.spawn(terminal).unwrap();
        let seen = Arc::new(Mutex::new(Seen {
            screen: vt100::Parser::new(side(height), side(width), 0),
            written: Vec::new(),
        }));
        let (from, to) = (Arc::clone(&pty), Arc::clone(&seen));
        // A thread, not a task: reading a terminal blocks, and fails when the program has gone.
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = (&*from).read(&mut bytes) {
                let mut seen = to.lock().unwrap();
                seen.written.extend_from_slice(&bytes[..count]);
                seen.screen.process(&bytes[..count]);
            }
        });
        Self {
            pty,
            program,
            reader,
            seen,
            found,
        }
    }

    /// What stands on the screen.
    pub(crate) fn text(&self) -> String {
        self.seen.lock().unwrap().screen.screen().contents()
    }

    /// Everything that was written so far, what was painted over included.
    pub(crate) fn written(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().written).into_owned()
    }

    /// Waits until all of this stands on the screen.
    pub(crate) async fn shows(&self, parts: &[&str]) {
        eventually(format!("{parts:?} on the screen"), async || {
            let text = self.text();
            parts.iter().all(|part| text.contains(part)).then_some(())
        })
        .await;
    }

    /// Whether the program has the whole screen, and the cursor is gone.
    pub(crate) fn is_taken(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        let screen = seen.screen.screen();
        screen.alternate_screen() && screen.hide_cursor()
    }

    /// Presses keys.
    pub(crate) fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// Makes the window another size.
    pub(crate) fn resize(&self, (width, height): (u16, u16)) {
        let mut seen = self.seen.lock().unwrap();
        seen.screen.set_size(side(height), side(width));
        let size = pty_process::Size::new(height, width);
        self.pty.resize(size).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.program), signal).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.program.try_wait().unwrap().is_none()
    }

    /// Waits until the program has ended, and that it has left the terminal as it had found it.
    pub(crate) async fn left(&mut self) -> Left {
        let status = eventually("the end of the program", async || {
            self.program.try_wait().unwrap()
        })
        .await;
        // The reader may be a moment behind; what was written is all there when it has ended.
        eventually("the last of what was written", async || {
            self.reader.is_finished().then_some(())
        })
        .await;
        let written = self.written();
        assert!(!written.contains("panicked"), "{written}");
        let seen = self.seen.lock().unwrap();
        let screen = seen.screen.screen();
        assert!(!screen.alternate_screen(), "{written:?}");
        assert!(!screen.hide_cursor(), "{written:?}");
        assert_eq!(modes(&self.pty), self.found);
        drop(seen);
        Left {
            code: status.code(),
            screen: self.text(),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn modes(pty: &Pty) -> Modes {
    let all = tcgetattr(pty).unwrap();
    (all.input_modes, all.output_modes, all.local_modes)
}
