//! `[eval]` and `[probe]`: what is measured.

use crate::config::declare::section;
use crate::config::key::OnResume::{Free, FreeUntil};
use crate::config::key::Stage::Measured;
use crate::config::rules::{MOST_WINDOWS, at_least, count, positive_share, share};

section! {
    /// The fixed, evenly strided pass over the validation text.
    "eval" EvalConfig: Default {
        /// Steps between evaluations; 0: a twentieth of the phase's steps, so that eight have been made by 40 % of it,
        /// as forecasts need.
        every: u64 = default(100), Free;

        /// Validation windows; the same for every model. A text with room for fewer that share no tokens is evaluated
        /// on those.
        windows: usize = default(256), FreeUntil(Measured), check count(2, MOST_WINDOWS);
    }
}

section! {
    /// Attention ranks.
    "probe" ProbeConfig: Default {
        /// Share of training time; phase starts and ends are exempt. 0: only those.
        budget: f64 = default(0.01), Free, check share;

        /// Validation windows per probe.
        windows: usize = default(100), FreeUntil(Measured), check count(1, MOST_WINDOWS);

        /// Tokens per window; at most a training window's.
        length: usize = default(100), FreeUntil(Measured), check at_least(2);

        /// Share of the squared singular values (and of column mass) that counts.
        tau: f64 = default(0.9), FreeUntil(Measured), check positive_share;
    }
}

/// Evaluations of a phase where [`EvalConfig::every`] is 0.
const EVALUATIONS: u64 = 20;

impl EvalConfig {
    /// Steps between the evaluations of a phase of `steps`.
    pub fn interval(&self, steps: u64) -> u64 {
        match self.every {
            0 => (steps / EVALUATIONS).max(1),
            every => every,
        }
    }
}
