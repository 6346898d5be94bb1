//! Reads files from untrusted sources: only regular ones, and no more of them than such a file can sensibly hold.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The first bytes of the pointers that git keeps in place of large files until git-lfs has fetched these (under its
/// three names).
const LFS_POINTERS: [&[u8]; 3] = [
    b"version https://git-lfs.github.com/spec/",
    b"version https://hawser.github.com/spec/",
    b"version http://git-media.io/v/",
];

/// Opens a regular file for reading; links are followed.
///
/// # Errors
/// When it is not there, cannot be read, is a directory, a pipe or a device, or is a git-lfs pointer in place of the file.
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        // A pipe without a writer does not block; for regular files the flag has no effect.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.is_file() {
        let why = "it is not a regular file";
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    }
    refuse_lfs_pointer(&file)?;
    Ok(file)
}

/// Checks that a file is not the pointer that `git clone` leaves of it without git-lfs. No bytes are consumed.
///
/// # Errors
/// When it is a pointer; the message has the size of the missing file and the command that fetches it.
pub(super) fn refuse_lfs_pointer(file: &File) -> io::Result<()> {
    let mut head = [0; 512];
    let n = read_start(file, &mut head)?;
    let head = &head[..n];
    if !LFS_POINTERS.iter().any(|begin| head.starts_with(begin)) {
        return Ok(());
    }
    let head = String::from_utf8_lossy(head);
    let size = head.lines().find_map(|line| line.strip_prefix("size "));
    let size = match size.and_then(|size| size.trim().parse::<u64>().ok()) {
        Some(size) => format!(" of {} bytes", crate::text::thousands(size)),
        None => String::new(),
    };
    Err(invalid(format!(
        "it is a git-lfs pointer, not the file{size} that it stands for; fetch that with: git lfs pull"
    )))
}

/// Reads the first bytes of a file, as many as exist and fit, without moving its position. Returns their number.
///
/// # Errors
/// When they cannot be read.
pub fn read_start(file: &File, into: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < into.len() {
        match file.read_at(&mut into[n..], n as u64) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

/// Reads the text of a regular file of at most `most` bytes.
///
/// # Errors
/// As [`open`], and when it is larger or not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read_bytes(path, most)?).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        invalid(format!("it is not UTF-8: byte {at} is invalid"))
    })
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// As [`open`], and when it is larger.
pub fn read_bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    bytes_of(open(path)?, most)
}

/// Reads an open file of at most `most` bytes.
///
/// # Errors
/// When it is larger or cannot be read.
pub(super) fn bytes_of(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(invalid(format!("it is larger than {} KiB", most >> 10))),
        false => Ok(bytes),
    }
}

fn invalid(why: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Dir;

    #[test]
    fn what_git_leaves_of_a_large_file_is_named() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("file");
        let oid = "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
        for (text, size) in [
            (
                format!("version https://git-lfs.github.com/spec/v1\n{oid}\nsize 12345\n"),
                " of 12,345 bytes",
            ),
            // A checkout with converted line ends, an extension, an old name, and one that is cut off.
            (
                format!("version https://git-lfs.github.com/spec/v1\r\n{oid}\r\nsize 5\r\n"),
                " of 5 bytes",
            ),
            (
                format!(
                    "version https://git-lfs.github.com/spec/v1\next-0-foo sha256:00\n{oid}\nsize 7\n"
                ),
                " of 7 bytes",
            ),
            (
                format!("version https://hawser.github.com/spec/v1\n{oid}\nsize 9\n"),
                " of 9 bytes",
            ),
            ("version https://git-lfs.github.com/spec/v1\n".into(), ""),
        ] {
            std::fs::write(&path, text).unwrap();
            let want = format!(
                "it is a git-lfs pointer, not the file{size} that it stands for; fetch that with: git lfs pull"
            );
            assert_eq!(open(&path).unwrap_err().to_string(), want);
            assert_eq!(read_bytes(&path, 1 << 20).unwrap_err().to_string(), want);
            let dir = Dir::open(tmp.path()).unwrap();
            assert_eq!(dir.open_file("file").unwrap_err().to_string(), want);
        }
        let about = "version https is what a pointer begins with\n";
        std::fs::write(&path, about).unwrap();
        assert_eq!(read_text(&path, 99).unwrap(), about);
    }

    #[test]
    fn only_regular_files_of_a_sensible_size_are_read() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_text(&path, 5).unwrap(), "12345");
        let said = |path: &Path, most| read_text(path, most).unwrap_err().to_string();
        assert_eq!(said(&path, 4), "it is larger than 0 KiB");
        std::fs::write(&path, b"ab\xff").unwrap();
        assert_eq!(said(&path, 9), "it is not UTF-8: byte 2 is invalid");
        let pipe = tmp.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for odd in [&pipe, tmp.path(), Path::new("/dev/zero")] {
            assert_eq!(said(odd, 9), "it is not a regular file");
        }
        let absent = open(&tmp.path().join("none")).unwrap_err();
        assert_eq!(absent.kind(), ErrorKind::NotFound);
    }
}
