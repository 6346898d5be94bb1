//! Token ids in memory or mapped from files.

use memmap2::Mmap;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

use super::CorpusError;

/// A sequence of token ids in one or more pieces; cheap to clone and to cut.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    pieces: Vec<Piece>,
    /// The end of each piece, counted over all pieces.
    ends: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Piece {
    data: Arc<Data>,
    range: Range<usize>,
    /// Name in messages, and the bound on its ids; 0: they are known to fit.
    source: Arc<str>,
    limit: u32,
}

#[derive(Debug)]
enum Data {
    Short(Vec<u16>),
    Long(Vec<u32>),
    /// Little-endian ids of `width` from byte `offset` on.
    Mapped {
        map: Mmap,
        offset: usize,
        width: Width,
    },
}

/// Bytes of one id in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    Two,
    Four,
}

impl Width {
    /// Returns the narrowest width that holds every id below `size`.
    pub fn of(size: usize) -> Self {
        if size <= 1 << 16 {
            Self::Two
        } else {
            Self::Four
        }
    }

    pub fn bytes(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// `u16` or `u32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Two => "u16",
            Self::Four => "u32",
        }
    }
}

/// Up to this many bytes, all ids are checked when a file is opened, and all are hashed. Of longer sequences a sample
/// is checked, and every window when it is drawn.
const LOOKED_AT: usize = 256 << 20;
/// The sample: blocks of this many bytes, evenly strided from the first to the last.
const BLOCK: usize = 1 << 20;

impl Tokens {
    /// Ids in memory, two bytes each.
    pub fn owned(ids: Vec<u16>) -> Self {
        let n = ids.len();
        Self::piece(Data::Short(ids), n, "text", 0)
    }

    /// Ids in memory, four bytes each.
    pub fn owned_long(ids: Vec<u32>) -> Self {
        let n = ids.len();
        Self::piece(Data::Long(ids), n, "text", 0)
    }

    /// `n` ids of a mapped file, which must be long enough; all must be below `size`.
    ///
    /// # Errors
    /// The place and the value of an id that is not, as far as ids were checked: windows are checked again when they
    /// are drawn.
    pub(super) fn mapped(
        map: Mmap,
        offset: usize,
        width: Width,
        n: usize,
        source: &str,
        size: usize,
    ) -> Result<Self, (usize, u32)> {
        assert!(
            offset + width.bytes() * n <= map.len(),
            "the file holds {n} tokens"
        );
        let data = Data::Mapped { map, offset, width };
        let mut tokens = Self::piece(data, n, source, 0);
        let all = width == Width::Two && size > usize::from(u16::MAX);
        if all {
            return Ok(tokens);
        }
        if let Some(outside) = tokens.first_outside(size) {
            return Err(outside);
        }
        if width.bytes() * n > LOOKED_AT {
            tokens.pieces[0].limit = u32::try_from(size).unwrap_or(u32::MAX);
        }
        Ok(tokens)
    }

    fn piece(data: Data, n: usize, source: &str, limit: u32) -> Self {
        Self {
            pieces: vec![Piece {
                data: Arc::new(data),
                range: 0..n,
                source: source.into(),
                limit,
            }],
            ends: vec![n],
        }
    }

    /// Concatenates texts.
    pub fn join(all: impl IntoIterator<Item = Self>) -> Self {
        let mut joined = Self::default();
        for tokens in all {
            for piece in tokens.pieces.into_iter().filter(|p| !p.range.is_empty()) {
                joined.ends.push(joined.len() + piece.range.len());
                joined.pieces.push(piece);
            }
        }
        joined
    }

    /// Bytes that the ids of these texts take in memory; mapped files take none. What several share is counted once.
    pub fn bytes_in_memory<'t>(texts: impl IntoIterator<Item = &'t Self>) -> u64 {
        let mut seen = std::collections::HashSet::new();
        let pieces = texts.into_iter().flat_map(|text| &text.pieces);
        let own = pieces.filter(|piece| seen.insert(Arc::as_ptr(&piece.data)));
        own.map(|piece| match &*piece.data {
            Data::Short(ids) => 2 * ids.capacity() as u64,
            Data::Long(ids) => 4 * ids.capacity() as u64,
            Data::Mapped { .. } => 0,
        })
        .sum()
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Two parts, cut before index `at`.
    pub fn split_at(&self, at: usize) -> (Self, Self) {
        (self.part(0..at), self.part(at..self.len()))
    }

    /// Returns the ids of `range`, as far as they exist.
    pub fn part(&self, range: Range<usize>) -> Self {
        let mut part = Self::default();
        let mut start = 0;
        for (piece, &end) in self.pieces.iter().zip(&self.ends) {
            let from = range.start.clamp(start, end) - start;
            let to = range.end.clamp(start, end) - start;
            if from < to {
                let mut piece = piece.clone();
                piece.range = piece.range.start + from..piece.range.start + to;
                part.ends.push(part.len() + to - from);
                part.pieces.push(piece);
            }
            start = end;
        }
        part
    }

    /// The id at `i`.
    pub fn get(&self, i: usize) -> u32 {
        assert!(i < self.len(), "token {i} is outside {}", self.len());
        let (piece, at) = self.place(i);
        let mut id = [0];
        piece.copy(at, &mut id);
        id[0]
    }

    /// The piece that index `i` is in, and where.
    fn place(&self, i: usize) -> (&Piece, usize) {
        let piece = self.ends.partition_point(|&end| end <= i);
        let start = piece.checked_sub(1).map_or(0, |before| self.ends[before]);
        (&self.pieces[piece], i - start)
    }

    /// Copies ids from `start` on.
    ///
    /// # Errors
    /// When one is outside the vocabulary, which for very long files is detected only here.
    pub fn copy_to(&self, start: usize, into: &mut [u32]) -> Result<(), CorpusError> {
        let mut done = 0;
        while done < into.len() {
            let (piece, at) = self.place(start + done);
            let n = (piece.range.len() - at).min(into.len() - done);
            let ids = &mut into[done..done + n];
            piece.copy(at, ids);
            if piece.limit > 0
                && let Some(i) = ids.iter().position(|&id| id >= piece.limit)
            {
                return Err(CorpusError::Outside {
                    name: piece.source.to_string(),
                    at: piece.range.start + at + i,
                    id: ids[i],
                    size: piece.limit as usize,
                });
            }
            done += n;
        }
        Ok(())
    }

    /// Returns BLAKE3 of the ids, to distinguish texts. Of more than 256 MB the length and evenly strided blocks of 1
    /// MB, 256 in total, are hashed.
    pub fn fingerprint(&self) -> String {
        let mut hash = blake3::Hasher::new();
        let bytes: usize = self.pieces.iter().map(Piece::bytes).sum();
        if bytes <= LOOKED_AT {
            for piece in &self.pieces {
                piece.hash(0..piece.range.len(), &mut hash);
            }
            return hash.finalize().to_hex().to_string();
        }
        hash.update(b"sample");
        hash.update(&(self.len() as u64).to_le_bytes());
        let blocks = (LOOKED_AT / BLOCK) / self.pieces.len().min(LOOKED_AT / BLOCK);
        for piece in &self.pieces {
            hash.update(&(piece.range.len() as u64).to_le_bytes());
            for block in piece.sample(blocks) {
                piece.hash(block, &mut hash);
            }
        }
        hash.finalize().to_hex().to_string()
    }

    /// Checks every id; `name` is the text's name in messages.
    ///
    /// # Errors
    /// [`CorpusError::Outside`] for the first that is not below `size`.
    pub fn check_below(&self, name: &str, size: usize) -> Result<(), CorpusError> {
        match self.outside(size, true) {
            None => Ok(()),
            Some((at, id)) => Err(CorpusError::Outside {
                name: name.into(),
                at,
                id,
                size,
            }),
        }
    }

    /// Returns the first id that is not below `size`, with its place; of long sequences only a sample is checked.
    pub fn first_outside(&self, size: usize) -> Option<(usize, u32)> {
        self.outside(size, false)
    }

    fn outside(&self, size: usize, all: bool) -> Option<(usize, u32)> {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let mut start = 0;
        for (piece, &end) in self.pieces.iter().zip(&self.ends) {
            let blocks = match all || piece.bytes() <= LOOKED_AT {
                true => piece.whole(),
                false => piece.sample(LOOKED_AT / BLOCK),
            };
            let outside = blocks
                .into_par_iter()
                .find_map_first(|block| piece.first_outside(block, size));
            if let Some((at, id)) = outside {
                return Some((start + at, id));
            }
            start = end;
        }
        None
    }
}

impl Piece {
    fn width(&self) -> usize {
        match &*self.data {
            Data::Short(_) => 2,
            Data::Long(_) => 4,
            Data::Mapped { width, .. } => width.bytes(),
        }
    }

    fn bytes(&self) -> usize {
        self.width() * self.range.len()
    }

    /// The little-endian bytes of ids of a mapped file.
    fn mapped(&self, part: Range<usize>) -> &[u8] {
        let Data::Mapped { map, offset, width } = &*self.data else {
            return &[];
        };
        let at = |i: usize| offset + width.bytes() * (self.range.start + i);
        &map[at(part.start)..at(part.end)]
    }

    fn copy(&self, at: usize, into: &mut [u32]) {
        let part = self.range.start + at..self.range.start + at + into.len();
        match &*self.data {
            Data::Short(ids) => {
                for (id, &from) in into.iter_mut().zip(&ids[part]) {
                    *id = u32::from(from);
                }
            }
            Data::Long(ids) => into.copy_from_slice(&ids[part]),
            Data::Mapped { width, .. } => {
                let bytes = self.mapped(at..at + into.len());
                let ids = bytes.chunks_exact(width.bytes());
                for (id, from) in into.iter_mut().zip(ids) {
                    *id = match *from {
                        [a, b] => u32::from(u16::from_le_bytes([a, b])),
                        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
                        _ => unreachable!("two or four bytes"),
                    };
                }
            }
        }
    }

    fn hash(&self, part: Range<usize>, hash: &mut blake3::Hasher) {
        if let Data::Mapped { .. } = &*self.data {
            hash.update(self.mapped(part));
            return;
        }
        let mut ids = vec![0; part.len().min(1 << 16)];
        let short = self.width() == 2;
        let mut bytes = Vec::with_capacity(4 * ids.len());
        for start in part.clone().step_by(1 << 16) {
            let n = (part.end - start).min(ids.len());
            self.copy(start, &mut ids[..n]);
            bytes.clear();
            for id in &ids[..n] {
                let id = id.to_le_bytes();
                bytes.extend_from_slice(if short { &id[..2] } else { &id });
            }
            hash.update(&bytes);
        }
    }

    /// All ids, in blocks.
    fn whole(&self) -> Vec<Range<usize>> {
        let (n, block) = (self.range.len(), BLOCK / self.width());
        let starts = (0..n).step_by(block);
        starts.map(|start| start..(start + block).min(n)).collect()
    }

    /// Evenly strided blocks from the first to the last.
    fn sample(&self, blocks: usize) -> Vec<Range<usize>> {
        let (n, block) = (self.range.len(), BLOCK / self.width());
        if n <= blocks.max(1) * block {
            return self.whole();
        }
        let last = n - block;
        let starts = (0..blocks).map(|i| match blocks {
            1 => 0,
            _ => (i as u128 * last as u128 / (blocks as u128 - 1)) as usize,
        });
        starts.map(|start| start..start + block).collect()
    }

    fn first_outside(&self, block: Range<usize>, size: u32) -> Option<(usize, u32)> {
        let mut ids = [0; 4096];
        for start in block.clone().step_by(ids.len()) {
            let ids = &mut ids[..(block.end - start).min(4096)];
            self.copy(start, ids);
            // One maximum over all is faster than comparing each.
            if ids.iter().fold(0, |a, &b| a.max(b)) >= size {
                let i = ids.iter().position(|&id| id >= size)?;
                return Some((start + i, ids[i]));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_run_on_from_piece_to_piece() {
        let tokens = Tokens::join([
            Tokens::owned(vec![1, 2, 3]),
            Tokens::owned(Vec::new()),
            Tokens::owned_long(vec![100_000, 5]),
            Tokens::owned((6..10).collect()),
        ]);
        assert_eq!(tokens.len(), 9);
        let copy = |tokens: &Tokens, start: usize, n: usize| {
            let mut ids = vec![0; n];
            tokens.copy_to(start, &mut ids).unwrap();
            ids
        };
        assert_eq!(copy(&tokens, 0, 9), [1, 2, 3, 100_000, 5, 6, 7, 8, 9]);
        assert_eq!(copy(&tokens, 2, 4), [3, 100_000, 5, 6]);
        let (first, second) = tokens.split_at(4);
        assert_eq!((first.len(), second.len()), (4, 5));
        assert_eq!(copy(&second, 0, 5), [5, 6, 7, 8, 9]);
        assert_eq!(tokens.get(3), 100_000);
        assert_eq!(tokens.first_outside(100_000), Some((3, 100_000)));
        assert_eq!(tokens.first_outside(100_001), None);
        assert_ne!(first.fingerprint(), second.fingerprint());
    }

    #[test]
    fn a_sample_reaches_from_the_first_id_to_the_last() {
        let tokens = Tokens::owned(vec![0; 5 << 20]);
        let blocks = tokens.pieces[0].sample(4);
        assert_eq!(blocks[0], 0..1 << 19);
        assert_eq!(blocks[3], (5 << 20) - (1 << 19)..5 << 20);
        assert_eq!(tokens.pieces[0].sample(100), tokens.pieces[0].whole());
        let whole = tokens.pieces[0].whole();
        assert_eq!(whole.iter().map(Range::len).sum::<usize>(), 5 << 20);
    }
}
