//! Chooses the windows of a batch or an evaluation.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{CorpusError, Mixture, Tokens};

/// Words of the generator's output set aside for each window of each step: a draw without bias may need several.
const WORDS_PER_STEP: u128 = 1 << 20;

/// Draws random training windows. A batch is a pure function of (seed, stream, step): nothing has to be saved, and
/// batches can be made ahead in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    pub seed: u64,
}

impl Sampler {
    /// `n` window starts for windows of `context` tokens and their targets: of several sources one is drawn by weight, and
    /// within it the start is uniform (ChaCha8 as a counter-based generator: `stream` is its stream, `step` its position).
    /// Every source must have a window.
    pub fn starts(
        &self,
        stream: u64,
        step: u64,
        n: usize,
        mixture: &Mixture,
        context: usize,
    ) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng.set_word_pos(u128::from(step) * WORDS_PER_STEP);
        let mut start = || {
            // A single source takes no draw: its batches are those of versions without mixtures.
            let source = match mixture.len() {
                1 => 0,
                _ => mixture.source(rng.random()),
            };
            let range = mixture.range(source);
            range.start + rng.random_range(0..=range.len() - context - 1)
        };
        (0..n).map(|_| start()).collect()
    }
}

/// Copies windows of `t` tokens and, one token on, their targets.
///
/// # Errors
/// When an id is outside the vocabulary ([`Tokens::copy_to`]).
pub fn fill_batch(
    tokens: &Tokens,
    starts: &[usize],
    t: usize,
    inputs: &mut [u32],
    targets: &mut [u32],
) -> Result<(), CorpusError> {
    let rows = inputs.chunks_exact_mut(t).zip(targets.chunks_exact_mut(t));
    for (&start, (inputs, targets)) in starts.iter().zip(rows) {
        tokens.copy_to(start, inputs)?;
        tokens.copy_to(start + 1, targets)?;
    }
    Ok(())
}

/// Evenly strided starts of `n` windows of `t` tokens and their targets: floor(i (n_tokens - t - 1) / (n - 1)).
pub fn even_starts(n_tokens: usize, t: usize, n: usize) -> Vec<usize> {
    strided(n_tokens.saturating_sub(t + 1), n)
}

/// As [`even_starts`], for windows without targets, which rank probes use: floor(i (n_tokens - t) / (n - 1)).
pub fn even_starts_rank(n_tokens: usize, t: usize, n: usize) -> Vec<usize> {
    strided(n_tokens.saturating_sub(t), n)
}

fn strided(last: usize, n: usize) -> Vec<usize> {
    (0..n)
        .map(|i| if n == 1 { 0 } else { i * last / (n - 1) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_depend_on_seed_stream_and_step_alone() {
        let s = Sampler { seed: 3 };
        let draw = |stream, step| s.starts(stream, step, 8, &Mixture::single(1000), 100);
        assert_eq!(draw(1, 5), draw(1, 5));
        assert_ne!(draw(1, 5), draw(1, 6));
        assert_ne!(draw(1, 5), draw(2, 5));
        let single = Mixture::single(1000);
        let other = Sampler { seed: 4 };
        assert_ne!(draw(1, 5), other.starts(1, 5, 8, &single, 100));
        // A larger batch begins with the smaller one's windows.
        assert_eq!(s.starts(1, 5, 4, &single, 100), draw(1, 5)[..4]);
    }

    #[test]
    fn every_start_occurs_and_none_beyond_the_last() {
        let s = Sampler { seed: 0 };
        let mut seen = [0u32; 10];
        for step in 0..200 {
            for start in s.starts(0, step, 10, &Mixture::single(110), 100) {
                seen[start] += 1;
            }
        }
        // 2000 draws over 10 places: 200 each, sd 13.
        assert!(seen.iter().all(|&n| (130..270).contains(&n)), "{seen:?}");
    }

    #[test]
    fn even_windows_reach_from_the_first_token_to_the_last() {
        assert_eq!(even_starts(101, 10, 4), [0, 30, 60, 90]);
        assert_eq!(even_starts_rank(100, 10, 4), [0, 30, 60, 90]);
        assert_eq!(even_starts(101, 10, 1), [0]);
        let tokens = Tokens::owned((0..101).collect());
        let (mut x, mut y) = (vec![0; 10], vec![0; 10]);
        fill_batch(&tokens, &[90], 10, &mut x, &mut y).unwrap();
        assert_eq!((x[0], y[0], y[9]), (90, 91, 100));
    }

    #[test]
    fn a_single_source_gives_the_batches_it_always_gave() {
        // Recorded with the version before mixtures: the README's figures depend on them.
        let starts = Sampler { seed: 1 }.starts(2, 3, 4, &Mixture::single(1_003_855), 128);
        assert_eq!(starts, [865_942, 750_689, 1757, 603_940]);
    }

    #[test]
    fn sources_are_drawn_by_weight_and_no_window_leaves_its_own() {
        let mixture = Mixture::new([(1000, 2.5), (150, 67.0), (101, 30.5)]);
        let mut seen = [0u32; 3];
        for step in 0..500 {
            for start in (Sampler { seed: 7 }).starts(0, step, 10, &mixture, 100) {
                let source = (0..3).find(|&i| mixture.range(i).contains(&start)).unwrap();
                assert!(start + 101 <= mixture.range(source).end, "{start}");
                seen[source] += 1;
            }
        }
        // 5000 draws: 125, 3350 and 1525 with sd 11, 33 and 33.
        for (seen, want, sd) in [(seen[0], 125, 11), (seen[1], 3350, 33), (seen[2], 1525, 33)] {
            assert!(seen.abs_diff(want) < 5 * sd, "{seen} of {want}");
        }
    }
}
