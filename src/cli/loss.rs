//! `heirloom loss`: measures a model's cross entropy on a text.

use anyhow::Result;
use candle_core::Device;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::input::{Given, Input};
use super::windows::check_windows;
use super::{Global, exit, say};
use crate::eval::{Evaluator, disjoint_windows};
use crate::export;
use crate::model::{Files, Format, Mode, memory_bytes};
use crate::ops::Precision;
use crate::run::table::count;

/// Measure a model's loss on a text, and its perplexity
///
/// The loss is the mean cross entropy in nats per token.
///
/// Windows of T tokens and one more are spread evenly over the text: they start at floor(i (n_tokens - T - 1)/(N - 1)),
/// i = 0..N-1. No beginning-of-text token is added. Where windows overlap, the error is that of the disjoint blocks that the
/// text holds. Rows that only pad a vocabulary trained here are left out, as an export leaves them out.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "MODEL", help = super::values::MODEL, value_parser = super::values::exact_text())]
    model: String,
    #[command(flatten)]
    input: Input,
    /// Number of windows
    #[arg(long, value_name = "N", default_value_t = 100)]
    windows: usize,
    /// Tokens of a window [default: 1024, or the model's context]
    #[arg(long, value_name = "T")]
    window_length: Option<usize>,
    #[command(flatten)]
    global: Global,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const MOST_WINDOWS: usize = 1_000_000;

impl Args {
    /// # Errors
    /// When model or text cannot be read, or do not fit each other.
    pub fn run(self) -> Result<()> {
        let located = super::find::located(&self.model, &self.global.runs)?;
        let files = Files::open(&located.path)?;
        let most = files.config.context_length;
        let time = self
            .window_length
            .unwrap_or(super::values::WINDOW.min(most));
        if files
            .positions
            .is_some_and(|positions| time > most && time <= positions)
        {
            return Err(exit::usage(&format!(
                "--window-length must be at most {most}, is {time}: a layer of the model attends to the last {most} tokens only (sliding_window)"
            ))
            .into());
        }
        check_windows(self.windows, MOST_WINDOWS, time, most)?;
        let why = format!("a window of {time} and its target");
        let vocab = export::vocab_without_padding(&files, &located)?;
        let Given {
            tokens,
            tokenizer: made_by,
        } = self.input.read(&located, vocab, time + 1, &why)?;
        super::memory::check_memory(
            memory_bytes(&files.config, 1, time, Mode::Forward, Format::PLAIN),
            &Device::Cpu,
            "evaluating this model",
        )?;
        let model = files.load(&Device::Cpu)?;
        let mut evaluator = Evaluator::new(
            &model.config,
            time,
            tokens.len(),
            self.windows,
            Precision::F32,
            &Device::Cpu,
        )?
        .over_vocab(vocab);
        let bar = ProgressBar::new(self.windows as u64);
        bar.set_style(ProgressStyle::with_template(
            "{bar:30} {pos}/{len} windows  {eta} left",
        )?);
        let losses = evaluator.losses_with(&model, &tokens, &mut |done| {
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        let (loss, stderr) = evaluator.mean_stderr(&losses);
        let padding = files.config.vocab - vocab;
        let disjoint = disjoint_windows(tokens.len(), time);
        let blocks = (self.windows > disjoint).then_some(disjoint);
        if self.json {
            let stderr = Some(stderr).filter(|s| s.is_finite());
            say::json(&json!({
                "model": self.model,
                "loss": loss,
                "stderr": stderr,
                "perplexity": loss.exp(),
                "windows": self.windows,
                "window_length": time,
                "n_tokens": tokens.len(),
                "tokenizer": made_by,
                "blocks": blocks,
                "vocab": vocab,
                "padding_rows": padding,
                "losses": losses,
                "starts": evaluator.starts(),
            }))?;
            return Ok(());
        }
        let error = match stderr.is_finite() {
            true => format!(" ±{stderr:.4}"),
            false => String::new(),
        };
        let mut more = String::new();
        match blocks {
            Some(1) => more.push_str(
                "no error    the text has room for one window; more would repeat its tokens\n",
            ),
            Some(blocks) => more.push_str(&format!(
                "error       over the {blocks} disjoint blocks of the text: the windows overlap\n"
            )),
            None => {}
        }
        if padding > 0 {
            more.push_str(&format!(
                "vocabulary  {vocab} rows; the other {padding} only pad it and are left out\n"
            ));
        }
        say::out(&format!(
            "loss        {loss:.4}{error} nats a token\n\
             perplexity  {:.2}\n\
             on          {} windows of {time} of {} tokens{}\n{more}",
            loss.exp(),
            self.windows,
            count(tokens.len() as u64),
            made_by.map_or(String::new(), |name| format!(" ({name})")),
        ))?;
        Ok(())
    }
}
