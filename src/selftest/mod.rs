//! Checks the results of this CPU or GPU.
//!
//! Every op and complete models of both families are compared with candle-nn's layers, losses and AdamW and candle's autograd, in
//! f64 on the CPU (`oracle`), on new random inputs, with ragged shapes and outputs that were filled with NaN. A GPU is also
//! compared with the CPU, at larger sizes and with operands for which cards behave differently (`ops`, `cards`, `models`,
//! `shards`): gradients of complete models, repetition bit for bit, updates by several ranks, and requests of too much memory.

mod attention;
mod cards;
mod compare;
mod models;
mod norms;
mod ops;
mod oracle;
mod shards;
mod stream;

use std::fmt::Display;

use candle_core::{DType, Device, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use oracle::models::configs;

use crate::ops::Precision;

/// Runs checks, and counts their results.
pub struct SelfTest<'a> {
    device: &'a Device,
    rng: ChaCha8Rng,
    computes: Vec<Precision>,
    passed: usize,
    failed: usize,
    /// Comparisons with the oracle so far.
    compared: u64,
    /// Called with each check's result: whether it passed, its name, and details.
    told: &'a mut dyn FnMut(bool, &str, &str),
}

/// The precision of an op's products and the type of its activations in a check.
#[derive(Debug, Clone, Copy)]
struct Case {
    compute: Precision,
    dtype: DType,
}

impl<'a> SelfTest<'a> {
    /// Makes a self-test of `device`, with inputs drawn from `seed`.
    pub fn new(device: &'a Device, seed: u64, told: &'a mut dyn FnMut(bool, &str, &str)) -> Self {
        Self {
            device,
            rng: ChaCha8Rng::seed_from_u64(seed),
            computes: vec![Precision::F32, Precision::Bf16],
            passed: 0,
            failed: 0,
            compared: 0,
            told,
        }
    }

    /// Restricts the checks to this precision.
    pub fn only(mut self, compute: Precision) -> Self {
        self.computes = vec![compute];
        self
    }

    /// Runs all checks of a single process.
    pub fn all(&mut self) {
        self.layers();
        self.distillation();
        self.attentions();
        self.attention_extremes();
        self.optimizer();
        self.whole_models();
        self.passes();
        if self.device.is_cuda() {
            self.ops();
            self.half_streams();
            self.unusual_operands();
            self.models();
            self.shards();
        }
    }

    /// Returns the numbers of checks that passed and failed.
    pub fn counts(&self) -> (usize, usize) {
        (self.passed, self.failed)
    }

    /// Adds the result of a check that was made outside.
    pub fn note<E: Display>(&mut self, name: &str, result: std::result::Result<String, E>) {
        let (good, found) = match &result {
            Ok(found) => (true, found.clone()),
            // Only the first line, because a backtrace may follow.
            Err(error) => {
                let text = error.to_string();
                (false, text.lines().next().unwrap_or_default().to_string())
            }
        };
        match good {
            true => self.passed += 1,
            false => self.failed += 1,
        }
        (self.told)(good, name, &found);
    }

    /// Adds the counts of another process.
    pub fn add(&mut self, (passed, failed): (usize, usize)) {
        self.passed += passed;
        self.failed += failed;
    }

    /// Runs a check.
    fn check(&mut self, name: &str, f: impl FnOnce(&mut Self) -> Result<String>) {
        let result = f(self);
        self.note(name, result);
    }

    /// Runs a check that returns errors as shares of the tolerance, and reports the largest.
    fn check_shares(&mut self, name: &str, f: impl FnOnce(&mut Self) -> Result<Vec<f64>>) {
        self.check(name, |t| {
            let largest = f(t)?.into_iter().fold(0.0, f64::max);
            Ok(format!(
                "at most {:.0} % of what is allowed",
                100.0 * largest
            ))
        });
    }

    /// Returns the precisions for checks of ops with products.
    fn cases(&self) -> Vec<Case> {
        let computes = self.computes.iter();
        let case = |&compute| Case {
            compute,
            dtype: match (self.device.is_cuda(), compute) {
                // On the CPU, operands are rounded when they are multiplied.
                (true, Precision::Bf16) => DType::BF16,
                _ => DType::F32,
            },
        };
        computes.map(case).collect()
    }

    /// Returns the types of activations for checks of ops without products.
    fn dtypes(&self) -> Vec<DType> {
        let cases = self.cases().into_iter();
        let own = cases.filter(|c| c.compute == Precision::F32 || self.device.is_cuda());
        own.map(|c| c.dtype).collect()
    }

    /// Whether f32 is checked, and with it the ops that exist only in f32.
    fn checks_f32(&self) -> bool {
        self.computes.contains(&Precision::F32)
    }
}

impl Case {
    /// Returns `f32`, or `bf16` and the CPU's unit.
    fn name(self) -> String {
        match (self.compute, self.dtype) {
            (Precision::F32, _) => "f32".into(),
            (Precision::Bf16, DType::BF16) => "bf16".into(),
            (Precision::Bf16, _) => format!("bf16 by {}", crate::ops::unit()),
        }
    }
}
