//! One process per run: a write lock on the journal's descriptor, and the file `lock`, which names the holder.
//!
//! The journal itself is locked, so that a second process is refused even if the file `lock` is removed or replaced. The locks are
//! [`file::lock`]'s, which require write access: a process that can only read a run's files can neither prevent a resume nor make the run
//! look alive. Read locks of others can delay the journal's lock. Until it can be taken, the lock on the file `lock` protects the run; each
//! holder creates that file and locks it before it gets its name.
//!
//! Crates for lock files neither name the holder nor handle other machines.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::handle::{EVENTS, HandleError, LOCK, RunHandle};
use super::holder::{DirId, Sign, describe_elsewhere};
use super::machine::{boot_id, host_name};
use crate::file::lock::{Locked, is_locked, lock};
use crate::file::{self, Dir};
use crate::text;

pub use super::holder::Holder;

/// Longest wait of a holder that could not lock the journal for a competing process to write the file.
const SHOW: Duration = Duration::from_millis(50);
/// Time within which the journal or the lock must have changed for a holder on another machine, whose lock cannot be checked from here, to
/// count as alive.
pub const FRESH: Duration = Duration::from_secs(600);
/// Most bytes of the file.
const LARGEST: u64 = 16 << 10;

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("run {run} is in use by {}: {way}", match holder {
        Some(holder) => holder.to_string(),
        None => "another process".to_string(),
    })]
    Held {
        run: String,
        /// The advice.
        way: String,
        holder: Option<Box<Holder>>,
    },
    #[error("cannot lock {}: {source}", text::path(path))]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Handle(#[from] HandleError),
}

/// The right to write a run's directory, held until dropped.
#[derive(Debug)]
pub struct RunLock {
    handle: Arc<RunHandle>,
    /// Open for appending, and locked unless other users' read locks prevent it.
    journal: File,
    /// False while other users' read locks keep the journal from being locked.
    journal_is_locked: bool,
    /// The file `lock`, locked.
    named: File,
    holder: Holder,
}

impl RunLock {
    /// Takes the lock of the run at `dir` for this process. A missing journal is made.
    ///
    /// # Errors
    /// When another process holds it (named in the message), the directory is another user's or holds links in the place of
    /// its parts, or it cannot be written.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let handle = RunHandle::open(&super::dir::RunDir::at(dir))?;
        Self::of(&Arc::new(handle))
    }

    /// Takes the lock of an open run directory.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn of(handle: &Arc<RunHandle>) -> Result<Self, LockError> {
        let root = handle.root();
        let journal = root.open_to_append(EVENTS).map_err(fail(&root, EVENTS))?;
        Self::take(handle, journal)
    }

    /// Takes the lock of a run that this process has just made; its journal is locked already.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn of_new(handle: &Arc<RunHandle>, journal: File) -> Result<Self, LockError> {
        Self::take(handle, journal)
    }

    fn take(handle: &Arc<RunHandle>, journal: File) -> Result<Self, LockError> {
        let (root, dir) = (handle.root(), handle.dir().path());
        let said = || holder_in(&root);
        let locked = lock(&journal).map_err(fail(&root, EVENTS))?;
        match locked {
            Locked::Held => return Err(held(dir, said())),
            // Free as far as this machine can see; on some file systems a lock does not reach other machines.
            Locked::Taken => refuse_elsewhere(dir, said())?,
            Locked::Read if is_locked_in(&root, LOCK) => return Err(held(dir, said())),
            Locked::Read => refuse_elsewhere(dir, said())?,
            // This file system has no locks: the file `lock` decides.
            Locked::Unsupported => refuse_living(dir, said())?,
        }
        refuse_older_program(&root, dir)?;
        let holder = Holder::of_this_process(&root);
        let lock = Self {
            named: write_holder(&root, &holder).map_err(fail(&root, LOCK))?,
            handle: Arc::clone(handle),
            journal,
            journal_is_locked: locked == Locked::Taken,
            holder,
        };
        if locked == Locked::Read {
            // A competing process may have reached this point at the same time: the last one to write the file holds
            // the lock.
            std::thread::sleep(SHOW);
            if !lock.is_in_place() {
                return Err(held(dir, said()));
            }
        }
        lock.handle.clear_leftovers();
        Ok(lock)
    }

    /// The run's open directory.
    pub fn handle(&self) -> &Arc<RunHandle> {
        &self.handle
    }

    /// The locked journal, open for reading and appending.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn journal(&self) -> io::Result<File> {
        self.journal.try_clone()
    }

    /// Writes the address of the control socket, or null without one.
    ///
    /// # Errors
    /// When the file cannot be written; the lock itself is still held.
    pub fn set_socket(&mut self, address: Option<PathBuf>) -> io::Result<()> {
        self.holder.socket = address;
        self.named = write_holder(&self.handle.root(), &self.holder)?;
        Ok(())
    }

    /// The id of the locked directory.
    pub fn dir_id(&self) -> Option<DirId> {
        self.holder.dir
    }

    /// Takes the lock again after the directory or a file in it was deleted: that of the present journal, or of a new
    /// one.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn renew(&mut self) -> Result<(), LockError> {
        let socket = self.holder.socket.clone();
        let mut new = Self::of(&self.handle)?;
        if socket.is_some() {
            let failed = fail(&self.handle.root(), LOCK);
            new.set_socket(socket).map_err(failed)?;
        }
        *self = new;
        Ok(())
    }

    /// Writes the file `lock` again after it was deleted. The journal's lock is still held.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_again(&mut self) -> io::Result<()> {
        self.named = write_holder(&self.handle.root(), &self.holder)?;
        Ok(())
    }

    /// Updates the file's time, which shows other machines that the holder lives even if they cannot see the lock.
    /// Locks the journal if that was not possible before.
    pub fn touch(&mut self) {
        // If this fails, other machines judge by the journal's age.
        let _ = self.named.set_modified(SystemTime::now());
        if !self.journal_is_locked {
            self.journal_is_locked = matches!(lock(&self.journal), Ok(Locked::Taken));
        }
    }

    /// Whether the file `lock` is this holder's.
    pub fn is_in_place(&self) -> bool {
        let ours = self.named.metadata().map(|m| (m.dev(), m.ino())).ok();
        ours.is_some() && ours == self.handle.root().id_of(LOCK).ok().flatten()
    }

    /// Returns the holder of the run at `dir`, if it has one.
    pub fn holder(dir: &Path) -> Option<Holder> {
        let path = dir.join(LOCK);
        let locked = |name| Some(is_locked(&file::open(&dir.join(name)).ok()?));
        match (locked(EVENTS), locked(LOCK)) {
            (Some(Some(true)), _) | (_, Some(Some(true))) => {
                Some(read_holder(&path).unwrap_or_else(Holder::unnamed))
            }
            // No such locks on this file system.
            (_, Some(None)) => read_holder(&path).map(|said| Holder {
                confirmed: false,
                ..said
            }),
            _ => {
                // Free as far as this machine can see, which does not count where locks do not reach the other machine.
                let said = read_holder(&path)?;
                if is_of_older_program(&path, &said) {
                    return Some(said);
                }
                let elsewhere = said.boot_id != boot_id() && said.host != host_name();
                elsewhere.then_some(Holder {
                    confirmed: false,
                    ..said
                })
            }
        }
    }

    /// Whether a process works on the run at `dir`. A holder that cannot be confirmed counts only while the journal is
    /// fresh, so that a copied directory does not look alive forever.
    pub fn is_live(dir: &Path) -> bool {
        Self::holder(dir).is_some_and(|holder| holder.confirmed || is_fresh(dir))
    }
}

/// Replaces the file `lock` by a new one that is already locked.
fn write_holder(root: &Dir, holder: &Holder) -> io::Result<File> {
    let mut new = root.begin_file(LOCK)?;
    let named = new.file().try_clone()?;
    // If the file system has no such locks, the journal is not locked either.
    let _ = lock(&named);
    // An older version of this program checks for a flock.
    let _ = named.try_lock();
    let mut text = serde_json::to_string(holder)?;
    text.push('\n');
    new.write_all(text.as_bytes())?;
    new.commit_unsynced()?;
    Ok(named)
}

fn fail(root: &Dir, name: &str) -> impl Fn(io::Error) -> LockError + use<> {
    let path = root.path_of(name);
    move |source| LockError::Io {
        path: path.clone(),
        source,
    }
}

fn is_locked_in(root: &Dir, name: &str) -> bool {
    root.open_file(name)
        .is_ok_and(|file| is_locked(&file) == Some(true))
}

/// Refuses to lock while an older version of this program, which flocks the file `lock`, holds the run.
fn refuse_older_program(root: &Dir, dir: &Path) -> Result<(), LockError> {
    let path = root.path_of(LOCK);
    match holder_in(root) {
        Some(holder) if is_of_older_program(&path, &holder) => Err(held(dir, Some(holder))),
        _ => Ok(()),
    }
}

/// Whether the file is flocked, and its owner runs the process that it names: any user can flock a file that they may
/// read.
fn is_of_older_program(path: &Path, said: &Holder) -> bool {
    let flocked = file::open(path)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
    let owner = |path: &Path| std::fs::metadata(path).ok().map(|m| m.uid());
    let process = PathBuf::from(format!("/proc/{}", said.pid));
    flocked
        && said.boot_id == boot_id()
        && said.host == host_name()
        && said.pid != std::process::id()
        && owner(&process).is_some()
        && owner(&process) == owner(path)
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Only the content is cleared: the lock itself ends with the descriptor.
        let _ = self.named.set_len(0);
    }
}

/// Returns the holder that the file names. The file is empty after a holder that exited normally.
fn read_holder(path: &Path) -> Option<Holder> {
    parse_holder(&file::read_bytes(path, LARGEST).ok()?)
}

/// As [`read_holder`], for a file in an open directory.
fn holder_in(root: &Dir) -> Option<Holder> {
    parse_holder(&root.read_bytes(LOCK, LARGEST).ok()?)
}

fn parse_holder(text: &[u8]) -> Option<Holder> {
    let holder = serde_json::from_slice::<Holder>(text).ok()?;
    Some(Holder {
        confirmed: true,
        ..holder
    })
}

/// Refuses to lock while a process of another machine is still at work.
fn refuse_elsewhere(dir: &Path, said: Option<Holder>) -> Result<(), LockError> {
    match said {
        Some(holder)
            if holder.host != host_name() && holder.boot_id != boot_id() && is_fresh(dir) =>
        {
            Err(held(dir, Some(holder)))
        }
        _ => Ok(()),
    }
}

/// Decides without locks: looks for a process of this machine; trusts another machine's entry while its journal is
/// fresh.
fn refuse_living(dir: &Path, said: Option<Holder>) -> Result<(), LockError> {
    let Some(holder) = said else { return Ok(()) };
    if holder.boot_id != boot_id() && holder.host == host_name() {
        return Ok(()); // this machine was restarted since
    }
    let own = holder.boot_id == boot_id();
    let lives = match own {
        true => Path::new(&format!("/proc/{}", holder.pid)).exists(),
        false => is_fresh(dir),
    };
    match lives && !(own && holder.pid == std::process::id()) {
        true => Err(held(dir, Some(holder))),
        false => Ok(()),
    }
}

fn held(dir: &Path, holder: Option<Holder>) -> LockError {
    let run = super::dir::RunDir::at(dir);
    let way = match &holder {
        Some(holder) if !holder.is_here() && holder.pid != 0 => {
            let lock = text::argument(&dir.join("lock"));
            describe_elsewhere(holder, Sign::of(dir), &lock, FRESH.as_secs())
        }
        _ => {
            let run = run.argument();
            format!("heirloom attach {run} opens it, heirloom ctl {run} quit ends it")
        }
    };
    LockError::Held {
        run: text::sanitize(&run.name()).into_owned(),
        way,
        holder: holder.map(Box::new),
    }
}

/// Whether the journal was written, or the lock touched, recently. A time in the future counts as recent: the clock was
/// set back meanwhile.
fn is_fresh(dir: &Path) -> bool {
    let fresh = |file: &str| {
        let changed = std::fs::metadata(dir.join(file)).and_then(|m| m.modified());
        changed.is_ok_and(|t| SystemTime::now().duration_since(t).unwrap_or_default() < FRESH)
    };
    dir.join("events.jsonl").exists() && (fresh("events.jsonl") || fresh("lock"))
}

#[cfg(test)]
mod tests;
