//! Describes the process at the other end of a connection by user and terminal.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use nix::unistd::{Uid, User};

use crate::text::sanitize;

/// Describes a process of this machine: `root@pts/3 (pid 16223)`, `root (pid 16223)` without a terminal; unknown parts
/// are left out.
pub fn describe(pid: u32) -> String {
    let user = user(pid);
    let place = match (user, terminal(pid)) {
        (Some(user), Some(terminal)) => format!("{user}@{terminal} "),
        (Some(user), None) => format!("{user} "),
        (None, Some(terminal)) => format!("{terminal} "),
        (None, None) => return format!("process {pid}"),
    };
    format!("{place}(pid {pid})")
}

/// The name of the user that owns a process, else the user's number.
fn user(pid: u32) -> Option<String> {
    let uid = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    // A directory service may be slow: each user is looked up once.
    static NAMES: Mutex<BTreeMap<u32, String>> = Mutex::new(BTreeMap::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let name = names.entry(uid).or_insert_with(|| {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let name = user.map_or_else(|| format!("user {uid}"), |user| user.name);
        sanitize(&name).into_owned()
    });
    Some(name.clone())
}

/// The controlling terminal of a process, without `/dev/`.
fn terminal(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the terminal is the fifth field after it (proc(5)).
    let (_, rest) = stat.rsplit_once(')')?;
    let device: i32 = rest.split_whitespace().nth(4)?.parse().ok()?;
    let device = u64::from(device.cast_unsigned());
    let (major, minor) = (libc::major(device), libc::minor(device));
    match major {
        136..=143 => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        4 if minor < 64 => Some(format!("tty{minor}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_called_by_its_user_and_its_terminal() {
        let own = describe(std::process::id());
        let end = format!("(pid {})", std::process::id());
        assert!(own.ends_with(&end), "{own}");
        let user = user(std::process::id()).unwrap();
        assert!(own.starts_with(&user), "{own}");
        // Beyond the kernel's highest process id.
        assert_eq!(describe(u32::MAX), format!("process {}", u32::MAX));
    }
}
