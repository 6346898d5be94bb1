//! AdamW and the gradient norm.

use rayon::prelude::*;

use super::ELEMENTS_PER_TASK;
use crate::ops::AdamW;

/// Sum of squares in f64: fixed pieces, added in order.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let parts: Vec<f64> = x
        .par_chunks(ELEMENTS_PER_TASK)
        .map(|part| {
            simd!({
                let mut lanes = [0f64; 8];
                let chunks = part.chunks_exact(8);
                let rest = chunks.remainder();
                for chunk in chunks {
                    for i in 0..8 {
                        let v = f64::from(chunk[i]);
                        lanes[i] += v * v;
                    }
                }
                let tail: f64 = rest.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
                lanes.iter().sum::<f64>() + tail
            })
        })
        .collect();
    parts.iter().sum()
}

/// Sets every element to zero.
pub fn zero(x: &mut [f32]) {
    x.par_chunks_mut(ELEMENTS_PER_TASK)
        .for_each(|part| part.fill(0.0));
}

/// One AdamW step over neighbouring tensors of `parts` elements each.
pub fn adamw(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], parts: &[(usize, AdamW)]) {
    let ends: Vec<usize> = parts
        .iter()
        .scan(0, |end, (len, _)| {
            *end += len;
            Some(*end)
        })
        .collect();
    let len = ends.last().copied().unwrap_or(0);
    assert!([p.len(), m.len(), v.len(), g.len()] == [len; 4]);
    p.par_chunks_mut(ELEMENTS_PER_TASK)
        .zip(m.par_chunks_mut(ELEMENTS_PER_TASK))
        .zip(v.par_chunks_mut(ELEMENTS_PER_TASK))
        .zip(g.par_chunks(ELEMENTS_PER_TASK))
        .enumerate()
        .for_each(|(task, (((p, m), v), g))| {
            let first = task * ELEMENTS_PER_TASK;
            let mut part = ends.partition_point(|&end| end <= first);
            let mut at = 0;
            while at < p.len() {
                let to = (ends[part] - first).min(p.len());
                let (p, m, v) = (&mut p[at..to], &mut m[at..to], &mut v[at..to]);
                update(p, m, v, &g[at..to], parts[part].1);
                (at, part) = (to, part + 1);
            }
        });
}

fn update(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], o: AdamW) {
    let (c1, c2) = o.corrections();
    let keep = 1.0 - o.lr * o.weight_decay;
    simd!({
        for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
            let g = g * o.grad_scale;
            *m = o.beta1 * *m + (1.0 - o.beta1) * g;
            *v = o.beta2 * *v + (1.0 - o.beta2) * g * g;
            let update = *m * c1 / ((*v * c2).sqrt() + o.eps);
            *p = *p * keep - o.lr * update;
        }
    });
}
