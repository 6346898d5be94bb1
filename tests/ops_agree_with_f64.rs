//! Each op against the same computed plainly in f64, whole and ragged, with products in f32 and in bf16; gradients add to
//! what is there, under any loss scale.

use candle_core::{Device, Result, Tensor};
use half::bf16;
use heirloom::ops::{self, AttentionShape, Compute, Layout};

const BOTH: [Compute; 2] = [Compute::F32, Compute::Bf16];

/// Repeatable numbers in (-1, 1), times `size`.
fn noise(n: usize, seed: u64, size: f32) -> Vec<f32> {
    (0..n as u64)
        .map(|i| {
            let x = (i + seed * 1_000_003).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            size * (((x >> 40) as f32) / (1u64 << 23) as f32 - 1.0)
        })
        .collect()
}

fn tensor(values: &[f32], shape: &[usize]) -> Result<Tensor> {
    Tensor::from_slice(values, shape, &Device::Cpu)
}

/// A destination full of a number that must be overwritten or added to.
fn filled(value: f32, shape: &[usize]) -> Result<Tensor> {
    tensor(&vec![value; shape.iter().product()], shape)
}

/// An operand of a product as it is multiplied.
fn operand(x: f32, compute: Compute) -> f64 {
    match compute {
        Compute::F32 => f64::from(x),
        Compute::Bf16 => f64::from(bf16::from_f32(x)),
    }
}

#[track_caller]
fn close(what: &str, got: &Tensor, want: &[f64], tolerance: f64) {
    let got = ops::read(&got.flatten_all().unwrap()).unwrap();
    assert_eq!(got.len(), want.len(), "{what}");
    let size = want.iter().fold(1e-6f64, |s, w| s.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(
            (f64::from(*g) - w).abs() <= tolerance * size,
            "{what}[{i}]: {g}, not {w}, of at most {size}"
        );
    }
}

/// `Σ_l a(i, l) b(l, j)`.
fn product(
    (m, k, n): (usize, usize, usize),
    a: impl Fn(usize, usize) -> f64,
    b: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    (0..m * n)
        .map(|x| (0..k).map(|l| a(x / n, l) * b(l, x % n)).sum())
        .collect()
}

#[test]
fn linear_layers() -> Result<()> {
    for (m, k, n) in [(1, 5, 3), (50, 33, 70), (130, 300, 100)] {
        let (x, w, dy) = (
            noise(m * k, 1, 1.0),
            noise(k * n, 2, 0.3),
            noise(m * n, 3, 1.0),
        );
        let (bias, residual) = (noise(n, 4, 1.0), noise(m * n, 5, 1.0));
        for layout in [Layout::InOut, Layout::OutIn] {
            for compute in BOTH {
                let what = format!("{m}x{k}x{n} {layout:?} {compute:?}");
                let (shape, at): (_, Box<dyn Fn(usize, usize) -> usize>) = match layout {
                    Layout::InOut => ([k, n], Box::new(|i, j| i * n + j)),
                    Layout::OutIn => ([n, k], Box::new(|i, j| j * k + i)),
                };
                let r = |x: f32| operand(x, compute);
                let (tx, tw, tdy) = (
                    tensor(&x, &[m, k])?,
                    tensor(&w, &shape)?,
                    tensor(&dy, &[m, n])?,
                );
                let (tb, tr) = (tensor(&bias, &[n])?, tensor(&residual, &[m, n])?);

                let out = filled(9.0, &[m, n])?;
                ops::linear(compute, &out, &tx, &tw, layout, Some(&tb), Some(&tr))?;
                let plain = product((m, k, n), |i, l| r(x[i * k + l]), |l, j| r(w[at(l, j)]));
                let add = |i: usize| f64::from(bias[i % n]) + f64::from(residual[i]);
                let want: Vec<f64> = plain.iter().enumerate().map(|(i, p)| p + add(i)).collect();
                close(&what, &out, &want, 2e-6);
                ops::linear(compute, &out, &tx, &tw, layout, None, None)?;
                close(&what, &out, &plain, 2e-6);

                let dx = filled(9.0, &[m, k])?;
                ops::linear_backward_input(compute, &dx, &tdy, &tw, layout)?;
                let want = product((m, n, k), |i, l| r(dy[i * n + l]), |l, j| r(w[at(j, l)]));
                close(&what, &dx, &want, 2e-6);

                let (dw, db) = (filled(0.5, &shape)?, filled(0.5, &[n])?);
                ops::linear_backward_weight(compute, &dw, layout, Some(&db), &tx, &tdy)?;
                let sums = product((k, m, n), |i, l| r(x[l * k + i]), |l, j| r(dy[l * n + j]));
                let mut want = vec![0.0; k * n];
                for (i, s) in sums.iter().enumerate() {
                    want[at(i / n, i % n)] = 0.5 + s;
                }
                close(&what, &dw, &want, 2e-6);
                let column = |j: usize| dy.chunks(n).map(|row| f64::from(row[j])).sum::<f64>();
                let want: Vec<f64> = (0..n).map(|j| 0.5 + column(j)).collect();
                close(&what, &db, &want, 2e-6);
            }
        }
    }
    Ok(())
}

#[test]
fn the_head_and_its_gradients() -> Result<()> {
    // Several blocks of rows and of the vocabulary, the last ones ragged.
    for (m, c, v, scale) in [(3, 8, 5, 1.0), (150, 40, 1100, 0.25)] {
        let (x, w) = (noise(m * c, 1, 1.0), noise(v * c, 2, 0.5));
        let targets: Vec<u32> = (0..m).map(|i| (i * 37 % v) as u32).collect();
        for compute in BOTH {
            let what = format!("{m}x{c}x{v} {compute:?}");
            let r = |x: f32| operand(x, compute);
            let logits = product((m, c, v), |i, l| r(x[i * c + l]), |l, j| r(w[j * c + l]));
            let lse: Vec<f64> = logits
                .chunks(v)
                .map(|row| {
                    let max = row.iter().copied().fold(f64::MIN, f64::max);
                    max + row.iter().map(|z| (z - max).exp()).sum::<f64>().ln()
                })
                .collect();
            let loss = |i: usize| lse[i] - logits[i * v + targets[i] as usize];
            let losses: Vec<f64> = (0..m).map(loss).collect();
            let d: Vec<f64> = (0..m * v)
                .map(|x| {
                    let (i, j) = (x / v, x % v);
                    let onehot = f64::from(u8::from(targets[i] as usize == j));
                    f64::from(scale) * ((logits[x] - lse[i]).exp() - onehot)
                })
                .collect();
            let (tx, tw) = (tensor(&x, &[m, c])?, tensor(&w, &[v, c])?);
            let ids = Tensor::from_slice(&targets, &[1, m], &Device::Cpu)?;
            let (got, chunk) = (filled(9.0, &[m])?, filled(9.0, &[m.min(64), v])?);
            ops::head_cross_entropy(compute, &got, None, &chunk, &tx, &tw, &ids, scale)?;
            close(&what, &got, &losses, 2e-6);
            let (dx, dw) = (filled(9.0, &[m, c])?, filled(0.5, &[v, c])?);
            let grads = Some((&dx, &dw));
            let got = filled(9.0, &[m])?;
            ops::head_cross_entropy(compute, &got, grads, &chunk, &tx, &tw, &ids, scale)?;
            close(&what, &got, &losses, 2e-6);
            // The gradient itself is rounded before it is multiplied.
            let tolerance = if compute == Compute::F32 { 5e-6 } else { 4e-3 };
            let want = product((m, v, c), |i, l| d[i * v + l], |l, j| r(w[l * c + j]));
            close(&what, &dx, &want, tolerance);
            let want = product((v, m, c), |i, l| d[l * v + i], |l, j| r(x[l * c + j]));
            let want: Vec<f64> = want.iter().map(|w| 0.5 + w).collect();
            close(&what, &dw, &want, tolerance);
            let all = filled(9.0, &[m, v])?;
            ops::head_logits(compute, &all, &tx, &tw)?;
            close(&what, &all, &logits, 2e-6);
        }
    }
    Ok(())
}

/// Causal attention of one head and its gradients, rows of D numbers.
struct Plain {
    out: Vec<f64>,
    lse: Vec<f64>,
    dq: Vec<f64>,
    dk: Vec<f64>,
    dv: Vec<f64>,
}

fn plain_attention(q: &[f64], k: &[f64], v: &[f64], dout: &[f64], d: usize, scale: f64) -> Plain {
    let t = q.len() / d;
    let dot = |a: &[f64], i: usize, b: &[f64], j: usize| -> f64 {
        (0..d).map(|x| a[i * d + x] * b[j * d + x]).sum()
    };
    let zeros = || vec![0.0; t * d];
    let (mut out, mut dq, mut dk, mut dv) = (zeros(), zeros(), zeros(), zeros());
    let mut lse = vec![0.0; t];
    for i in 0..t {
        let scores: Vec<f64> = (0..=i).map(|j| scale * dot(q, i, k, j)).collect();
        lse[i] = scores.iter().map(|s| s.exp()).sum::<f64>().ln();
        let p: Vec<f64> = scores.iter().map(|s| (s - lse[i]).exp()).collect();
        let dp: Vec<f64> = (0..=i).map(|j| dot(dout, i, v, j)).collect();
        let mean: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
        for j in 0..=i {
            let ds = scale * p[j] * (dp[j] - mean);
            for x in 0..d {
                out[i * d + x] += p[j] * v[j * d + x];
                dv[j * d + x] += p[j] * dout[i * d + x];
                dq[i * d + x] += ds * k[j * d + x];
                dk[j * d + x] += ds * q[i * d + x];
            }
        }
    }
    Plain {
        out,
        lse,
        dq,
        dk,
        dv,
    }
}

#[test]
fn attention_with_shared_keys() -> Result<()> {
    let s = AttentionShape {
        batch: 2,
        time: 150,
        n_head: 4,
        n_kv_head: 2,
        head_size: 20,
        scale: 0.3,
    };
    let (m, d) = (s.batch * s.time, s.head_size);
    let (qkv, dout) = (noise(m * s.row(), 1, 1.0), noise(m * s.width(), 2, 1.0));
    let part = |data: &[f32], b: usize, row: usize, at: usize| -> Vec<f64> {
        (0..s.time)
            .flat_map(|t| (0..d).map(move |x| (b * s.time + t) * row + at + x))
            .map(|i| f64::from(data[i]))
            .collect()
    };
    let (mut out, mut dqkv) = (vec![0.0; m * s.width()], vec![0.0; m * s.row()]);
    let mut lse = Vec::new();
    for b in 0..s.batch {
        for h in 0..s.n_head {
            let q_at = h * d;
            let k_at = s.width() + h / 2 * d;
            let v_at = k_at + s.n_kv_head * d;
            let [q, k, v] = [q_at, k_at, v_at].map(|at| part(&qkv, b, s.row(), at));
            let dout = part(&dout, b, s.width(), q_at);
            let head = plain_attention(&q, &k, &v, &dout, d, f64::from(s.scale));
            lse.extend(head.lse);
            for t in 0..s.time {
                for x in 0..d {
                    let (i, row) = (t * d + x, (b * s.time + t) * s.row() + x);
                    out[(b * s.time + t) * s.width() + q_at + x] = head.out[i];
                    dqkv[row + q_at] += head.dq[i];
                    dqkv[row + k_at] += head.dk[i];
                    dqkv[row + v_at] += head.dv[i];
                }
            }
        }
    }
    let shape = [s.batch, s.time];
    let tqkv = tensor(&qkv, &[shape[0], shape[1], s.row()])?;
    let tdout = tensor(&dout, &[shape[0], shape[1], s.width()])?;
    for compute in BOTH {
        let (got, got_lse, grad) = (
            filled(9.0, &[shape[0], shape[1], s.width()])?,
            filled(9.0, &[s.batch, s.n_head, s.time])?,
            filled(9.0, &[shape[0], shape[1], s.row()])?,
        );
        ops::attention(compute, &got, &got_lse, &tqkv, s)?;
        ops::attention_backward(compute, &grad, &tdout, &got, &tqkv, &got_lse, s)?;
        let tolerance = if compute == Compute::F32 { 3e-6 } else { 2e-2 };
        close("out", &got, &out, tolerance);
        close("lse", &got_lse, &lse, tolerance);
        close("dqkv", &grad, &dqkv, tolerance);
    }
    Ok(())
}

#[test]
fn norms() -> Result<()> {
    for (m, c) in [(1, 3), (70, 50), (33, 128)] {
        let (x, w, b) = (noise(m * c, 1, 2.0), noise(c, 2, 1.0), noise(c, 3, 1.0));
        let dy = noise(m * c, 4, 1.0);
        let (tx, tw, tb, tdy) = (
            tensor(&x, &[m, c])?,
            tensor(&w, &[c])?,
            tensor(&b, &[c])?,
            tensor(&dy, &[m, c])?,
        );
        for rms in [false, true] {
            let what = format!("{m}x{c}, rms {rms}");
            let (mut out, mut dx) = (vec![0.0; m * c], vec![0.5; m * c]);
            let (mut dw, mut db) = (vec![0.5; c], vec![0.5; c]);
            for row in 0..m {
                let x: Vec<f64> = x[row * c..][..c].iter().map(|&x| f64::from(x)).collect();
                let dy: Vec<f64> = dy[row * c..][..c].iter().map(|&x| f64::from(x)).collect();
                let n = c as f64;
                let mean = if rms { 0.0 } else { x.iter().sum::<f64>() / n };
                let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                let r = 1.0 / (var + 1e-5).sqrt();
                let xhat: Vec<f64> = x.iter().map(|x| (x - mean) * r).collect();
                let g: Vec<f64> = dy.iter().zip(&w).map(|(d, &w)| d * f64::from(w)).collect();
                let mean_g = if rms { 0.0 } else { g.iter().sum::<f64>() / n };
                let mean_gx = g.iter().zip(&xhat).map(|(g, x)| g * x).sum::<f64>() / n;
                for i in 0..c {
                    let bias = if rms { 0.0 } else { f64::from(b[i]) };
                    out[row * c + i] = xhat[i] * f64::from(w[i]) + bias;
                    dx[row * c + i] += r * (g[i] - mean_g - xhat[i] * mean_gx);
                    dw[i] += dy[i] * xhat[i];
                    db[i] += dy[i];
                }
            }
            let (got, stats, grad) = (
                filled(9.0, &[m, c])?,
                filled(9.0, &[2, m])?,
                filled(0.5, &[m, c])?,
            );
            if rms {
                let grad_w = filled(0.5, &[c])?;
                ops::rms_norm(&got, &stats, &tx, &tw, 1e-5)?;
                ops::rms_norm_backward(&grad, None, &grad_w, &tdy, &tx, &tw, &stats)?;
                close(&what, &grad_w, &dw, 5e-6);
            } else {
                let grad_wb = filled(0.5, &[2 * c])?;
                ops::layer_norm(&got, &stats, &tx, &tw, Some(&tb), 1e-5)?;
                ops::layer_norm_backward(&grad, None, &grad_wb, &tdy, &tx, &tw, &stats)?;
                close(&what, &grad_wb.narrow(0, 0, c)?, &dw, 5e-6);
                close(&what, &grad_wb.narrow(0, c, c)?, &db, 5e-6);
            }
            close(&what, &got, &out, 3e-6);
            close(&what, &grad, &dx, 5e-6);
        }
    }
    Ok(())
}

#[test]
fn activations() -> Result<()> {
    let n = 1013;
    let (x, d) = (noise(n, 1, 6.0), noise(n, 2, 1.0));
    let (tx, td) = (tensor(&x, &[n])?, tensor(&d, &[n])?);
    let tanh_gelu = |x: f64| {
        0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
    };
    // Central differences in f64 are exact enough to stand for the derivative.
    let slope = |f: &dyn Fn(f64) -> f64, x: f64| (f(x + 1e-5) - f(x - 1e-5)) / 2e-5;
    let each =
        |f: &dyn Fn(f64) -> f64| -> Vec<f64> { x.iter().map(|&x| f(f64::from(x))).collect() };
    let back = |f: &dyn Fn(f64) -> f64| -> Vec<f64> {
        let pairs = x.iter().zip(&d);
        pairs
            .map(|(&x, &d)| f64::from(d) * slope(f, f64::from(x)))
            .collect()
    };
    let out = filled(9.0, &[n])?;
    ops::gelu(&out, &tx)?;
    close("gelu", &out, &each(&tanh_gelu), 1e-6);
    ops::gelu_backward(&td, &tx)?;
    close("gelu'", &td, &back(&tanh_gelu), 3e-6);

    let silu = |x: f64| x / (1.0 + (-x).exp());
    let (rows, f) = (17, 45);
    let (gate_up, d) = (noise(rows * 2 * f, 3, 4.0), noise(rows * f, 4, 1.0));
    let (mut want, mut want_d) = (vec![0.0; rows * f], vec![0.0; rows * 2 * f]);
    for row in 0..rows {
        for i in 0..f {
            let at = row * 2 * f + i;
            let (g, u) = (f64::from(gate_up[at]), f64::from(gate_up[at + f]));
            let d = f64::from(d[row * f + i]);
            want[row * f + i] = silu(g) * u;
            want_d[at] = d * u * slope(&silu, g);
            want_d[at + f] = d * silu(g);
        }
    }
    let tg = tensor(&gate_up, &[rows, 2 * f])?;
    let (out, dg) = (filled(9.0, &[rows, f])?, filled(9.0, &[rows, 2 * f])?);
    ops::swiglu(&out, &tg)?;
    close("swiglu", &out, &want, 1e-6);
    ops::swiglu_backward(&dg, &tensor(&d, &[rows, f])?, &tg)?;
    close("swiglu'", &dg, &want_d, 3e-6);
    Ok(())
}

#[test]
fn gelu_with_the_error_function() -> Result<()> {
    // Φ by Simpson's rule over the density, a way of its own.
    let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let phi = |x: f64| {
        let (n, h) = (400, x / 400.0);
        let inner: f64 = (1..n)
            .map(|i| density(h * f64::from(i)) * if i % 2 == 1 { 4.0 } else { 2.0 })
            .sum();
        0.5 + h / 3.0 * (density(0.0) + inner + density(x))
    };
    let n = 517;
    let (x, d) = (noise(n, 1, 5.0), noise(n, 2, 1.0));
    let (tx, td, out) = (tensor(&x, &[n])?, tensor(&d, &[n])?, filled(9.0, &[n])?);
    let each =
        |f: &dyn Fn(f64) -> f64| -> Vec<f64> { x.iter().map(|&x| f(f64::from(x))).collect() };
    ops::gelu_erf(&out, &tx)?;
    close("gelu", &out, &each(&|x| x * phi(x)), 1e-6);
    ops::gelu_erf_backward(&td, &tx)?;
    let slopes = each(&|x| phi(x) + x * density(x));
    let want: Vec<f64> = slopes
        .iter()
        .zip(&d)
        .map(|(s, &d)| s * f64::from(d))
        .collect();
    close("gelu'", &td, &want, 1e-6);
    Ok(())
}

#[test]
fn embeddings_and_turned_positions() -> Result<()> {
    let (b, t, c, v) = (3, 50, 70, 40);
    let ids: Vec<u32> = (0..b * t).map(|i| (i * i % v) as u32).collect();
    let (wte, wpe, dx) = (
        noise(v * c, 1, 1.0),
        noise(t * c, 2, 1.0),
        noise(b * t * c, 3, 1.0),
    );
    let tids = Tensor::from_slice(&ids, &[b, t], &Device::Cpu)?;
    let (twte, twpe) = (tensor(&wte, &[v, c])?, tensor(&wpe, &[t, c])?);
    let out = filled(9.0, &[b * t, c])?;
    ops::embedding(&out, &tids, &twte, Some(&twpe))?;
    let (mut want, mut dwte, mut dwpe) = (vec![0.0; b * t * c], vec![0.5; v * c], vec![0.5; t * c]);
    for (row, &id) in ids.iter().enumerate() {
        for i in 0..c {
            let (token, position) = (id as usize * c + i, row % t * c + i);
            want[row * c + i] = f64::from(wte[token]) + f64::from(wpe[position]);
            dwte[token] += f64::from(dx[row * c + i]);
            dwpe[position] += f64::from(dx[row * c + i]);
        }
    }
    close("embedding", &out, &want, 1e-6);
    let (gwte, gwpe) = (filled(0.5, &[v, c])?, filled(0.5, &[t, c])?);
    ops::embedding_backward(&gwte, Some(&gwpe), &tids, &tensor(&dx, &[b * t, c])?)?;
    close("dwte", &gwte, &dwte, 2e-6);
    close("dwpe", &gwpe, &dwpe, 2e-6);

    let s = AttentionShape {
        batch: 2,
        time: 37,
        n_head: 3,
        n_kv_head: 1,
        head_size: 10,
        scale: 1.0,
    };
    let half = s.head_size / 2;
    let angle = |t: usize, i: usize| t as f64 / 100f64.powf(i as f64 / half as f64);
    let table: Vec<f32> = (0..s.time * s.head_size)
        .map(|x| {
            let (t, i) = (x / s.head_size, x % s.head_size);
            let angle = angle(t, i % half);
            (if i < half { angle.cos() } else { angle.sin() }) as f32
        })
        .collect();
    let qkv = noise(s.batch * s.time * s.row(), 5, 1.0);
    let mut want: Vec<f64> = qkv.iter().map(|&x| f64::from(x)).collect();
    for (row, values) in want.chunks_mut(s.row()).enumerate() {
        // Queries and keys are turned, values are not.
        for head in values[..4 * s.head_size].chunks_mut(s.head_size) {
            for i in 0..half {
                let (sin, cos) = angle(row % s.time, i).sin_cos();
                let (x, y) = (head[i], head[i + half]);
                (head[i], head[i + half]) = (x * cos - y * sin, x * sin + y * cos);
            }
        }
    }
    let turned = tensor(&qkv, &[s.batch, s.time, s.row()])?;
    let table = tensor(&table, &[s.time, s.head_size])?;
    ops::rope(&turned, &table, s)?;
    close("rope", &turned, &want, 1e-6);
    // A rotation's gradient turns back.
    ops::rope_backward(&turned, &table, s)?;
    let before: Vec<f64> = qkv.iter().map(|&x| f64::from(x)).collect();
    close("rope'", &turned, &before, 1e-6);
    Ok(())
}

#[test]
fn adamw_and_the_norm_of_gradients() -> Result<()> {
    let n = 40_003;
    let (p, g) = (noise(n, 1, 1.0), noise(n, 2, 0.1));
    let (tp, tg) = (tensor(&p, &[n])?, tensor(&g, &[n])?);
    let (m, v) = (filled(0.0, &[n])?, filled(0.0, &[n])?);
    let norm = g.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
    assert!((ops::sum_of_squares(&tg)? / norm - 1.0).abs() < 1e-12);
    let (mut wp, mut wm, mut wv) = (
        p.iter().map(|&p| f64::from(p)).collect::<Vec<_>>(),
        vec![0.0; n],
        vec![0.0; n],
    );
    for step in 1..=3 {
        let update = ops::AdamW {
            lr: 1e-2,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            grad_scale: 0.5,
            step,
        };
        ops::adamw([&tp, &m, &v, &tg], None, &[(tp.elem_count(), update)])?;
        for i in 0..n {
            let g = 0.5 * f64::from(g[i]);
            wm[i] = 0.9 * wm[i] + 0.1 * g;
            wv[i] = 0.95 * wv[i] + 0.05 * g * g;
            let (mh, vh) = (
                wm[i] / (1.0 - 0.9f64.powi(step as i32)),
                wv[i] / (1.0 - 0.95f64.powi(step as i32)),
            );
            wp[i] = wp[i] * (1.0 - 1e-3) - 1e-2 * mh / (vh.sqrt() + 1e-8);
        }
    }
    close("p", &tp, &wp, 1e-5);
    close("m", &m, &wm, 1e-6);
    close("v", &v, &wv, 1e-6);
    ops::zero(&tg)?;
    assert!(ops::read(&tg)?.iter().all(|&g| g == 0.0));
    Ok(())
}
