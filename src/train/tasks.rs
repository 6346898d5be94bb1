//! The model in training on downstream tasks, while training waits.
//!
//! Tasks are due every `eval.tasks_every` steps and once a phase's result is on disk; an operator asks for them at any
//! boundary. They draw nothing from training's random streams and leave the model as it is. The scorer has a workspace
//! of its own, which is allocated for an evaluation and freed after it; [`super::memory`] counts it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::control::Control;
use super::memory;
use super::outcome::{Ended, Next};
use super::record;
use super::trainer::Trainer;
use crate::config::Config;
use crate::corpus::Tokenizer;
use crate::eval::metrics;
use crate::eval::score::{Encoder, Packing, Prepared, Scorer};
use crate::eval::tasks::{self, Set, Task};
use crate::export::Tokens;
use crate::run::command::Command;
use crate::run::event::{Body, TaskMetric, TaskProgress, TaskResult};
use crate::run::state::result_words;
use crate::run::{table, words};
use crate::text;

/// The variable of the environment that names the directory of the tasks' files.
pub const DATA: &str = "HEIRLOOM_DATA";
/// Time between two events that report the progress of an evaluation.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// The end of an evaluation on a task.
enum Measured {
    Done(TaskResult),
    /// A command or a signal ends it first.
    Interrupted,
}

/// Returns the directory of the tasks' files.
///
/// # Errors
/// When neither the config nor the environment names one, or it is missing.
pub fn directory(config: &Config) -> Result<PathBuf> {
    let set = config.eval.data.as_deref().map(PathBuf::from);
    let named = set.or_else(|| {
        std::env::var_os(DATA)
            .filter(|d| !d.is_empty())
            .map(PathBuf::from)
    });
    let Some(dir) = named else {
        bail!(
            "eval.tasks needs the tasks' files: set eval.data to their directory, or {DATA} in the environment"
        );
    };
    ensure!(
        dir.is_dir(),
        "{}, where the tasks' files are looked for (eval.data, {DATA}), is not a directory",
        text::path(&dir)
    );
    Ok(dir)
}

/// Reads a task's documents, at most `limit`.
///
/// # Errors
/// When they cannot be found or read, or none is left.
fn load(task: &Task, data: &Path, limit: Option<u64>) -> Result<Set> {
    let limit = limit.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let set = (task.load)(data, limit).with_context(|| task.name.to_string())?;
    if set.documents.is_empty() {
        let files: Vec<String> = set
            .files
            .iter()
            .map(|f| text::path(f).to_string())
            .collect();
        bail!("{}: no documents in {}", task.name, files.join(", "));
    }
    Ok(set)
}

/// Checks that the tasks of a config exist and that their files can be read. Returns the tasks with their documents.
///
/// # Errors
/// Names the first task that is unknown, with its nearest neighbour, or whose files are missing or damaged.
pub fn check(config: &Config) -> Result<Vec<(&'static Task, Set)>> {
    let names = config.eval.tasks();
    let found = names
        .iter()
        .map(|name| tasks::find(name).context("eval.tasks"));
    let found = found.collect::<Result<Vec<_>>>()?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let data = directory(config)?;
    let limit = config.eval.limit();
    let sets = found
        .into_iter()
        .map(|task| Ok((task, load(task, &data, limit)?)));
    sets.collect()
}

/// Makes an encoder that produces the same token ids as `heirloom eval` does for a checkpoint, whose files are the tokenizer's JSON and the
/// model's config.
///
/// # Errors
/// When the tokenizer has no token that begins or ends texts.
pub fn encoder(tokenizer: &Tokenizer, context: usize) -> Result<Encoder> {
    let json = tokenizer.tokenizer_json().to_vec();
    let config = serde_json::json!({ "eos_token_id": tokenizer.end_of_text() });
    let tokens = Tokens::of_files(vec![("tokenizer.json", json)], &config, Path::new(""))?;
    let add_bos = tokens.special.add_bos.unwrap_or(false);
    Encoder::new(tokenizer.clone(), tokens.special.bos, add_bos, context)
}

/// Lays documents into passes of the device's usual size.
///
/// # Errors
/// When a document cannot be encoded.
pub fn prepare(encoder: &Encoder, set: &Set, gpu: bool) -> Result<Prepared> {
    Prepared::new(encoder, &set.documents, Packing::on(gpu, None))
}

impl Trainer {
    /// Makes the config's tasks and texts due: the present phase is over.
    pub(super) fn owe_phase_end(&mut self) {
        let tasks = self.config.eval.tasks().to_vec();
        if !tasks.is_empty() {
            self.state.downstream.owe(&tasks, self.state.phase_step);
        }
        if !self.config.eval.samples().is_empty() {
            self.state.downstream.owe_samples();
        }
    }

    /// Measures what is due. Returns false where a signal or a command ends that first, which the next boundary obeys;
    /// the rest stays due.
    pub(super) fn measure_due(&mut self) -> Result<bool> {
        self.measure_all(&words::is_drastic)
    }

    /// Measures what is due of a phase whose result is on disk, before the next one takes the model's place. `Some` ends
    /// this process's part.
    pub(super) fn measure_before_next(&mut self) -> Result<Option<Ended>> {
        let quits = |command: &Command| *command == Command::Quit;
        while !self.measure_all(&quits)? {
            // The checkpoint of the phase's end lacks the tasks that were measured since.
            if let Some((by, command, sender)) = self.control.take(quits) {
                if let Next::End(ended) = self.obey(by, command, sender)? {
                    return Ok(Some(ended));
                }
            } else if self.control.must_stop() {
                return match self.boundary()? {
                    super::outcome::Boundary::End(ended) => Ok(Some(ended)),
                    _ => Ok(None),
                };
            }
        }
        Ok(None)
    }

    fn measure_all(&mut self, ends: &dyn Fn(&Command) -> bool) -> Result<bool> {
        if !self.state.downstream.is_due() {
            return Ok(true);
        }
        let limit = self.config.eval.limit();
        while let Some((name, number, all)) = self.state.downstream.next() {
            let name = name.to_string();
            match self.measure(&name, limit, (number, all), ends) {
                Ok(Measured::Done(_)) => {}
                Ok(Measured::Interrupted) => return Ok(false),
                Err(error) => {
                    self.learner.peers().check()?;
                    self.refuse_task(&name, limit, &error);
                }
            }
            self.state.downstream.finish_task();
        }
        if self.state.downstream.owes_samples() {
            if is_over(&mut self.control, ends) {
                return Ok(false);
            }
            self.sample_all()?;
            self.state.downstream.finish_samples();
        }
        Ok(true)
    }

    /// Obeys `eval TASK[,TASK] [limit N]`. The outer result is a failure of the trainer, the inner one the answer.
    pub(super) fn obey_eval(
        &mut self,
        names: &[String],
        limit: Option<u64>,
    ) -> Result<std::result::Result<String, String>> {
        if let Some(unknown) = names.iter().find_map(|name| tasks::find(name).err()) {
            return Ok(Err(format!("{unknown:#}")));
        }
        let mut answers = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let place = (i as u64 + 1, names.len() as u64);
            match self.measure(name, limit, place, &words::is_drastic) {
                Ok(Measured::Done(result)) => answers.push(result_words(&result)),
                Ok(Measured::Interrupted) => {
                    answers.push(format!("{name} was interrupted"));
                    return Ok(Err(answers.join("; ")));
                }
                Err(error) => {
                    self.learner.peers().check()?;
                    answers.push(format!("{error:#}"));
                    return Ok(Err(answers.join("; ")));
                }
            }
        }
        Ok(Ok(format!("{} at {}", answers.join("; "), self.place())))
    }

    /// Evaluates the present model on a task and journals the results. `place` is the task's number among those of this
    /// evaluation, and theirs.
    fn measure(
        &mut self,
        name: &str,
        limit: Option<u64>,
        place: (u64, u64),
        ends: &dyn Fn(&Command) -> bool,
    ) -> Result<Measured> {
        let began = Instant::now();
        let task = tasks::find(name)?;
        self.report_task(task, place, (0, 1), None);
        let set = load(task, &directory(&self.config)?, limit)?;
        self.learner.peers().check()?;
        let shape = self.learner.shape().clone();
        let device = self.machine.device().clone();
        let encoder = encoder(self.data.tokenizer(), shape.context_length)?;
        let prepared = prepare(&encoder, &set, device.is_cuda())?;
        let vocab = self.vocab();
        let need = Scorer::bytes(
            &shape,
            prepared.longest_pass(),
            self.learner.passes().format,
        );
        // Each rank has a GPU of its own.
        let ranks = match device.is_cuda() {
            true => 1,
            false => self.learner.peers().ranks().on_host(),
        };
        if let Some(free) = memory::free(&device, ranks).filter(|free| *free < need) {
            bail!(
                "{name} needs {} of memory next to the training, and {} are available{}",
                table::bytes(need),
                table::bytes(free),
                memory::shared_words(ranks)
            );
        }
        let of = prepared.rows() as u64;
        let scoring = Instant::now();
        let mut reported = Instant::now();
        let (control, journal, state) = (&mut self.control, &mut self.journal, &self.state);
        let each = &mut |rows: usize| -> ControlFlow<()> {
            if is_over(control, ends) {
                return ControlFlow::Break(());
            }
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                let rate = scoring.elapsed().as_secs_f64() / rows.max(1) as f64;
                let body = Body::Tasking(TaskProgress {
                    task: task.name.into(),
                    number: place.0,
                    tasks: place.1,
                    done: rows as u64,
                    of,
                    left: Some(rate * of.saturating_sub(rows as u64) as f64),
                });
                record::emit(journal, state, body);
                journal.flush();
            }
            ControlFlow::Continue(())
        };
        let Some(scores) = self.learner.score(&prepared, vocab, each)? else {
            return Ok(Measured::Interrupted);
        };
        let values = metrics::results(task, &set.documents, &scores);
        let metric = |(metric, value): (metrics::Metric, metrics::Value)| TaskMetric {
            name: metric.name().into(),
            value: value.value,
            stderr: Some(value.stderr).filter(|e| e.is_finite()),
            n: value.n as u64,
        };
        let seconds = began.elapsed().as_secs_f64();
        let result = TaskResult {
            task: task.name.into(),
            version: task.version.into(),
            layers: shape.n_layer,
            metrics: values.into_iter().map(metric).collect(),
            refused: None,
            chance: task.chance,
            limit,
            skipped: set.skipped as u64,
            truncated: prepared.truncated() as u64,
            seconds,
        };
        self.state.wall_seconds += seconds;
        self.emit(Body::Task(result.clone()));
        self.journal.flush();
        Ok(Measured::Done(result))
    }

    /// Records in the journal why a task was not measured.
    fn refuse_task(&mut self, name: &str, limit: Option<u64>, why: &anyhow::Error) {
        let task = tasks::find(name).ok();
        self.emit(Body::Task(TaskResult {
            task: name.into(),
            version: task.map_or_else(String::new, |task| task.version.into()),
            layers: self.learner.shape().n_layer,
            metrics: Vec::new(),
            refused: Some(format!("{why:#}")),
            chance: task.and_then(|task| task.chance),
            limit,
            skipped: 0,
            truncated: 0,
            seconds: 0.0,
        }));
        self.journal.flush();
    }

    /// Journals how far a task is.
    fn report_task(
        &mut self,
        task: &Task,
        (number, all): (u64, u64),
        (done, of): (u64, u64),
        left: Option<f64>,
    ) {
        self.emit(Body::Tasking(TaskProgress {
            task: task.name.into(),
            number,
            tasks: all,
            done,
            of,
            left,
        }));
        self.journal.flush();
    }

    /// Rows of the vocabulary that stand for tokens; a model that was trained here has padding after them.
    fn vocab(&self) -> usize {
        let all = self.learner.shape().vocab;
        match self.config.reference.path {
            Some(_) => all,
            None => self.data.tokenizer().size().min(all),
        }
    }
}

/// Whether an evaluation is ended by a signal or a command that waits.
fn is_over(control: &mut Control, ends: &dyn Fn(&Command) -> bool) -> bool {
    control.is_interrupted(ends)
}
