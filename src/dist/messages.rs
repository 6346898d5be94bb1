//! Messages in buffers whose size every rank must know beforehand.

use std::ops::Range;

/// Bytes of the first part of an announcement: its length, and as much of it as fits.
pub const HEAD: usize = 4096;

/// Bytes of one part of a longer message.
pub const PART: usize = 1 << 20;

const LENGTH: usize = size_of::<u64>();

/// The first part of an announcement.
pub fn head(message: &[u8]) -> Vec<u8> {
    let mut head = vec![0; HEAD];
    head[..LENGTH].copy_from_slice(&(message.len() as u64).to_le_bytes());
    let fits = message.len().min(HEAD - LENGTH);
    head[LENGTH..LENGTH + fits].copy_from_slice(&message[..fits]);
    head
}

/// Returns the beginning of a message from its first part, and the number of bytes that follow; `None` if `head` is not a valid first part.
pub fn read_head(head: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (length, rest) = head.split_first_chunk::<LENGTH>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let fits = length.min(rest.len());
    Some((rest[..fits].to_vec(), length - fits))
}

/// The numbers of bytes that ranks have announced to each other; `None` where the buffer holds others.
pub fn lengths(bytes: &[u8]) -> Option<Vec<usize>> {
    let (chunks, []) = bytes.as_chunks::<LENGTH>() else {
        return None;
    };
    let lengths = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk));
    lengths.map(|n| usize::try_from(n).ok()).collect()
}

/// Cuts messages of these lengths into rounds of at most `part` bytes of each: the bytes of a round, which all ranks pad to the same
/// number, and where it begins.
pub fn rounds(lengths: &[usize], part: usize) -> impl Iterator<Item = (usize, usize)> {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    (0..longest)
        .step_by(part.max(1))
        .map(move |start| (start, part.min(longest - start)))
}

/// The part of a message of `length` bytes that a round of `size` bytes from `start` on has.
pub fn within(length: usize, start: usize, size: usize) -> Range<usize> {
    start.min(length)..(start + size).min(length)
}

/// Whether parts follow one another, are of one size and not empty: one all-gather in place takes them all.
pub fn are_equal(parts: &[Range<usize>]) -> bool {
    let size = parts.first().map_or(0, ExactSizeIterator::len);
    size > 0
        && parts.iter().all(|part| part.len() == size)
        && parts.windows(2).all(|two| two[0].end == two[1].start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::slice;

    #[test]
    fn an_announcement_is_read_back() {
        for length in [0, 1, HEAD - LENGTH, HEAD - LENGTH + 1, 3 * HEAD] {
            let message: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let (mut read, rest) = read_head(&head(&message)).unwrap();
            assert_eq!(read.len() + rest, length);
            read.extend(&message[length - rest..]);
            assert_eq!(read, message);
        }
        assert_eq!(read_head(&[1, 2]), None);
    }

    #[test]
    fn rounds_hold_every_byte_once() {
        for lengths in [
            vec![],
            vec![0, 0],
            vec![5, 0, 12],
            vec![8, 4],
            vec![1, 9, 16],
        ] {
            let mut taken = vec![0; lengths.len()];
            for (start, size) in rounds(&lengths, 4) {
                assert!((1..=4).contains(&size));
                for (length, taken) in lengths.iter().zip(&mut taken) {
                    let part = within(*length, start, size);
                    assert!(part.len() <= size && (part.is_empty() || part.start == *taken));
                    *taken += part.len();
                }
            }
            assert_eq!(taken, lengths);
        }
    }

    #[test]
    fn lengths_are_read_back() {
        let bytes: Vec<u8> = [3u64, 0, 1 << 40]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        assert_eq!(lengths(&bytes).unwrap(), [3, 0, 1 << 40]);
        assert_eq!(lengths(&bytes[1..]), None);
    }

    #[test]
    fn slices_of_a_number_that_divides_are_equal() {
        let parts = |n, world| (0..world).map(|r| slice(n, r, world)).collect::<Vec<_>>();
        assert!(are_equal(&parts(12, 4)));
        assert!(!are_equal(&parts(13, 4)));
        assert!(!are_equal(&parts(0, 4)));
        assert!(!are_equal(&[0..2, 3..5]));
        assert!(!are_equal(&[]));
    }
}
