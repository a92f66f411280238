//! A program of the workspace as a real process of its own, for what one process cannot show.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use tokio::sync::mpsc;

use super::wait::{eventually, within};

/// A running program whose printed lines the test reads; killed and waited for when this drops.
///
/// # Example
///
/// ```no_run
/// # async fn example() {
/// use smart_cache_tests::harness::{Program, workspace_program};
///
/// let mut node = Program::start(workspace_program("load"), &["plain", "0"], &[]);
/// let line = node.line_with("listening on ").await;
/// # }
/// ```
#[derive(Debug)]
pub struct Program {
    name: String,
    process: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Program {
    /// Starts a program with these arguments and, on top of this process's, these environment variables.
    ///
    /// What it prints to standard error appears among the test's own output.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(
        program: impl Into<PathBuf>,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let program = program.into();
        let name = program.display().to_string();
        let mut process = Command::new(&program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
        let stdout = process.stdout.take().expect("it was asked to be piped");
        let (sender, lines) = mpsc::unbounded_channel();
        // A thread, not a task: reading a pipe blocks, and it ends by itself with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            name,
            process,
            lines,
        }
    }

    /// The next line that it prints; `None` once it has closed its standard output.
    ///
    /// # Panics
    ///
    /// When no line comes before the harness's deadline.
    pub async fn line(&mut self) -> Option<String> {
        within(format!("a line of {}", self.name), self.lines.recv()).await
    }

    /// Skips lines until one holds `part`, and returns what stands behind it there.
    ///
    /// # Panics
    ///
    /// When the program ends, or the deadline passes, before such a line.
    pub async fn line_with(&mut self, part: &str) -> String {
        loop {
            let line = self.line().await;
            let line =
                line.unwrap_or_else(|| panic!("{} ended without printing {part:?}", self.name));
            if let Some((_, behind)) = line.split_once(part) {
                return behind.to_owned();
            }
        }
    }

    /// Waits until it ends by itself; how it ended, and the lines that nobody has read yet.
    ///
    /// # Panics
    ///
    /// When it does not end before the harness's deadline.
    pub async fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let mut lines = Vec::new();
        while let Some(line) = self.line().await {
            lines.push(line);
        }
        let name = self.name.clone();
        let status = eventually(format!("the end of {name}"), async || {
            self.process.try_wait().expect("our own child")
        });
        (status.await, lines)
    }

    /// Whether it has ended by itself, or was killed.
    ///
    /// # Panics
    ///
    /// When it ended with a failure.
    pub fn has_ended(&mut self) -> bool {
        let status = self.process.try_wait().expect("our own child");
        if let Some(status) = status {
            assert!(status.success(), "{}: {status}", self.name);
        }
        status.is_some()
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills it with SIGKILL, as a crash would, and waits for its end. Twice is once.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where Cargo has put a program of this workspace.
///
/// A test of the program's own package should prefer `env!("CARGO_BIN_EXE_name")`, which also makes
/// Cargo build it.
///
/// # Panics
///
/// When it is not built; the message says how to.
#[must_use]
pub fn workspace_program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the running test is a file");
    // Tests lie in target/<profile>/deps, programs one folder above.
    let found = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not built: run `cargo build --workspace --bins` first")
    })
}
