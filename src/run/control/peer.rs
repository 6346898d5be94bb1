//! Checks that the other end of a socket is the process that works on the requested run.
//!
//! The address comes from the run's lock, which may have been copied with a run directory: it may name the socket of another run, or of
//! another user. Nothing is sent to a process before it has shown that
//!
//! - it belongs to this user or to root (reported by the kernel before a byte is read),
//! - it is the process that the lock names, with the same start time and boot, and
//! - its run's directory is the one that was asked for, by device and inode: paths differ between containers and
//!   through bind mounts and links, and a copy of a directory has the same names.
//!
//! A trainer of an older program names no directory and no start time. It is trusted when the kernel reports the lock's process id for the
//! other end and that process has the journal or the lock of this directory open.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::unistd::{Uid, geteuid};

use super::protocol::Outgoing;
use super::socket::Peer;
use crate::run::holder::{DirId, Holder};
use crate::run::machine::boot_id;
use crate::text;

/// Refuses everything but a socket of this user at an absolute path: relative paths, links, other files, other users'
/// files.
///
/// # Errors
/// What is wrong with it.
pub fn check_address(path: &Path) -> Result<(), String> {
    let shown = text::path(path);
    if !path.is_absolute() {
        return Err(format!(
            "the socket's address in its lock, {shown}, is not an absolute path"
        ));
    }
    let meta = fs::symlink_metadata(path)
        .map_err(|e| format!("the socket that its lock names, {shown}, cannot be found: {e}"))?;
    let kind = meta.file_type();
    if kind.is_symlink() {
        return Err(format!(
            "{shown}, which its lock names as its socket, is a link"
        ));
    }
    if !kind.is_socket() {
        return Err(format!(
            "{shown}, which its lock names as its socket, is not a socket"
        ));
    }
    check_user(Uid::from_raw(meta.uid()), geteuid())
}

/// Refuses another user than this one and root.
///
/// # Errors
/// Names the user.
pub fn check_user(uid: Uid, own: Uid) -> Result<(), String> {
    match uid == own || uid.is_root() {
        true => Ok(()),
        false => Err(format!(
            "the socket that its lock names belongs to user {uid}, and commands are sent only to your own trainings \
             (user {own}) and root's"
        )),
    }
}

/// Compares the process that answers with the lock and with the directory that was asked for.
///
/// # Errors
/// Describes the difference.
pub fn check_identity(
    hello: &Outgoing,
    peer: Peer,
    holder: &Holder,
    asked: &Path,
) -> Result<(), String> {
    let dir = DirId::of(asked).map_err(|e| format!("its directory cannot be inspected: {e}"))?;
    let open = |pid| has_open(pid, asked);
    compare(hello, peer, holder, dir, &boot_id(), &open)
}

fn compare(
    hello: &Outgoing,
    peer: Peer,
    holder: &Holder,
    asked: DirId,
    boot: &str,
    has_open: &dyn Fn(u32) -> bool,
) -> Result<(), String> {
    let Outgoing::Hello {
        run,
        pid,
        pid_start,
        boot_id,
        dir,
        ..
    } = hello
    else {
        return Err("the process at the socket does not identify itself".into());
    };
    if *pid != holder.pid {
        return Err(format!(
            "its lock names process {}, and process {pid} answers",
            holder.pid
        ));
    }
    let Some(dir) = dir else {
        return match peer.pid == Some(*pid) && has_open(*pid) {
            true => Ok(()),
            false => Err(format!(
                "process {pid} answers, of an older program that does not name its directory, and does not have this \
                 run's journal open"
            )),
        };
    };
    if *dir != asked || holder.dir.is_some_and(|dir| dir != asked) {
        let other = text::clean(run);
        return Err(format!(
            "its lock is another run's (process {pid} works on {other} in another directory); lock and directory were \
             copied, or the lock was forged"
        ));
    }
    // One program writes lock and greeting: a field that only one of them has was not written by the same process.
    if *pid_start != holder.pid_start {
        return Err(format!(
            "its lock names a process {pid} that started at another time than the one that answers"
        ));
    }
    match boot_id == &holder.boot_id && boot_id == boot {
        true => Ok(()),
        false => Err("the process that its lock names belongs to another boot or machine".into()),
    }
}

/// Whether a process has a run's journal or lock open.
fn has_open(pid: u32, dir: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let wanted = [id(&dir.join("lock")), id(&dir.join("events.jsonl"))];
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
    let mut open = descriptors.into_iter().flatten().flatten();
    open.any(|entry| id(&entry.path()).is_some_and(|id| wanted.contains(&Some(id))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> DirId {
        DirId::try_from(text.to_string()).unwrap()
    }

    fn hello(pid: u32, pid_start: Option<u64>, boot_id: &str, dir: Option<DirId>) -> Outgoing {
        Outgoing::Hello {
            program: "heirloom".into(),
            run: "other".into(),
            pid,
            seq: 0,
            pid_start,
            boot_id: boot_id.into(),
            dir,
        }
    }

    #[test]
    fn only_the_process_of_this_very_directory_is_believed() {
        let mine = id("1:10");
        let holder = Holder {
            pid: 7,
            pid_start: Some(50),
            boot_id: "boot".into(),
            dir: Some(mine),
            ..Holder::unnamed()
        };
        let peer = Peer {
            uid: geteuid(),
            pid: Some(7),
        };
        let said = |hello: &Outgoing, holder: &Holder| {
            compare(hello, peer, holder, mine, "boot", &|_| false)
                .err()
                .unwrap_or_default()
        };
        assert_eq!(said(&hello(7, Some(50), "boot", Some(mine)), &holder), "");
        for (hello, why) in [
            (hello(8, Some(50), "boot", Some(mine)), "process 8 answers"),
            (
                hello(7, Some(51), "boot", Some(mine)),
                "started at another time",
            ),
            (
                hello(7, None, "boot", Some(mine)),
                "started at another time",
            ),
            (hello(7, Some(50), "b", Some(mine)), "another boot"),
            (
                hello(7, Some(50), "boot", Some(id("1:11"))),
                "is another run's",
            ),
            (
                hello(7, Some(50), "boot", Some(id("2:10"))),
                "is another run's",
            ),
            (hello(7, Some(50), "boot", None), "older program"),
            (Outgoing::Lagged { missed: 0 }, "does not identify itself"),
        ] {
            let said = said(&hello, &holder);
            assert!(said.contains(why), "{why}: {said}");
        }
        // The lock came with a copy of the directory.
        let copied = Holder {
            dir: Some(id("1:11")),
            ..holder.clone()
        };
        assert!(said(&hello(7, Some(50), "boot", Some(mine)), &copied).contains("another run's"));
        // The process of an older program, by its open files.
        let old = hello(7, None, "", None);
        assert_eq!(
            compare(&old, peer, &holder, mine, "boot", &|pid| pid == 7),
            Ok(())
        );
        let elsewhere = Peer {
            pid: Some(8),
            ..peer
        };
        assert!(compare(&old, elsewhere, &holder, mine, "boot", &|_| true).is_err());
    }

    #[test]
    fn a_process_shows_by_its_open_files_which_run_it_works_on() {
        let tmp = tempfile::tempdir().unwrap();
        let own = std::process::id();
        assert!(!has_open(own, tmp.path()));
        let lock = fs::File::create(tmp.path().join("lock")).unwrap();
        assert!(has_open(own, tmp.path()));
        drop(lock);
        assert!(!has_open(own, tmp.path()));
    }

    #[test]
    fn an_address_is_a_socket_of_ones_own() {
        let tmp = tempfile::tempdir().unwrap();
        let at = |name: &str| tmp.path().join(name);
        let _listener = std::os::unix::net::UnixListener::bind(at("real")).unwrap();
        assert_eq!(check_address(&at("real")), Ok(()));
        std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(at("file"), "").unwrap();
        for (path, why) in [
            (at("link"), "is a link"),
            (at("fifo"), "is not a socket"),
            (at("file"), "is not a socket"),
            (at("none"), "cannot be found"),
            ("runs/a/control.sock".into(), "not an absolute path"),
        ] {
            let said = check_address(&path).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        let (me, other) = (Uid::from_raw(1000), Uid::from_raw(1001));
        assert!(check_user(me, me).is_ok() && check_user(Uid::from_raw(0), me).is_ok());
        assert!(
            check_user(other, me)
                .unwrap_err()
                .contains("belongs to user 1001")
        );
        assert!(check_user(other, Uid::from_raw(0)).is_err());
    }
}
