//! Causal attention: tensor cores for bf16 heads of any even size up to 128 channels, a plain kernel for everything else.

use candle_core::{Result, Tensor, bail};

use super::gpu::{Arg, Gpu, Launch, Sizes};
use super::{address, address_f32, int, is_bf16, suffix};
use crate::ops::AttentionShape;
use crate::ops::attention_kernels::{Kernel, TensorCores, check_head_size};
use crate::ops::operands::{ACTIVATIONS, F32, Operands};

fn sizes(s: AttentionShape) -> Result<Arg> {
    Ok(Arg::Attention(Sizes {
        time: int(s.time)?,
        n_head: int(s.n_head)?,
        n_kv_head: int(s.n_kv_head)?,
        scale: s.scale,
    }))
}

/// Compares queries, keys and values `qkv[B, T, (H + 2K) D]`, and that their heads can be shared.
fn check_qkv(operands: &Operands<'_>, name: &str, qkv: &Tensor, s: AttentionShape) -> Result<()> {
    if s.n_kv_head == 0 || !s.n_head.is_multiple_of(s.n_kv_head) {
        bail!(
            "attention: {} query heads do not share {} key and value heads",
            s.n_head,
            s.n_kv_head
        );
    }
    operands.check(name, qkv, s.batch * s.time * s.row(), ACTIVATIONS)
}

/// Compares `qkv`, `out[B, T, H D]` and `lse[B, H, T]`.
fn check(
    operands: &Operands<'_>,
    s: AttentionShape,
    qkv: &Tensor,
    out: &Tensor,
    lse: &Tensor,
) -> Result<()> {
    let rows = s.batch * s.time;
    check_qkv(operands, "qkv", qkv, s)?;
    operands.check("out", out, rows * s.width(), ACTIVATIONS)?;
    operands.check("lse", lse, rows * s.n_head, F32)?;
    check_head_size(s.head_size)?;
    operands.same_type(&[qkv, out])
}

/// A grid of a kernel's blocks: rows of time, heads and windows.
fn grid(kernel: &Kernel, s: AttentionShape, heads: usize) -> Launch {
    Launch {
        grid: (
            s.time.div_ceil(kernel.rows) as u32,
            heads as u32,
            s.batch as u32,
        ),
        block: (kernel.threads, 1, 1),
        shared: kernel.shared as u32,
    }
}

/// A warp for each row of `heads` heads, four warps to a block.
fn warps(s: AttentionShape, heads: usize) -> Launch {
    Launch::blocks((s.batch * heads * s.time).div_ceil(4), 128)
}

/// The kernels for tensor cores, where they take these operands.
fn tensor_cores(gpu: &Gpu, s: AttentionShape, operands: &[&Tensor]) -> Result<Option<TensorCores>> {
    if !operands.iter().all(|t| is_bf16(t)) {
        return Ok(None);
    }
    let addresses = operands.iter().map(|t| address(t));
    let addresses = addresses.collect::<Result<Vec<_>>>()?;
    Ok(TensorCores::choose(s.head_size, &addresses, gpu.hopper))
}

/// Returns the name of the kernel that makes the forward pass of these operands, for tests.
pub fn kernel(out: &Tensor, qkv: &Tensor, s: AttentionShape) -> Result<String> {
    let chosen = tensor_cores(&*Gpu::of(qkv)?, s, &[out, qkv])?;
    let plain = format!("attention_plain_{}", suffix(qkv)?);
    Ok(chosen.map_or(plain, |chosen| chosen.forward().name))
}

/// Adds the arguments that only padded kernels take: the heads' size and the size of the pieces in which they are copied.
fn padding(args: &mut Vec<Arg>, chosen: TensorCores, s: AttentionShape) -> Result<()> {
    if let Some(bytes) = chosen.pieces {
        args.extend([Arg::Int(int(s.head_size)?), Arg::Int(int(bytes)?)]);
    }
    Ok(())
}

pub fn forward(out: &Tensor, lse: &Tensor, qkv: &Tensor, s: AttentionShape) -> Result<()> {
    check(&Operands::of("attention", qkv), s, qkv, out, lse)?;
    let gpu = Gpu::of(qkv)?;
    let mut args = vec![
        Arg::At(address(out)?),
        Arg::At(address_f32(lse)?),
        Arg::At(address(qkv)?),
        sizes(s)?,
    ];
    let (name, shape) = if let Some(chosen) = tensor_cores(&gpu, s, &[out, qkv])? {
        padding(&mut args, chosen, s)?;
        let kernel = chosen.forward();
        let shape = grid(&kernel, s, s.n_head);
        (kernel.name, shape)
    } else {
        args.extend([Arg::Int(int(s.batch)?), Arg::Int(int(s.head_size)?)]);
        (
            format!("attention_plain_{}", suffix(qkv)?),
            warps(s, s.n_head),
        )
    };
    // SAFETY: compared: qkv [b, t, (h + 2 kv) d], out [b, t, h d] of one type, lse [b, h, t]; kv divides h, d has kernels, and
    // those for tensor cores take d and the operands' alignment.
    unsafe { gpu.launch(&name, shape, &args) }
}

pub fn backward(
    dqkv: &Tensor,
    dout: &Tensor,
    out: &Tensor,
    qkv: &Tensor,
    lse: &Tensor,
    s: AttentionShape,
) -> Result<()> {
    let operands = Operands::of("attention's gradient", qkv);
    check(&operands, s, qkv, out, lse)?;
    let rows = s.batch * s.time;
    check_qkv(&operands, "dqkv", dqkv, s)?;
    operands.check("dout", dout, rows * s.width(), ACTIVATIONS)?;
    operands.same_type(&[qkv, out, dqkv, dout])?;
    let gpu = Gpu::of(qkv)?;
    let chosen = tensor_cores(&gpu, s, &[qkv, out, dqkv, dout])?;
    let delta = gpu.scratch(4 * rows * s.n_head)?;
    let products = [
        Arg::At(delta),
        Arg::At(address(dout)?),
        Arg::At(address(out)?),
        Arg::Int(int(rows)?),
        Arg::Int(int(s.time)?),
        Arg::Int(int(s.n_head)?),
        Arg::Int(int(s.head_size)?),
    ];
    let mut args = vec![
        Arg::At(address(dqkv)?),
        Arg::At(address(dout)?),
        Arg::At(address(qkv)?),
        Arg::At(address_f32(lse)?),
        Arg::At(delta),
        sizes(s)?,
    ];
    let suffix = suffix(qkv)?;
    let (delta, shape) = if chosen.is_some_and(TensorCores::sums_wide) {
        // Eight threads a row.
        let shape = Launch::blocks((rows * s.n_head).div_ceil(32), 256);
        ("attention_delta_bf16".to_string(), shape)
    } else {
        let shape = Launch::blocks((rows * s.n_head).div_ceil(8), 256);
        (format!("attention_plain_delta_{suffix}"), shape)
    };
    // SAFETY: compared: qkv and dqkv [b, t, (h + 2 kv) d], out and dout [b, t, h d], of one type, lse [b, h, t]; kv divides
    // h, d has kernels, and those for tensor cores take d and the operands' alignment. The scratch memory holds a number for each
    // row and head.
    unsafe {
        gpu.launch(&delta, shape, &products)?;
        if let Some(chosen) = chosen {
            padding(&mut args, chosen, s)?;
            let keys = chosen.backward_keys();
            gpu.launch(&keys.name, grid(&keys, s, s.n_kv_head), &args)?;
            let queries = chosen.backward_queries();
            gpu.launch(&queries.name, grid(&queries, s, s.n_head), &args)
        } else {
            args.extend([Arg::Int(int(s.batch)?), Arg::Int(int(s.head_size)?)]);
            let name = format!("attention_plain_backward_keys_{suffix}");
            gpu.launch(&name, warps(s, s.n_kv_head), &args)?;
            let name = format!("attention_plain_backward_queries_{suffix}");
            gpu.launch(&name, warps(s, s.n_head), &args)
        }
    }
}

/// The attention matrices, `probs[B, H, T, T]`.
pub fn matrices(probs: &Tensor, qkv: &Tensor, s: AttentionShape) -> Result<()> {
    let operands = Operands::of("attention matrices", qkv);
    check_qkv(&operands, "qkv", qkv, s)?;
    let elements = s.batch * s.n_head * s.time * s.time;
    operands.check("the matrices", probs, elements, F32)?;
    let gpu = Gpu::of(qkv)?;
    let args = [
        Arg::At(address_f32(probs)?),
        Arg::At(address(qkv)?),
        sizes(s)?,
        Arg::Int(int(s.head_size)?),
    ];
    let kernel = Kernel {
        name: format!("attention_matrices_{}", suffix(qkv)?),
        rows: 1,
        threads: 128,
        shared: 4 * (s.time + s.head_size),
    };
    let shape = grid(&kernel, s, s.n_head);
    // SAFETY: compared: probs [b, h, t, t], qkv [b, t, (h + 2 kv) d]; kv divides h.
    unsafe { gpu.launch(&kernel.name, shape, &args) }
}
