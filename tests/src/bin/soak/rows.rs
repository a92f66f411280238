//! The database: a file of version numbers that all processes share.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// Pages, and the lists that show some of them each.
pub(crate) const PAGES: u64 = 24;
pub(crate) const LISTS: u64 = 4;
/// Pages that a list can show.
const OF_A_LIST: u64 = PAGES / LISTS;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Row {
    Page(u64),
    List(u64),
}

impl Row {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..PAGES).map(Self::Page).chain((0..LISTS).map(Self::List))
    }

    /// The key of what is made of this row alone.
    pub(crate) fn key(self) -> String {
        match self {
            Self::Page(id) => format!("page:{id}"),
            Self::List(id) => format!("list:{id}"),
        }
    }

    fn place(self) -> u64 {
        match self {
            Self::Page(id) => id * 8,
            Self::List(id) => (PAGES + id) * 8,
        }
    }
}

/// Which pages a list shows, by its version: others each time.
pub(crate) fn shown(list: u64, version: u64) -> impl Iterator<Item = u64> {
    let pages = list * OF_A_LIST..(list + 1) * OF_A_LIST;
    pages.filter(move |page| !(page + version).is_multiple_of(3))
}

/// The versions of all rows.
#[derive(Clone, Debug)]
pub(crate) struct Rows(Arc<File>);

impl Rows {
    pub(crate) fn create(path: &Path) -> Self {
        std::fs::write(path, []).expect("the folder is writable");
        Self::open(path)
    }

    pub(crate) fn open(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path);
        Self(Arc::new(file.expect("the shared file")))
    }

    /// The newest version that was committed.
    pub(crate) fn version(&self, row: Row) -> u64 {
        let mut number = [0; 8];
        // Beyond the end stands nothing yet.
        let _ = self.0.read_at(&mut number, row.place());
        u64::from_le_bytes(number)
    }

    /// Commits the next version. Two writes of one row never meet: the traffic sees to that.
    pub(crate) fn commit(&self, row: Row) -> u64 {
        let version = self.version(row) + 1;
        self.0
            .write_all_at(&version.to_le_bytes(), row.place())
            .expect("the shared file");
        version
    }
}
