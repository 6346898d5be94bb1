//! Measures the time of a forecast: `cargo bench --bench forecast`. A phase of 1,000,000 steps with 100,000 evaluations, half of
//! them made, and a reference with the same number; the limit is 10 ms.

use std::f64::consts::PI;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use heirloom::config::Schedule;
use heirloom::run::event::Phase;
use heirloom::run::forecast::{Curve, Known, Past};
use heirloom::run::schedule::{Course, LearningRate};

const EVALUATIONS: u64 = 100_000;
const EVERY: u64 = 10;
const STEPS: u64 = EVALUATIONS * EVERY;

/// Makes the evaluations of a phase with a cosine schedule.
fn curve(evaluations: u64, factor: f64, is_cold: bool) -> Curve {
    let course = Course::planned(LearningRate {
        kind: Schedule::Cosine,
        peak: 3e-4,
        min: 1e-5,
        warmup: 2000,
        steps: STEPS,
    });
    let point = |i: u64| {
        let (step, done) = (i * EVERY, (i * EVERY) as f64 / STEPS as f64);
        let scatter = 0.003 * ((i * 7919 % 101) as f64 / 50.0 - 1.0);
        let annealed = 0.1 * (1.0 - (PI * done).cos());
        (step, 2.5 + factor * done.powf(-0.45) - annealed + scatter)
    };
    Curve::new((1..=evaluations).map(point), course, is_cold)
}

fn forecast(c: &mut Criterion) {
    let reference = curve(EVALUATIONS, 0.3, true);
    let curve = curve(EVALUATIONS / 2, 0.2, false);
    let known = Known {
        phase: Phase::Round(1),
        layers: 6,
        step: STEPS / 2,
        curve,
        due: STEPS,
        past: vec![Past {
            phase: Phase::Reference,
            curve: reference,
        }],
        rounds: Vec::new(),
        round_steps: STEPS,
        benchmark: Some(2.8),
        tolerance: 0.0,
    };
    c.bench_function("outlook after 100,000 evaluations", |b| {
        b.iter(|| black_box(&known).outlook());
    });
}

criterion_group!(benches, forecast);
criterion_main!(benches);
