//! One process per run: flock on the file `lock`, which also says who holds it.
//!
//! Done here and not by a crate of lock files: those know no holder that is named, and no other machine.
//!
//! Being flocked is the truth; the file's content only names the holder. It is emptied when the holder ends well.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::holder::{DirId, Sign, describe_elsewhere};
use crate::file;
use crate::text;

pub use super::holder::Holder;

/// [`RunLock::holder`] takes a shared lock for a moment; so long an acquirer waits for such a glance to pass.
const GLANCE: Duration = Duration::from_millis(20);
const GLANCES: u32 = 10;
/// A holder on another machine whose lock cannot be seen from here counts as alive while its journal is this young.
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
        /// What can be done.
        way: String,
        holder: Option<Box<Holder>>,
    },
    #[error("cannot lock {}: {source}", text::path(path))]
    Io { path: PathBuf, source: io::Error },
}

/// The right to write a run's directory, held until dropped.
#[derive(Debug)]
pub struct RunLock {
    file: File,
    holder: Holder,
}

impl RunLock {
    /// Takes the run's lock for this process.
    ///
    /// # Errors
    /// When another process holds it (named in the message), or the file cannot be written. A link is refused: its
    /// content is replaced, and a run directory from elsewhere must not choose whose.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let fail = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)
            .map_err(fail)?;
        for attempt in 0.. {
            match file.try_lock() {
                Ok(()) => {
                    // Free as seen from here; a lock does not reach every file system's other machines.
                    refuse_elsewhere(dir, read_holder(&path))?;
                    break;
                }
                Err(TryLockError::WouldBlock) if attempt < GLANCES => std::thread::sleep(GLANCE),
                Err(TryLockError::WouldBlock) => {
                    return Err(held(dir, read_holder(&path)));
                }
                // No locks on this file system: the file's word has to do.
                Err(TryLockError::Error(e)) if is_unsupported(&e) => {
                    refuse_living(dir, read_holder(&path))?;
                    break;
                }
                Err(TryLockError::Error(e)) => return Err(fail(e)),
            }
        }
        let mut lock = Self {
            file,
            holder: Holder::of_this_process(dir),
        };
        lock.write().map_err(fail)?;
        Ok(lock)
    }

    /// Tells where the control socket is, or that there is none.
    ///
    /// # Errors
    /// When the file cannot be written; the lock itself is held all the same.
    pub fn set_socket(&mut self, address: Option<PathBuf>) -> io::Result<()> {
        self.holder.socket = address;
        self.write()
    }

    /// The directory that is locked.
    pub fn dir_id(&self) -> Option<DirId> {
        self.holder.dir
    }

    /// Takes the lock anew in a directory that was made anew.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn renew(&mut self, dir: &Path) -> Result<(), LockError> {
        let mut new = Self::acquire(dir)?;
        let socket = self.holder.socket.clone();
        if let Err(source) = new.set_socket(socket) {
            let path = dir.join("lock");
            return Err(LockError::Io { path, source });
        }
        *self = new;
        Ok(())
    }

    /// Shows other machines, which may not see the lock itself, that its holder lives.
    pub fn touch(&self) {
        // Where it cannot be, the journal's age has to do.
        let _ = self.file.set_modified(SystemTime::now());
    }

    /// Whether the locked file is the one in the directory.
    pub fn is_in_place(&self, dir: &Path) -> bool {
        let id = |m: std::fs::Metadata| (m.dev(), m.ino());
        let ours = self.file.metadata().map(id).ok();
        ours.is_some() && ours == std::fs::symlink_metadata(dir.join("lock")).map(id).ok()
    }

    fn write(&mut self) -> io::Result<()> {
        let mut text = serde_json::to_string(&self.holder)?;
        text.push('\n');
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text.as_bytes())
    }

    /// Who holds the run at `dir`, if anybody does.
    pub fn holder(dir: &Path) -> Option<Holder> {
        let path = dir.join("lock");
        let file = file::open(&path).ok()?;
        match file.try_lock_shared() {
            Ok(()) => {
                // Free as seen from here, which says nothing where flock does not reach the other machine.
                drop(file);
                let said = read_holder(&path)?;
                let elsewhere = said.boot_id != boot_id() && said.host != host_name();
                elsewhere.then_some(Holder {
                    confirmed: false,
                    ..said
                })
            }
            Err(TryLockError::WouldBlock) => {
                Some(read_holder(&path).unwrap_or_else(Holder::unnamed))
            }
            // No flock on this file system.
            Err(TryLockError::Error(_)) => read_holder(&path).map(|said| Holder {
                confirmed: false,
                ..said
            }),
        }
    }

    /// Whether a process works on the run at `dir`. A holder that cannot be confirmed counts while the journal is
    /// fresh, so that a copied directory does not look alive for ever.
    pub fn is_live(dir: &Path) -> bool {
        Self::holder(dir).is_some_and(|holder| holder.confirmed || is_fresh(dir))
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Only the content: the lock itself ends with the descriptor.
        let _ = self.file.set_len(0);
    }
}

/// The file's word. A holder writes it just after locking, so an empty file is looked at again.
fn read_holder(path: &Path) -> Option<Holder> {
    for _ in 0..3 {
        let text = file::read_text(path, LARGEST).ok()?;
        if let Ok(holder) = serde_json::from_str::<Holder>(&text) {
            return Some(Holder {
                confirmed: true,
                host: text::clean(&holder.host).into_owned(),
                boot_id: text::clean(&holder.boot_id).into_owned(),
                started: text::clean(&holder.started).into_owned(),
                ..holder
            });
        }
        if text.is_empty() {
            // Emptied by a holder that ended, unless someone has it locked.
            let locked = file::open(path).is_ok_and(|f| f.try_lock_shared().is_err());
            if !locked {
                return None;
            }
        }
        std::thread::sleep(GLANCE);
    }
    None
}

/// Another machine's process that is still at work keeps this one out.
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

/// Without locks: a process of this machine is looked for, another machine's word is taken while its journal is fresh.
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

fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(libc::ENOLCK)
}

/// Whether the journal was written, or the lock touched, lately. A time from the future is late enough: the clock was set
/// back meanwhile.
fn is_fresh(dir: &Path) -> bool {
    let fresh = |file: &str| {
        let changed = std::fs::metadata(dir.join(file)).and_then(|m| m.modified());
        changed.is_ok_and(|t| SystemTime::now().duration_since(t).unwrap_or_default() < FRESH)
    };
    dir.join("events.jsonl").exists() && (fresh("events.jsonl") || fresh("lock"))
}

/// This machine's name.
pub fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(
        |_| "unknown".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// Changes with every boot; empty where the system has none.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_the_first_is_named() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("tiny-1");
        std::fs::create_dir(&dir).unwrap();
        assert_eq!(RunLock::holder(&dir), None);
        let lock = RunLock::acquire(&dir).unwrap();
        let holder = RunLock::holder(&dir).unwrap();
        assert_eq!(holder.pid, std::process::id());
        assert!(holder.confirmed && RunLock::is_live(&dir));
        let said = RunLock::acquire(&dir).unwrap_err().to_string();
        let wanted = format!(
            "run tiny-1 is in use by process {} on host {}",
            std::process::id(),
            host_name()
        );
        assert!(said.starts_with(&wanted), "{said}");
        assert!(said.ends_with("quit ends it"), "{said}");
        drop(lock);
        assert_eq!(RunLock::holder(&dir), None);
        assert!(dir.join("lock").is_file());
        RunLock::acquire(&dir).unwrap();
    }

    /// The holder is a flock(1) that keeps the lock until it is killed.
    #[test]
    fn another_process_is_refused_and_named() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("lock");
        let said = r#"{"pid":1234,"host":"box","boot_id":"b","socket":null,"started":""}"#;
        std::fs::write(&path, said).unwrap();
        let mut other = std::process::Command::new("flock")
            .args(["--no-fork", "--exclusive"])
            .arg(&path)
            .args(["sleep", "60"])
            .spawn()
            .expect("flock(1), of util-linux");
        let glance = File::open(&path).unwrap();
        for _ in 0..500 {
            match glance.try_lock_shared() {
                Ok(()) => glance.unlock().unwrap(),
                Err(_) => break,
            }
            std::thread::sleep(GLANCE);
        }
        let refused = RunLock::acquire(tmp.path()).map(|_| ());
        let holder = RunLock::holder(tmp.path());
        let _ = other.kill();
        let _ = other.wait();
        let message = refused.unwrap_err().to_string();
        assert!(
            message.contains("is in use by process 1234 on host box: its last sign of life was "),
            "{message}"
        );
        assert_eq!(holder.unwrap().pid, 1234);
    }

    #[test]
    fn a_lock_that_leads_elsewhere_empties_nothing() {
        let tmp = tempfile::tempdir().unwrap();
        let precious = tmp.path().join("precious");
        std::fs::write(&precious, "keys").unwrap();
        std::os::unix::fs::symlink(&precious, tmp.path().join("lock")).unwrap();
        let message = RunLock::acquire(tmp.path()).unwrap_err().to_string();
        assert!(message.starts_with("cannot lock "), "{message}");
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "keys");
    }

    #[test]
    fn a_holder_cannot_draw_nor_keep_anybody_waiting() {
        let tmp = tempfile::tempdir().unwrap();
        let lock = tmp.path().join("lock");
        let said =
            r#"{"pid":7,"host":"far\u001b[2J\naway","boot_id":"o","socket":null,"started":""}"#;
        std::fs::write(&lock, said).unwrap();
        let holder = RunLock::holder(tmp.path()).unwrap();
        assert_eq!(holder.to_string(), "process 7 on host far away");
        std::fs::write(&lock, format!("{said}{}", " ".repeat(1 << 20))).unwrap();
        assert_eq!(RunLock::holder(tmp.path()), None);
        std::fs::remove_file(&lock).unwrap();
        nix::unistd::mkfifo(&lock, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(RunLock::holder(tmp.path()), None);
    }

    #[test]
    fn a_killed_holder_leaves_no_lock_behind() {
        let tmp = tempfile::tempdir().unwrap();
        let mut dead = Holder::of_this_process(tmp.path());
        dead.pid = 999_999;
        std::fs::write(
            tmp.path().join("lock"),
            serde_json::to_string(&dead).unwrap(),
        )
        .unwrap();
        assert_eq!(RunLock::holder(tmp.path()), None);
        RunLock::acquire(tmp.path()).unwrap();
    }

    #[test]
    fn another_machines_word_is_taken_while_its_journal_is_fresh() {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::write(
            tmp.path().join("lock"),
            r#"{"pid":7,"host":"faraway.example","boot_id":"other","socket":null,"started":""}"#,
        )
        .unwrap();
        let holder = RunLock::holder(tmp.path()).unwrap();
        assert_eq!((holder.pid, holder.confirmed), (7, false));
        assert!(!RunLock::is_live(tmp.path()), "no journal");
        let journal = File::create(tmp.path().join("events.jsonl")).unwrap();
        assert!(RunLock::is_live(tmp.path()));
        journal.set_modified(SystemTime::now() - 2 * FRESH).unwrap();
        let lock = File::options()
            .write(true)
            .open(tmp.path().join("lock"))
            .unwrap();
        assert!(
            RunLock::is_live(tmp.path()),
            "a paused run touches its lock"
        );
        lock.set_modified(SystemTime::now() - 2 * FRESH).unwrap();
        assert!(!RunLock::is_live(tmp.path()));
        // Taken over then, and not before.
        journal.set_modified(SystemTime::now() + FRESH).unwrap();
        assert!(RunLock::is_live(tmp.path()), "the clock was set back");
        let ahead = RunLock::acquire(tmp.path()).unwrap_err().to_string();
        assert!(
            ahead.contains("9 min in the future") && ahead.contains("then remove /"),
            "{ahead}"
        );
        journal.set_modified(SystemTime::now() - 2 * FRESH).unwrap();
        RunLock::acquire(tmp.path()).unwrap();
    }
}
