//! Does this GPU compute what the CPU computes? Every op against the CPU's on fresh random inputs, with ragged shapes and
//! outputs filled with NaN before; gradients of whole models; repetition to the bit; more memory than there is.

mod compare;
mod models;
mod ops;

use std::fmt::Display;

use candle_core::{Device, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Checks done so far, and what they are done with.
pub struct SelfTest<'a> {
    device: &'a Device,
    rng: ChaCha8Rng,
    passed: usize,
    failed: usize,
    /// Hears of each check: whether it passed, its name, what was found.
    told: &'a mut dyn FnMut(bool, &str, &str),
}

impl<'a> SelfTest<'a> {
    /// Checks of `device`, with inputs drawn from `seed`.
    pub fn new(device: &'a Device, seed: u64, told: &'a mut dyn FnMut(bool, &str, &str)) -> Self {
        Self {
            device,
            rng: ChaCha8Rng::seed_from_u64(seed),
            passed: 0,
            failed: 0,
            told,
        }
    }

    /// Everything that one process can check by itself.
    pub fn all(&mut self) {
        self.ops();
        self.models();
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

    /// Does one check.
    fn check(&mut self, name: &str, f: impl FnOnce(&mut Self) -> Result<String>) {
        let result = f(self);
        self.note(name, result);
    }
}
