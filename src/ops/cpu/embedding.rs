//! Token and position embeddings.

use rayon::prelude::*;

use super::{ROWS_PER_TASK, Shared};

/// `out[b, t] = wte[id] (+ wpe[t])`.
pub fn forward(out: &mut [f32], ids: &[u32], wte: &[f32], wpe: Option<&[f32]>, t: usize, c: usize) {
    assert!(out.len() == ids.len() * c && wpe.is_none_or(|wpe| wpe.len() >= t * c));
    out.par_chunks_mut(ROWS_PER_TASK * c)
        .zip(ids.par_chunks(ROWS_PER_TASK))
        .enumerate()
        .for_each(|(task, (out, ids))| {
            for (i, (out, &id)) in out.chunks_exact_mut(c).zip(ids).enumerate() {
                let position = (task * ROWS_PER_TASK + i) % t;
                let token = &wte[id as usize * c..][..c];
                let Some(wpe) = wpe else {
                    out.copy_from_slice(token);
                    continue;
                };
                let position = &wpe[position * c..][..c];
                for ((o, a), b) in out.iter_mut().zip(token).zip(position) {
                    *o = a + b;
                }
            }
        });
}

/// `dwte[id] += dx`. Tokens are added in order; tasks own columns, since one token may occur in many rows.
pub fn backward_tokens(dwte: &mut [f32], ids: &[u32], dx: &[f32], c: usize) {
    assert!(dx.len() == ids.len() * c && dwte.len().is_multiple_of(c));
    const COLUMNS: usize = 64;
    let len = dwte.len();
    let shared = Shared(dwte.as_mut_ptr());
    (0..c.div_ceil(COLUMNS)).into_par_iter().for_each(|task| {
        let (from, to) = (task * COLUMNS, ((task + 1) * COLUMNS).min(c));
        for (row, &id) in dx.chunks_exact(c).zip(ids) {
            let at = id as usize * c + from;
            assert!(
                at + (to - from) <= len,
                "token id {id} outside the embedding"
            );
            // SAFETY: in bounds by the assertion; each task writes its own columns only.
            let into = unsafe { std::slice::from_raw_parts_mut(shared.at(at), to - from) };
            for (o, d) in into.iter_mut().zip(&row[from..to]) {
                *o += d;
            }
        }
    });
}

/// `dwpe[t] += Σ_b dx[b, t]`.
pub fn backward_positions(dwpe: &mut [f32], dx: &[f32], t: usize, c: usize) {
    assert!(dwpe.len() >= t * c);
    dwpe[..t * c]
        .par_chunks_mut(c)
        .enumerate()
        .for_each(|(position, into)| {
            for row in dx.chunks_exact(c).skip(position).step_by(t) {
                for (o, d) in into.iter_mut().zip(row) {
                    *o += d;
                }
            }
        });
}
