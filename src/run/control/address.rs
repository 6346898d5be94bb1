//! Where a run's control socket lies. Its address stands in the run's lock, so that nobody has to guess.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// A socket's address must fit into 108 bytes with its final zero (sun_path of Linux; 104 elsewhere).
const LONGEST: usize = 103;

/// A free place for the socket of the run at `dir`: under `$XDG_RUNTIME_DIR`, in the run's directory when that is short
/// enough, else in a private directory for temporary files.
///
/// # Errors
/// When there is no such place.
pub fn choose(dir: &Path, runtime_dir: Option<&Path>, temp_dir: &Path) -> io::Result<PathBuf> {
    let dir = std::path::absolute(dir)?;
    let fits = |path: &PathBuf| path.as_os_str().len() <= LONGEST;
    // The name tells runs apart, the process tells a run's resumes apart.
    let run = blake3::hash(dir.as_os_str().as_encoded_bytes()).to_hex();
    let name = format!("heirloom-{}-{}.sock", &run[..8], std::process::id());
    let runtime = runtime_dir.filter(|d| d.is_absolute() && is_private(d));
    if let Some(path) = runtime.map(|d| d.join(&name)).filter(fits) {
        return Ok(path);
    }
    let own = dir.join("control.sock");
    if fits(&own) {
        return Ok(own);
    }
    let temp = temp_dir.join(format!("heirloom-{}", geteuid()));
    match std::fs::DirBuilder::new().mode(0o700).create(&temp) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ if !is_private(&temp) => {
            return Err(io::Error::other(format!(
                "{} belongs to somebody else or is open to others",
                temp.display()
            )));
        }
        _ => {}
    }
    let path = temp.join(name);
    match fits(&path) {
        true => Ok(path),
        false => Err(io::Error::other(format!(
            "{} is too long for a socket",
            path.display()
        ))),
    }
}

/// A real directory of this user that nobody else can write to.
fn is_private(dir: &Path) -> bool {
    std::fs::symlink_metadata(dir)
        .is_ok_and(|m| m.is_dir() && m.uid() == geteuid().as_raw() && m.mode() & 0o022 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_socket_lies_where_its_address_fits_and_nobody_else_can_write() {
        let tmp = tempfile::tempdir().unwrap();
        let (runtime, temp) = (tmp.path().join("runtime"), tmp.path().join("temp"));
        std::fs::create_dir(&runtime).unwrap();
        std::fs::create_dir(&temp).unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(&runtime, 0o700);
        let run = tmp.path().join("runs/mine");
        let found = choose(&run, Some(&runtime), &temp).unwrap();
        assert_eq!(found.parent(), Some(runtime.as_path()));
        let other = choose(&tmp.path().join("runs/other"), Some(&runtime), &temp).unwrap();
        assert_ne!(found, other);

        set(&runtime, 0o777);
        let found = choose(&run, Some(&runtime), &temp).unwrap();
        assert_eq!(found, run.join("control.sock"), "open to others");

        let long = tmp.path().join("x".repeat(120));
        let found = choose(&long, None, &temp).unwrap();
        assert!(found.starts_with(&temp), "{}", found.display());
        let private = found.parent().unwrap();
        assert_eq!(std::fs::metadata(private).unwrap().mode() & 0o777, 0o700);
        set(private, 0o777);
        let refused = choose(&long, None, &temp).unwrap_err().to_string();
        assert!(refused.ends_with("open to others"), "{refused}");
    }
}
