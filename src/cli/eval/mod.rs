//! `heirloom eval`: evaluates models on downstream tasks, scored as by lm-evaluation-harness.

mod fingerprint;
mod output;
mod partial;
mod scoring;
mod subject;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use self::output::{Output, check_place, write_samples};
use self::partial::{Before, Partial};
use self::scoring::Scoring;
use super::{Global, exit, say};
use crate::device::Choice;
use crate::eval::report::{self, Report};
use crate::eval::tasks::{self, Document, Set, Task};
use crate::ops::{self, Precision, PrecisionChoice};
use crate::run::table::count;
use crate::signals::Signalled;
use crate::text;

/// Time for finishing a pack of documents after Ctrl-C, so that it need not be scored again.
const GRACE: Duration = Duration::from_millis(500);

/// Evaluate models on downstream tasks as lm-eval does
///
/// A run alone stands for its reference, the end of each round and its controls. Several models are printed side by side, with
/// the paired differences to the first one. With --out, finished documents are kept in FILE.partial: the same command
/// continues after an interrupt.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A model's directory, a .gguf file, hf:OWNER/NAME[@REVISION], RUN@CHECKPOINT, or a RUN for all of its results
    #[arg(required = true, value_name = "MODEL", value_parser = super::values::exact_text())]
    models: Vec<String>,
    /// Names of tasks, separated by commas
    #[arg(long, value_name = "TASK,...", required = true)]
    tasks: String,
    /// The directory with the tasks' files; `heirloom data fetch` fills it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only the first N documents of each task
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Maximum number of tokens of one forward pass [default: by device]
    #[arg(long, value_name = "N")]
    batch_tokens: Option<usize>,
    /// auto, cpu, or cuda with a GPU's number: cuda:1
    #[arg(long, value_name = "DEVICE", default_value_t = Choice::Auto)]
    device: Choice,
    /// f32, bf16, or auto: bf16 where the device has products of bf16
    #[arg(long, default_value_t = PrecisionChoice::F32, value_parser = super::values::precision())]
    dtype: PrecisionChoice,
    /// Begin every text with the tokenizer's BOS token, even where the tokenizer itself adds none
    #[arg(long)]
    add_bos: bool,
    /// Another tokenizer than the models': byte, gpt2, or a tokenizer.json
    #[arg(long, value_name = "NAME", value_parser = super::values::exact_text())]
    tokenizer: Option<String>,
    /// Write the results to this file: .json, .csv or .md; may be given again
    #[arg(long, value_name = "FILE")]
    out: Vec<PathBuf>,
    /// Write every document's requests and scores to this file, a line of JSON each
    #[arg(long, value_name = "FILE.jsonl")]
    samples: Option<PathBuf>,
    #[command(flatten)]
    global: Global,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Returns the exit code.
    ///
    /// # Errors
    /// When a model, a task or its documents cannot be read, a model does not fit the memory, or a file cannot be
    /// written.
    pub fn run(self) -> Result<i32> {
        let outputs = self.out.iter().map(|path| Output::new(path));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        if let Some(path) = &self.samples {
            check_place("--samples", path)?;
        }
        for (name, number) in [
            ("--limit", self.limit),
            ("--batch-tokens", self.batch_tokens),
        ] {
            if number == Some(0) {
                return Err(exit::usage(&format!("{name} must be at least 1, is 0")).into());
            }
        }
        let tasks = tasks::parse(&self.tasks)?;
        if !self.data.is_dir() {
            let task = tasks.first().map_or("TASK", |task| task.name);
            bail!(
                "--data {}: no such directory; `heirloom data fetch {task} --data {}` creates it from the hub",
                text::path(&self.data),
                text::argument(&self.data)
            );
        }
        let sets = tasks.iter().map(|task| load(task, &self));
        let sets = sets.collect::<Result<Vec<_>>>()?;
        let subjects =
            subject::find_all(&self.models, self.tokenizer.as_deref(), &self.global.runs)?;
        let chosen = self.device.open();
        let chosen = chosen.with_context(|| format!("--device {}", self.device))?;
        if let Some(note) = &chosen.note {
            say::err(note);
        }
        let compute = self.dtype.on(&chosen.device);
        if let Some(warning) = ops::slow_bf16(compute, &chosen.device) {
            say::err(&warning);
        }
        let settings = self.settings(&chosen.name, compute);
        let documents: Vec<(&Task, &[Document])> = tasks
            .iter()
            .zip(&sets)
            .map(|(task, set)| (*task, &set.documents[..]))
            .collect();
        let kept = match outputs.first() {
            Some(output) => {
                let settings = format!("{settings:?} {:?}", self.batch_tokens);
                let models = fingerprint::of_models(&subjects, &settings)?;
                let tasks = documents
                    .iter()
                    .map(|(task, all)| (task.name.to_string(), fingerprint::of_task(task, all)));
                Some(open_partial(output, &models, &tasks.collect::<Vec<_>>())?)
            }
            None => None,
        };
        // Without a progress file nothing is kept, so the signal ends the process.
        let signalled = match kept {
            Some(_) => Signalled::watch_with_grace(GRACE)?,
            None => Signalled::none(),
        };
        let mut scoring = Scoring {
            subjects: &subjects,
            tasks: &documents,
            device: chosen.device,
            compute,
            batch_tokens: self.batch_tokens,
            add_bos: self.add_bos.then_some(true),
            partial: kept,
            signalled,
        };
        let Some(scores) = scoring.run()? else {
            say::err("stopped; the same command continues from here");
            return Ok(exit::PREEMPTED);
        };
        let report = scoring::report(&subjects, &tasks, &sets, &scores, settings);
        for output in &outputs {
            output.write(&report)?;
        }
        if let Some(path) = &self.samples {
            let sets: Vec<(&str, &[Document])> = documents
                .iter()
                .map(|(task, all)| (task.name, *all))
                .collect();
            write_samples(path, &subjects, scoring.add_bos, &sets, &scores)?;
        }
        if let Some(partial) = scoring.partial.take() {
            partial.finish();
        }
        self.print(&report)?;
        Ok(exit::OK)
    }

    fn print(&self, report: &Report) -> Result<()> {
        match self.json {
            true => say::json(&report::json(report))?,
            false => say::out(&table::table(report))?,
        }
        Ok(())
    }

    /// Returns the settings, for the reports.
    fn settings(&self, device: &str, compute: Precision) -> Vec<(&'static str, serde_json::Value)> {
        vec![
            ("limit", json!(self.limit)),
            ("device", json!(device)),
            ("dtype", json!(compute.name())),
            ("add_bos", json!(self.add_bos.then_some(true))),
            ("tokenizer", json!(self.tokenizer)),
        ]
    }
}

/// Reads a task's documents.
///
/// # Errors
/// When they cannot be found or read, or all are left out.
fn load(task: &Task, args: &Args) -> Result<Set> {
    let set = (task.load)(&args.data, args.limit).with_context(|| task.name.to_string())?;
    if set.documents.is_empty() {
        let files: Vec<String> = set.files.iter().map(|file| text::path(file)).collect();
        bail!("{}: no documents in {}", task.name, files.join(", "));
    }
    Ok(set)
}

/// Opens the progress file next to the first output file, and reports its state.
fn open_partial(output: &Output, models: &str, tasks: &[(String, String)]) -> Result<Partial> {
    let path = Partial::path_for(&output.path);
    let (partial, before) = Partial::open(&path, models, tasks)?;
    match before {
        Before::Nothing => {}
        Before::Documents(n) => say::err(&format!(
            "{} documents were scored before ({})",
            count(n as u64),
            text::path(&path)
        )),
        Before::Other => say::err(&format!(
            "{} is of another evaluation (models, documents or options differ); it is replaced",
            text::path(&path)
        )),
    }
    Ok(partial)
}
