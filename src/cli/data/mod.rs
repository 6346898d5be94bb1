//! `heirloom data`: encodes texts into token files, describes both, and fetches documents of downstream tasks.

mod fetch;
mod info;
mod sources;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use self::fetch::Fetch;
use self::info::Info;
use super::{exit, say};
use crate::corpus::prepare::{Job, Prepared, Progress, prepare};
use crate::corpus::{TEXT_FIELD, Tokenizer};
use crate::run::table::count;
use crate::signals::Signalled;
use crate::text;

/// Time for finishing a batch after Ctrl-C, so that it need not be encoded again.
const GRACE: Duration = Duration::from_millis(500);

/// Prepare text for training, inspect it, fetch tasks
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Encode texts into one token file
    ///
    /// Safe to interrupt: run the same command again to continue.
    Prepare(Prepare),
    /// Show what is in texts or token files: documents, tokens, skipped rows, the first line
    ///
    /// A file that cannot be read is named, the others are shown all the same, and the exit code is 2.
    Info(Info),
    /// Fetch the documents of downstream tasks from the Hugging Face hub
    ///
    /// Without a connection it prints what to copy from where. HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE count as for models.
    Fetch(Fetch),
}

#[derive(Debug, clap::Args)]
struct Prepare {
    /// Texts: .txt, .jsonl and .ndjson (a row on each line), .json (an array of rows), all also .gz and .zst, .parquet;
    /// files, directories or patterns
    #[arg(required = true, value_name = "INPUT", value_parser = super::values::exact_text())]
    inputs: Vec<String>,
    /// The token file to write; of more than 2 billion tokens FILE_000000.bin, FILE_000001.bin, ...
    #[arg(long, value_name = "FILE.bin")]
    out: PathBuf,
    /// byte, gpt2, or the path of a tokenizer.json or of a directory with one
    #[arg(long, default_value = "gpt2", value_parser = super::values::exact_text())]
    tokenizer: String,
    /// Field of JSON rows and column of Parquet files that holds the text
    #[arg(long, value_name = "NAME", default_value = TEXT_FIELD, value_parser = super::values::exact_text())]
    text_field: String,
    /// Hold documents out for validation and write them to this file
    #[arg(long, value_name = "FILE.bin", requires = "val_fraction")]
    val_out: Option<PathBuf>,
    /// Share of the documents that is held out, evenly strided
    #[arg(long, value_name = "SHARE", requires = "val_out")]
    val_fraction: Option<f64>,
    /// Replace existing files and start over
    #[arg(long)]
    force: bool,
}

impl Args {
    /// The exit code.
    ///
    /// # Errors
    /// When an input cannot be read or the output cannot be written.
    pub fn run(self) -> Result<i32> {
        match self.command {
            Command::Prepare(args) => args.run(),
            Command::Info(args) => args.run(),
            Command::Fetch(args) => args.run(),
        }
    }
}

impl Prepare {
    fn run(self) -> Result<i32> {
        let val = self.val_fraction.zip(self.val_out);
        if let Some((share, file)) = &val {
            if !(*share > 0.0 && *share < 1.0) {
                bail!(exit::usage(&format!(
                    "--val-fraction must be between 0 and 1 (both excluded), is {share}"
                )));
            }
            if *file == self.out {
                bail!(exit::usage("--val-out and --out are the same file"));
            }
        }
        // The next call continues from the files on disk, so ending within a batch loses little.
        let signalled = Signalled::watch_with_grace(GRACE)?;
        let job = Job {
            val,
            field: self.text_field,
            force: self.force,
            ..Job::new(
                &self.inputs,
                &self.out,
                Tokenizer::from_name(&self.tokenizer)?,
            )
        };
        let bar = ProgressBar::new(0);
        bar.set_style(ProgressStyle::with_template(
            "{msg}{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
        )?);
        let mut checking = false;
        let made = prepare(&job, &mut |now: Progress| {
            bar.set_length(now.total);
            if checking && !now.checking {
                // The rate so far is that of scanning, not of encoding.
                bar.reset_eta();
            }
            checking = now.checking;
            bar.set_message(if checking {
                "checking finished parts  "
            } else {
                ""
            });
            bar.set_position(now.read.min(now.total));
            !signalled.stop()
        })?;
        bar.finish_and_clear();
        say::out(&summary(&job, &made))?;
        Ok(if made.done { exit::OK } else { exit::PREEMPTED })
    }
}

fn summary(job: &Job, made: &Prepared) -> String {
    let tokens = made.tokens + made.val_tokens;
    let facts = format!(
        "{} tokens from {} bytes in {} ({:.2} bytes a token, {})",
        count(tokens),
        count(made.bytes),
        info::documents_in_words(made.documents),
        made.bytes as f64 / tokens.max(1) as f64,
        job.tokenizer.name()
    );
    if !made.done {
        return format!("stopped at {facts}; the same command continues from here\n");
    }
    let names: Vec<String> = made.files.iter().map(|f| text::path(f)).collect();
    let mut out = format!("{}: {facts}\n", names.join(", "));
    if job.val.is_some() {
        out.push_str(&format!(
            "{} tokens to train on, {} held out\n",
            count(made.tokens),
            count(made.val_tokens)
        ));
    }
    if made.skipped.rows() > 0 {
        out.push_str(&format!("{}\n", made.skipped));
    }
    for line in &made.left_out {
        out.push_str(&format!("{line}\n"));
    }
    if made.kept > 0 {
        out.push_str(&format!(
            "{} bytes were done by an earlier call\n",
            count(made.kept)
        ));
    }
    out
}
