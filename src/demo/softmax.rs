//! Shows the effect of softmax on the rank of scores, on noise.

use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::error::DemoError;
use super::math::{noise, ranks, softmax};
use super::sizes::Sizes;

/// Ranks of one head: k* of matrices that are averaged over the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Head {
    /// Rank of the scores, which does not depend on their scale.
    pub scores: usize,
    /// Rank of attention, with the weights of the published demo. It draws them as one tensor [heads, width, head size], whose
    /// fan-in in PyTorch is width x head size: scores have a standard deviation of 2 / head size, and attention is almost uniform.
    pub attention: usize,
    /// Rank of attention with weights whose fan-in is the width: scores have a standard deviation of 2.
    pub sharper: usize,
}

/// Draws windows of noise and, for each head, weights for queries and keys (Kaiming normal, no mask). Calls `each` with every
/// head's ranks, and stops when `each` returns false.
///
/// # Errors
/// When a tensor cannot be made.
pub fn heads(sizes: Sizes, seed: u64, each: &mut dyn FnMut(Head) -> bool) -> Result<(), DemoError> {
    let Sizes {
        time,
        width,
        heads,
        batch,
    } = sizes;
    let size = sizes.head_size();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let x = noise(&mut rng, &[batch, time, width], 1.0)?;
    let x = x.reshape((batch * time, width))?;
    for _ in 0..heads {
        // The fan-in is the width.
        let deviation = (2.0 / width as f64).sqrt();
        let q = x.matmul(&noise(&mut rng, &[width, size], deviation)?)?;
        let k = x.matmul(&noise(&mut rng, &[width, size], deviation)?)?;
        let mut sums: Option<[Tensor; 3]> = None;
        for b in 0..batch {
            let [q, k] = [&q, &k].map(|t| t.narrow(0, b * time, time));
            let scores = q?
                .matmul(&k?.t()?)?
                .affine(1.0 / (size as f64).sqrt(), 0.0)?;
            // In the published demo, both weights have a deviation smaller by the square root of the head size.
            let flat = softmax(&scores.affine(1.0 / size as f64, 0.0)?)?;
            let sharp = softmax(&scores)?;
            let new = [scores, flat, sharp];
            sums = Some(match sums {
                Some([a, b, c]) => [(a + &new[0])?, (b + &new[1])?, (c + &new[2])?],
                None => new,
            });
        }
        let Some(sums) = sums else { break };
        // The sum of the matrices has the same rank as their mean.
        let found = ranks(&Tensor::stack(&sums, 0)?)?;
        let more = each(Head {
            scores: found[0],
            attention: found[1],
            sharper: found[2],
        });
        if !more {
            break;
        }
    }
    Ok(())
}
