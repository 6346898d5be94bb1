//! Token ids in memory or mapped from a file.

use memmap2::Mmap;
use std::ops::Range;
use std::sync::Arc;

/// A run of token ids; cheap to clone and to cut.
#[derive(Debug, Clone)]
pub struct Tokens {
    data: Arc<Data>,
    range: Range<usize>,
}

#[derive(Debug)]
enum Data {
    Owned(Vec<u16>),
    /// Little-endian u16 from byte `offset` on.
    Mapped {
        map: Mmap,
        offset: usize,
    },
}

impl Tokens {
    /// Ids in memory.
    pub fn owned(ids: Vec<u16>) -> Self {
        let range = 0..ids.len();
        Self {
            data: Arc::new(Data::Owned(ids)),
            range,
        }
    }

    /// `n` ids of a mapped file, which must be long enough.
    pub(super) fn mapped(map: Mmap, offset: usize, n: usize) -> Self {
        assert!(offset + 2 * n <= map.len(), "the file holds {n} tokens");
        Self {
            data: Arc::new(Data::Mapped { map, offset }),
            range: 0..n,
        }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Two parts, cut before index `at`.
    pub fn split_at(&self, at: usize) -> (Self, Self) {
        let middle = self.range.start + at.min(self.len());
        let part = |range| Self {
            data: Arc::clone(&self.data),
            range,
        };
        (part(self.range.start..middle), part(middle..self.range.end))
    }

    /// The id at `i`.
    pub fn get(&self, i: usize) -> u16 {
        let i = self.range.start + i;
        assert!(i < self.range.end, "token {i} is outside {:?}", self.range);
        match &*self.data {
            Data::Owned(ids) => ids[i],
            Data::Mapped { map, offset } => {
                let at = offset + 2 * i;
                u16::from_le_bytes([map[at], map[at + 1]])
            }
        }
    }

    /// Copies ids from `start` on.
    pub fn copy_to(&self, start: usize, into: &mut [u32]) {
        for (i, id) in into.iter_mut().enumerate() {
            *id = u32::from(self.get(start + i));
        }
    }

    /// BLAKE3 of the ids, to tell one text from another.
    pub fn fingerprint(&self) -> String {
        let mut hash = blake3::Hasher::new();
        match &*self.data {
            Data::Owned(ids) => {
                for part in ids[self.range.clone()].chunks(1 << 16) {
                    let bytes: Vec<u8> = part.iter().flat_map(|id| id.to_le_bytes()).collect();
                    hash.update(&bytes);
                }
            }
            Data::Mapped { map, offset } => {
                hash.update(&map[offset + 2 * self.range.start..offset + 2 * self.range.end]);
            }
        }
        hash.finalize().to_hex().to_string()
    }

    /// The first id that is not below `size`, with its place.
    pub fn first_outside(&self, size: usize) -> Option<(usize, u16)> {
        (0..self.len())
            .map(|i| (i, self.get(i)))
            .find(|(_, id)| usize::from(*id) >= size)
    }
}
