//! Command-line options for the text and the windows that layers are measured on.

use std::ops::ControlFlow;

use anyhow::Result;
use candle_core::Device;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::input::Input;
use crate::cli::memory::check_memory;
use crate::cli::values::exact_text;
use crate::cli::windows::check_windows;
use crate::config::{BUILTIN, BUILTIN_TEXTS, Measure};
use crate::corpus::{TEXT_FIELD, even_starts};
use crate::eval;
use crate::export;
use crate::inherit::measure::{self, Measured, Subject};
use crate::locate::Located;
use crate::model::{Files, Format, Mode, Workspace, memory_bytes};

/// Default number of windows and tokens of each; few, because a loss without a layer takes a pass for each layer.
const WINDOWS: usize = 16;
const LENGTH: usize = 128;
const MOST_WINDOWS: usize = 100_000;

/// The text and the windows that layers are measured on.
#[derive(Debug, clap::Args)]
pub(super) struct Measuring {
    /// A text to measure layers on, read with the model's tokenizer [default: builtin:tinyshakespeare]
    #[arg(long, value_name = "FILE", value_parser = exact_text())]
    text: Option<String>,
    /// A file of token ids to measure layers on
    #[arg(long, value_name = "FILE.bin", conflicts_with = "text", value_parser = exact_text())]
    tokens: Option<String>,
    /// Another tokenizer than the model's: byte, gpt2, or a tokenizer.json
    #[arg(long, value_name = "NAME", value_parser = exact_text())]
    tokenizer: Option<String>,
    /// Field of JSON rows and column of Parquet files that holds the text [default: text]
    #[arg(long, value_name = "NAME", value_parser = exact_text())]
    text_field: Option<String>,
    /// Number of windows [default: 16]
    #[arg(long, value_name = "N")]
    windows: Option<usize>,
    /// Tokens of a window [default: 128, or the model's context]
    #[arg(long, value_name = "T")]
    window_length: Option<usize>,
}

/// A measure, and the text and windows that it was taken on.
pub(super) struct Found {
    pub(super) measured: Measured,
    pub(super) starts: Vec<usize>,
    pub(super) window_length: usize,
    pub(super) n_tokens: usize,
    pub(super) tokenizer: Option<String>,
    /// Rows of the vocabulary that losses are taken over.
    pub(super) vocab: usize,
}

impl Measuring {
    /// Returns the first of these options that was given.
    pub(super) fn given(&self) -> Option<&'static str> {
        [
            ("--text", self.text.is_some()),
            ("--tokens", self.tokens.is_some()),
            ("--tokenizer", self.tokenizer.is_some()),
            ("--text-field", self.text_field.is_some()),
            ("--windows", self.windows.is_some()),
            ("--window-length", self.window_length.is_some()),
        ]
        .into_iter()
        .find_map(|(name, is_given)| is_given.then_some(name))
    }

    /// Measures a model's layers on the CPU in f32, with a progress bar on the terminal.
    ///
    /// # Errors
    /// When the model or the text cannot be read, they do not fit each other, or there is not enough memory.
    pub(super) fn take(
        &self,
        files: &Files,
        located: &Located,
        measure: Measure,
        keep: usize,
    ) -> Result<Found> {
        let most = files.config.context_length;
        let time = self.window_length.unwrap_or(LENGTH.min(most));
        let windows = self.windows.unwrap_or(WINDOWS);
        check_windows(windows, MOST_WINDOWS, time, most)?;
        located.verify()?;
        let vocab = export::vocab_without_padding(files, located)?;
        let why = format!("a window of {time} and its target");
        let given = self.input().read(located, vocab, time + 1, &why)?;
        let batch = eval::batch(time, windows, false);
        check_memory(
            memory_bytes(&files.config, batch, time, Mode::Forward, Format::PLAIN),
            &Device::Cpu,
            "measuring this model's layers",
        )?;
        let model = files.load(&Device::Cpu)?;
        let workspace = Workspace::new(&model.config, batch, time, Mode::Forward, &Device::Cpu)?;
        let starts = even_starts(given.tokens.len(), time, windows);
        let subject = Subject {
            model: &model,
            workspace: &workspace,
            tokens: &given.tokens,
            starts: &starts,
            vocab,
        };
        let bar = ProgressBar::new(1000);
        bar.set_style(ProgressStyle::with_template(
            "{bar:30} {percent}%  {eta} left",
        )?);
        let measured = measure::measure(measure, keep, subject, &mut |progress| {
            bar.set_position((1000.0 * progress.share) as u64);
            ControlFlow::Continue(())
        });
        bar.finish_and_clear();
        let measured = measured?.ok_or(crate::inherit::InheritError::Nothing)?;
        Ok(Found {
            measured,
            starts,
            window_length: time,
            n_tokens: given.tokens.len(),
            tokenizer: given.tokenizer,
            vocab,
        })
    }

    fn input(&self) -> Input {
        let builtin = || format!("{BUILTIN}{}", BUILTIN_TEXTS[0]);
        let text = match &self.tokens {
            Some(_) => None,
            None => Some(self.text.clone().unwrap_or_else(builtin)),
        };
        let field = self.text_field.clone();
        Input::of(
            text,
            self.tokens.clone(),
            self.tokenizer.clone(),
            field.unwrap_or_else(|| TEXT_FIELD.into()),
        )
    }
}
