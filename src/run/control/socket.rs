//! Unix sockets: binding without access for other users, connecting with a timeout, and identifying the peer.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen,
    setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, fchmod};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::Uid;

use super::address::{Address, Place, places};
use crate::fault;
use crate::file::Dir;
use crate::text;

/// A listening socket and its file, which is removed when this is dropped.
pub struct Bound {
    pub listener: UnixListener,
    address: Address,
    /// Device and inode of the socket's file.
    id: (u64, u64),
}

impl Bound {
    /// Binds a socket for the run at `dir` at the first of its [places] that takes it.
    ///
    /// # Errors
    /// When none works; lists the reason for each.
    pub fn anywhere(dir: &Path) -> io::Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
        let mut reasons = Vec::new();
        for place in places(dir, runtime.map(PathBuf::from), &std::env::temp_dir()) {
            match place
                .prepare(dir)
                .and_then(|at| Self::at(faulty(&place, at)?))
            {
                Ok(bound) => return Ok(bound),
                Err(why) => reasons.push(why.to_string()),
            }
        }
        Err(io::Error::other(reasons.join("; ")))
    }

    /// Binds a socket that only this user can connect to, replacing the file that a killed process left behind.
    ///
    /// # Errors
    /// When another file has the name, the address cannot be bound, or other users could connect.
    fn at(address: Address) -> io::Result<Self> {
        let bound = Self::bind(&address.path).map_err(|why| {
            remove_made(&address);
            io::Error::other(format!("{}: {why}", text::path(&address.path)))
        });
        let (listener, id) = bound?;
        Ok(Self {
            listener,
            address,
            id,
        })
    }

    fn bind(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
        remove_stale(path)?;
        let socket = socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            None,
        )?;
        // The socket's file inherits this mode. If setting it fails, the check below decides.
        let _ = fchmod(&socket, Mode::from_bits_truncate(0o600));
        bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        let checked = std::fs::symlink_metadata(path).and_then(|meta| {
            // Connecting requires write permission.
            match meta.mode() & 0o022 != 0 && !is_closed(path.parent()) {
                true => Err(io::Error::other("others could connect to it")),
                false => Ok((meta.dev(), meta.ino())),
            }
        });
        let listening = checked.and_then(|id| {
            listen(&socket, Backlog::new(128)?)?;
            Ok(id)
        });
        match listening {
            Ok(id) => Ok((UnixListener::from(socket), id)),
            Err(error) => {
                let _ = remove(path);
                Err(error)
            }
        }
    }

    /// The path at which it listens.
    pub fn path(&self) -> &Path {
        &self.address.path
    }

    /// Whether its file is still in place: if it was deleted or replaced, clients cannot connect.
    pub fn is_in_place(&self) -> bool {
        let now = std::fs::symlink_metadata(self.path()).map(|m| (m.dev(), m.ino()));
        now.is_ok_and(|id| id == self.id)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.is_in_place() {
            let _ = remove(self.path());
        }
        remove_made(&self.address);
    }
}

/// Refuses a place as `HEIRLOOM_FAULT` asks for: every place, or every place with a predictable name.
fn faulty(place: &Place, address: Address) -> io::Result<Address> {
    let random = matches!(place, Place::Random(_));
    match fault::is_at("socket", 0) || (!random && fault::is_at("socket-named", 0)) {
        true => {
            remove_made(&address);
            let path = text::path(&address.path);
            Err(io::Error::other(format!(
                "{path}: asked for by HEIRLOOM_FAULT"
            )))
        }
        false => Ok(address),
    }
}

/// Whether no other user can reach the entries of a directory.
fn is_closed(dir: Option<&Path>) -> bool {
    let meta = dir.map(std::fs::symlink_metadata);
    meta.is_some_and(|meta| meta.is_ok_and(|m| m.is_dir() && m.mode() & 0o077 == 0))
}

/// Removes a socket that a killed process left behind, and no other kind of file.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(m) if m.file_type().is_socket() => remove(path),
        Ok(_) => Err(io::Error::other("something else has the socket's name")),
        Err(_) => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let (dir, name) = Dir::of_file(path)?;
    dir.remove_file(name)
}

fn remove_made(address: &Address) {
    if let Some(made) = &address.made
        && let Ok((parent, name)) = Dir::of_file(made)
    {
        // The directory holds only the socket.
        let _ = parent.remove_empty_subdir(name);
    }
}

/// Connects to a socket, waiting at most `patience` for the server.
///
/// # Errors
/// When the socket does not exist, has no server, or the timeout expires.
pub fn dial(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket: OwnedFd = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let millis = i64::try_from(patience.as_millis())
        .unwrap_or(i64::MAX)
        .max(1);
    setsockopt(
        &socket,
        sockopt::SendTimeout,
        &TimeVal::milliseconds(millis),
    )?;
    match connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) => Ok(UnixStream::from(socket)),
        Err(nix::errno::Errno::EAGAIN) => Err(io::ErrorKind::TimedOut.into()),
        Err(error) => Err(error.into()),
    }
}

/// The process at the other end of a socket, as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub uid: Uid,
    /// `None` when it belongs to another process-id namespace and has no number in this one.
    pub pid: Option<u32>,
}

/// Asks the kernel who made the other end.
///
/// # Errors
/// When the kernel does not report it.
#[cfg(target_os = "linux")]
pub fn peer_of(stream: &UnixStream) -> io::Result<Peer> {
    let peer = getsockopt(stream, sockopt::PeerCredentials)?;
    Ok(Peer {
        uid: Uid::from_raw(peer.uid()),
        pid: u32::try_from(peer.pid()).ok().filter(|&pid| pid != 0),
    })
}

/// Asks the kernel who made the other end.
///
/// # Errors
/// When the kernel does not report it.
#[cfg(not(target_os = "linux"))]
pub fn peer_of(stream: &UnixStream) -> io::Result<Peer> {
    let cred = getsockopt(stream, sockopt::LocalPeerCred)?;
    Ok(Peer {
        uid: Uid::from_raw(cred.uid()),
        pid: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn address(path: PathBuf, made: Option<PathBuf>) -> Address {
        Address { path, made }
    }

    #[test]
    fn a_socket_is_its_users_alone_and_goes_with_its_directory() {
        let tmp = tempfile::tempdir().unwrap();
        let made = tmp.path().join("made");
        std::fs::create_dir(&made).unwrap();
        let path = made.join("a.sock");
        let bound = Bound::at(address(path.clone(), Some(made.clone()))).unwrap();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!(meta.mode() & 0o777, 0o600);
        assert!(bound.is_in_place());
        let stream = dial(&path, Duration::from_secs(5)).unwrap();
        let peer = peer_of(&stream).unwrap();
        assert_eq!(peer.uid, nix::unistd::geteuid());
        assert_eq!(peer.pid, Some(std::process::id()));
        drop(bound);
        assert!(!made.exists());
    }

    #[test]
    fn what_is_not_this_socket_stays() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("a.sock");
        std::fs::write(&path, "precious").unwrap();
        let error = Bound::at(address(path.clone(), None)).err().unwrap();
        assert!(error.to_string().contains("something else has"), "{error}");
        std::fs::remove_file(&path).unwrap();
        let bound = Bound::at(address(path.clone(), None)).unwrap();
        // Deleted, and another socket bound in its place.
        std::fs::remove_file(&path).unwrap();
        assert!(!bound.is_in_place());
        let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(!bound.is_in_place());
        drop(bound);
        assert!(path.exists(), "it belongs to another");
        drop(other);
        // A dead one is replaced.
        drop(Bound::at(address(path.clone(), None)).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_server_that_takes_nobody_is_left_after_a_while() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("full.sock");
        let socket_of = || {
            socket(
                AddressFamily::Unix,
                SockType::Stream,
                SockFlag::empty(),
                None,
            )
        };
        let full = socket_of().unwrap();
        bind(full.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&full, Backlog::new(0).unwrap()).unwrap();
        let begin = Instant::now();
        let mut open = Vec::new();
        let error = loop {
            match dial(&path, Duration::from_millis(200)) {
                Ok(stream) => open.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}
