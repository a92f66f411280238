//! Plain values in files of one machine: for programs that have a disk and no server.
//!
//! Each value is a file of its own, named by the hash of its name, in one of 256 folders. A write
//! is a temporary file that is moved into place, so a reader sees the old value or the new one,
//! also after a crash of the process. Nothing is forced to the disk: after a crash of the machine a
//! file may be old or torn, so a checksum tells torn ones, and responses of the machine's former
//! life are cold ([`incarnation`](ValueStore::incarnation)).
//!
//! Invariants
//! - Whatever changes a value holds the lock of its folder, in whichever process, and works
//!   relative to the folder that it has locked: a clear that moves the folder away takes such a
//!   write with it.
//! - A folder that is not ours is never written to: a marker file says whose it is.
//! - Nobody but the owner can read what is stored.
//!
//! It stands on the file system directly, because it needs at once several processes in one folder,
//! an `add` and counters that are atomic between them, times to live, and a bound by size. `cacache`
//! keeps content by its hash and an index that only grows, without an atomic add, a time to live or
//! a bound; `sled` and `redb` are databases of one process. SQLite is a backend of its own.

mod folder;
mod record;
mod trim;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::folder::Folder;
use super::{BoxFuture, Counted, Expiry, NamePage, Ttl, ValueStore};
use crate::error::BackendError;

/// A value this long may take one second more than the timeout.
const BYTES_A_SECOND: u64 = 50 << 20;

/// How a [`FileStore`] behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FileOptions {
    /// Values of two namespaces share the folder, its bound not, and nothing else.
    pub namespace: String,
    /// Longest wait for one call; a long value is given a second more for each 50 MiB.
    pub timeout: Duration,
    /// About how many bytes of disk the namespace may take; what was not read for the longest time
    /// goes first. It may be exceeded by a sixteenth for each process that writes.
    pub capacity: u64,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            namespace: "cache".to_owned(),
            timeout: Duration::from_millis(250),
            capacity: 1 << 30,
        }
    }
}

/// Plain values in a folder that any number of processes of one machine share.
///
/// Its "round trips" are a few system calls on a thread that may block: one file is read for each
/// name, two locks are taken for a `rename`. What expires does so by the clock of the machine.
///
/// # Example
/// ```
/// use smart_cache::backend::{FileOptions, FileStore};
///
/// let store = FileStore::new("/var/cache/shop", FileOptions::default());
/// ```
///
/// # Pitfalls
/// A folder of a network file system that several machines mount is not supported: each of them
/// has a boot of its own, and locks may not reach the others. A folder that is restored from a
/// backup while the machine runs brings old values back and nothing tells: call `clear_all` after
/// it. On systems other than Linux the boot is not known, so responses survive a crash of the
/// machine together with clears that it may have taken back: call `clear_all` at such a start.
#[derive(Debug)]
pub struct FileStore {
    folder: Arc<Folder>,
    options: FileOptions,
}

impl FileStore {
    /// A store in this folder, which is made when it is first used.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, options: FileOptions) -> Self {
        let folder = Folder::new(path.into(), &options.namespace, options.capacity);
        Self {
            folder: Arc::new(folder),
            options,
        }
    }

    /// One piece of blocking work, with the deadline by which it must have begun to write.
    async fn call<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&Folder, Instant) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, BackendError> {
        let patience =
            self.options.timeout + Duration::from_millis(bytes as u64 * 1000 / BYTES_A_SECOND);
        let (folder, deadline) = (
            Arc::clone(&self.folder),
            Instant::now() + self.options.timeout,
        );
        let work = tokio::task::spawn_blocking(move || {
            folder.open()?;
            work(&folder, deadline)
        });
        match tokio::time::timeout(patience, work).await {
            Ok(Ok(Ok(done))) => Ok(done),
            // No silence: what takes no lock, which is every read, goes on.
            Ok(Ok(Err(why))) if why.kind() == std::io::ErrorKind::TimedOut => {
                Err(BackendError::Refused(
                    format!(
                        "{}: somebody has kept a lock for longer than {:?}",
                        self.folder.path().display(),
                        self.options.timeout
                    )
                    .into(),
                ))
            }
            Ok(Ok(Err(why))) => Err(BackendError::Refused(
                format!("{}: {why}", self.folder.path().display()).into(),
            )),
            Ok(Err(_)) => Err(BackendError::ended()),
            Err(_) => Err(BackendError::Timeout(patience)),
        }
    }

    /// Has the folder trimmed in the background, if enough was written since the last time.
    fn trim_at_times(&self) {
        if self.folder.is_trim_due() {
            let folder = Arc::clone(&self.folder);
            tokio::task::spawn_blocking(move || {
                if let Err(why) = folder.trim_at_leisure() {
                    tracing::warn!(folder = %folder.path().display(), cause = %why, "the cache's folder could not be trimmed to its bound");
                }
            });
        }
    }

    fn check(&self, bytes: usize) -> Result<(), BackendError> {
        let (bytes, limit) = (bytes as u64, self.folder.longest());
        if bytes > limit {
            return Err(BackendError::TooLarge { bytes, limit });
        }
        Ok(())
    }

    /// Removes what has expired, and what was not read for the longest time where the bound is
    /// exceeded; a store does so by itself while it is written to.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub async fn trim(&self) -> Result<(), BackendError> {
        let folder = Arc::clone(&self.folder);
        let trimmed = tokio::task::spawn_blocking(move || {
            folder.open()?;
            folder.trim()
        });
        match trimmed.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(BackendError::Refused(why.to_string().into())),
            Err(_) => Err(BackendError::ended()),
        }
    }
}

impl ValueStore for FileStore {
    fn get_many<'a>(
        &'a self,
        names: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, BackendError>> {
        let names = names.to_vec();
        Box::pin(self.call(0, move |folder, _| {
            names.iter().map(|name| folder.get(name)).collect()
        }))
    }

    fn set_many<'a>(
        &'a self,
        values: &'a [(String, Bytes)],
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<Vec<usize>, BackendError>> {
        Box::pin(async move {
            if let [(_, only)] = values {
                self.check(only.len())?;
            }
            let fits = |value: &Bytes| self.check(value.len()).is_ok();
            let refused = (0..values.len())
                .filter(|at| !fits(&values[*at].1))
                .collect();
            let bytes = values.iter().map(|(_, value)| value.len()).sum();
            let kept: Vec<_> = values
                .iter()
                .filter(|(_, value)| fits(value))
                .cloned()
                .collect();
            self.call(bytes, move |folder, deadline| {
                for (name, value) in &kept {
                    folder.set(name, value, expiry, deadline)?;
                }
                Ok(())
            })
            .await?;
            self.trim_at_times();
            Ok(refused)
        })
    }

    fn add<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            self.check(value.len())?;
            let name = name.to_owned();
            let added = self.call(value.len(), move |folder, deadline| {
                folder.add(&name, &value, expiry, deadline)
            });
            let added = added.await?;
            self.trim_at_times();
            Ok(added)
        })
    }

    fn touch<'a>(
        &'a self,
        name: &'a str,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        let name = name.to_owned();
        Box::pin(self.call(0, move |folder, deadline| {
            folder.touch(&name, expiry, deadline)
        }))
    }

    fn delete_many<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, BackendError>> {
        let names = names.to_vec();
        Box::pin(self.call(0, move |folder, deadline| {
            let mut removed = 0;
            for name in &names {
                removed += u64::from(folder.remove(name, deadline)?);
            }
            Ok(removed)
        }))
    }

    fn increment<'a>(
        &'a self,
        name: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<Counted, BackendError>> {
        let name = name.to_owned();
        Box::pin(self.call(0, move |folder, deadline| {
            folder.count(&name, delta, deadline)
        }))
    }

    fn rename<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        let (from, to) = (from.to_owned(), to.to_owned());
        Box::pin(self.call(0, move |folder, deadline| {
            folder.rename(&from, &to, deadline)
        }))
    }

    fn exchange<'a>(
        &'a self,
        name: &'a str,
        old: &'a Bytes,
        new: Option<&'a Bytes>,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        let (name, old, new) = (name.to_owned(), old.clone(), new.cloned());
        let bytes = old.len() + new.as_ref().map_or(0, Bytes::len);
        Box::pin(self.call(bytes, move |folder, deadline| {
            folder.exchange(&name, &old, new, deadline)
        }))
    }

    fn ttl<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Ttl, BackendError>> {
        let name = name.to_owned();
        Box::pin(self.call(0, move |folder, _| folder.ttl(&name)))
    }

    /// One step reads one or more of the 256 folders, until it has a few hundred names.
    fn names<'a>(
        &'a self,
        glob: &'a str,
        from: Option<String>,
    ) -> BoxFuture<'a, Result<NamePage, BackendError>> {
        let glob = glob.to_owned();
        Box::pin(self.call(0, move |folder, _| folder.page(&glob, from.as_deref())))
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            let moved = self.call(0, |folder, _| folder.move_away()).await?;
            // Gone already for everybody; what is left is only space.
            if let Some(trash) = moved {
                tokio::task::spawn_blocking(move || std::fs::remove_dir_all(trash));
            }
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(async move {
            // One system call, which waits for no disk.
            self.folder.look_after();
            match self.folder.life() {
                Some(life) => Ok(life),
                None => {
                    self.call(0, |folder, _| {
                        folder.life().ok_or(std::io::ErrorKind::NotFound.into())
                    })
                    .await
                }
            }
        })
    }

    fn longest_value(&self) -> Option<u64> {
        Some(self.folder.longest())
    }

    fn describe(&self) -> String {
        format!(
            "files in {}, at most {}",
            self.folder.path().display(),
            bytesize::ByteSize(self.folder.capacity())
        )
    }
}
