//! Rotary positions (Su et al., arXiv 2104.09864), pairs of channels half a head apart as in Hugging Face's models.

use rayon::prelude::*;

use super::ROWS_PER_TASK;
use crate::ops::AttentionShape;

/// Turns queries and keys of `qkv[B, T, (H + 2K) D]` by the angles of `table[T, D]` (cosines, then sines), or back.
pub fn rotate(qkv: &mut [f32], table: &[f32], s: AttentionShape, back: bool) {
    let (row, d) = (s.row(), s.head_size);
    assert!(
        qkv.len() == s.batch * s.time * row && table.len() == s.time * d && d.is_multiple_of(2),
        "rope: operands do not fit {s:?}"
    );
    let turned = (s.n_head + s.n_kv_head) * d;
    let sign = if back { -1.0 } else { 1.0 };
    qkv.par_chunks_mut(ROWS_PER_TASK * row)
        .enumerate()
        .for_each(|(task, rows)| {
            simd!({
                for (i, row) in rows.chunks_exact_mut(row).enumerate() {
                    let position = (task * ROWS_PER_TASK + i) % s.time;
                    let (cos, sin) = table[position * d..][..d].split_at(d / 2);
                    for head in row[..turned].chunks_exact_mut(d) {
                        let (a, b) = head.split_at_mut(d / 2);
                        for ((a, b), (cos, sin)) in a.iter_mut().zip(b).zip(cos.iter().zip(sin)) {
                            let (x, y, sin) = (*a, *b, sign * sin);
                            *a = x * cos - y * sin;
                            *b = y * cos + x * sin;
                        }
                    }
                }
            });
        });
}
