//! Where a run's control socket is bound. Its address is written into the run's lock, where clients look it up.
//!
//! Any place may fail: a runtime directory may be missing, a run's path too long or on a file system without sockets, a known name under
//! `/tmp` taken by another user. The places are therefore tried in turn when the socket is bound; the last of them is a directory with a
//! random name.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::file::{self, Dir};
use crate::text;

/// A socket's address must fit into 108 bytes with its final zero (sun_path of Linux; 104 elsewhere).
const LONGEST: usize = 103;

/// The socket's name in the run's directory.
pub const IN_RUN: &str = "control.sock";

/// A place for the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `$XDG_RUNTIME_DIR`.
    Runtime(PathBuf),
    /// The run's own directory.
    Run(PathBuf),
    /// This user's directory for all runs, in a directory for temporary files.
    Temporary(PathBuf),
    /// A private directory with a random name, in a directory for temporary files.
    Random(PathBuf),
}

/// A path that a socket may be bound to.
#[derive(Debug)]
pub struct Address {
    pub path: PathBuf,
    /// A directory that was made for the socket and is removed with it.
    pub made: Option<PathBuf>,
}

/// The places for the run at `dir`, the best one first.
pub fn places(dir: &Path, runtime: Option<PathBuf>, temporary: &Path) -> Vec<Place> {
    let mut places: Vec<Place> = runtime.map(Place::Runtime).into_iter().collect();
    places.push(Place::Run(dir.to_path_buf()));
    let mut all = vec![temporary.to_path_buf()];
    // $TMPDIR may be as long as the run's path, or gone.
    if temporary != Path::new("/tmp") {
        all.push("/tmp".into());
    }
    places.extend(all.iter().cloned().map(Place::Temporary));
    places.extend(all.into_iter().map(Place::Random));
    places
}

impl Place {
    /// Makes what the place needs and returns the address of the socket of the run at `dir`.
    ///
    /// # Errors
    /// When the place cannot be used: it is missing, open to others, or its path too long.
    pub fn prepare(&self, dir: &Path) -> io::Result<Address> {
        let kept = |path: PathBuf| {
            let address = Address { path, made: None };
            fits(&address.path).map(|()| address)
        };
        match self {
            Self::Runtime(runtime) => {
                if !runtime.is_absolute() {
                    return Err(refused(runtime, "is not an absolute path"));
                }
                check_private(runtime)?;
                kept(runtime.join(name(dir)?))
            }
            Self::Run(run) => kept(std::path::absolute(run)?.join(IN_RUN)),
            Self::Temporary(parent) => {
                let entry = format!("heirloom-{}", geteuid());
                let path = std::path::absolute(parent)?.join(&entry);
                match Dir::open(parent)?.create_private_subdir(&entry) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(refused(&path, &e.to_string()));
                    }
                    _ => check_private(&path)?,
                }
                kept(path.join(name(dir)?))
            }
            Self::Random(parent) => {
                let made = std::path::absolute(parent)?;
                let entry = format!("heirloom-{:016x}", file::random());
                let path = made.join(&entry).join(IN_RUN);
                fits(&path)?;
                let parent = Dir::open(&made)?;
                let made = made.join(&entry);
                parent
                    .create_private_subdir(&entry)
                    .map_err(|e| refused(&made, &e.to_string()))?;
                Ok(Address {
                    path,
                    made: Some(made),
                })
            }
        }
    }
}

/// Returns the socket's name in a directory shared by several runs: it contains a hash of the run's path and the process id.
fn name(dir: &Path) -> io::Result<String> {
    let dir = std::path::absolute(dir)?;
    let run = blake3::hash(dir.as_os_str().as_encoded_bytes()).to_hex();
    Ok(format!(
        "heirloom-{}-{}.sock",
        &run[..8],
        std::process::id()
    ))
}

fn fits(path: &Path) -> io::Result<()> {
    match path.as_os_str().len() <= LONGEST {
        true => Ok(()),
        false => Err(refused(path, "is too long for a socket")),
    }
}

/// Accepts only a real directory that belongs to this user and that no other user can write to.
fn check_private(dir: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(dir) {
        Err(e) => Err(refused(dir, &e.to_string())),
        Ok(m) if !m.is_dir() => Err(refused(dir, "is not a directory")),
        Ok(m) if m.uid() != geteuid().as_raw() => Err(refused(dir, "belongs to another user")),
        Ok(m) if m.mode() & 0o022 != 0 => Err(refused(dir, "is open to others")),
        Ok(_) => Ok(()),
    }
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{} {why}", text::path(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_socket_lies_where_its_address_fits_and_nobody_else_can_write() {
        let tmp = tempfile::tempdir().unwrap();
        let runtime = tmp.path().join("runtime");
        std::fs::create_dir(&runtime).unwrap();
        set_mode(&runtime, 0o700);
        let place = Place::Runtime(runtime.clone());
        let mine = place.prepare(&tmp.path().join("runs/mine")).unwrap();
        assert_eq!(mine.path.parent(), Some(runtime.as_path()));
        let other = place.prepare(&tmp.path().join("runs/other")).unwrap();
        assert_ne!(mine.path, other.path);
        let said = |place: &Place| place.prepare(tmp.path()).unwrap_err().to_string();
        set_mode(&runtime, 0o777);
        assert!(said(&place).ends_with("is open to others"));
        assert!(said(&Place::Runtime("run".into())).ends_with("is not an absolute path"));
        let long = tmp.path().join("x".repeat(120));
        assert!(said(&Place::Run(long)).ends_with("is too long for a socket"));
    }

    #[test]
    fn a_known_name_that_is_taken_leaves_a_random_one() {
        let tmp = tempfile::tempdir().unwrap();
        let run = tmp.path().join("x".repeat(120));
        let known = Place::Temporary(tmp.path().into());
        let first = known.prepare(&run).unwrap();
        let private = first.path.parent().unwrap();
        assert_eq!(std::fs::metadata(private).unwrap().mode() & 0o777, 0o700);
        set_mode(private, 0o777);
        let why = known.prepare(&run).unwrap_err().to_string();
        assert!(why.ends_with("is open to others"), "{why}");
        std::fs::remove_dir(private).unwrap();
        std::os::unix::fs::symlink(tmp.path(), private).unwrap();
        let why = known.prepare(&run).unwrap_err().to_string();
        assert!(why.ends_with("is not a directory"), "{why}");
        let random = Place::Random(tmp.path().into());
        let (a, b) = (random.prepare(&run).unwrap(), random.prepare(&run).unwrap());
        assert_ne!(a.path, b.path);
        let made = a.made.unwrap();
        assert_eq!(std::fs::metadata(&made).unwrap().mode() & 0o777, 0o700);
        assert_eq!(a.path.parent(), Some(made.as_path()));
    }

    #[test]
    fn every_place_is_tried_in_its_turn() {
        let (run, tmp) = (Path::new("runs/a"), Path::new("/var/tmp"));
        let all = places(run, Some("/run/user/0".into()), tmp);
        assert!(matches!(
            &all[..],
            [
                Place::Runtime(_),
                Place::Run(_),
                Place::Temporary(_),
                Place::Temporary(_),
                Place::Random(_),
                Place::Random(_)
            ]
        ));
        assert_eq!(places(run, None, Path::new("/tmp")).len(), 3);
    }
}
