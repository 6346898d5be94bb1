//! Options for windows of a text, and a model's attention over them.

use anyhow::Result;
use candle_core::Device;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::exit;
use crate::corpus::{Tokens, even_starts_rank};
use crate::model::{DecoderConfig, Files, ModelError, Seen, walk};
use crate::rank::{self, RankError};

/// Which windows attention is looked at in.
#[derive(Debug, Clone, clap::Args)]
pub struct Windows {
    /// Number of windows
    #[arg(long = "windows", value_name = "N", default_value_t = USUAL)]
    pub number: usize,
    /// Tokens of a window
    #[arg(long = "window-length", value_name = "T", default_value_t = USUAL)]
    pub length: usize,
    /// Where windows start
    #[arg(long, value_enum, value_name = "HOW", default_value = "even")]
    sample: Sample,
    /// Seed of random starts
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Where windows start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sample {
    /// Spread evenly over the text
    Even,
    /// Drawn from --seed
    Random,
}

/// Default number of windows, and default length.
const USUAL: usize = 100;
const MOST_WINDOWS: usize = 100_000;
/// Most attention elements in memory at a time, unless `MATRICES` matrices, which are decided in parallel, have more.
const ELEMENTS: usize = 8 << 20;
const MATRICES: usize = 32;

/// An error of [`Windows::walk`].
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Rank(#[from] RankError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Checks that the length of windows fits the model's context, and that their number is at most `most`.
///
/// # Errors
/// Names what is allowed.
pub fn check_windows(windows: usize, most: usize, time: usize, context: usize) -> Result<()> {
    if !(1..=context).contains(&time) {
        return Err(exit::usage(&format!(
            "--window-length must be between 1 and the model's context of {context}, is {time}"
        ))
        .into());
    }
    if !(1..=most).contains(&windows) {
        return Err(exit::usage(&format!(
            "--windows must be between 1 and {most}, is {windows}"
        ))
        .into());
    }
    Ok(())
}

/// Checks that the share of the option `name` is in (0, 1].
///
/// # Errors
/// Names what is allowed.
pub fn check_share(name: &str, share: f64) -> Result<()> {
    match share > 0.0 && share <= 1.0 {
        true => Ok(()),
        false => Err(exit::usage(&format!("{name} must lie in (0, 1], is {share}")).into()),
    }
}

impl Windows {
    /// Returns the default windows, limited to the model's context.
    pub fn usual(config: &DecoderConfig) -> Self {
        Self {
            number: USUAL,
            length: USUAL.min(config.context_length),
            sample: Sample::Even,
            seed: 0,
        }
    }

    /// Checks that the windows fit the model and the memory.
    ///
    /// # Errors
    /// Names what is allowed.
    pub fn check(&self, config: &DecoderConfig) -> Result<()> {
        check_windows(
            self.number,
            MOST_WINDOWS,
            self.length,
            config.context_length,
        )?;
        super::memory::check_memory(self.bytes(config), &Device::Cpu, "looking into this model")
    }

    /// Returns the bytes that [`Self::walk`] needs, with the decomposition of the attention.
    pub fn bytes(&self, config: &DecoderConfig) -> u64 {
        let batch = self.batch(config);
        walk::bytes(config, self.number, self.length, batch)
            + rank::decomposing_bytes(batch * config.n_head, self.length)
    }

    /// Returns the starts of the windows in a text of `n_tokens` tokens, which must have room for one.
    pub fn starts(&self, n_tokens: usize) -> Vec<usize> {
        match self.sample {
            Sample::Even => even_starts_rank(n_tokens, self.length, self.number),
            Sample::Random => {
                let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
                let last = n_tokens - self.length;
                (0..self.number)
                    .map(|_| rng.random_range(0..=last))
                    .collect()
            }
        }
    }

    /// Returns the number of windows at a time.
    fn batch(&self, config: &DecoderConfig) -> usize {
        let one = config.n_head * self.length * self.length;
        let side_by_side = match self.length <= rank::MOST_SIDE_BY_SIDE {
            true => MATRICES.div_ceil(config.n_head),
            false => 1,
        };
        (ELEMENTS / one).max(side_by_side).clamp(1, self.number)
    }

    /// Calls `each` with the attention of each layer in the windows that begin at `starts`, and shows the progress on the terminal.
    /// Returns each layer's block influence.
    ///
    /// # Errors
    /// When the model cannot be read, or `each` fails.
    pub fn walk(
        &self,
        files: &Files,
        tokens: &Tokens,
        starts: &[usize],
        each: &mut dyn FnMut(&Seen<'_>) -> Result<(), WalkError>,
    ) -> Result<Vec<f64>> {
        let mut ids = vec![0u32; starts.len() * self.length];
        for (window, &start) in ids.chunks_exact_mut(self.length).zip(starts) {
            tokens.copy_to(start, window)?;
        }
        let bar = ProgressBar::new(files.config.n_layer as u64);
        bar.set_style(ProgressStyle::with_template(
            "{bar:30} layer {pos}/{len}  {eta} left",
        )?);
        let batch = self.batch(&files.config);
        let influence = walk::walk::<WalkError>(files, &ids, self.length, batch, &mut |seen| {
            each(&seen)?;
            if seen.last {
                bar.inc(1);
            }
            Ok(())
        });
        bar.finish_and_clear();
        Ok(influence?)
    }
}
