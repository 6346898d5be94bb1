//! Checks linear layers, norms, activations, embeddings and the head.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Embedding, LayerNorm, Linear, Module, RmsNorm};

use super::super::{Case, SelfTest};
use super::{SUMS, Tolerance, activation, exact, gradients, sides, variable};
use crate::ops::{self, Accumulation, Layout};

/// Epsilon of norms.
const EPS: f32 = 1e-5;

impl SelfTest<'_> {
    /// Checks linear layers, norms, activations, embeddings and the head.
    pub fn layers(&mut self) {
        for case in self.cases() {
            let name = case.name();
            let drawn = (self.ragged(200), self.ragged(400), self.ragged(300));
            for (m, k, n) in [(1, 5, 3), (50, 33, 70), (130, 300, 100), drawn] {
                let (k, n) = (self.fit(k), self.fit(n));
                for layout in [Layout::InOut, Layout::OutIn] {
                    let what = format!("{name} {m}x{k}x{n} {layout:?}");
                    self.check_shares(&format!("linear {what}"), |t| {
                        t.linear_layer(case, (m, k, n), layout)
                    });
                    self.check_shares(&format!("linear and gelu {what}"), |t| {
                        t.linear_gelu_layer(case, (m, k, n), layout)
                    });
                }
            }
            let drawn = (self.ragged(90), self.ragged(100), self.ragged(900));
            for (m, c, v) in [(3, 8, 5), (150, 40, 1100), drawn] {
                let (c, rows) = (self.fit(c), m.min(64));
                self.check_shares(&format!("head and loss {name} {m}x{c}x{v}"), |t| {
                    t.head_layer(case, (m, c, v), rows)
                });
            }
            self.check_shares(&format!("losses of logits near -100 {name}"), |t| {
                t.distant_logits(case, (50, 40, 1100))
            });
        }
        for dtype in self.dtypes() {
            let name = format!("{dtype:?}").to_lowercase();
            let drawn = (self.ragged(100), self.ragged(600));
            for (m, c) in [(1, 3), (70, 50), (33, 128), drawn] {
                for (kind, norm) in [
                    ("layer norm", Norm::Layer),
                    ("layer norm without bias", Norm::NoBias),
                    ("rms norm", Norm::Rms),
                ] {
                    self.check_shares(&format!("{kind} {name} {m}x{c}"), |t| {
                        t.norm_layer(dtype, (m, c), norm)
                    });
                }
            }
            self.check_shares(&format!("chosen rows {name}"), |t| t.chosen_rows(dtype));
            for n in [1, 1013, self.ragged(5000)] {
                self.check_shares(&format!("activations {name} {n}"), |t| {
                    t.activation_layers(dtype, n)
                });
            }
            let drawn = (self.ragged(50), self.ragged(200));
            for (m, f) in [(3, 5), (17, 45), drawn] {
                self.check_shares(&format!("swiglu {name} {m}x{f}"), |t| {
                    t.swiglu_layer(dtype, (m, f))
                });
            }
        }
        if self.checks_f32() {
            let drawn = (3, self.ragged(60), self.ragged(90), self.ragged(50));
            for (b, t, c, v) in [(1, 1, 4, 5), (3, 50, 70, 40), drawn] {
                self.check_shares(&format!("embedding {b}x{t}x{c}, {v} tokens"), |s| {
                    s.embedding_layer((b, t), c, v)
                });
            }
        }
    }

    fn linear_layer(
        &mut self,
        case: Case,
        (m, k, n): (usize, usize, usize),
        layout: Layout,
    ) -> Result<Vec<f64>> {
        let (compute, dtype) = (case.compute, case.dtype);
        let x = self.normal_there(&[m, k], dtype, 1.0)?;
        let w = self.normal_there(&sides(layout, k, n), dtype, 0.3)?;
        let bias = self.normal_there(&[n], DType::F32, 1.0)?;
        let residual = self.normal_there(&[m, n], DType::F32, 1.0)?;
        let (xv, wv) = (variable(&case.operand(&x)?)?, variable(&case.operand(&w)?)?);
        let weight = rows_of_outputs(&wv, layout)?;
        let layer = Linear::new(weight.clone(), Some(exact(&bias)?));
        let y = layer.forward(&xv)?;
        let mut shares = Vec::new();
        // Added to the residual stream, which is always f32.
        let out = self.poisoned_there(&[m, n], DType::F32)?;
        ops::linear(compute, &out, &x, &w, layout, Some(&bias), Some(&residual))?;
        shares.push(self.agree(&out, &(&y + exact(&residual)?)?, SUMS)?);
        let out = self.poisoned_there(&[m, n], DType::F32)?;
        ops::linear(compute, &out, &x, &w, layout, Some(&bias), None)?;
        shares.push(self.agree(&out, &y, SUMS)?);
        let plain = Linear::new(weight, None).forward(&xv)?;
        let out = self.poisoned_there(&[m, n], dtype)?;
        ops::linear(compute, &out, &x, &w, layout, None, None)?;
        shares.push(self.agree(&out, &plain, case.activation())?);

        let dy = self.normal_there(&[m, n], dtype, 1.0)?;
        let [want_dx, want_dw] = gradients(&y, &case.operand(&dy)?, [&xv, &wv])?;
        let dx = self.poisoned_there(&[m, k], dtype)?;
        ops::linear_backward_input(compute, &dx, &dy, &w, layout)?;
        shares.push(self.agree(&dx, &want_dx, case.activation())?);
        // Gradients of weights replace earlier values, or are added to them. A bias takes dy without rounding.
        let dw = self.normal_there(&sides(layout, k, n), DType::F32, 1.0)?;
        let db = self.normal_there(&[n], DType::F32, 1.0)?;
        let written_dw = self.poisoned_there(&sides(layout, k, n), DType::F32)?;
        let written_db = self.poisoned_there(&[n], DType::F32)?;
        let bias = Some(&written_db);
        ops::linear_backward_weight(
            compute,
            Accumulation::Write,
            &written_dw,
            layout,
            bias,
            &x,
            &dy,
        )?;
        let want_db = exact(&dy)?.sum(0)?;
        shares.push(self.agree(&written_dw, &want_dw, SUMS)?);
        shares.push(self.agree(&written_db, &want_db, SUMS)?);
        let want_dw = (exact(&dw)? + want_dw)?;
        let want_db = (exact(&db)? + want_db)?;
        ops::linear_backward_weight(compute, Accumulation::Add, &dw, layout, Some(&db), &x, &dy)?;
        shares.push(self.agree(&dw, &want_dw, SUMS)?);
        shares.push(self.agree(&db, &want_db, SUMS)?);
        Ok(shares)
    }

    fn linear_gelu_layer(
        &mut self,
        case: Case,
        (m, k, n): (usize, usize, usize),
        layout: Layout,
    ) -> Result<Vec<f64>> {
        let (compute, dtype) = (case.compute, case.dtype);
        let x = self.normal_there(&[m, k], dtype, 1.0)?;
        let w = self.normal_there(&sides(layout, k, n), dtype, 0.3)?;
        let bias = self.normal_there(&[n], dtype, 1.0)?;
        let (pre, act) = (
            self.poisoned_there(&[m, n], dtype)?,
            self.poisoned_there(&[m, n], dtype)?,
        );
        ops::linear_gelu(compute, &act, &pre, &x, &w, layout, Some(&bias))?;
        let weight = rows_of_outputs(&case.operand(&w)?, layout)?;
        let layer = Linear::new(weight.clone(), Some(exact(&bias)?));
        let want = layer.forward(&case.operand(&x)?)?;
        let mut shares = vec![self.agree(&pre, &want, case.activation())?];
        shares.push(self.agree(&act, &want.gelu()?, case.activation())?);
        // The layer follows a GELU.
        let dy = self.normal_there(&[m, n], dtype, 1.0)?;
        let pre = self.normal_there(&[m, k], dtype, 2.0)?;
        let d = self.poisoned_there(&[m, k], dtype)?;
        ops::linear_backward_gelu(compute, &d, &dy, &w, layout, &pre)?;
        let pre = variable(&exact(&pre)?)?;
        let y = Linear::new(weight, None).forward(&gelu(&pre)?)?;
        let [want] = gradients(&y, &case.operand(&dy)?, [&pre])?;
        shares.push(self.agree(&d, &want, case.activation())?);
        Ok(shares)
    }

    fn norm_layer(&mut self, dtype: DType, (m, c): (usize, usize), norm: Norm) -> Result<Vec<f64>> {
        let x = self.normal_there(&[m, c], DType::F32, 2.0)?;
        let w = self.normal_there(&[c], DType::F32, 1.0)?;
        let b = self.normal_there(&[c], DType::F32, 1.0)?;
        let (out, stats) = (
            self.poisoned_there(&[m, c], dtype)?,
            self.poisoned_there(&[2, m], DType::F32)?,
        );
        let bias = (norm == Norm::Layer).then_some(&b);
        match norm {
            Norm::Rms => ops::rms_norm(&out, &stats, &x, &w, EPS)?,
            _ => ops::layer_norm(&out, &stats, &x, &w, bias, EPS)?,
        }
        let [xv, wv, bv] = [
            variable(&exact(&x)?)?,
            variable(&exact(&w)?)?,
            variable(&exact(&b)?)?,
        ];
        let want = norm.of(&xv, &wv, &bv)?;
        let mut shares = vec![self.agree(&out, &want, activation(dtype))?];
        let dy = self.normal_there(&[m, c], dtype, 1.0)?;
        let dx = self.normal_there(&[m, c], DType::F32, 1.0)?;
        let wide = if norm == Norm::Layer { 2 * c } else { c };
        let dwb = self.normal_there(&[wide], DType::F32, 1.0)?;
        let want_wb = match norm {
            Norm::Layer => {
                let [dw, db] = gradients(&want, &exact(&dy)?, [&wv, &bv])?;
                Tensor::cat(&[dw, db], 0)?
            }
            _ => {
                let [dw] = gradients(&want, &exact(&dy)?, [&wv])?;
                dw
            }
        };
        let [want_dx] = gradients(&want, &exact(&dy)?, [&xv])?;
        let (want_dx, want_wb) = ((exact(&dx)? + want_dx)?, (exact(&dwb)? + want_wb)?);
        let rounded = match self.device.is_cuda() {
            true => Some(self.poisoned_there(&[m, c], DType::BF16)?),
            false => None,
        };
        let half = rounded.as_ref();
        match norm {
            Norm::Rms => {
                ops::rms_norm_backward(Accumulation::Add, &dx, half, &dwb, &dy, &x, &w, &stats)?
            }
            _ => ops::layer_norm_backward(Accumulation::Add, &dx, half, &dwb, &dy, &x, &w, &stats)?,
        }
        // Where a row's variance is small, its gradient is a small difference of terms as large as 1/std.
        let inverse_std = ops::read(&stats)?.into_iter().skip(m);
        let steepest = inverse_std.fold(0f32, f32::max);
        let terms = Tolerance(SUMS.0 * f64::from(steepest / 16.0).max(1.0));
        shares.push(self.agree(&dx, &want_dx, terms)?);
        shares.push(self.agree(&dwb, &want_wb, SUMS)?);
        if let Some(rounded) = &rounded {
            shares.push(self.agree(rounded, &want_dx, activation(DType::BF16))?);
        }
        Ok(shares)
    }

    fn activation_layers(&mut self, dtype: DType, n: usize) -> Result<Vec<f64>> {
        let x = self.normal_there(&[n], dtype, 3.0)?;
        let mut values = ops::read(&x)?;
        // Values that a normal distribution hardly ever gives.
        let ends = [0.0, -0.0, 1e-20, 12.0, -12.0, 60.0, -60.0, 1.0, -1.0];
        for (value, end) in values.iter_mut().rev().zip(ends) {
            *value = end;
        }
        ops::write(&x, &values)?;
        let mut shares = Vec::new();
        let v = variable(&exact(&x)?)?;
        type Op = fn(&Tensor, &Tensor) -> Result<()>;
        let both: [(Op, Op, Tensor, Tensor); 2] = [
            (ops::gelu, ops::gelu_backward, v.gelu()?, gelu(&v)?),
            (
                ops::gelu_erf,
                ops::gelu_erf_backward,
                v.gelu_erf()?,
                gelu_erf(&v)?,
            ),
        ];
        for (forward, backward, want, composed) in both {
            let out = self.poisoned_there(&[n], dtype)?;
            forward(&out, &x)?;
            shares.push(self.agree(&out, &want, activation(dtype))?);
            let d = self.normal_there(&[n], dtype, 1.0)?;
            let [want] = gradients(&composed, &exact(&d)?, [&v])?;
            backward(&d, &x)?;
            shares.push(self.agree(&d, &want, activation(dtype))?);
        }
        Ok(shares)
    }

    fn swiglu_layer(&mut self, dtype: DType, (m, f): (usize, usize)) -> Result<Vec<f64>> {
        let x = self.normal_there(&[m, 2 * f], dtype, 2.0)?;
        let d = self.normal_there(&[m, f], dtype, 1.0)?;
        let (out, dx) = (
            self.poisoned_there(&[m, f], dtype)?,
            self.poisoned_there(&[m, 2 * f], dtype)?,
        );
        ops::swiglu(&out, &x)?;
        ops::swiglu_backward(&dx, &d, &x)?;
        let xv = variable(&exact(&x)?)?;
        let want = candle_nn::ops::swiglu(&xv)?;
        let [want_dx] = gradients(&want, &exact(&d)?, [&xv])?;
        Ok(vec![
            self.agree(&out, &want, activation(dtype))?,
            self.agree(&dx, &want_dx, activation(dtype))?,
        ])
    }

    fn embedding_layer(&mut self, (b, t): (usize, usize), c: usize, v: usize) -> Result<Vec<f64>> {
        let ids = self.ids(&[b, t], v)?;
        let wte = self.normal_there(&[v, c], DType::F32, 1.0)?;
        // Positions beyond the windows must not change.
        let wpe = self.normal_there(&[t + 3, c], DType::F32, 1.0)?;
        let (tokens, positions) = (variable(&exact(&wte)?)?, variable(&exact(&wpe)?)?);
        let plain = Embedding::new(tokens.as_tensor().clone(), c).forward(&ids.cpu)?;
        let both = plain.broadcast_add(&positions.narrow(0, 0, t)?)?;
        let out = self.poisoned_there(&[b * t, c], DType::F32)?;
        ops::embedding(&out, &ids.gpu, &wte, Some(&wpe))?;
        let mut shares = vec![self.agree(&out, &both, SUMS)?];
        ops::embedding(&out, &ids.gpu, &wte, None)?;
        shares.push(self.agree(&out, &plain, SUMS)?);
        let dx = self.normal_there(&[b * t, c], DType::F32, 1.0)?;
        let dy = exact(&dx)?.reshape((b, t, c))?;
        let [dwte, dwpe] = gradients(&both, &dy, [&tokens, &positions])?;
        let (dwte, dwpe) = ((exact(&wte)? + dwte)?, (exact(&wpe)? + dwpe)?);
        ops::embedding_backward(&wte, Some(&wpe), &ids.gpu, &dx)?;
        shares.push(self.agree(&wte, &dwte, SUMS)?);
        shares.push(self.agree(&wpe, &dwpe, SUMS)?);
        Ok(shares)
    }

    fn head_layer(
        &mut self,
        case: Case,
        (m, c, v): (usize, usize, usize),
        rows: usize,
    ) -> Result<Vec<f64>> {
        let (compute, dtype) = (case.compute, case.dtype);
        let x = self.normal_there(&[m, c], dtype, 1.0)?;
        let wte = self.normal_there(&[v, c], dtype, 0.5)?;
        let targets = self.ids(&[1, m], v)?;
        let stride = self.stride(v);
        let chunk = self.poisoned_there(&[rows, stride], DType::F32)?;
        let (xv, wv) = (
            variable(&case.operand(&x)?)?,
            variable(&case.operand(&wte)?)?,
        );
        let logits = Linear::new(wv.as_tensor().clone(), None).forward(&xv)?;
        let of_rows = candle_nn::ops::log_softmax(&logits, 1)?;
        let target = targets.cpu.flatten_all()?;
        let losses = of_rows.gather(&target.unsqueeze(1)?, 1)?.neg()?;
        let mean = candle_nn::loss::cross_entropy(&logits, &target)?;
        // Factor on the sum of the rows, whose gradient is computed.
        let scale = 0.25f32;
        let all = Tensor::new(m as f64 * f64::from(scale), &Device::Cpu)?;
        let [want_dx, want_dw] = gradients(&mean, &all, [&xv, &wv])?;

        let got = self.poisoned_there(&[m], DType::F32)?;
        let (dx, dw) = (
            self.poisoned_there(&[m, c], dtype)?,
            self.normal_there(&[v, c], DType::F32, 0.1)?,
        );
        let want_dw = (exact(&dw)? + want_dw)?;
        let loss = case.one_of(3e-5, 3e-5, 3e-3);
        let gradient = case.one_of(3e-5, 2e-2, 4e-2);
        let head = |grads, got: &Tensor| {
            let ids = &targets.gpu;
            ops::head_cross_entropy(compute, got, grads, &chunk, &x, &wte, ids, scale)
        };
        head(Some((&dx, &dw, Accumulation::Add)), &got)?;
        let mut shares = vec![self.agree(&got, &losses, loss)?];
        shares.push(self.agree(&dx, &want_dx, gradient)?);
        shares.push(self.agree(&dw, &want_dw, gradient)?);
        let got = self.poisoned_there(&[m], DType::F32)?;
        head(None, &got)?;
        // Logits are f32 where no gradients are computed.
        let loss = case.one_of(3e-5, 3e-5, 1e-4);
        shares.push(self.agree(&got, &losses, loss)?);
        let found = ops::head_log_likelihoods(compute, &chunk, &x, &wte, &targets.gpu)?;
        let got = found.iter().map(|&l| -l as f32).collect();
        let got = Tensor::from_vec(got, (m, 1), &Device::Cpu)?;
        shares.push(self.agree(&got, &losses, loss)?);
        let got = self.poisoned_there(&[m, v], DType::F32)?;
        ops::head_logits(compute, &got, &x, &wte)?;
        shares.push(self.agree(&got, &logits, SUMS)?);
        Ok(shares)
    }
}

/// The kinds of norms.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Norm {
    Layer,
    NoBias,
    Rms,
}

impl Norm {
    /// Computes candle-nn's norm that has a gradient.
    fn of(self, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (w, eps) = (w.clone(), f64::from(EPS));
        match self {
            Self::Layer => candle_nn::ops::layer_norm_slow(x, &w, b, EPS),
            Self::NoBias => LayerNorm::new_no_bias(w, eps).forward(x),
            Self::Rms => RmsNorm::new(w, eps).forward_diff(x),
        }
    }
}

/// Returns a weight in the layout of PyTorch's and candle-nn's layers, `[out, in]`.
pub fn rows_of_outputs(w: &Tensor, layout: Layout) -> Result<Tensor> {
    match layout {
        Layout::InOut => w.t(),
        Layout::OutIn => Ok(w.clone()),
    }
}

/// Computes the tanh-approximated GELU from differentiable operations: candle's own gradient of it has constants of six digits.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    let inner = (x + (x.sqr()? * x)?.affine(0.044715, 0.0)?)?;
    let tanh = (inner * (2.0 / std::f64::consts::PI).sqrt())?.tanh()?;
    (x * tanh.affine(0.5, 0.5)?)?.affine(1.0, 0.0)
}

/// Computes GELU with the error function from differentiable operations, for the same reason.
pub fn gelu_erf(x: &Tensor) -> Result<Tensor> {
    let erf = (x / 2f64.sqrt())?.erf()?;
    x * erf.affine(0.5, 0.5)?
}
