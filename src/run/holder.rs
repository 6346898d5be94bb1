//! The process that works on a run, according to its lock.
//!
//! Like every file of a run directory, a lock may come from elsewhere: its claims are compared with the process that answers before
//! anything is sent there ([`super::control::peer`]).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::machine::{boot_id, host_name};
use crate::file::Dir;
use crate::text::{self, exact};

pub use super::machine::process_start;

/// The process that works on a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Holder {
    /// 0 when the run is locked and its lock names no process.
    pub pid: u32,
    /// When the process started ([`process_start`]); `None` in locks of older programs.
    pub pid_start: Option<u64>,
    pub host: String,
    pub boot_id: String,
    /// The run's directory, as the process sees it; `None` in locks of older programs.
    pub dir: Option<DirId>,
    /// Address of the control socket.
    pub socket: Option<PathBuf>,
    /// RFC 3339.
    pub started: String,
    /// False when the lock itself cannot be checked (another machine's) and only the file names a holder.
    pub confirmed: bool,
}

/// A holder in the file.
#[derive(Clone, Serialize, Deserialize)]
struct Written {
    pid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid_start: Option<u64>,
    host: String,
    boot_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dir: Option<DirId>,
    /// As [`exact::to_text`] writes it.
    socket: Option<String>,
    started: String,
}

impl From<Written> for Holder {
    fn from(written: Written) -> Self {
        let clean = |text: &str| text::clean(text).into_owned();
        Self {
            pid: written.pid,
            pid_start: written.pid_start,
            host: clean(&written.host),
            boot_id: clean(&written.boot_id),
            dir: written.dir,
            socket: written.socket.map(|s| exact::to_path(&s).into_owned()),
            started: clean(&written.started),
            confirmed: false,
        }
    }
}

impl From<Holder> for Written {
    fn from(holder: Holder) -> Self {
        Self {
            pid: holder.pid,
            pid_start: holder.pid_start,
            host: holder.host,
            boot_id: holder.boot_id,
            dir: holder.dir,
            socket: holder.socket.map(|s| exact::to_text(&s).into_owned()),
            started: holder.started,
        }
    }
}

impl Holder {
    /// This process, at work on the run in an open directory.
    pub fn of_this_process(dir: &Dir) -> Self {
        let pid = std::process::id();
        Self {
            pid,
            pid_start: process_start(pid),
            host: host_name(),
            boot_id: boot_id(),
            dir: DirId::of_open(dir).ok(),
            socket: None,
            started: jiff::Timestamp::now().to_string(),
            confirmed: true,
        }
    }

    /// A process that holds the lock and is not named in the file.
    pub fn unnamed() -> Self {
        Self {
            pid: 0,
            pid_start: None,
            host: "unknown".into(),
            boot_id: String::new(),
            dir: None,
            socket: None,
            started: String::new(),
            confirmed: true,
        }
    }

    /// Whether the lock was written on this machine since it booted. A host name alone is trusted only from a program
    /// that found no boot id, and never if it is `unknown`.
    pub fn is_here(&self) -> bool {
        let boot = boot_id();
        match self.boot_id.is_empty() || boot.is_empty() {
            true => self.host == host_name() && self.host != "unknown",
            false => self.boot_id == boot,
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            0 => write!(f, "a process that its lock does not name"),
            pid => write!(f, "process {pid} on host {}", self.host),
        }
    }
}

/// A directory by the numbers of its device and its inode: equal through every path, link and bind mount that leads to
/// it, different for every copy. Written as `DEVICE:INODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DirId {
    dev: u64,
    ino: u64,
}

impl DirId {
    /// Looks at an open directory.
    ///
    /// # Errors
    /// When the file system does not answer.
    pub fn of_open(dir: &Dir) -> io::Result<Self> {
        let stat = nix::sys::stat::fstat(dir)?;
        // Other systems than Linux have other types here.
        #[allow(clippy::unnecessary_cast, reason = "depends on the system")]
        let (dev, ino) = (stat.st_dev as u64, stat.st_ino as u64);
        Ok(Self { dev, ino })
    }

    /// Looks at a directory; links are followed.
    ///
    /// # Errors
    /// When it does not exist or may not be searched.
    pub fn of(dir: &Path) -> io::Result<Self> {
        let meta = std::fs::metadata(dir)?;
        Ok(Self {
            dev: meta.dev(),
            ino: meta.ino(),
        })
    }
}

impl From<DirId> for String {
    fn from(id: DirId) -> Self {
        format!("{}:{}", id.dev, id.ino)
    }
}

impl TryFrom<String> for DirId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("expected DEVICE:INODE, got {text:?}");
        let (dev, ino) = text.split_once(':').ok_or_else(wrong)?;
        let number = |text: &str| u64::from_str(text).map_err(|_| wrong());
        Ok(Self {
            dev: number(dev)?,
            ino: number(ino)?,
        })
    }
}

/// The age of the last sign of life of a run's holder, by this machine's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sign {
    /// Seconds ago.
    Past(u64),
    /// This many seconds in the future.
    Future(u64),
    Unknown,
}

impl Sign {
    /// Looks at the later of the times of a run's journal and lock.
    pub fn of(dir: &Path) -> Self {
        let changed = |file| {
            std::fs::metadata(dir.join(file))
                .and_then(|m| m.modified())
                .ok()
        };
        let Some(time) = changed("events.jsonl").max(changed("lock")) else {
            return Self::Unknown;
        };
        match SystemTime::now().duration_since(time) {
            Ok(past) => Self::Past(past.as_secs()),
            // Clocks that are set by NTP differ by less; file systems round.
            Err(ahead) if ahead.duration().as_secs() < 5 => Self::Past(0),
            Err(ahead) => Self::Future(ahead.duration().as_secs()),
        }
    }
}

/// Describes that a process of another machine has a run, and what to do when it has not. `lock` is the lock's path
/// quoted for a shell, `fresh` how long a sign of life counts, in seconds.
pub fn describe_elsewhere(holder: &Holder, sign: Sign, lock: &str, fresh: u64) -> String {
    let (host, pid, minutes) = (&holder.host, holder.pid, fresh / 60);
    let remove = format!("make sure on {host} that process {pid} is gone, then remove {lock}");
    match sign {
        Sign::Future(ahead) => format!(
            "its lock is dated {} in the future, so the clock of {host}, of the file server or of this machine is wrong \
             (compare `date` on each): the run counts as in use until {minutes} min after that time. To free it sooner, {remove}",
            words(ahead)
        ),
        Sign::Past(ago) => format!(
            "its last sign of life was {} ago. Control it from that machine. If the process is gone, the run is free \
             {minutes} min after that sign; to free it sooner, {remove}",
            words(ago)
        ),
        Sign::Unknown => {
            format!("control it from that machine. If the process is gone, {remove}")
        }
    }
}

/// `48 s`, `12 min`, `3 h 5 min`, `2 days`.
fn words(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::time::Duration;

    #[test]
    fn a_holder_is_read_back_as_it_was_written() {
        let tmp = tempfile::tempdir().unwrap();
        let mut holder = Holder::of_this_process(&Dir::open(tmp.path()).unwrap());
        assert!(holder.dir.is_some() && holder.pid_start.is_some() && holder.is_here());
        holder.confirmed = false;
        for socket in [
            None,
            Some(&b"/run/a.sock"[..]),
            Some(b"/lat\xe9/control.sock"),
        ] {
            holder.socket = socket.map(|bytes| Path::new(OsStr::from_bytes(bytes)).into());
            let text = serde_json::to_string(&holder).unwrap();
            assert_eq!(
                serde_json::from_str::<Holder>(&text).unwrap(),
                holder,
                "{text}"
            );
        }
        // A lock of an older program.
        let old = r#"{"pid":7,"host":"box","boot_id":"b","socket":"/a","started":""}"#;
        let old: Holder = serde_json::from_str(old).unwrap();
        assert_eq!((old.pid_start, old.dir), (None, None));
        assert_eq!(old.socket.as_deref(), Some(Path::new("/a")));
    }

    #[test]
    fn the_name_of_no_machine_is_this_machine() {
        let tmp = tempfile::tempdir().unwrap();
        let mut holder = Holder::of_this_process(&Dir::open(tmp.path()).unwrap());
        holder.host = "unknown".into();
        holder.boot_id = "other".into();
        assert!(!holder.is_here());
        holder.boot_id = String::new();
        assert!(!holder.is_here());
    }

    #[test]
    fn directories_are_told_apart_through_links() {
        let tmp = tempfile::tempdir().unwrap();
        let (a, b, link) = (
            tmp.path().join("a"),
            tmp.path().join("b"),
            tmp.path().join("link"),
        );
        std::fs::create_dir(&a).unwrap();
        std::fs::create_dir(&b).unwrap();
        std::os::unix::fs::symlink(&a, &link).unwrap();
        let id = |path: &Path| DirId::of(path).unwrap();
        assert_eq!(id(&a), id(&link));
        assert_eq!(id(&a), DirId::of_open(&Dir::open(&a).unwrap()).unwrap());
        assert_ne!(id(&a), id(&b));
        for wrong in ["", "1", "a:b", "1:", "-1:2"] {
            assert!(DirId::try_from(wrong.to_string()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_process_is_told_from_a_later_one_of_its_number() {
        let own = process_start(std::process::id()).unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("9")
            .spawn()
            .unwrap();
        let later = process_start(child.id()).unwrap();
        let _ = child.kill();
        let _ = child.wait();
        assert!(later >= own && own > 0, "{own} {later}");
    }

    #[test]
    fn a_clock_that_is_ahead_is_named_with_the_way_out() {
        let tmp = tempfile::tempdir().unwrap();
        assert_eq!(Sign::of(tmp.path()), Sign::Unknown);
        let lock = std::fs::File::create(tmp.path().join("lock")).unwrap();
        assert!(matches!(Sign::of(tmp.path()), Sign::Past(0..60)));
        lock.set_modified(SystemTime::now() + Duration::from_secs(7300))
            .unwrap();
        let sign = Sign::of(tmp.path());
        assert!(matches!(sign, Sign::Future(7200..=7300)), "{sign:?}");
        let holder = Holder {
            host: "far".into(),
            pid: 9,
            ..Holder::unnamed()
        };
        let said = describe_elsewhere(&holder, sign, "runs/a/lock", 600);
        for part in [
            "2 h 1 min in the future",
            "compare `date`",
            "until 10 min after",
            "process 9 is gone, then remove runs/a/lock",
        ] {
            assert!(said.contains(part), "{said}");
        }
        let said = describe_elsewhere(&holder, Sign::Past(45), "runs/a/lock", 600);
        assert!(
            said.starts_with("its last sign of life was 45 s ago"),
            "{said}"
        );
    }
}
