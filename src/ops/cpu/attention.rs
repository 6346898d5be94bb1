//! Causal multi-head attention without a `[T, T]` matrix in memory: queries go in blocks, each against the keys up to
//! its own end, and the backward pass makes the probabilities again from the kept log-sum-exp (the recomputation of
//! FlashAttention, Dao et al., arXiv 2205.14135).

use rayon::prelude::*;
use std::cell::{Cell, RefCell};

use super::Shared;
use super::gemm::{Accumulate, Mat, Packed, Right, Threads, matmul, matmul_shared};
use super::math;
use super::softmax::{exponentials, softmax_rows};
use crate::ops::{AttentionShape, Branch, Precision};

/// Queries handled at once.
const BLOCK: usize = 64;

thread_local! {
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
    /// A head's keys and values, packed for its products.
    static PACKED: Cell<[Packed; 3]> = Cell::default();
    /// Keys and values that do not lie together.
    static GATHERED: Cell<Vec<f32>> = Cell::default();
}

/// Lends two scratch buffers of `len` each; they grow once and stay with the thread.
fn with_scratch(len: usize, f: impl FnOnce(&mut [f32], &mut [f32])) {
    SCRATCH.with_borrow_mut(|[a, b]| {
        if a.len() < len {
            a.resize(len, 0.0);
            b.resize(len, 0.0);
        }
        f(&mut a[..len], &mut b[..len]);
    });
}

/// The places of head `h` of window `b` in `qkv[B, T, (H + 2K) D]` and `out[B, T, H D]`.
struct Head {
    q: usize,
    k: usize,
    v: usize,
    out: usize,
    /// Offset in `lse[B, H, T]`.
    lse: usize,
}

impl Head {
    fn new(index: usize, s: &AttentionShape) -> Self {
        let (b, h) = (index / s.n_head, index % s.n_head);
        let kv = h / (s.n_head / s.n_kv_head);
        let window = b * s.time * s.row();
        let keys = window + s.width();
        Self {
            q: window + h * s.head_size,
            k: keys + kv * s.head_size,
            v: keys + (s.n_kv_head + kv) * s.head_size,
            out: b * s.time * s.width() + h * s.head_size,
            lse: index * s.time,
        }
    }
}

fn check(qkv: &[f32], out: usize, lse: usize, s: &AttentionShape) {
    let m = s.batch * s.time;
    assert!(
        s.n_kv_head > 0
            && s.n_head.is_multiple_of(s.n_kv_head)
            && qkv.len() == m * s.row()
            && out == m * s.width()
            && lse == m * s.n_head,
        "attention: operands do not fit {s:?}"
    );
}

/// Forward pass.
pub fn forward(
    compute: Precision,
    out: &mut [f32],
    lse: &mut [f32],
    qkv: &[f32],
    s: AttentionShape,
) {
    check(qkv, out.len(), lse.len(), &s);
    let (c, row) = (s.width(), s.row());
    let out = Shared(out.as_mut_ptr());
    lse.par_chunks_mut(s.time).enumerate().for_each(|(i, lse)| {
        let head = Head::new(i, &s);
        let mut packed = PACKED.take();
        let [k_memory, v_memory, _] = &mut packed;
        let (d, t) = (s.head_size, s.time);
        // SAFETY: `check` bounds every offset; no other thread writes to `qkv`.
        let (k, v) = unsafe {
            let (k, v) = (
                Mat::strided(qkv, head.k, row),
                Mat::strided(qkv, head.v, row),
            );
            (
                Right::new(compute, k.t(), (d, t), k_memory),
                Right::new(compute, v, (t, d), v_memory),
            )
        };
        with_scratch(BLOCK * s.time, |probs, _| {
            for from in (0..s.time).step_by(BLOCK) {
                let rows = BLOCK.min(s.time - from);
                let keys = from + rows;
                scores(probs, qkv, &k, &head, from, rows, &s);
                simd!(A => softmax_rows::<A>(
                    probs,
                    &mut lse[from..keys],
                    s.scale,
                    from,
                    keys
                ));
                // SAFETY: `check` bounds every offset; head i writes only its own columns of its own window.
                unsafe {
                    matmul_shared(
                        (rows, keys, d),
                        out.at(head.out + from * c),
                        c,
                        Accumulate::Nothing,
                        Mat::rows(probs, keys),
                        &v,
                    );
                }
            }
        });
        PACKED.set(packed);
    });
}

/// `into[rows, keys] = Q Kᵀ` of queries `from..from + rows` against keys `0..from + rows`.
fn scores(
    into: &mut [f32],
    qkv: &[f32],
    k: &Right<'_>,
    head: &Head,
    from: usize,
    rows: usize,
    s: &AttentionShape,
) {
    let (row, keys) = (s.row(), from + rows);
    assert!(into.len() >= rows * keys);
    // SAFETY: there is room for the scores; the operands were checked against the shape.
    unsafe {
        matmul_shared(
            (rows, s.head_size, keys),
            into.as_mut_ptr(),
            keys,
            Accumulate::Nothing,
            Mat::strided(qkv, head.q + from * row, row),
            k,
        );
    }
}

/// Backward pass: `dqkv = …`.
pub fn backward(
    compute: Precision,
    dqkv: &mut [f32],
    dout: &[f32],
    out: &[f32],
    qkv: &[f32],
    lse: &[f32],
    s: AttentionShape,
) {
    check(qkv, out.len(), lse.len(), &s);
    assert!(dqkv.len() == qkv.len() && dout.len() == out.len());
    let (c, row) = (s.width(), s.row());
    let group = s.n_head / s.n_kv_head;
    let dqkv = Shared(dqkv.as_mut_ptr());
    // Heads that share a key and value head add to one gradient: a task does them in order.
    let heads = (0..s.batch * s.n_kv_head)
        .into_par_iter()
        .flat_map_iter(|i| i * group..(i + 1) * group);
    heads.for_each(|i| {
        let head = Head::new(i, &s);
        let first = i.is_multiple_of(group);
        let mut packed = PACKED.take();
        let [scores_memory, input_memory, v_memory] = &mut packed;
        let (d, t) = (s.head_size, s.time);
        // SAFETY: as in `forward`.
        let (k_scores, k_input, v) = unsafe {
            let (k, v) = (
                Mat::strided(qkv, head.k, row),
                Mat::strided(qkv, head.v, row),
            );
            (
                Right::new(compute, k.t(), (d, t), scores_memory),
                Right::new(compute, k, (t, d), input_memory),
                Right::new(compute, v.t(), (d, t), v_memory),
            )
        };
        with_scratch(BLOCK * s.time, |probs, dprobs| {
            // Last block first: it touches every key, so that the first head's products overwrite dK and dV.
            let blocks = (0..s.time).step_by(BLOCK);
            for from in blocks.rev() {
                let rows = BLOCK.min(s.time - from);
                let keys = from + rows;
                let onto = match first && keys == s.time {
                    true => Accumulate::Nothing,
                    false => Accumulate::Out,
                };
                scores(probs, qkv, &k_scores, &head, from, rows, &s);
                simd!(A => {
                    for (i, row) in probs[..rows * keys].chunks_exact_mut(keys).enumerate() {
                        let seen = from + i;
                        exponentials::<A>(row, seen + 1, s.scale, lse[head.lse + seen]);
                    }
                });
                let d_rows = Mat::strided(dout, head.out + from * c, c);
                // SAFETY: `check` bounds every offset; a task writes only its own heads' columns of its own window; the
                // scratch buffers hold BLOCK x T each.
                unsafe {
                    // dV (+)= Pᵀ dO
                    matmul(
                        compute,
                        (keys, rows, d),
                        dqkv.at(head.v),
                        row,
                        onto,
                        Mat::rows(probs, keys).t(),
                        d_rows,
                        Threads::One,
                    );
                    // dP = dO Vᵀ
                    let into = dprobs.as_mut_ptr();
                    matmul_shared((rows, d, keys), into, keys, Accumulate::Nothing, d_rows, &v);
                }
                simd!(A => {
                    for i in 0..rows {
                        let at = head.out + (from + i) * c;
                        // Σ_j P_ij dP_ij = dO_i · O_i
                        let delta =
                            math::dot::<A>(&dout[at..][..s.head_size], &out[at..][..s.head_size]);
                        let p = &mut probs[i * keys..][..keys];
                        let dp = &dprobs[i * keys..][..keys];
                        for (p, dp) in p.iter_mut().zip(dp) {
                            *p *= (dp - delta) * s.scale;
                        }
                    }
                });
                // SAFETY: as above.
                unsafe {
                    // dQ = dS K
                    matmul_shared(
                        (rows, keys, d),
                        dqkv.at(head.q + from * row),
                        row,
                        Accumulate::Nothing,
                        Mat::rows(probs, keys),
                        &k_input,
                    );
                    // dK (+)= dSᵀ Q
                    matmul(
                        compute,
                        (keys, rows, d),
                        dqkv.at(head.k),
                        row,
                        onto,
                        Mat::rows(probs, keys).t(),
                        Mat::strided(qkv, head.q + from * row, row),
                        Threads::One,
                    );
                }
            }
        });
        PACKED.set(packed);
    });
}

/// Attention within texts of many lengths: the queries of a branch attend to the branches that it continues and causally to
/// its own rows. A task computes the query heads that share a key and value head.
pub fn ragged(
    compute: Precision,
    out: &mut [f32],
    qkv: &[f32],
    branches: &[Branch],
    s: AttentionShape,
) {
    let (row, width, d) = (s.row(), s.width(), s.head_size);
    let group = s.n_head / s.n_kv_head;
    let rows = qkv.len() / row;
    assert!(
        out.len() == rows * width && Branch::are_apart(branches, rows),
        "ragged attention: operands do not fit {s:?}"
    );
    let out = Shared(out.as_mut_ptr());
    let tasks = branches.len() * s.n_kv_head;
    (0..tasks).into_par_iter().for_each(|task| {
        let (index, kv) = (task / s.n_kv_head, task % s.n_kv_head);
        let branch = branches[index];
        let chain = Branch::chain(branches, index);
        let total: usize = chain.iter().map(|s| s.len).sum();
        let past = total - branch.len;
        let mut packed = PACKED.take();
        let mut gathered = GATHERED.take();
        let [k_memory, v_memory, _] = &mut packed;
        let columns = [width + kv * d, width + (s.n_kv_head + kv) * d];
        let (k, v) = match &chain[..] {
            [only] => {
                let [k, v] = columns.map(|at| Mat::strided(qkv, only.start * row + at, row));
                (k, v)
            }
            // Products want one distance between rows.
            _ => {
                gathered.clear();
                for column in columns {
                    for part in &chain {
                        let rows = qkv[part.start * row..].chunks(row).take(part.len);
                        rows.for_each(|r| gathered.extend_from_slice(&r[column..][..d]));
                    }
                }
                let (k, v) = gathered.split_at(total * d);
                (Mat::rows(k, d), Mat::rows(v, d))
            }
        };
        // SAFETY: the assertion bounds every row; `qkv` and what was gathered of it are not written to.
        let (k, v) = unsafe {
            (
                Right::new(compute, k.t(), (d, total), k_memory),
                Right::new(compute, v, (total, d), v_memory),
            )
        };
        with_scratch(BLOCK * total, |probs, _| {
            for head in kv * group..(kv + 1) * group {
                for from in (0..branch.len).step_by(BLOCK) {
                    let rows = BLOCK.min(branch.len - from);
                    // Products take full panels of the keys, or all keys.
                    let keys = (past + from + rows).next_multiple_of(BLOCK).min(total);
                    let first = branch.start + from;
                    // SAFETY: the assertion bounds every row; the scratch buffer holds BLOCK rows of scores; a task
                    // writes only its own heads' columns of its own branch.
                    unsafe {
                        matmul_shared(
                            (rows, d, keys),
                            probs.as_mut_ptr(),
                            keys,
                            Accumulate::Nothing,
                            Mat::strided(qkv, first * row + head * d, row),
                            &k,
                        );
                        simd!(A => softmax_rows::<A>(
                            &mut probs[..rows * keys],
                            &mut [0.0; BLOCK],
                            s.scale,
                            past + from,
                            keys
                        ));
                        matmul_shared(
                            (rows, keys, d),
                            out.at(first * width + head * d),
                            width,
                            Accumulate::Nothing,
                            Mat::rows(probs, keys),
                            &v,
                        );
                    }
                }
            }
        });
        PACKED.set(packed);
        GATHERED.set(gathered);
    });
}

/// Attention of one window's next `s.time` positions, which follow `past` earlier ones: their keys and values join
/// `keys[K, room, D]` and `values[K, room, D]` first.
pub fn cached(
    out: &mut [f32],
    keys: &mut [f32],
    values: &mut [f32],
    qkv: &[f32],
    past: usize,
    s: AttentionShape,
) {
    let (row, d, width) = (s.row(), s.head_size, s.width());
    let kept = s.n_kv_head * d;
    let room = keys.len() / kept;
    assert!(
        s.batch == 1
            && qkv.len() == s.time * row
            && out.len() == s.time * width
            && values.len() == keys.len()
            && past + s.time <= room,
        "cached attention: operands do not fit {s:?} after {past} of {room}"
    );
    for (t, row) in qkv.chunks_exact(row).enumerate() {
        let (k, v) = row[width..].split_at(kept);
        for kv in 0..s.n_kv_head {
            let at = (kv * room + past + t) * d;
            keys[at..at + d].copy_from_slice(&k[kv * d..][..d]);
            values[at..at + d].copy_from_slice(&v[kv * d..][..d]);
        }
    }
    let (keys, values) = (&*keys, &*values);
    let group = s.n_head / s.n_kv_head;
    out.par_chunks_mut(d).enumerate().for_each(|(i, out)| {
        let (t, h) = (i / s.n_head, i % s.n_head);
        let from = h / group * room * d;
        let seen = past + t + 1;
        with_scratch(seen, |probs, _| {
            simd!(A => {
                let q = &qkv[t * row + h * d..][..d];
                for (p, k) in probs.iter_mut().zip(keys[from..].chunks_exact(d)) {
                    *p = math::dot::<A>(q, k);
                }
                softmax_rows::<A>(probs, &mut [0.0], s.scale, seen - 1, seen);
                out.fill(0.0);
                for (p, v) in probs.iter().zip(values[from..].chunks_exact(d)) {
                    for (o, v) in out.iter_mut().zip(v) {
                        *o += p * v;
                    }
                }
            });
        });
    });
}

/// The probabilities themselves, `[B, H, T, T]`, zero above the diagonal.
pub fn probs(probs: &mut [f32], qkv: &[f32], s: AttentionShape) {
    let t = s.time;
    check(qkv, s.batch * t * s.width(), s.batch * s.n_head * t, &s);
    assert_eq!(probs.len(), s.batch * s.n_head * t * t);
    probs.par_chunks_mut(t * t).enumerate().for_each(|(i, p)| {
        let head = Head::new(i, &s);
        let mut lse = vec![0.0; t];
        let mut memory = Packed::default();
        let k = Mat::strided(qkv, head.k, s.row()).t();
        // SAFETY: as in `forward`.
        let k = unsafe { Right::new(Precision::F32, k, (s.head_size, t), &mut memory) };
        scores(p, qkv, &k, &head, 0, t, &s);
        simd!(A => softmax_rows::<A>(p, &mut lse, s.scale, 0, t));
    });
}
