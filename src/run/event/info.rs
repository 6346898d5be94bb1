//! The facts of a run, which do not change while it lives, and its status.

use serde::{Deserialize, Serialize};

use super::baseline::PlannedBaseline;
use super::foreign::{LONGEST_NAME, counted, cut, layers, most};
use super::ranks::RankLayout;
use super::task::{LONGEST_TASK, MOST_TASKS};
use crate::run::command::{GrowMode, GrowSource};
use crate::run::notify::Ringing;
use crate::run::windows::EvalWindows;

/// Most bytes of the name of a precision, and of the reason for it.
const LONGEST_DTYPE: usize = 60;

/// Facts about a run that do not change while it lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// `heirloom 0.1.0`.
    pub program: String,
    /// The run's name: its directory's.
    pub name: String,
    pub host: String,
    pub pid: u32,
    /// `cpu` or `cuda:0`.
    pub device: String,
    pub threads: usize,
    /// The ranks that train it, where they are more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<RankLayout>,
    /// Precision of matrix products, `f32` or `bf16`; absent in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// The reason, where the precision was not simply asked for: `auto: AMX`, `emulated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype_reason: Option<String>,
    /// The library that computes a GPU's products, with its version, since other versions have other bits: `cuBLASLt 13.1.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// `ask`, `pause` or `auto`.
    pub policy: String,
    pub tokenizer: String,
    pub train_tokens: u64,
    pub val_tokens: u64,
    pub n_layer: usize,
    pub n_head: usize,
    pub n_embd: usize,
    pub context_length: usize,
    /// Padded size of the vocabulary.
    pub vocab: usize,
    /// Tokens per optimizer step.
    pub batch_tokens: u64,
    /// Steps of the reference phase (0 when it is loaded).
    pub reference_steps: u64,
    /// Steps of one round (T of Algorithm 1).
    pub round_steps: u64,
    pub grow_step: usize,
    #[serde(default)]
    pub grow_mode: GrowMode,
    /// The source of a growth's layers; omitted for the reference's next layers.
    #[serde(default, skip_serializing_if = "GrowSource::is_next")]
    pub grow_source: GrowSource,
    pub max_layers: usize,
    /// Rank threshold tau and window length T of the probe.
    pub tau: f64,
    pub probe_length: usize,
    /// Whether each control runs at the end.
    pub control_random: bool,
    pub control_reference: bool,
    /// The baselines that are trained after the controls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<PlannedBaseline>,
    /// The one baseline that is trained, without rounds and controls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_baseline: Option<String>,
    /// Validation windows of every evaluation; absent in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_windows: Option<EvalWindows>,
    /// Largest paired gap in nats that counts as a match; absent in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// The events for which the run's dashboards ring their terminal, if they ring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ringing: Option<Ringing>,
    /// The downstream tasks that are measured at phase ends, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<PlannedTasks>,
}

/// Describes the precision of matrix products with the reason: `bf16 (auto: AMX)`.
pub fn dtype_words(dtype: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{dtype} ({reason})"),
        None => dtype.into(),
    }
}

/// The downstream tasks that a run measures, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTasks {
    pub names: Vec<String>,
    /// Steps between two evaluations within a phase; 0: only at its end.
    pub every: u64,
}

impl PlannedTasks {
    /// Returns the number of evaluations after step `step` of a phase of `steps` steps, including the one at its end.
    pub fn evaluations_after(&self, step: u64, steps: u64) -> u64 {
        let within = |until: u64| until.checked_div(self.every).unwrap_or(0);
        match step < steps {
            // The end is counted separately, whether or not its step is a multiple.
            true => 1 + within(steps - 1) - within(step),
            false => 0,
        }
    }
}

impl RunInfo {
    /// Describes the precision of matrix products with the reason, as far as the journal has both: `bf16 (auto: AMX)`.
    pub fn dtype_words(&self) -> Option<String> {
        Some(dtype_words(
            self.dtype.as_ref()?,
            self.dtype_reason.as_deref(),
        ))
    }

    /// Truncates texts and lists that are too long for a screen.
    pub(super) fn shorten(&mut self) {
        cut(&mut self.name, LONGEST_NAME);
        for words in [&mut self.dtype, &mut self.dtype_reason, &mut self.library]
            .into_iter()
            .flatten()
        {
            cut(words, LONGEST_DTYPE);
        }
        self.baselines.iter_mut().for_each(PlannedBaseline::shorten);
        if let Some(ranks) = &mut self.ranks {
            ranks.shorten();
        }
        if let Some(tasks) = &mut self.tasks {
            tasks.names.iter_mut().for_each(|n| cut(n, LONGEST_TASK));
        }
    }

    /// Rejects numbers outside the limits of a run.
    ///
    /// # Errors
    /// Describes the first such number.
    pub(in crate::run) fn check(&self) -> Result<(), String> {
        layers("n_layer", self.n_layer)?;
        layers("grow_step", self.grow_step)?;
        layers("max_layers", self.max_layers)?;
        for (what, n) in [
            ("reference_steps", self.reference_steps),
            ("round_steps", self.round_steps),
            ("batch_tokens", self.batch_tokens),
            ("n_embd", self.n_embd as u64),
            ("context_length", self.context_length as u64),
            ("vocab", self.vocab as u64),
        ] {
            counted(what, n)?;
        }
        if let Some(ranks) = &self.ranks {
            ranks.check()?;
        }
        layers("baselines", self.baselines.len())?;
        for baseline in &self.baselines {
            baseline.check()?;
        }
        if let Some(tasks) = &self.tasks {
            most("tasks", tasks.names.len() as u64, MOST_TASKS)?;
            counted("tasks.every", tasks.every)?;
        }
        if let Some(w) = &self.eval_windows {
            for n in [w.windows, w.asked, w.disjoint, w.time] {
                counted("eval_windows", n as u64)?;
            }
        }
        Ok(())
    }
}

/// Status in a `run` event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// First line of a journal; carries [`RunInfo`].
    Started,
    Running,
    Paused,
    /// The process ends before the recipe does; the run can be resumed.
    Interrupted,
}
