//! Scores all tasks with each model in turn.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context, Result};
use candle_core::Device;
use indicatif::{ProgressBar, ProgressStyle};

use super::partial::Partial;
use super::subject::Subject;
use crate::cli::memory::check_memory;
use crate::eval::metrics::{self, Metric};
use crate::eval::report::{Difference, ModelResults, Report, TaskFacts, TaskResults};
use crate::eval::score::{Known, Packing, Prepared, Score, Scorer};
use crate::eval::tasks::{Document, Set, Task};
use crate::model::{Files, Format, arena_bytes};
use crate::ops::Precision;
use crate::signals::Signalled;
use crate::text;

/// Scores by task, document and request.
pub type ModelScores = Vec<Vec<Vec<Score>>>;

/// The models and tasks to score, with the settings.
pub struct Scoring<'a> {
    pub subjects: &'a [Subject],
    pub tasks: &'a [(&'a Task, &'a [Document])],
    pub device: Device,
    pub compute: Precision,
    pub batch_tokens: Option<usize>,
    pub add_bos: Option<bool>,
    /// The file that keeps finished documents.
    pub partial: Option<Partial>,
    pub signalled: Arc<Signalled>,
}

/// Progress over all models and tasks, in rows times parameters, which is the cost of a pass.
struct Progress {
    bar: ProgressBar,
    /// Cost of the models and tasks that are done.
    before: u64,
}

impl Scoring<'_> {
    /// Returns the scores of each model, or `None` after a signal. One model is in memory at a time.
    ///
    /// # Errors
    /// When a model cannot be read or does not fit the memory, a document cannot be encoded, or progress cannot be
    /// written.
    pub fn run(&mut self) -> Result<Option<Vec<ModelScores>>> {
        let bar = ProgressBar::new(1);
        bar.set_style(ProgressStyle::with_template(
            "{msg}  {bar:20} {percent} %  {eta} left",
        )?);
        let mut progress = Progress { bar, before: 0 };
        let mut all = Vec::with_capacity(self.subjects.len());
        for i in 0..self.subjects.len() {
            let scores = self.model(i, &mut progress);
            let name = || text::clean(&self.subjects[i].name).into_owned();
            let Some(scores) = scores.with_context(name)? else {
                progress.bar.finish_and_clear();
                return Ok(None);
            };
            all.push(scores);
        }
        progress.bar.finish_and_clear();
        Ok(Some(all))
    }

    fn model(&mut self, i: usize, progress: &mut Progress) -> Result<Option<ModelScores>> {
        let (subject, tasks) = (&self.subjects[i], self.tasks);
        let known: Vec<Known> = tasks
            .iter()
            .map(|(task, _)| match &mut self.partial {
                Some(partial) => partial.take(i, task.name),
                None => Known::new(),
            })
            .collect();
        if let Some(done) = complete(tasks, &known) {
            // The model need not be read.
            return Ok(Some(done));
        }
        let packing = Packing::on(self.device.is_cuda(), self.batch_tokens);
        let encoder = subject.encoder(self.add_bos)?;
        let prepared = tasks.iter().map(|(task, documents)| {
            let prepared = Prepared::new(&encoder, documents, packing);
            prepared.with_context(|| task.name.to_string())
        });
        let prepared = prepared.collect::<Result<Vec<_>>>()?;
        progress.expect(self.subjects, i, &prepared);
        let (scorer, model) = self.load(subject, &prepared)?;
        let mut all = Vec::with_capacity(tasks.len());
        for (((task, _), prepared), known) in tasks.iter().zip(&prepared).zip(&known) {
            progress.begin(subject, task, !known.is_empty());
            let mut failed = None;
            let (partial, signalled) = (&mut self.partial, &self.signalled);
            let scores = scorer.score(&model, prepared, known, &mut |finished| {
                if let Some(partial) = partial {
                    for (document, scores) in finished.scores {
                        if let Err(error) = partial.add(i, task.name, *document, scores) {
                            failed = Some(error);
                            return ControlFlow::Break(());
                        }
                    }
                }
                progress.set(subject, finished.rows);
                match signalled.stop() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            });
            let scores = scores.with_context(|| task.name.to_string())?;
            if let Some(error) = failed {
                return Err(error);
            }
            let Some(scores) = scores else {
                return Ok(None);
            };
            progress.end(subject, prepared);
            all.push(scores);
        }
        Ok(Some(all))
    }

    fn load(
        &self,
        subject: &Subject,
        prepared: &[Prepared],
    ) -> Result<(Scorer, crate::model::Decoder)> {
        let format = Format::on(&self.device, self.compute);
        let rows = prepared.iter().map(Prepared::longest_pass).max();
        let rows = rows.unwrap_or(0);
        let need = arena_bytes(&subject.config, false, format)
            + Scorer::bytes(&subject.config, rows, format);
        check_memory(need, &self.device, "evaluating this model")?;
        subject.located.verify()?;
        let model = Files::open(&subject.located.path)?.load(&self.device)?;
        let scorer = Scorer::new(
            &model.config,
            rows,
            self.compute,
            subject.vocab,
            &self.device,
        )?;
        Ok((scorer, model))
    }
}

/// Returns the scores of a model, if all of its documents are known.
fn complete(tasks: &[(&Task, &[Document])], known: &[Known]) -> Option<ModelScores> {
    let of_task = |((_, documents), known): (&(&Task, &[Document]), &Known)| {
        let all = documents.iter().enumerate().map(|(i, document)| {
            let scores = known.get(&i)?;
            (scores.len() == document.requests.len()).then(|| scores.clone())
        });
        all.collect::<Option<Vec<_>>>()
    };
    tasks.iter().zip(known).map(of_task).collect()
}

impl Progress {
    /// Estimates the total cost, with the rows of model `i` for later models, which are not encoded yet.
    fn expect(&mut self, subjects: &[Subject], i: usize, prepared: &[Prepared]) {
        let rows: usize = prepared.iter().map(Prepared::rows).sum();
        let left = subjects[i..].iter().map(|subject| work(subject, rows));
        self.bar.set_length(self.before + left.sum::<u64>());
    }

    fn begin(&self, subject: &Subject, task: &Task, continues: bool) {
        let label = text::fit(&subject.label, text::width(&subject.label).min(20));
        self.bar.set_message(format!("{label}, {}", task.name));
        if continues {
            // Documents that were known do not count for the speed.
            self.bar.reset_eta();
        }
    }

    fn set(&self, subject: &Subject, rows: usize) {
        self.bar.set_position(self.before + work(subject, rows));
    }

    fn end(&mut self, subject: &Subject, prepared: &Prepared) {
        self.before += work(subject, prepared.rows());
        self.bar.set_position(self.before);
    }
}

fn work(subject: &Subject, rows: usize) -> u64 {
    (rows as u64).saturating_mul(subject.config.parameters())
}

/// Makes the results of all models from their scores.
pub fn report(
    subjects: &[Subject],
    tasks: &[&Task],
    sets: &[Set],
    scores: &[ModelScores],
    settings: Vec<(&'static str, serde_json::Value)>,
) -> Report {
    let facts = tasks.iter().zip(sets).map(|(task, set)| TaskFacts {
        name: task.name,
        version: task.version,
        chance: task.chance,
        skipped: set.skipped,
    });
    let models = subjects.iter().zip(scores).enumerate();
    let models = models.map(|(m, (subject, all))| {
        let of_task = |(t, (task, set)): (usize, (&&Task, &Set))| {
            let (documents, own) = (&set.documents, &all[t]);
            let truncated = own.iter().filter(|d| d.iter().any(|s| s.truncated));
            let difference = match m {
                0 => None,
                _ => metrics::paired(task, documents, own, &scores[0][t]),
            };
            let metric = Metric::main(task.metrics);
            let difference = metric.zip(difference);
            TaskResults {
                values: metrics::results(task, documents, own),
                truncated: truncated.count(),
                difference: difference.map(|(metric, (value, stderr))| Difference {
                    metric,
                    value,
                    stderr,
                }),
            }
        };
        ModelResults {
            name: subject.name.clone(),
            label: subject.label.clone(),
            tasks: tasks.iter().zip(sets).enumerate().map(of_task).collect(),
        }
    });
    Report {
        tasks: facts.collect(),
        models: models.collect(),
        settings,
    }
}
