//! Estimates the cost of a run's downstream tasks.

use anyhow::Result;
use candle_core::Device;
use serde_json::{Value, json};

use crate::config::Config;
use crate::corpus::Dataset;
use crate::model::DecoderConfig;
use crate::run::show::duration;
use crate::run::table;
use crate::train::plan::PhaseSpec;
use crate::train::tasks;

/// The tasks of a config, and the cost of an evaluation on them.
#[derive(Debug)]
pub(super) struct TaskCosts {
    names: Vec<String>,
    documents: usize,
    /// Tokens that go through the model for one evaluation on all of them.
    tokens: u64,
    every: u64,
    shape: DecoderConfig,
}

impl TaskCosts {
    /// Reads and encodes the tasks' documents; `None` where the config names no task.
    ///
    /// # Errors
    /// When a task is unknown, its files cannot be read, or a document cannot be encoded.
    pub(super) fn of(
        config: &Config,
        shape: &DecoderConfig,
        dataset: &Dataset,
        device: &Device,
    ) -> Result<Option<Self>> {
        let all = tasks::check(config)?;
        if all.is_empty() {
            return Ok(None);
        }
        let encoder = tasks::encoder(&dataset.tokenizer, shape.context_length)?;
        let mut tokens = 0;
        for (_, set) in &all {
            tokens += tasks::prepare(&encoder, set, device.is_cuda())?.rows() as u64;
        }
        Ok(Some(Self {
            names: all.iter().map(|(task, _)| task.name.into()).collect(),
            documents: all.iter().map(|(_, set)| set.documents.len()).sum(),
            tokens,
            every: config.eval.tasks_every.unwrap_or(0),
            shape: shape.clone(),
        }))
    }

    /// Returns the number of evaluations on the tasks in a phase: one per `every` steps, and one at its end.
    fn evaluations(&self, p: &PhaseSpec) -> u64 {
        1 + match self.every {
            0 => 0,
            // The evaluation at the phase's end is already counted.
            every => p.steps.saturating_sub(1) / every,
        }
    }

    /// Returns the floating-point operations of the tasks in a phase.
    pub(super) fn flops(&self, p: &PhaseSpec) -> f64 {
        let shape = self.shape.with_layers(vec![1.0; p.layers]);
        // A forward pass is a third of a training step; texts are shorter than the context.
        let per_token = shape.flops_per_token(shape.context_length) / 3.0;
        (self.evaluations(p) * self.tokens) as f64 * per_token
    }

    /// Returns the seconds in all phases, at a speed in operations per second.
    pub(super) fn seconds(&self, phases: &[PhaseSpec], speed: f64) -> f64 {
        phases.iter().map(|p| self.flops(p)).sum::<f64>() / speed
    }

    /// Returns a line of the plan: the tasks, and the time that training waits for them.
    pub(super) fn line(&self, seconds: f64, total: f64) -> String {
        format!(
            "tasks    {}: {}, {} tokens an evaluation, {}; training waits\n         \
             at most {} for them, {:.1} % of the time\n",
            self.names.join(", "),
            table::plural(self.documents, "document"),
            table::count(self.tokens),
            match self.every {
                0 => "at phase ends".to_string(),
                n => format!("every {n} steps and at phase ends"),
            },
            duration(seconds),
            100.0 * seconds / total.max(1e-9),
        )
    }

    /// Returns the same facts as JSON.
    pub(super) fn json(&self, seconds: f64, total: f64) -> Value {
        json!({
            "names": self.names,
            "documents": self.documents,
            "tokens": self.tokens,
            "every": self.every,
            "seconds": seconds,
            "share": seconds / total.max(1e-9),
        })
    }
}
