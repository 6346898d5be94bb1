//! The trainer and its parts. Each part keeps its own invariants; other files implement the work with them.

use super::configs::Configs;
use super::control::Control;
use super::data::Data;
use super::directory::Directory;
use super::keeper::{Keeper, Keeping};
use super::learner::Learner;
use super::machine::Machine;
use super::plan;
use super::record;
use super::state::TrainState;
use super::teacher::TeacherPaths;
use crate::config::PolicyMode;
use crate::model::DecoderConfig;
use crate::run::event::{Body, Event, RankLayout, RunEvent, RunInfo, RunStatus};
use crate::run::journal::Journal;

/// Runs the recipe of one run directory. (`policy`, `layout`, `reference_layers` and `reference_shape` never change.)
pub struct Trainer {
    pub(super) config: Configs,
    pub(super) policy: PolicyMode,
    pub(super) directory: Directory,
    pub(super) journal: Journal,
    pub(super) data: Data,
    pub(super) machine: Machine,
    pub(super) keeper: Keeper,
    pub(super) state: TrainState,
    pub(super) learner: Learner,
    pub(super) reference_layers: usize,
    pub(super) reference_shape: DecoderConfig,
    pub(super) control: Control,
    pub(super) teachers: TeacherPaths,
    pub(super) layout: Option<RankLayout>,
}

impl Trainer {
    /// Returns the keeper of checkpoints, with the contents that a checkpoint would have now.
    pub(super) fn keeping(&mut self) -> Keeping<'_> {
        Keeping {
            keeper: &mut self.keeper,
            state: &mut self.state,
            journal: &mut self.journal,
            learner: &self.learner,
            tokenizer: self.data.tokenizer(),
            keep: self.config.checkpoint.keep,
        }
    }

    pub(super) fn info(&self) -> RunInfo {
        let shape = &self.reference_shape;
        RunInfo {
            program: crate::PROGRAM.into(),
            name: self.directory.run().name(),
            host: crate::run::machine::host_name(),
            pid: std::process::id(),
            device: self.machine.device_name().into(),
            threads: self.machine.threads(),
            ranks: self.layout.clone(),
            dtype: Some(
                self.config
                    .train
                    .dtype
                    .on(self.machine.device())
                    .name()
                    .into(),
            ),
            dtype_reason: self.machine.dtype_reason().map(String::from),
            library: crate::device::library(self.machine.device()),
            policy: self.policy.to_string(),
            tokenizer: self.data.tokenizer().name().into(),
            train_tokens: self.data.train_tokens() as u64,
            val_tokens: self.data.val().len() as u64,
            n_layer: self.reference_layers,
            n_head: shape.n_head,
            n_embd: shape.n_embd,
            context_length: self.learner.passes().time,
            vocab: shape.vocab,
            batch_tokens: self.config.train.batch_tokens,
            reference_steps: self.config.reference.train.as_ref().map_or(0, |r| r.steps),
            round_steps: self.config.train.steps,
            grow_step: self.config.grow.step,
            grow_mode: self.config.grow.mode,
            grow_source: self.config.grow.source,
            max_layers: plan::max_layers(&self.config, self.reference_layers),
            tau: self.config.probe.tau,
            probe_length: self.config.probe.length,
            control_random: self.config.control.random,
            control_reference: self.config.control.reference_continued,
            baselines: self.planned_baselines(),
            only_baseline: self.config.policy.only_baseline.clone(),
            eval_windows: Some(self.data.eval_windows()),
            tolerance: Some(self.config.matching.tolerance),
            ringing: self.config.notify.ringing(),
            tasks: super::downstream::planned(&self.config),
        }
    }

    pub(super) fn report_run(
        &mut self,
        status: RunStatus,
        info: Option<RunInfo>,
        message: Option<String>,
    ) {
        self.emit(Body::Run(RunEvent {
            status,
            info,
            message,
        }));
        self.journal.flush();
    }

    /// Journals an event at the present step.
    pub(super) fn emit(&mut self, body: Body) -> Event {
        record::emit(&mut self.journal, &self.state, body)
    }

    pub(super) fn warn(&mut self, message: String) {
        record::warn(&mut self.journal, &self.state, message);
    }

    /// Reports once that the journal cannot be written, and once that it can be written again.
    pub(super) fn report_journal_problem(&mut self) {
        if let Some(message) = self.journal.problem() {
            self.warn(message);
        }
    }
}
