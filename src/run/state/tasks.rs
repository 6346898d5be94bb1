//! The live branch's results on downstream tasks, and samples: as a table by model, as trends, side by side.

use super::RunState;
use super::results::{SamplePoint, TaskPoint, TaskRow, TaskTable};
use crate::run::event::{Phase, TaskProgress};

impl RunState {
    /// Returns the latest results of each phase on the live branch: reference, rounds and controls in their order.
    pub fn task_table(&self) -> TaskTable<'_> {
        let points = || self.live().tasks.iter().filter(|p| p.refused.is_none());
        let mut models: Vec<&Phase> = Vec::new();
        for point in points() {
            if !models.contains(&&point.phase) {
                models.push(&point.phase);
            }
        }
        let mut rows: Vec<TaskRow<'_>> = Vec::new();
        for point in points() {
            let Some(at) = models.iter().position(|m| **m == point.phase) else {
                continue;
            };
            for metric in &point.metrics {
                let is_row = |r: &TaskRow<'_>| r.task == point.task && r.metric == metric.name;
                let index = rows.iter().position(is_row).unwrap_or_else(|| {
                    let of_task = |r: &TaskRow<'_>| r.task == point.task;
                    let after = rows.iter().rposition(of_task).map_or(rows.len(), |i| i + 1);
                    rows.insert(
                        after,
                        TaskRow {
                            task: &point.task,
                            metric: &metric.name,
                            chance: None,
                            cells: vec![None; models.len()],
                        },
                    );
                    after
                });
                rows[index].cells[at] = Some(metric);
                // Guessing has an accuracy, and no perplexity.
                rows[index].chance = point.chance.filter(|_| !metric.is_loss());
            }
        }
        TaskTable { models, rows }
    }

    /// Returns the tasks whose latest evaluation failed, each with its last failure; `refused` has the reason.
    pub fn refused_tasks(&self) -> Vec<&TaskPoint> {
        let mut latest: Vec<&TaskPoint> = Vec::new();
        for point in &self.live().tasks {
            latest.retain(|p| p.task != point.task);
            latest.push(point);
        }
        latest.retain(|p| p.refused.is_some());
        latest
    }

    /// Returns the values of a task's metric over the run, oldest first, that were measured on as many documents as the latest one.
    pub fn task_trend(&self, task: &str, metric: &str) -> Vec<f64> {
        let points = self.live().tasks.iter().filter(|p| p.task == task);
        let values = points.filter_map(|p| p.metrics.iter().find(|m| m.name == metric));
        let latest = values.clone().next_back().map(|m| m.n);
        let comparable = values.filter(|m| Some(m.n) == latest);
        comparable.map(|m| m.value).collect()
    }

    /// Returns the texts that were continued, each once; the one that was continued last is the last.
    pub fn prompts(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for sample in &self.live().samples {
            all.retain(|prompt| *prompt != sample.prompt);
            all.push(&sample.prompt);
        }
        all
    }

    /// Returns how a text is continued by the reference, by the round before the model that continued it last, and by that
    /// model; each the latest of its phase.
    pub fn continuations(&self, prompt: &str) -> [Option<&SamplePoint>; 3] {
        let of_prompt = || {
            self.live()
                .samples
                .iter()
                .rev()
                .filter(|s| s.prompt == prompt)
        };
        let latest = of_prompt().next();
        let reference = of_prompt().find(|s| s.phase == Phase::Reference);
        let before = latest.and_then(|now| {
            of_prompt().find(|s| matches!(s.phase, Phase::Round(_)) && s.phase != now.phase)
        });
        let now = latest.filter(|now| now.phase != Phase::Reference);
        [reference, before, now]
    }

    /// Returns what an evaluation on tasks has come to, while one is in progress.
    pub fn tasking(&self) -> Option<&TaskProgress> {
        self.core.tasking.as_ref()
    }
}
