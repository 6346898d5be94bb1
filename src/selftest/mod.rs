//! Does this CPU or GPU compute what it should?
//!
//! Every op and whole models of both families are compared with candle-nn's layers, losses and AdamW and candle's
//! autograd, in f64 on the CPU (`oracle`), on fresh random inputs, with ragged shapes and outputs filled with NaN
//! before. A GPU is also compared with the CPU, at larger sizes and with operands that cards differ in (`ops`, `cards`,
//! `models`, `shards`): gradients of whole models, repetition bit for bit, updates by several ranks, more memory than there is.

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

/// Checks done so far, and what they are done with.
pub struct SelfTest<'a> {
    device: &'a Device,
    rng: ChaCha8Rng,
    computes: Vec<Precision>,
    passed: usize,
    failed: usize,
    /// Comparisons with the oracle so far.
    compared: u64,
    /// Hears of each check: whether it passed, its name, what was found.
    told: &'a mut dyn FnMut(bool, &str, &str),
}

/// The numbers that an op is checked with: the precision of its products and the type of its activations.
#[derive(Debug, Clone, Copy)]
struct Case {
    compute: Precision,
    dtype: DType,
}

impl<'a> SelfTest<'a> {
    /// Checks of `device`, with inputs drawn from `seed`.
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

    /// Keeps to what is computed with this precision.
    pub fn only(mut self, compute: Precision) -> Self {
        self.computes = vec![compute];
        self
    }

    /// Everything that one process can check on its own.
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

    /// Checks that passed and failed.
    pub fn counts(&self) -> (usize, usize) {
        (self.passed, self.failed)
    }

    /// Notes the result of a check made elsewhere.
    pub fn note<E: Display>(&mut self, name: &str, result: std::result::Result<String, E>) {
        let (good, found) = match &result {
            Ok(found) => (true, found.clone()),
            // A backtrace may follow.
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

    /// Adds checks that another process made.
    pub fn add(&mut self, (passed, failed): (usize, usize)) {
        self.passed += passed;
        self.failed += failed;
    }

    /// Does one check.
    fn check(&mut self, name: &str, f: impl FnOnce(&mut Self) -> Result<String>) {
        let result = f(self);
        self.note(name, result);
    }

    /// Does one check that finds shares of what is allowed, of which the largest is reported.
    fn check_shares(&mut self, name: &str, f: impl FnOnce(&mut Self) -> Result<Vec<f64>>) {
        self.check(name, |t| {
            let largest = f(t)?.into_iter().fold(0.0, f64::max);
            Ok(format!(
                "at most {:.0} % of what is allowed",
                100.0 * largest
            ))
        });
    }

    /// The precisions that ops with products are checked with.
    fn cases(&self) -> Vec<Case> {
        let computes = self.computes.iter();
        let case = |&compute| Case {
            compute,
            dtype: match (self.device.is_cuda(), compute) {
                // On the CPU operands are rounded where they are multiplied.
                (true, Precision::Bf16) => DType::BF16,
                _ => DType::F32,
            },
        };
        computes.map(case).collect()
    }

    /// The types of activations that ops without products are checked with.
    fn dtypes(&self) -> Vec<DType> {
        let cases = self.cases().into_iter();
        let own = cases.filter(|c| c.compute == Precision::F32 || self.device.is_cuda());
        own.map(|c| c.dtype).collect()
    }

    /// Whether f32 is among what is checked, which ops of f32 alone belong to.
    fn checks_f32(&self) -> bool {
        self.computes.contains(&Precision::F32)
    }
}

impl Case {
    /// `f32`, or `bf16` and the CPU's unit.
    fn name(self) -> String {
        match (self.compute, self.dtype) {
            (Precision::F32, _) => "f32".into(),
            (Precision::Bf16, DType::BF16) => "bf16".into(),
            (Precision::Bf16, _) => format!("bf16 by {}", crate::ops::unit()),
        }
    }
}
