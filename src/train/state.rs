//! What a checkpoint must hold besides tensors, so that a resumed run goes on to the bit.

use serde::{Deserialize, Serialize};

use crate::run::command::GrowMode;
use crate::run::event::{DecisionReason, Outcome, Phase, PhaseResult, Start};
use crate::run::state::{ControlResult, RoundResult};

/// What the recipe does next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// Train the present phase, or go on with it.
    Train,
    /// Start round 1 from the reference.
    Inherit,
    /// Start the next round with `layers` more.
    Grow {
        layers: usize,
        mode: GrowMode,
    },
    /// Start a control.
    ControlRandom,
    ControlReference,
    /// Nothing is left but to say so.
    Finish,
}

/// The reference's measurements, which every gap refers to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Benchmark {
    /// Mean loss of each validation window.
    pub losses: Vec<f64>,
    pub val_loss: f64,
    pub layers: usize,
    pub lazy_layers: Vec<usize>,
}

/// One evaluation of the present phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvalRecord {
    pub phase_step: u64,
    pub val_loss: f64,
    pub stderr: f64,
    pub gap: Option<f64>,
    pub gap_stderr: Option<f64>,
    pub matched: bool,
}

/// The latest probe of the present phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeRecord {
    pub phase_step: u64,
    pub max_rank: Vec<f64>,
    pub lazy_layers: Vec<usize>,
}

/// A checkpoint on disk that retention knows of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub name: String,
    /// Never deleted by retention.
    pub milestone: bool,
}

/// The trainer's whole memory but for tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// Number of the journal event that tells of this checkpoint.
    pub seq: u64,
    pub task: Task,
    /// Optimizer steps over all phases.
    pub step: u64,
    pub branch: u32,
    pub phase: Phase,
    pub phase_step: u64,
    /// Steps the phase is planned for.
    pub steps: u64,
    /// Phase step at which the next decision is due.
    pub due: u64,
    pub start: Start,
    /// Reference layer each layer came from; empty for a random start.
    pub source_layers: Vec<usize>,
    /// Which stream of batches the phase draws from: 0 for the reference, the round's number otherwise.
    pub stream: u64,
    /// Tokens trained on over all phases.
    pub tokens: u64,
    /// Sum and number of step losses since the last `train` event.
    pub loss_sum: f64,
    pub loss_count: u64,
    /// Seconds of training steps in this phase, of everything in it, and of budgeted probes.
    pub train_seconds: f64,
    pub wall_seconds: f64,
    pub probe_seconds: f64,
    pub last_probe_seconds: f64,
    pub evals: Vec<EvalRecord>,
    pub probe: Option<ProbeRecord>,
    pub consecutive_matches: u32,
    /// Reasons for which a decision has been offered in this round already.
    pub offered: Vec<DecisionReason>,
    pub benchmark: Option<Benchmark>,
    pub reference: Option<PhaseResult>,
    pub rounds: Vec<RoundResult>,
    pub controls: Vec<ControlResult>,
    pub outcome: Option<Outcome>,
    /// Ids given to decisions and commands so far.
    pub decisions: u64,
    pub commands: u64,
    /// Checkpoints on disk, oldest first.
    pub kept: Vec<Kept>,
    /// Best checkpoint of the present target and its validation loss.
    pub best: Option<(String, f64)>,
    /// AdamW's step count of each tensor.
    pub optimizer_steps: Vec<u32>,
    /// Fingerprints of the training and validation tokens: other data cannot continue this run.
    pub data: [String; 2],
}

impl TrainState {
    /// The state before anything has happened.
    pub fn new(data: [String; 2]) -> Self {
        Self {
            seq: 0,
            task: Task::Train,
            step: 0,
            branch: 0,
            phase: Phase::Reference,
            phase_step: 0,
            steps: 0,
            due: 0,
            start: Start::Random,
            source_layers: Vec::new(),
            stream: 0,
            tokens: 0,
            loss_sum: 0.0,
            loss_count: 0,
            train_seconds: 0.0,
            wall_seconds: 0.0,
            probe_seconds: 0.0,
            last_probe_seconds: 0.0,
            evals: Vec::new(),
            probe: None,
            consecutive_matches: 0,
            offered: Vec::new(),
            benchmark: None,
            reference: None,
            rounds: Vec::new(),
            controls: Vec::new(),
            outcome: None,
            decisions: 0,
            commands: 0,
            kept: Vec::new(),
            best: None,
            optimizer_steps: Vec::new(),
            data,
        }
    }

    /// Sets everything that belongs to one phase to its beginning.
    pub fn begin_phase(&mut self, phase: Phase, start: Start, layers: Vec<usize>, steps: u64) {
        self.task = Task::Train;
        self.phase = phase;
        self.phase_step = 0;
        self.steps = steps;
        self.due = steps;
        self.start = start;
        self.source_layers = layers;
        self.loss_sum = 0.0;
        self.loss_count = 0;
        self.train_seconds = 0.0;
        self.wall_seconds = 0.0;
        self.probe_seconds = 0.0;
        self.last_probe_seconds = 0.0;
        self.evals.clear();
        self.probe = None;
        self.consecutive_matches = 0;
        self.offered.clear();
        if matches!(self.phase, Phase::Round(_)) {
            self.best = None;
        }
    }

    /// The round in progress, 0 outside rounds.
    pub fn round(&self) -> u32 {
        match self.phase {
            Phase::Round(n) => n,
            _ => 0,
        }
    }

    /// The latest evaluation, if it was made at the present step.
    pub fn eval_now(&self) -> Option<&EvalRecord> {
        self.evals
            .last()
            .filter(|e| e.phase_step == self.phase_step)
    }

    /// Steps and tokens that made the final model out of the reference's layers: its last round after a restart, all
    /// rounds since the last restart when rounds kept what was trained.
    pub fn recipe_steps(&self) -> u64 {
        let mut steps = 0;
        for r in self.rounds.iter().rev() {
            steps += r.result.steps;
            if r.result.start != Start::Keep {
                break;
            }
        }
        steps
    }
}
