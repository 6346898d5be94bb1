//! Files without a name, in memory, through which a process can pass on data that survives when it is killed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Makes a file without a name. Started processes inherit its descriptor.
///
/// # Errors
/// When the system has none to give, or does not have such files.
pub fn unnamed() -> io::Result<File> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    {
        use nix::sys::memfd::{MFdFlags, memfd_create};
        Ok(memfd_create(c"heirloom", MFdFlags::empty())?.into())
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    Err(io::ErrorKind::Unsupported.into())
}

/// Reads and removes the contents of a file; what cannot be read stays in it.
pub fn take_all(file: &File) -> Vec<u8> {
    let length = file.metadata().map_or(0, |m| m.len());
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    match file
        .read_exact_at(&mut bytes, 0)
        .and_then(|()| file.set_len(0))
    {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_written_is_taken_once() {
        let mut file = unnamed().unwrap();
        assert_eq!(take_all(&file), b"");
        file.write_all(b"a line\n").unwrap();
        assert_eq!(take_all(&file), b"a line\n");
        assert_eq!(take_all(&file), b"");
    }
}
