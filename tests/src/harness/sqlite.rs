//! A SQLite file of a test's own, and the `sqlite3` shell as another process that writes to it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A database file that is removed when this drops.
#[derive(Debug)]
pub struct SqliteFile {
    path: PathBuf,
    _folder: TempDir,
}

impl SqliteFile {
    /// A file that is not there yet.
    ///
    /// # Panics
    ///
    /// When there is no temporary folder.
    #[must_use]
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("sqlite-").expect("a temporary folder");
        Self {
            path: folder.path().join("test.db"),
            _folder: folder,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `sqlite:` and the path; a connection creates the file.
    #[must_use]
    pub fn url(&self) -> String {
        format!("sqlite:{}?mode=rwc", self.path.display())
    }

    /// Runs statements in the `sqlite3` shell; see [`sqlite3`].
    ///
    /// # Panics
    ///
    /// When one of them fails.
    pub fn shell(&self, statements: &str) -> String {
        sqlite3(&self.path, statements)
    }
}

impl Default for SqliteFile {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs statements in the `sqlite3` shell, a process of its own; what it printed. Blocks the thread.
///
/// # Panics
///
/// When it is not installed (`tests/run` installs it), or a statement fails.
pub fn sqlite3(path: &Path, statements: &str) -> String {
    let mut shell = Command::new("sqlite3")
        .arg("-bail")
        .args(["-cmd", ".timeout 5000"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run sqlite3 (tests/run installs it): {error}"));
    let mut input = shell.stdin.take().expect("it was asked to be piped");
    input
        .write_all(statements.as_bytes())
        .expect("the shell reads its input");
    drop(input);
    let output = shell.wait_with_output().expect("our own child");
    assert!(
        output.status.success(),
        "{statements}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
