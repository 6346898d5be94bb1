//! Finds data in sparse files, which may span terabytes and hold one line of text. File systems that do not report holes
//! are treated as having none.

use std::fs::File;

use nix::unistd::{Whence, lseek};

/// Most parts of data that are searched for the last one.
const MOST_PARTS: usize = 1 << 16;

/// Returns the first byte from `from` on that is not in a hole; `None` when there are only holes up to the end. Moves
/// the file's cursor.
pub(super) fn data_from(file: &File, from: u64) -> Option<u64> {
    let Ok(at) = i64::try_from(from) else {
        return Some(from);
    };
    match lseek(file, at, Whence::SeekData) {
        Ok(data) => Some((data as u64).max(from)),
        Err(nix::Error::ENXIO) => None,
        Err(_) => Some(from),
    }
}

/// The end of the last data before `end`: all bytes from there to `end` are in a hole. Moves the file's cursor.
pub(super) fn data_before(file: &File, end: u64) -> u64 {
    let (mut from, mut last) = (0, 0);
    for _ in 0..MOST_PARTS {
        let data = match data_from(file, from) {
            Some(data) if data < end => data,
            _ => return last,
        };
        let hole = i64::try_from(data).map(|data| lseek(file, data, Whence::SeekHole));
        let Ok(Ok(hole)) = hole else {
            return end;
        };
        if hole as u64 >= end {
            return end;
        }
        last = hole as u64;
        from = last;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn holes_are_told_from_data() {
        let file = tempfile::tempfile().unwrap();
        let far = 1 << 40;
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(b"middle", far).unwrap();
        file.set_len(4 * far).unwrap();
        // File systems report data in multiples of their block size.
        assert_eq!(data_from(&file, 2), Some(2));
        assert!(data_from(&file, 1 << 20).is_some_and(|at| at > far - (1 << 20) && at <= far));
        assert_eq!(data_from(&file, 2 * far), None);
        assert!((far + 6..far + (1 << 20)).contains(&data_before(&file, 4 * far)));
        assert!((5..1 << 20).contains(&data_before(&file, far / 2)));
        assert_eq!(data_before(&file, far + 3), far + 3);
        let empty = tempfile::tempfile().unwrap();
        empty.set_len(far).unwrap();
        assert_eq!(data_before(&empty, far), 0);
    }
}
