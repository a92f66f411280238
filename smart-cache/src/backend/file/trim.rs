//! Keeps the folder within its bound: what has expired goes, then what was not read for longest.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};

use super::folder::{Folder, TEMPORARY, about, files, parts};
use super::record::is_over;

/// A folder that is written to is looked through this often, however little was written.
const TRIM_EVERY: Duration = Duration::from_secs(600);
/// A file aside that is older than this was left by a process that crashed.
const FORGOTTEN: Duration = Duration::from_secs(3600);

impl Folder {
    /// Whether enough was written, or time has passed, since this process last looked.
    pub(super) fn is_trim_due(&self) -> bool {
        let mut trimmed = self.trimmed.lock().unwrap_or_else(PoisonError::into_inner);
        let much = self.written.load(Ordering::Relaxed) > self.capacity() / 16;
        let long = trimmed.is_none_or(|trimmed| trimmed.elapsed() > TRIM_EVERY);
        if much || long {
            self.written.store(0, Ordering::Relaxed);
            *trimmed = Some(Instant::now());
        }
        much || long
    }

    /// Looks through the namespace, unless another process or call is doing so.
    pub(super) fn trim_if_nobody_does(&self) -> std::io::Result<()> {
        self.trim_under(FlockOperation::NonBlockingLockExclusive)
    }

    /// Looks through the namespace, after whoever is doing so.
    pub(super) fn trim(&self) -> std::io::Result<()> {
        self.trim_under(FlockOperation::LockExclusive)
    }

    fn trim_under(&self, lock: FlockOperation) -> std::io::Result<()> {
        let Ok(whole) = std::fs::File::open(self.namespace()) else {
            return Ok(());
        };
        match flock(&whole, lock) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
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
            return Ok(());
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
        Ok(())
    }
}
