//! Determines the part of a model's arenas that each rank of a run updates.

use std::ops::Range;

use crate::dist;
use crate::model::Param;

/// Parts begin at multiples of this number of elements (256 bytes of f32), so that vectors of every kernel are aligned in them.
const BLOCK: usize = 64;

/// Cuts the flat arena of `params` into one part for each of `world` ranks: adjacent, in the order of ranks, and of equal
/// size but for one block. A rank has an empty part where there are fewer blocks than ranks.
///
/// With `muon`, which updates whole matrices, a tensor of hidden matrices belongs to one rank: a cut within it moves to
/// the nearer of its ends.
pub fn parts(params: &[Param], world: usize, muon: bool) -> Vec<Range<usize>> {
    let world = world.max(1);
    let n: usize = params.iter().map(Param::len).sum();
    let blocks = n.div_ceil(BLOCK);
    let cut = |rank: usize| match rank {
        0 => 0,
        _ if rank == world => n,
        _ => {
            let at = (dist::slice(blocks, rank, world).start * BLOCK).min(n);
            if muon {
                outside_matrices(params, at)
            } else {
                at
            }
        }
    };
    (0..world).map(|rank| cut(rank)..cut(rank + 1)).collect()
}

/// Moves a cut within a tensor of hidden matrices to the nearer of the tensor's ends.
fn outside_matrices(params: &[Param], cut: usize) -> usize {
    let mut start = 0;
    for p in params {
        let end = start + p.len();
        if cut < end {
            return match p.is_hidden_matrix() {
                true if cut - start <= end - cut => start,
                true => end,
                false => cut,
            };
        }
        start = end;
    }
    cut
}

/// One rank's share of an optimizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    parts: Vec<Range<usize>>,
    rank: usize,
    sharded: bool,
}

impl Share {
    /// Returns the share of `rank` of `world`. If `sharded`, it updates only its part, and otherwise all of the arena; `muon` is whether
    /// Muon updates the hidden matrices.
    pub fn of(params: &[Param], (rank, world): (usize, usize), sharded: bool, muon: bool) -> Self {
        Self {
            parts: parts(params, world, muon),
            rank: rank.min(world.saturating_sub(1)),
            sharded: sharded && world > 1,
        }
    }

    /// Every rank's part of the arena.
    pub fn parts(&self) -> &[Range<usize>] {
        &self.parts
    }

    /// Whether the moments of other parts lie on other ranks.
    pub fn is_sharded(&self) -> bool {
        self.sharded
    }

    /// This rank's part of the arena.
    pub fn part(&self) -> Range<usize> {
        self.parts[self.rank].clone()
    }

    /// The elements whose moments this rank holds, and which it updates.
    pub fn held(&self) -> Range<usize> {
        match self.sharded {
            true => self.part(),
            false => 0..self.parts.last().map_or(0, |last| last.end),
        }
    }

    /// The element at which memory for the moments begins: before [`Self::held`] where that is not aligned.
    pub fn origin(&self) -> usize {
        self.held().start / BLOCK * BLOCK
    }

    /// Elements of a moment in this rank's memory.
    pub fn room(&self) -> usize {
        room(&self.held())
    }

    /// Elements of a moment in the memory of the rank that has the most.
    pub fn most_room(&self) -> usize {
        match self.sharded {
            true => self.parts.iter().map(room).max().unwrap_or(1),
            false => self.room(),
        }
    }
}

/// Elements of a moment in memory: at least one, since devices allocate no empty memory.
fn room(held: &Range<usize>) -> usize {
    (held.end - held.start / BLOCK * BLOCK).max(1)
}

/// The elements that two ranges have in common; empty, at a place within `b`, if they have none.
pub fn common(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    let start = a.start.clamp(b.start, b.end);
    start..a.end.clamp(start, b.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DecoderConfig, Sizes};

    fn params(n_embd: usize, vocab: usize) -> Vec<Param> {
        let sizes = Sizes {
            n_layer: 3,
            n_head: 2,
            n_embd,
            context_length: 6,
            vocab,
        };
        DecoderConfig::gpt2(sizes, true).params()
    }

    #[test]
    fn parts_cover_the_arena_and_begin_at_whole_blocks() {
        for (n_embd, vocab) in [(2, 3), (8, 11), (24, 257)] {
            let params = params(n_embd, vocab);
            let n: usize = params.iter().map(Param::len).sum();
            for world in [1, 2, 3, 4, 7, 100] {
                let parts = parts(&params, world, false);
                assert_eq!(parts.len(), world);
                assert_eq!((parts[0].start, parts[world - 1].end), (0, n));
                assert!(parts.windows(2).all(|two| two[0].end == two[1].start));
                assert!(
                    parts
                        .iter()
                        .all(|part| part.start.is_multiple_of(BLOCK) || part.start == n)
                );
                let sizes = || parts.iter().map(ExactSizeIterator::len);
                // The last block may be a part of one.
                assert!(sizes().max().unwrap() - sizes().min().unwrap() < 2 * BLOCK);
            }
            let many = parts(&params, n.div_ceil(BLOCK) + 3, false);
            assert_eq!(many.iter().filter(|part| part.is_empty()).count(), 3);
        }
    }

    #[test]
    fn a_hidden_matrix_belongs_to_one_rank() {
        let params = params(24, 64);
        let n: usize = params.iter().map(Param::len).sum();
        for world in [1, 2, 3, 4, 7, 40] {
            let parts = parts(&params, world, true);
            assert_eq!((parts[0].start, parts[world - 1].end), (0, n));
            assert!(parts.windows(2).all(|two| two[0].end == two[1].start));
            let mut start = 0;
            for p in &params {
                let own = start..start + p.len();
                let holders = parts.iter().filter(|part| !common(part, &own).is_empty());
                assert!(!p.is_hidden_matrix() || holders.count() == 1, "{}", p.name);
                start = own.end;
            }
        }
        assert!(parts(&params, 3, true) != parts(&params, 3, false));
    }

    #[test]
    fn common_elements_lie_in_both_ranges() {
        assert_eq!(common(&(2..5), &(4..9)), 4..5);
        assert_eq!(common(&(4..9), &(2..5)), 4..5);
        assert_eq!(common(&(0..9), &(2..5)), 2..5);
        assert!(common(&(0..2), &(4..9)).is_empty());
        assert!(common(&(10..12), &(4..9)).is_empty());
    }
}
