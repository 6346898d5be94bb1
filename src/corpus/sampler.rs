//! Which windows a batch or an evaluation sees.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Tokens;

/// Words of the generator's output set aside for each window of each step: a draw without bias may need several.
const WORDS_PER_STEP: u128 = 1 << 20;

/// Draws random training windows. A batch is a pure function of (seed, stream, step): nothing has to be saved, and
/// batches can be made ahead in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    pub seed: u64,
}

impl Sampler {
    /// `n` window starts for windows of `context` tokens and their targets, uniform over the text (ChaCha8 as a
    /// counter-based generator: `stream` is its stream, `step` its position).
    pub fn starts(
        &self,
        stream: u64,
        step: u64,
        n: usize,
        n_tokens: usize,
        context: usize,
    ) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng.set_word_pos(u128::from(step) * WORDS_PER_STEP);
        let last = n_tokens - context - 1;
        (0..n).map(|_| rng.random_range(0..=last)).collect()
    }
}

/// Copies windows of `t` tokens and, one token on, their targets.
pub fn fill_batch(
    tokens: &Tokens,
    starts: &[usize],
    t: usize,
    inputs: &mut [u32],
    targets: &mut [u32],
) {
    let rows = inputs.chunks_exact_mut(t).zip(targets.chunks_exact_mut(t));
    for (&start, (inputs, targets)) in starts.iter().zip(rows) {
        tokens.copy_to(start, inputs);
        tokens.copy_to(start + 1, targets);
    }
}

/// Evenly strided starts of `n` windows of `t` tokens and their targets: floor(i (n_tokens - t - 1) / (n - 1)).
pub fn even_starts(n_tokens: usize, t: usize, n: usize) -> Vec<usize> {
    strided(n_tokens.saturating_sub(t + 1), n)
}

/// The same for windows without targets, as rank probes use: floor(i (n_tokens - t) / (n - 1)).
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
        let draw = |stream, step| s.starts(stream, step, 8, 1000, 100);
        assert_eq!(draw(1, 5), draw(1, 5));
        assert_ne!(draw(1, 5), draw(1, 6));
        assert_ne!(draw(1, 5), draw(2, 5));
        assert_ne!(draw(1, 5), Sampler { seed: 4 }.starts(1, 5, 8, 1000, 100));
        // A larger batch begins with the smaller one's windows.
        assert_eq!(s.starts(1, 5, 4, 1000, 100), draw(1, 5)[..4]);
    }

    #[test]
    fn every_start_occurs_and_none_beyond_the_last() {
        let s = Sampler { seed: 0 };
        let mut seen = [0u32; 10];
        for step in 0..200 {
            for start in s.starts(0, step, 10, 110, 100) {
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
        fill_batch(&tokens, &[90], 10, &mut x, &mut y);
        assert_eq!((x[0], y[0], y[9]), (90, 91, 100));
    }
}
