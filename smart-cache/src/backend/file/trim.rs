//! Keeps the folder within its bound: what has expired goes, then what was not read for longest.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};

use super::folder::{Folder, TEMPORARY, TRASH, about, files, parts};
use super::record::is_over;

/// A folder that is written to is looked through this often, however little was written.
const TRIM_EVERY: Duration = Duration::from_secs(600);
/// A file aside that is older than this was left by a process that crashed.
const FORGOTTEN: Duration = Duration::from_secs(3600);

impl Folder {
    /// Whether enough was written, or time has passed, since this process last looked, and nobody
    /// here is looking already. Whoever is told so has to look.
    pub(super) fn is_trim_due(&self) -> bool {
        let trimmed = self.trimmed.lock().unwrap_or_else(PoisonError::into_inner);
        let long = trimmed.is_none_or(|trimmed| trimmed.elapsed() > TRIM_EVERY);
        (long || self.is_much_written()) && !self.trims.swap(true, Ordering::Relaxed)
    }

    fn is_much_written(&self) -> bool {
        self.written.load(Ordering::Relaxed) > self.capacity() / 16
    }

    /// Looks through the namespace, and again for what was written meanwhile; what another process
    /// is looking through is left to it and to the next write.
    pub(super) fn trim_at_leisure(&self) -> std::io::Result<()> {
        let looked = loop {
            let written = self.written.swap(0, Ordering::Relaxed);
            match self.trim_under(FlockOperation::NonBlockingLockExclusive) {
                Ok(true) if self.is_much_written() => {}
                Ok(true) => break Ok(()),
                Ok(false) => {
                    self.written.fetch_add(written, Ordering::Relaxed);
                    break Ok(());
                }
                Err(why) => break Err(why),
            }
        };
        *self.trimmed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.trims.store(false, Ordering::Relaxed);
        looked
    }

    /// Looks through the namespace, after whoever is doing so.
    pub(super) fn trim(&self) -> std::io::Result<()> {
        self.trim_under(FlockOperation::LockExclusive).map(drop)
    }

    /// What a process that crashed, or ended, had cleared and not removed yet.
    fn empty_trash(&self) -> std::io::Result<()> {
        for found in self.path().read_dir()? {
            let found = found?;
            if found.file_name().to_string_lossy().starts_with(TRASH) {
                // Whoever moved it there may be removing it too.
                let _ = std::fs::remove_dir_all(found.path());
            }
        }
        Ok(())
    }

    /// `false` when somebody else is doing so.
    fn trim_under(&self, lock: FlockOperation) -> std::io::Result<bool> {
        self.empty_trash()?;
        let Ok(whole) = std::fs::File::open(self.namespace()) else {
            return Ok(true);
        };
        match flock(&whole, lock) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(why) => return Err(why.into()),
        }
        let (mut kept, mut taken) = (Vec::<(SystemTime, u64, PathBuf)>::new(), 0);
        for part in parts(self.namespace()) {
            for path in files(&part)? {
                let Ok(found) = path.metadata() else { continue };
                let modified = found.modified()?;
                let is_aside = path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY));
                let is_dead = if is_aside {
                    modified.elapsed().is_ok_and(|age| age > FORGOTTEN)
                } else {
                    about(&path)?.is_none_or(|(expires, _)| is_over(expires))
                };
                if is_dead {
                    self.evict(&path, modified)?;
                } else {
                    let bytes = found.blocks() * 512;
                    taken += bytes;
                    kept.push((modified, bytes, path));
                }
            }
        }
        if taken <= self.capacity() {
            return Ok(true);
        }
        kept.sort_unstable();
        // Some room, so that the next write does not need the next look.
        let wanted = self.capacity() - self.capacity() / 8;
        for (modified, bytes, path) in kept {
            if taken <= wanted {
                break;
            }
            if self.evict(&path, modified)? {
                taken -= bytes;
            }
        }
        Ok(true)
    }
}
