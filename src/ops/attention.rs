//! Multi-head attention on queries, keys and values that lie side by side in one tensor, and their rotary positions.

use candle_core::{Result, Tensor};

use super::access::slices;
use super::clock::Part;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{AttentionShape, Branch, Precision, cpu};

/// Causal attention: `qkv[B, T, (H + 2K) D]` to `out[B, T, H D]`, keeping the log-sum-exp of each row in `lse[B, H, T]`.
pub fn attention(
    compute: Precision,
    out: &Tensor,
    lse: &Tensor,
    qkv: &Tensor,
    s: AttentionShape,
) -> Result<()> {
    on_gpu!(Attention, qkv, cuda::attention::forward(out, lse, qkv, s));
    slices([out, lse], [qkv], |[out, lse], [qkv]| {
        Part::Attention.time(|| cpu::attention::forward(compute, out, lse, qkv, s));
        Ok(())
    })
}

/// Gradient of [`attention`]: overwrites `dqkv[B, T, (H + 2K) D]`.
pub fn attention_backward(
    compute: Precision,
    dqkv: &Tensor,
    dout: &Tensor,
    out: &Tensor,
    qkv: &Tensor,
    lse: &Tensor,
    s: AttentionShape,
) -> Result<()> {
    on_gpu!(
        Attention,
        qkv,
        cuda::attention::backward(dqkv, dout, out, qkv, lse, s)
    );
    slices(
        [dqkv],
        [dout, out, qkv, lse],
        |[dqkv], [dout, out, qkv, lse]| {
            Part::Attention
                .time(|| cpu::attention::backward(compute, dqkv, dout, out, qkv, lse, s));
            Ok(())
        },
    )
}

/// Attention of one window's next positions after `past` earlier ones: `qkv[T, (H + 2K) D]` to `out[T, H D]`; the keys
/// and values join those kept in `keys[K, room, D]` and `values[K, room, D]`.
pub fn attention_cached(
    out: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    qkv: &Tensor,
    past: usize,
    s: AttentionShape,
) -> Result<()> {
    let (_, room, _) = keys.dims3()?;
    if past + s.time > room {
        candle_core::bail!(
            "{} positions after {past} do not fit a cache of {room}",
            s.time
        );
    }
    slices([out, keys, values], [qkv], |[out, keys, values], [qkv]| {
        Part::Attention.time(|| cpu::attention::cached(out, keys, values, qkv, past, s));
        Ok(())
    })
}

/// Causal attention within texts of many lengths: `qkv[M, (H + 2K) D]` to `out[M, H D]`. A query attends to the
/// branches that its own branch continues, and causally to its own branch. Rows outside all branches are unchanged.
/// `lse[H M]` is scratch.
///
/// # Errors
/// When branches overlap, are out of order or outside the rows, or continue one that is not earlier; on a GPU also when
/// a branch continues another.
pub fn attention_ragged(
    compute: Precision,
    out: &Tensor,
    lse: &Tensor,
    qkv: &Tensor,
    branches: &[Branch],
    s: AttentionShape,
) -> Result<()> {
    let rows = qkv.dim(0)?;
    if !Branch::are_apart(branches, rows) {
        candle_core::bail!("attention: {branches:?} do not follow one another in {rows} rows");
    }
    if qkv.device().is_cuda() {
        return in_batches(compute, (out, lse, qkv), branches, s);
    }
    slices([out], [qkv], |[out], [qkv]| {
        Part::Attention.time(|| cpu::attention::ragged(compute, out, qkv, branches, s));
        Ok(())
    })
}

/// [`attention_ragged`] by [`attention`]: neighbouring branches of one length are a batch.
fn in_batches(
    compute: Precision,
    (out, lse, qkv): (&Tensor, &Tensor, &Tensor),
    branches: &[Branch],
    s: AttentionShape,
) -> Result<()> {
    if branches.iter().any(|s| s.after.is_some()) {
        candle_core::bail!("attention with shared beginnings of texts runs on the CPU alone");
    }
    let lse = lse.flatten_all()?;
    let follows = |a: &Branch, b: &Branch| a.len == b.len && a.start + a.len == b.start;
    for batch in branches.chunk_by(follows) {
        let (start, time) = (batch[0].start, batch[0].len);
        let rows = batch.len() * time;
        let shape = AttentionShape {
            batch: batch.len(),
            time,
            ..s
        };
        attention(
            compute,
            &out.narrow(0, start, rows)?,
            &lse.narrow(0, 0, rows * s.n_head)?,
            &qkv.narrow(0, start, rows)?,
            shape,
        )?;
    }
    Ok(())
}

/// The attention matrices themselves, `probs[B, H, T, T]`, for analysis.
pub fn attention_probs(probs: &Tensor, qkv: &Tensor, s: AttentionShape) -> Result<()> {
    on_gpu!(Attention, qkv, cuda::attention::matrices(probs, qkv, s));
    slices([probs], [qkv], |[probs], [qkv]| {
        Part::Attention.time(|| cpu::attention::probs(probs, qkv, s));
        Ok(())
    })
}

/// Turns the queries and keys in `qkv[B, T, (H + 2K) D]` by their positions: channels `i` and `i + D/2` of a head are a
/// pair. `table[T, D]` holds cosines, then sines, of each position's angles.
pub fn rope(qkv: &Tensor, table: &Tensor, s: AttentionShape) -> Result<()> {
    on_gpu!(Rope, qkv, cuda::pointwise::rope(qkv, table, s, false));
    slices([qkv], [table], |[qkv], [table]| {
        Part::Rope.time(|| cpu::rope::rotate(qkv, table, s, false));
        Ok(())
    })
}

/// Gradient of [`rope`]: turns `dqkv` back.
pub fn rope_backward(dqkv: &Tensor, table: &Tensor, s: AttentionShape) -> Result<()> {
    on_gpu!(Rope, dqkv, cuda::pointwise::rope(dqkv, table, s, true));
    slices([dqkv], [table], |[dqkv], [table]| {
        Part::Rope.time(|| cpu::rope::rotate(dqkv, table, s, true));
        Ok(())
    })
}
