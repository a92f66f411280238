//! A SQLite file of a test's own, and the `sqlite3` shell as another process that writes to it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
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

    /// A file in which the products 1 to 5 are named "old", and a pool over it that wakes relays.
    ///
    /// # Panics
    ///
    /// When the table cannot be made.
    pub async fn of_products() -> (Self, SqlitePool) {
        let file = Self::new();
        file.shell(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, maker TEXT UNIQUE, category_id INTEGER);
             INSERT INTO products SELECT value, 'old', NULL, value % 2 FROM json_each('[1,2,3,4,5]');",
        );
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .after_connect(|connection, _| {
                Box::pin(smart_cache::hooks::outbox::wake_on_write(connection))
            })
            .connect(&file.url())
            .await
            .expect("the file can be opened");
        (file, pool)
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
