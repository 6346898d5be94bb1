//! Softmax of rows of attention scores, of which the first ones are seen.

use super::math::{self, Arithmetic, LANES, Largest};

/// Softmax over the causal part of each row of scores times `scale`; the rest becomes zero.
#[inline(always)]
pub(super) fn softmax_rows<A: Arithmetic>(
    probs: &mut [f32],
    lse: &mut [f32],
    scale: f32,
    from: usize,
    keys: usize,
) {
    for (i, (row, lse)) in probs.chunks_exact_mut(keys).zip(lse).enumerate() {
        let seen = from + i + 1;
        let max = largest::<A>(row, seen, scale);
        let total = exponentials::<A>(row, seen, scale, max);
        let factor = 1.0 / total;
        // Up to whole vectors: the rest is zero.
        for z in &mut row[..seen.next_multiple_of(LANES).min(keys)] {
            *z *= factor;
        }
        *lse = max + total.ln();
    }
}

/// The largest of a row's first `seen` scores times `scale`; NaN if any is not finite.
#[inline(always)]
fn largest<A: Arithmetic>(row: &[f32], seen: usize, scale: f32) -> f32 {
    let mut largest = Largest::default();
    let chunks = row[..seen].chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (i, z) in chunk.iter().enumerate() {
            largest.see::<A>(i, z * scale);
        }
    }
    match row[seen - rest.len()..].first_chunk::<LANES>() {
        // As a whole vector, in which what is not seen repeats the first score.
        Some(chunk) if !rest.is_empty() => {
            for (i, z) in chunk.iter().enumerate() {
                let z = if i < rest.len() { *z } else { chunk[0] };
                largest.see::<A>(i, z * scale);
            }
        }
        _ => {
            for (i, z) in rest.iter().enumerate() {
                largest.see::<A>(i, z * scale);
            }
        }
    }
    largest.value()
}

/// Replaces a row's first `seen` scores by `e^(score * scale - shift)` and the rest by zeros, and returns the sum.
#[inline(always)]
pub(super) fn exponentials<A: Arithmetic>(
    row: &mut [f32],
    seen: usize,
    scale: f32,
    shift: f32,
) -> f32 {
    let mut lanes = [0f32; LANES];
    let exp = |z: f32| math::exp::<A>(A::mul_add(z, scale, -shift));
    let whole = seen / LANES * LANES;
    let (body, row) = row.split_at_mut(whole);
    for chunk in body.chunks_exact_mut(LANES) {
        for (lane, z) in lanes.iter_mut().zip(chunk) {
            *z = exp(*z);
            *lane += *z;
        }
    }
    let left = seen - whole;
    let masked = match row.split_first_chunk_mut::<LANES>() {
        // As a whole vector, which takes less time than half as many single values.
        Some((chunk, masked)) => {
            for (i, (lane, z)) in lanes.iter_mut().zip(chunk).enumerate() {
                *z = if i < left { exp(*z) } else { 0.0 };
                *lane += *z;
            }
            masked
        }
        None => {
            let (rest, masked) = row.split_at_mut(left);
            for (lane, z) in lanes.iter_mut().zip(rest) {
                *z = exp(*z);
                *lane += *z;
            }
            masked
        }
    };
    masked.fill(0.0);
    math::total(lanes)
}
