//! Knowledge distillation at the language-model head: losses and gradients from the logits of a student and its teacher, for a
//! piece of the rows at a time.

use rayon::prelude::*;

use super::head::{Operands, input_gradients, logits};
use super::math::{self, Arithmetic};
use crate::ops::Precision;

/// The teacher's operands.
#[derive(Clone, Copy)]
pub struct Teacher<'a> {
    pub compute: Precision,
    /// `[M, C']`.
    pub x: &'a [f32],
    /// `[V, C']`.
    pub head: &'a [f32],
    pub mix: Mix,
}

/// The weights of the hard targets and the teacher's probabilities.
#[derive(Clone, Copy)]
pub struct Mix {
    pub alpha: f32,
    pub temperature: f32,
}

/// Computes the loss of every row, and with `(dx, dwte)` the gradients of their sum times the scale: `dx = …`, `dwte += …`. The
/// two chunks are scratch for complete rows of the student's and the teacher's logits.
pub fn distillation(
    compute: Precision,
    losses: &mut [f32],
    (dx, dwte): (&mut [f32], &mut [f32]),
    [chunk, taught]: [&mut [f32]; 2],
    of: Operands<'_>,
    teacher: Teacher<'_>,
) {
    let (m, c, v) = of.sizes();
    let width = teacher.x.len() / m;
    assert!(losses.len() == m && dx.len() == of.x.len() && dwte.len() == of.wte.len());
    assert!(teacher.x.len() == m * width && teacher.head.len() == v * width);
    let rows = (chunk.len() / v).min(taught.len() / v);
    assert!(rows > 0, "no room for a row of logits");
    // Few pieces of similar size: each reads and writes the gradients of all weights.
    let rows = m.div_ceil(m.div_ceil(rows));
    for (piece, losses) in losses.chunks_mut(rows).enumerate() {
        let (from, m) = (piece * rows, losses.len());
        let x = &of.x[from * c..][..m * c];
        let (chunk, taught) = (&mut chunk[..m * v], &mut taught[..m * v]);
        logits(compute, chunk, x, of.wte, c, v);
        let hidden = &teacher.x[from * width..][..m * width];
        logits(teacher.compute, taught, hidden, teacher.head, width, v);
        chunk
            .par_chunks_mut(v)
            .zip(taught.par_chunks_mut(v))
            .zip(losses.par_iter_mut())
            .zip(&of.targets[from..from + m])
            .for_each(|(((row, taught), loss), &target)| {
                *loss = simd!(A => loss_row::<A>(
                    row,
                    taught,
                    target as usize,
                    of.scale,
                    teacher.mix
                ));
            });
        let dx = &mut dx[from * c..][..m * c];
        input_gradients(compute, chunk, (dx, dwte), x, of.wte, (m, c, v));
    }
}

/// Sums over a row of logits z and the teacher's t, after their largest elements are subtracted.
struct Sums {
    /// `Σ exp(z)`, `Σ exp(z / T)` and `Σ exp(t / T)`.
    hard: f32,
    soft: f32,
    taught: f32,
    /// `Σ exp(t / T) (t - z)`.
    apart: f32,
}

/// Returns the loss of one row and replaces the student's logits by their gradient; the teacher's logits are scratch.
///
/// `(1 - alpha) (lse(z) - z[target]) + alpha T² KL(q || p)` with `p = softmax(z / T)` and `q = softmax(t / T)` (Hinton et
/// al., arXiv 1503.02531, section 2), whose gradient is `(1 - alpha) (softmax(z) - onehot) + alpha T (p - q)`.
#[inline(always)]
fn loss_row<A: Arithmetic>(
    row: &mut [f32],
    taught: &mut [f32],
    target: usize,
    scale: f32,
    mix: Mix,
) -> f32 {
    let Mix { alpha, temperature } = mix;
    let largest = [math::max::<A>(row), math::max::<A>(taught)];
    let at_target = row[target];
    let inverse = 1.0 / temperature;
    let sums = sums::<A>(row, taught, largest, inverse);
    let (hard, soft, teaching) = (
        scale * (1.0 - alpha) / sums.hard,
        scale * alpha * temperature / sums.soft,
        scale * alpha * temperature / sums.taught,
    );
    for (z, &q) in row.iter_mut().zip(taught.iter()) {
        let x = *z - largest[0];
        *z = hard * math::exp::<A>(x) + soft * math::exp::<A>(x * inverse) - teaching * q;
    }
    row[target] -= scale * (1.0 - alpha);
    let [alpha, t] = [alpha, temperature].map(f64::from);
    let [hard, soft, taught, apart] =
        [sums.hard, sums.soft, sums.taught, sums.apart].map(f64::from);
    let cross_entropy = hard.ln() + f64::from(largest[0] - at_target);
    let divergence = apart / (t * taught) - taught.ln() + soft.ln();
    ((1.0 - alpha) * cross_entropy + alpha * t * t * divergence) as f32
}

/// Returns the terms that an element adds to [`Sums`].
#[inline(always)]
fn terms<A: Arithmetic>(z: f32, t: f32, inverse: f32) -> [f32; 4] {
    let q = math::exp::<A>(t * inverse);
    [
        math::exp::<A>(z),
        math::exp::<A>(z * inverse),
        q,
        q * (t - z),
    ]
}

/// Sums over a row. The teacher's logits become `exp(t / T)`.
#[inline(always)]
fn sums<A: Arithmetic>(
    row: &[f32],
    taught: &mut [f32],
    [max, max_taught]: [f32; 2],
    inverse: f32,
) -> Sums {
    let mut lanes = [[0f32; 16]; 4];
    let whole = row.len() / 16 * 16;
    let (body, rest) = row.split_at(whole);
    let (taught, taught_rest) = taught.split_at_mut(whole);
    for (z, t) in body.chunks_exact(16).zip(taught.chunks_exact_mut(16)) {
        for i in 0..16 {
            let terms = terms::<A>(z[i] - max, t[i] - max_taught, inverse);
            t[i] = terms[2];
            for (lane, term) in lanes.iter_mut().zip(terms) {
                lane[i] += term;
            }
        }
    }
    for (i, (z, t)) in rest.iter().zip(taught_rest).enumerate() {
        let terms = terms::<A>(z - max, *t - max_taught, inverse);
        *t = terms[2];
        for (lane, term) in lanes.iter_mut().zip(terms) {
            lane[i] += term;
        }
    }
    let [hard, soft, taught, apart] = lanes.map(math::total);
    Sums {
        hard,
        soft,
        taught,
        apart,
    }
}

#[cfg(test)]
mod tests {
    use super::super::math::Fused;
    use super::*;

    /// Computes loss and gradient of a row in f64 from the definition.
    fn exact(z: &[f32], t: &[f32], target: usize, mix: Mix) -> (f64, Vec<f64>) {
        let softmax = |x: &[f32], temperature: f64| -> Vec<f64> {
            let x: Vec<f64> = x.iter().map(|&x| f64::from(x) / temperature).collect();
            let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = x.iter().map(|x| (x - max).exp()).sum();
            x.iter().map(|x| (x - max).exp() / total).collect()
        };
        let [alpha, temperature] = [mix.alpha, mix.temperature].map(f64::from);
        let (p, soft, taught) = (
            softmax(z, 1.0),
            softmax(z, temperature),
            softmax(t, temperature),
        );
        let terms = taught.iter().zip(&soft).map(|(q, p)| q * (q / p).ln());
        let divergence: f64 = terms.sum();
        let loss = -(1.0 - alpha) * p[target].ln() + alpha * temperature.powi(2) * divergence;
        let gradient = |i: usize| {
            let hard = p[i] - f64::from(u8::from(i == target));
            (1.0 - alpha) * hard + alpha * temperature * (soft[i] - taught[i])
        };
        (loss, (0..z.len()).map(gradient).collect())
    }

    #[test]
    fn rows_agree_with_f64_at_any_length_and_temperature() {
        for n in [1, 2, 15, 16, 17, 50, 300] {
            let row = |step: f32, size: f32| -> Vec<f32> {
                (0..n).map(|i| size * (i as f32 * step).sin()).collect()
            };
            let (z, t, target) = (row(0.7, 3.0), row(1.3, 5.0), n / 3);
            for (alpha, temperature) in
                [(0.4, 2.0), (1.0, 1.0), (0.0, 1.0), (0.5, 0.5), (1.0, 20.0)]
            {
                let mix = Mix { alpha, temperature };
                let (want, want_gradient) = exact(&z, &t, target, mix);
                let (mut got, mut taught) = (z.clone(), t.clone());
                let loss = f64::from(loss_row::<Fused>(&mut got, &mut taught, target, 0.5, mix));
                assert!(
                    (loss - want).abs() < 1e-5 * (1.0 + want.abs()),
                    "{n}: {loss} {want}"
                );
                for (got, want) in got.iter().zip(&want_gradient) {
                    assert!(
                        (f64::from(*got) - 0.5 * want).abs() < 1e-6,
                        "{n}: {got} {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_teacher_that_agrees_teaches_nothing() {
        let z: Vec<f32> = (0..40).map(|i| (i as f32 * 0.9).cos()).collect();
        // A softmax is invariant to an added constant.
        let mut taught: Vec<f32> = z.iter().map(|z| z + 7.0).collect();
        let mut row = z;
        let mix = Mix {
            alpha: 1.0,
            temperature: 3.0,
        };
        let loss = loss_row::<Fused>(&mut row, &mut taught, 5, 1.0, mix);
        assert!(loss.abs() < 1e-5, "{loss}");
        assert!(row.iter().all(|g| g.abs() < 1e-6), "{row:?}");
    }

    #[test]
    fn what_is_not_finite_shows_in_the_loss() {
        let mix = Mix {
            alpha: 0.5,
            temperature: 2.0,
        };
        for (student, teacher) in [(f32::NAN, 0.0), (0.0, f32::NAN), (0.0, f32::INFINITY)] {
            let (mut row, mut taught) = (vec![0.5; 20], vec![0.25; 20]);
            (row[3], taught[17]) = (student, teacher);
            assert!(loss_row::<Fused>(&mut row, &mut taught, 0, 1.0, mix).is_nan());
        }
    }
}
