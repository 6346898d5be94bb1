//! `heirloom data`: text into token files.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use super::say;
use crate::corpus::Tokenizer;
use crate::corpus::prepare::prepare;
use crate::run::table::count;

/// Prepare text for training
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Encode .txt and .jsonl files into one token file
    Prepare {
        /// Texts; of a .jsonl file, the field "text" of every line is a document
        #[arg(required = true, value_name = "INPUT")]
        inputs: Vec<String>,
        /// The token file to write
        #[arg(long, value_name = "FILE.bin")]
        out: PathBuf,
        /// byte or gpt2
        #[arg(long, default_value = "gpt2")]
        tokenizer: String,
        /// Replace an existing file
        #[arg(long)]
        force: bool,
    },
}

impl Args {
    /// # Errors
    /// When an input cannot be read or the output cannot be written.
    pub fn run(self) -> Result<()> {
        let Command::Prepare {
            inputs,
            out,
            tokenizer,
            force,
        } = self.command;
        let tokenizer = Tokenizer::from_name(&tokenizer)?;
        let bar = ProgressBar::new(0);
        bar.set_style(ProgressStyle::with_template(
            "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
        )?);
        let mut progress = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let made = prepare(&inputs, &out, tokenizer, force, &mut progress)?;
        bar.finish_and_clear();
        say::out(&format!(
            "{}: {} tokens from {} bytes ({:.2} bytes a token, {})\n",
            out.display(),
            count(made.tokens),
            count(made.bytes),
            made.bytes as f64 / made.tokens as f64,
            tokenizer.name()
        ))?;
        Ok(())
    }
}
