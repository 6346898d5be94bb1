//! Measures the ops of a training step at the sizes of six layers of width 384, with 2048 tokens at a time:
//! `cargo bench --bench ops [-- NAME]`. Each product is measured in bf16 and in f32.

use std::hint::black_box;

use candle_core::{Device, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heirloom::ops::{self, Accumulation, AttentionShape, Layout, Precision};

const ROWS: usize = 2048;
const WIDTH: usize = 384;
const BOTH: [Precision; 2] = [Precision::F32, Precision::Bf16];

fn noise(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n)
        .map(|i| (i * 7919 % 10007) as f32 * 1e-4 - 0.5)
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("as many values as the shape says")
}

fn linear(c: &mut Criterion) {
    let mut group = c.benchmark_group("linear");
    let (k, n) = (WIDTH, 4 * WIDTH);
    group.throughput(Throughput::Elements(2 * (ROWS * k * n) as u64));
    let (x, w, y) = (noise(&[ROWS, k]), noise(&[k, n]), noise(&[ROWS, n]));
    for compute in BOTH {
        group.bench_function(format!("forward {compute:?}"), |b| {
            b.iter(|| ops::linear(compute, &y, &x, &w, Layout::InOut, None, None));
        });
        group.bench_function(format!("input's gradient {compute:?}"), |b| {
            b.iter(|| ops::linear_backward_input(compute, &x, &y, &w, Layout::InOut));
        });
        group.bench_function(format!("weight's gradient {compute:?}"), |b| {
            b.iter(|| {
                ops::linear_backward_weight(
                    compute,
                    Accumulation::Add,
                    &w,
                    Layout::InOut,
                    None,
                    &x,
                    &y,
                )
            });
        });
    }
}

fn attention(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention");
    for time in [256, 2048] {
        let s = AttentionShape {
            batch: ROWS / time,
            time,
            n_head: 6,
            n_kv_head: 6,
            head_size: 64,
            scale: 0.125,
        };
        let (qkv, out, d) = (
            noise(&[s.batch, time, s.row()]),
            noise(&[s.batch, time, s.width()]),
            noise(&[s.batch, time, s.row()]),
        );
        let lse = noise(&[s.batch, s.n_head, time]);
        for compute in BOTH {
            group.bench_function(format!("forward {time} {compute:?}"), |b| {
                b.iter(|| ops::attention(compute, &out, &lse, &qkv, s));
            });
            group.bench_function(format!("backward {time} {compute:?}"), |b| {
                b.iter(|| ops::attention_backward(compute, &d, &out, &out, &qkv, &lse, s));
            });
        }
    }
}

fn head(c: &mut Criterion) {
    let mut group = c.benchmark_group("head");
    group.sample_size(10);
    let vocab = 50304;
    let (x, wte) = (noise(&[ROWS, WIDTH]), noise(&[vocab, WIDTH]));
    let (dx, dwte) = (noise(&[ROWS, WIDTH]), noise(&[vocab, WIDTH]));
    let (losses, chunk) = (noise(&[ROWS]), noise(&[256, vocab]));
    let ids: Vec<u32> = (0..ROWS as u32).map(|i| i * 17).collect();
    let ids = Tensor::from_vec(ids, (1, ROWS), &Device::Cpu).expect("as many ids as rows");
    for compute in BOTH {
        for grads in [None, Some((&dx, &dwte, Accumulation::Add))] {
            let what = if grads.is_some() {
                "and gradients"
            } else {
                "loss"
            };
            group.bench_function(format!("{what} {compute:?}"), |b| {
                b.iter(|| {
                    ops::head_cross_entropy(compute, &losses, grads, &chunk, &x, &wte, &ids, 1e-6)
                });
            });
        }
    }
}

fn element_wise(c: &mut Criterion) {
    let mut group = c.benchmark_group("element-wise");
    let n = ROWS * 4 * WIDTH;
    group.throughput(Throughput::Elements(n as u64));
    let (x, out) = (noise(&[n]), noise(&[n]));
    group.bench_function("gelu", |b| b.iter(|| ops::gelu(&out, &x)));
    // The gradient is computed in place. Where the derivative is 1, repetition does not shrink values to denormal numbers.
    let far = Tensor::full(10f32, n, &Device::Cpu).expect("on the CPU");
    group.bench_function("gelu's gradient", |b| {
        b.iter(|| ops::gelu_backward(&out, &far))
    });
    let (m, v, g) = (noise(&[n]), noise(&[n]), noise(&[n]));
    ops::zero(&v).expect("on the CPU");
    let update = ops::AdamW {
        lr: 1e-4,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        grad_scale: 1.0,
        step: 1,
    };
    group.bench_function("adamw", |b| {
        b.iter(|| ops::adamw([&x, &m, &v, &g], None, &[(x.elem_count(), update)]))
    });
    group.bench_function("sum of squares", |b| {
        b.iter(|| black_box(ops::sum_of_squares(&g)));
    });
    let (rows, weight) = (noise(&[n / WIDTH, WIDTH]), noise(&[WIDTH]));
    let (normed, stats) = (noise(&[n / WIDTH, WIDTH]), noise(&[2, n / WIDTH]));
    group.bench_function("layer norm", |b| {
        b.iter(|| ops::layer_norm(&normed, &stats, &rows, &weight, Some(&weight), 1e-5));
    });
}

criterion_group!(benches, linear, attention, head, element_wise);
criterion_main!(benches);
