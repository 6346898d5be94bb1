//! Embeddings of tokens and positions.

use candle_core::{Result, Tensor};

use super::access::{self, slices, slices_with_ids};
use super::clock::Part;
use super::cpu;
#[cfg(feature = "cuda")]
use super::cuda;

/// `out[M, C] = wte[id] (+ wpe[t])`; `ids` is `u32[B, T]`.
///
/// # Errors
/// When an id is not below the vocabulary's size.
pub fn embedding(out: &Tensor, ids: &Tensor, wte: &Tensor, wpe: Option<&Tensor>) -> Result<()> {
    on_gpu!(Embedding, out, cuda::embedding::forward(out, ids, wte, wpe));
    let (_, t) = ids.dims2()?;
    let (v, c) = wte.dims2()?;
    let wpe = wpe.map(access::guard);
    slices_with_ids([out], [wte], ids, |[out], [wte], ids| {
        check_ids(ids, v)?;
        let wpe = access::opt(&wpe)?;
        Part::Embedding.time(|| cpu::embedding::forward(out, ids, wte, wpe, t, c));
        Ok(())
    })
}

/// `dwte[id] += dx`, `dwpe[t] += dx`, in a fixed order.
pub fn embedding_backward(
    dwte: &Tensor,
    dwpe: Option<&Tensor>,
    ids: &Tensor,
    dx: &Tensor,
) -> Result<()> {
    on_gpu!(
        Embedding,
        dx,
        cuda::embedding::backward(dwte, dwpe, ids, dx)
    );
    let (_, t) = ids.dims2()?;
    let (_, c) = dwte.dims2()?;
    // Both gradients lie in one arena, which can be borrowed once at a time.
    slices_with_ids([dwte], [dx], ids, |[dwte], [dx], ids| {
        Part::Embedding.time(|| cpu::embedding::backward_tokens(dwte, ids, dx, c));
        Ok(())
    })?;
    match dwpe {
        Some(dwpe) => slices([dwpe], [dx], |[dwpe], [dx]| {
            Part::Embedding.time(|| cpu::embedding::backward_positions(dwpe, dx, t, c));
            Ok(())
        }),
        None => Ok(()),
    }
}

/// Checks that all ids are below `vocab`.
pub(super) fn check_ids(ids: &[u32], vocab: usize) -> Result<()> {
    match ids.iter().position(|&id| id as usize >= vocab) {
        Some(i) => candle_core::bail!(
            "token id {} at position {i} is not below the vocabulary's size {vocab}",
            ids[i]
        ),
        None => Ok(()),
    }
}
