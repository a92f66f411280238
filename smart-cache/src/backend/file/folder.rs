//! The folder: what is where, who may change it, each change under the lock of its part.
//!
//! Over 400 lines, since every change of the folder is one of the steps that share its locks.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, flock, linkat, openat, renameat, unlinkat,
};

use super::record::{FIXED, Record, head, is_over};
use crate::backend::{Counted, Expiry, NamePage, Ttl, matches_glob};

/// Says that a folder is ours.
const MARKER: &str = "smart-cache-values";
/// Begins the name of a namespace's folder.
const NAMESPACE: &str = "ns-";
/// Begins the name of a namespace that was cleared.
pub(super) const TRASH: &str = ".trash-";
/// Begins the name of a file that is being written.
pub(super) const TEMPORARY: &str = ".tmp-";
/// A file that was read says so this often: what is not read for long goes first.
const READ_EVERY: Duration = Duration::from_secs(600);
/// Parts of a namespace, each with a lock of its own.
const PARTS: u32 = 256;
/// About so many names make a step of a walk.
const PAGE: usize = 500;

/// A folder and one namespace in it.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    namespace: PathBuf,
    capacity: u64,
    /// Known while the folder is open.
    life: RwLock<Option<Life>>,
    opening: Mutex<()>,
    pub(super) written: AtomicU64,
    pub(super) trimmed: Mutex<Option<Instant>>,
    /// Whether somebody in this process is trimming.
    pub(super) trims: AtomicBool,
}

/// Which folder this is: another one may be made in its place.
#[derive(Debug, Clone)]
struct Life {
    text: String,
    /// That of the marker.
    inode: u64,
}

/// A part of the namespace that nobody else changes meanwhile.
#[derive(Debug)]
struct Part {
    folder: File,
}

impl Folder {
    pub(super) fn new(root: PathBuf, namespace: &str, capacity: u64) -> Self {
        let name = format!(
            "{NAMESPACE}{}",
            &blake3::hash(namespace.as_bytes()).to_hex()[..32]
        );
        Self {
            namespace: root.join(name),
            root,
            capacity: capacity.max(64 << 10),
            life: RwLock::default(),
            opening: Mutex::new(()),
            written: AtomicU64::new(0),
            trimmed: Mutex::new(None),
            trims: AtomicBool::new(false),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.root
    }

    pub(super) fn namespace(&self) -> &Path {
        &self.namespace
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// A value may not push out everything else.
    pub(super) fn longest(&self) -> u64 {
        self.capacity / 4
    }

    /// Unlike for each start of the machine and each folder.
    pub(super) fn life(&self) -> Option<String> {
        let life = self.life.read().unwrap_or_else(PoisonError::into_inner);
        life.as_ref().map(|life| life.text.clone())
    }

    /// Looks whether the folder is still the one that was opened: it may be deleted as a whole under
    /// all who use it, and whoever writes next makes a new one.
    pub(super) fn look_after(&self) {
        let now = self.root.join(MARKER).metadata().map(|marker| marker.ino());
        let is_other = |life: &Life| now.as_ref().ok() != Some(&life.inode);
        let seen = self.life.read().unwrap_or_else(PoisonError::into_inner);
        if seen.as_ref().is_some_and(is_other) {
            drop(seen);
            let mut life = self.life.write().unwrap_or_else(PoisonError::into_inner);
            life.take_if(|life| is_other(life));
        }
    }

    /// Makes the folder, or sees that it is ours; once.
    pub(super) fn open(&self) -> std::io::Result<()> {
        if self.life().is_some() {
            return Ok(());
        }
        let _guard = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        make_folder(&self.root)?;
        let marker = self.root.join(MARKER);
        if !marker.exists() {
            if !holds_ours_alone(&self.root)? && !marker.exists() {
                return Err(std::io::Error::new(
                    ErrorKind::AlreadyExists,
                    "the folder is not empty and no cache of ours: give one of its own",
                ));
            }
            // It may have been made by others, for everybody.
            std::fs::set_permissions(&self.root, PermissionsExt::from_mode(0o700))?;
            let mut options = File::options();
            options.write(true).create_new(true);
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            match options.open(&marker) {
                Ok(mut file) => {
                    file.write_all(b"Values of smart-cache; may be deleted as a whole.\n")?;
                }
                Err(why) if why.kind() == ErrorKind::AlreadyExists => {}
                Err(why) => return Err(why),
            }
        }
        let inode = marker.metadata()?.ino();
        let text = format!("{}-{inode}", crate::backend::boot::boot_id());
        let mut life = self.life.write().unwrap_or_else(PoisonError::into_inner);
        *life = Some(Life { text, inode });
        Ok(())
    }

    /// The part of a name, and its file there.
    fn place(&self, name: &str) -> (PathBuf, String) {
        let hash = blake3::hash(name.as_bytes()).to_hex().to_string();
        (self.namespace.join(&hash[..2]), hash)
    }

    /// Locks a part; it is made when it is not there. What waits longer than the deadline has
    /// changed nothing.
    fn lock(&self, part: &Path, deadline: Instant) -> std::io::Result<Part> {
        loop {
            let folder = match File::open(part) {
                Ok(folder) => folder,
                Err(why) if why.kind() == ErrorKind::NotFound && Instant::now() < deadline => {
                    self.look_after();
                    self.open()?;
                    make_inner_folder(&self.namespace)?;
                    make_inner_folder(part)?;
                    continue;
                }
                Err(why) => return Err(why),
            };
            while let Err(why) = flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                if why != rustix::io::Errno::WOULDBLOCK {
                    return Err(why.into());
                }
                if Instant::now() >= deadline {
                    return Err(ErrorKind::TimedOut.into());
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            // A clear may have moved it away while we waited.
            let (held, there) = (folder.metadata()?, part.metadata());
            if there.is_ok_and(|there| there.ino() == held.ino()) {
                return Ok(Part { folder });
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> std::io::Result<Option<Bytes>> {
        Ok(self.read(name)?.map(|record| record.value))
    }

    pub(super) fn ttl(&self, name: &str) -> std::io::Result<Ttl> {
        Ok(self.read(name)?.map_or(Ttl::Missing, |record| record.ttl()))
    }

    /// A value that lives, without any lock.
    fn read(&self, name: &str) -> std::io::Result<Option<Record>> {
        let (part, file) = self.place(name);
        let mut file = match File::open(part.join(file)) {
            Ok(file) => file,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(why),
        };
        let about = file.metadata()?;
        let used = about.modified()?.elapsed().unwrap_or_default();
        if used > READ_EVERY {
            // It only makes the file go later.
            let _ = file.set_modified(SystemTime::now());
        }
        let mut bytes = Vec::with_capacity(about.len() as usize);
        file.read_to_end(&mut bytes)?;
        Ok(Record::read(bytes.into(), name).filter(Record::lives))
    }

    pub(super) fn set(
        &self,
        name: &str,
        value: &Bytes,
        expiry: Expiry,
        deadline: Instant,
    ) -> std::io::Result<()> {
        let (part, file) = self.place(name);
        let record = Record::new(value.clone(), expiry);
        let part = self.lock(&part, deadline)?;
        self.note(part.write(&file, name, &record)?);
        Ok(())
    }

    pub(super) fn add(
        &self,
        name: &str,
        value: &Bytes,
        expiry: Expiry,
        deadline: Instant,
    ) -> std::io::Result<bool> {
        let (part, file) = self.place(name);
        let record = Record::new(value.clone(), expiry);
        let part = self.lock(&part, deadline)?;
        if part.read(&file, name)?.is_some() {
            return Ok(false);
        }
        part.remove(&file)?;
        let written = part.write_new(&file, name, &record)?;
        self.note(written.unwrap_or_default());
        Ok(written.is_some())
    }

    pub(super) fn touch(
        &self,
        name: &str,
        expiry: Expiry,
        deadline: Instant,
    ) -> std::io::Result<bool> {
        let (part, file) = self.place(name);
        let part = self.lock(&part, deadline)?;
        let Some(record) = part.read(&file, name)? else {
            return Ok(false);
        };
        self.note(part.write(&file, name, &Record::new(record.value, expiry))?);
        Ok(true)
    }

    pub(super) fn remove(&self, name: &str, deadline: Instant) -> std::io::Result<bool> {
        let (part, file) = self.place(name);
        let part = self.lock(&part, deadline)?;
        let lived = part.read(&file, name)?.is_some();
        part.remove(&file)?;
        Ok(lived)
    }

    pub(super) fn count(
        &self,
        name: &str,
        delta: i64,
        deadline: Instant,
    ) -> std::io::Result<Counted> {
        let (part, file) = self.place(name);
        let part = self.lock(&part, deadline)?;
        let Some(record) = part.read(&file, name)? else {
            return Ok(Counted::Missing);
        };
        let Some(number) = whole_number(&record.value) else {
            return Ok(Counted::NotAnInteger);
        };
        let Some(sum) = number.checked_add(delta) else {
            return Ok(Counted::Overflow);
        };
        let value = sum.to_string().into();
        self.note(part.write(&file, name, &Record { value, ..record })?);
        Ok(Counted::Now(sum))
    }

    pub(super) fn exchange(
        &self,
        name: &str,
        old: &Bytes,
        new: Option<Bytes>,
        deadline: Instant,
    ) -> std::io::Result<bool> {
        let (part, file) = self.place(name);
        let part = self.lock(&part, deadline)?;
        let found = part.read(&file, name)?;
        let Some(record) = found.filter(|record| record.value == *old) else {
            return Ok(false);
        };
        match new {
            Some(value) => self.note(part.write(&file, name, &Record { value, ..record })?),
            None => part.remove(&file)?,
        }
        Ok(true)
    }

    pub(super) fn rename(&self, from: &str, to: &str, deadline: Instant) -> std::io::Result<bool> {
        let ((old_part, old_file), (new_part, new_file)) = (self.place(from), self.place(to));
        // One order for all, so that two processes do not wait for each other.
        let first = self.lock((&old_part).min(&new_part), deadline)?;
        let second = if old_part == new_part {
            None
        } else {
            Some(self.lock((&old_part).max(&new_part), deadline)?)
        };
        let second = second.as_ref().unwrap_or(&first);
        let (old, new) = if old_part <= new_part {
            (&first, second)
        } else {
            (second, &first)
        };
        let Some(record) = old.read(&old_file, from)? else {
            return Ok(false);
        };
        if from != to {
            self.note(new.write(&new_file, to, &record)?);
            old.remove(&old_file)?;
        }
        Ok(true)
    }

    /// Names from one part on, until there are enough of them.
    pub(super) fn page(&self, glob: &str, from: Option<&str>) -> std::io::Result<NamePage> {
        let from = from.and_then(|from| from.parse().ok()).unwrap_or(0);
        let mut page = NamePage::default();
        for part in from..PARTS {
            if page.names.len() >= PAGE {
                page.next = Some(part.to_string());
                break;
            }
            for path in files(&self.namespace.join(format!("{part:02x}")))? {
                let name = name_of(&path)?;
                page.names
                    .extend(name.filter(|name| matches_glob(glob, name)));
            }
        }
        Ok(page)
    }

    /// Moves the namespace aside, where nobody looks for it.
    pub(super) fn move_away(&self) -> std::io::Result<Option<PathBuf>> {
        let trash = self.root.join(format!("{TRASH}{}", unique()?));
        match std::fs::rename(&self.namespace, &trash) {
            Ok(()) => Ok(Some(trash)),
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
            Err(why) => Err(why),
        }
    }

    /// Removes a file if it is still as it was when it was chosen.
    pub(super) fn evict(&self, path: &Path, modified: SystemTime) -> std::io::Result<bool> {
        let (Some(part), Some(file)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
        else {
            return Ok(false);
        };
        let part = self.lock(part, Instant::now() + Duration::from_secs(1))?;
        let same = path
            .metadata()
            .and_then(|about| about.modified())
            .is_ok_and(|now| now == modified);
        if same {
            part.remove(file)?;
        }
        Ok(same)
    }

    fn note(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Part {
    /// A value that lives, as of the lock.
    fn read(&self, file: &str, name: &str) -> std::io::Result<Option<Record>> {
        let opened = openat(
            &self.folder,
            file,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let mut opened = match opened {
            Ok(opened) => File::from(opened),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(why) => return Err(why.into()),
        };
        let mut bytes = Vec::new();
        opened.read_to_end(&mut bytes)?;
        Ok(Record::read(bytes.into(), name).filter(Record::lives))
    }

    /// Puts a value into its place, whatever is there; how many bytes it took.
    fn write(&self, file: &str, name: &str, record: &Record) -> std::io::Result<u64> {
        let (temporary, bytes) = self.write_aside(name, record)?;
        if let Err(why) = renameat(&self.folder, &temporary, &self.folder, file) {
            self.remove(&temporary)?;
            return Err(why.into());
        }
        Ok(bytes)
    }

    /// Puts a value into its place unless something is there.
    fn write_new(&self, file: &str, name: &str, record: &Record) -> std::io::Result<Option<u64>> {
        let (temporary, bytes) = self.write_aside(name, record)?;
        let linked = linkat(
            &self.folder,
            &temporary,
            &self.folder,
            file,
            AtFlags::empty(),
        );
        self.remove(&temporary)?;
        match linked {
            Ok(()) => Ok(Some(bytes)),
            Err(rustix::io::Errno::EXIST) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }

    fn write_aside(&self, name: &str, record: &Record) -> std::io::Result<(String, u64)> {
        let temporary = format!("{TEMPORARY}{}", unique()?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let opened = openat(&self.folder, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
        let bytes = record.to_bytes(name);
        if let Err(why) = File::from(opened).write_all(&bytes) {
            self.remove(&temporary)?;
            return Err(why);
        }
        Ok((temporary, bytes.len() as u64))
    }

    fn remove(&self, file: &str) -> std::io::Result<()> {
        match unlinkat(&self.folder, file, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(why) => Err(why.into()),
        }
    }
}

/// The files of a part, those aside too; none where there is no such part.
pub(super) fn files(part: &Path) -> std::io::Result<Vec<PathBuf>> {
    match part.read_dir() {
        Ok(found) => found.map(|file| file.map(|file| file.path())).collect(),
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(why) => Err(why),
    }
}

/// All parts of a namespace.
pub(super) fn parts(namespace: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    (0..PARTS).map(|part| namespace.join(format!("{part:02x}")))
}

/// When a file expires and what it is the value of, from its beginning; `None` for one that has
/// gone meanwhile or is none of ours.
pub(super) fn about(path: &Path) -> std::io::Result<Option<(u64, String)>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(why),
    };
    let mut bytes = vec![0; FIXED + 512];
    let mut filled = 0;
    loop {
        match file.read(&mut bytes[filled..])? {
            0 => break,
            more => filled += more,
        }
        if let Some((expires, name)) = head(&bytes[..filled]) {
            return Ok(String::from_utf8(name.to_vec())
                .ok()
                .map(|name| (expires, name)));
        }
        if filled == bytes.len() {
            // A long name.
            bytes.resize(2 * bytes.len(), 0);
        }
    }
    Ok(None)
}

fn name_of(path: &Path) -> std::io::Result<Option<String>> {
    Ok(about(path)?
        .filter(|(expires, _)| !is_over(*expires))
        .map(|(_, name)| name))
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path)
}

/// A folder in one of ours; one that has lost its own is for the caller to find out.
fn make_inner_folder(path: &Path) -> std::io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(why) if !matches!(why.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
            Err(why)
        }
        _ => Ok(()),
    }
}

/// Whether there is nothing in a folder that is not ours: it is new, or somebody is deleting it
/// while others write.
fn holds_ours_alone(root: &Path) -> std::io::Result<bool> {
    for found in root.read_dir()? {
        let name = found?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(TRASH) && !is_namespace(&name) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_namespace(name: &str) -> bool {
    let hash = name.strip_prefix(NAMESPACE).unwrap_or_default();
    hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit())
}

fn whole_number(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A name that no other process and no other call has.
fn unique() -> std::io::Result<String> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(std::io::Error::from)?;
    Ok(crate::protocol::hex(&random))
}
