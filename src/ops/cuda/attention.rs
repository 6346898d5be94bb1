//! Causal attention: tensor cores for bf16 heads of 64 and 128 channels, a plain kernel for everything else.

use candle_core::{Result, Tensor, bail};

use super::gpu::{Arg, Gpu, Launch, Sizes};
use super::{address, address_f32, int, is_bf16, suffix};
use crate::ops::AttentionShape;
use crate::ops::operands::{ACTIVATIONS, F32, Operands};

/// Widest heads of the plain kernels.
const WIDEST: usize = 256;

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
    if s.head_size > WIDEST {
        bail!(
            "attention of heads of {} channels: more than {WIDEST}",
            s.head_size
        );
    }
    operands.same_type(&[qkv, out])
}

/// A grid of blocks of `rows` rows of time, heads and windows.
fn grid(s: AttentionShape, rows: usize, heads: usize, threads: u32, shared: usize) -> Launch {
    Launch {
        grid: (s.time.div_ceil(rows) as u32, heads as u32, s.batch as u32),
        block: (threads, 1, 1),
        shared: shared as u32,
    }
}

/// A warp for each row of `heads` heads, four warps to a block.
fn warps(s: AttentionShape, heads: usize) -> Launch {
    Launch::blocks((s.batch * heads * s.time).div_ceil(4), 128)
}

fn on_tensor_cores(qkv: &Tensor, s: AttentionShape) -> bool {
    is_bf16(qkv) && matches!(s.head_size, 64 | 128)
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
    let d = s.head_size;
    let (name, shape) = if on_tensor_cores(qkv, s) {
        // Queries of a block, and two blocks each of 64 keys and values.
        let (suffix, rows, threads) = match (gpu.hopper, d) {
            (true, _) => ("_hopper", 64, 128),
            (false, 64) => ("", 64, 128),
            (false, _) => ("", 128, 256),
        };
        (
            format!("attention_{d}{suffix}"),
            grid(s, rows, s.n_head, threads, 2 * d * (rows + 4 * 64)),
        )
    } else {
        args.extend([Arg::Int(int(s.batch)?), Arg::Int(int(d)?)]);
        (
            format!("attention_plain_{}", suffix(qkv)?),
            warps(s, s.n_head),
        )
    };
    // SAFETY: compared: qkv [b, t, (h + 2 kv) d], out [b, t, h d] of one type, lse [b, h, t]; kv divides h, d is at most
    // WIDEST.
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
    let d = s.head_size;
    let delta = gpu.scratch(4 * rows * s.n_head)?;
    let products = [
        Arg::At(delta),
        Arg::At(address(dout)?),
        Arg::At(address(out)?),
        Arg::Int(int(rows)?),
        Arg::Int(int(s.time)?),
        Arg::Int(int(s.n_head)?),
        Arg::Int(int(d)?),
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
    // SAFETY: compared: qkv and dqkv [b, t, (h + 2 kv) d], out and dout [b, t, h d], of one type, lse [b, h, t]; kv divides
    // h, d is at most WIDEST. The scratch memory holds a number for each row and head.
    unsafe {
        if on_tensor_cores(qkv, s) {
            // Eight threads a row.
            let shape = Launch::blocks((rows * s.n_head).div_ceil(32), 256);
            gpu.launch("attention_delta_bf16", shape, &products)?;
            // 64 keys and values; two blocks each of 64 (32) queries and gradients.
            let (suffix, queries) = match (gpu.hopper, d) {
                (true, _) => ("_hopper", 64),
                (false, 64) => ("", 64),
                (false, _) => ("", 32),
            };
            let keys = grid(s, 64, s.n_kv_head, 128, 2 * d * (2 * 64 + 4 * queries));
            gpu.launch(&format!("attention_backward_keys_{d}{suffix}"), keys, &args)?;
            // 64 queries and gradients; two blocks each of 64 keys and values.
            let queries = grid(s, 64, s.n_head, 128, 2 * d * (2 * 64 + 4 * 64));
            gpu.launch(
                &format!("attention_backward_queries_{d}{suffix}"),
                queries,
                &args,
            )
        } else {
            let name = format!("attention_plain_delta_{suffix}");
            let shape = Launch::blocks((rows * s.n_head).div_ceil(8), 256);
            gpu.launch(&name, shape, &products)?;
            args.extend([Arg::Int(int(s.batch)?), Arg::Int(int(d)?)]);
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
    let shape = grid(s, 1, s.n_head, 128, 4 * (s.time + s.head_size));
    let name = format!("attention_matrices_{}", suffix(qkv)?);
    // SAFETY: compared: probs [b, h, t, t], qkv [b, t, (h + 2 kv) d]; kv divides h.
    unsafe { gpu.launch(&name, shape, &args) }
}
