//! The fold over events: everything any view, table or `show` knows about a run.
//!
//! Live, tailed and replayed runs are the same code: [`RunState::apply`] is the only way state changes.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

use super::event::{
    Body, DecisionReason, DecisionStatus, Event, Evidence, Outcome, Phase, PhaseResult, RunInfo,
    RunStatus, Start,
};

/// How many notes the event strip and the log keep.
const NOTES_KEPT: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// No event has been seen yet.
    #[default]
    Empty,
    Running,
    Paused,
    /// Not finished, and no process works on it.
    Interrupted,
    Done,
    Failed,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Interrupted => "interrupted",
            Self::Done => "done",
            Self::Failed => "failed",
        })
    }
}

/// A finished round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundResult {
    pub round: u32,
    #[serde(flatten)]
    pub result: PhaseResult,
}

/// A finished control: `random` or `reference_continued`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ControlResult {
    pub name: String,
    #[serde(flatten)]
    pub result: PhaseResult,
}

/// What the present phase trains.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseNow {
    pub phase: Phase,
    /// Global step at which the phase began.
    pub began_at: u64,
    pub layers: usize,
    pub parameters: u64,
    /// Steps planned.
    pub steps: u64,
    pub start: Start,
    pub source_layers: Vec<usize>,
    /// How many of the layers, counted from the top, are new since the round before.
    pub added: usize,
}

/// A decision waiting for an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenDecision {
    pub id: u64,
    pub reason: DecisionReason,
    /// Step at which the evidence was frozen.
    pub step: u64,
    pub phase_step: u64,
    pub evidence: Evidence,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointNote {
    pub seq: u64,
    pub name: String,
    pub step: u64,
    pub val_loss: Option<f64>,
}

/// The part of the state that a resume puts back to what it was at a checkpoint.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Core {
    pub status: Status,
    pub step: u64,
    pub phase_step: u64,
    pub phase: Option<PhaseNow>,
    pub reference: Option<PhaseResult>,
    pub rounds: Vec<RoundResult>,
    pub controls: Vec<ControlResult>,
    pub decision: Option<OpenDecision>,
    pub outcome: Option<Outcome>,
    /// Tokens trained on so far, over all phases.
    pub tokens: u64,
    pub tokens_per_second: f64,
    pub lr: f64,
    pub grad_norm: Option<f64>,
    /// The closing message of a `done` event.
    pub message: String,
}

/// Sorted by `step`; `seq` lets a resume drop what it supersedes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainPoint {
    pub seq: u64,
    pub step: u64,
    pub tokens: u64,
    pub elapsed: f64,
    /// NaN where the loss was not finite.
    pub loss: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvalPoint {
    pub seq: u64,
    pub step: u64,
    pub tokens: u64,
    pub elapsed: f64,
    /// NaN where the loss was not finite.
    pub val_loss: f64,
    pub stderr: f64,
    pub gap: Option<f64>,
    pub gap_stderr: Option<f64>,
    pub matched: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ProbePoint {
    pub seq: u64,
    pub step: u64,
    pub phase: Phase,
    pub max_rank: Vec<f64>,
    pub avg_mass: Vec<f64>,
    pub rank: Vec<Vec<f64>>,
    pub lazy_layers: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkKind {
    /// A phase other than a growth begins.
    Phase(Phase),
    /// Layers before and after.
    Growth(usize, usize),
    Checkpoint,
    Resumed,
}

/// Something to mark on the step axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub seq: u64,
    pub step: u64,
    pub kind: MarkKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Info,
    Good,
    Warning,
}

/// A line of the event strip.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    pub t: i64,
    pub step: u64,
    pub level: Level,
    pub text: String,
}

/// Everything known about a run.
#[derive(Debug, Clone, Default)]
pub struct RunState {
    pub info: Option<RunInfo>,
    pub core: Core,
    pub train: Vec<TrainPoint>,
    pub evals: Vec<EvalPoint>,
    pub probes: Vec<ProbePoint>,
    pub marks: Vec<Mark>,
    pub checkpoints: Vec<CheckpointNote>,
    pub notes: VecDeque<Note>,
    /// The last event's number, run time and wall clock.
    pub seq: u64,
    pub elapsed: f64,
    pub t: i64,
    /// Commands that were refused so far.
    pub refusals: u64,
    /// The event with which the run last began to run: started, resumed, or no longer paused.
    pub running_since: u64,
    /// Metric events that were dropped on the way here.
    pub dropped: u64,
    /// Rises with every event, so that a view can tell whether anything changed.
    pub version: u64,
    snapshots: Vec<(u64, Core)>,
    /// The status the journal tells, while [`Self::settle`] shows another.
    journaled: Option<Status>,
}

impl RunState {
    /// Folds one event in.
    pub fn apply(&mut self, event: &Event) {
        self.version += 1;
        if let Some(status) = self.journaled.take() {
            self.core.status = status;
        }
        self.seq = event.seq;
        self.t = event.t;
        self.elapsed = event.elapsed;
        self.core.step = event.step;
        self.core.phase_step = event.phase_step;
        match &event.body {
            Body::Run {
                status,
                info,
                message,
            } => self.on_run(event, *status, info.as_ref(), message.as_deref()),
            Body::Phase {
                layers,
                parameters,
                steps,
                start,
                source_layers,
                result,
            } => match result {
                Some(result) => self.on_phase_end(event, result),
                None => self.on_phase_start(
                    event,
                    PhaseNow {
                        phase: event.phase.clone(),
                        began_at: event.step - event.phase_step.min(event.step),
                        layers: *layers,
                        parameters: *parameters,
                        steps: *steps,
                        start: *start,
                        source_layers: source_layers.clone(),
                        added: 0,
                    },
                ),
            },
            Body::Train {
                loss,
                lr,
                grad_norm,
                tokens,
                tokens_per_second,
                ..
            } => {
                self.core.lr = *lr;
                self.core.grad_norm = *grad_norm;
                self.core.tokens = *tokens;
                self.core.tokens_per_second = *tokens_per_second;
                self.train.push(TrainPoint {
                    seq: event.seq,
                    step: event.step,
                    tokens: *tokens,
                    elapsed: event.elapsed,
                    loss: loss.unwrap_or(f64::NAN),
                });
            }
            Body::Eval {
                val_loss,
                stderr,
                gap,
                gap_stderr,
                matched,
                ..
            } => {
                self.evals.push(EvalPoint {
                    seq: event.seq,
                    step: event.step,
                    tokens: self.core.tokens,
                    elapsed: event.elapsed,
                    val_loss: val_loss.unwrap_or(f64::NAN),
                    stderr: stderr.unwrap_or(f64::NAN),
                    gap: *gap,
                    gap_stderr: *gap_stderr,
                    matched: *matched,
                });
                let text = match (val_loss, gap, gap_stderr) {
                    (Some(v), Some(g), Some(e)) => format!("eval  val {v:.4}  gap {g:+.4} ±{e:.4}"),
                    (Some(v), ..) => format!("eval  val {v:.4}"),
                    (None, ..) => "eval  val is not a number".into(),
                };
                self.note(event, Level::Info, text);
            }
            Body::Probe {
                max_rank,
                avg_mass,
                rank,
                lazy_layers,
                ..
            } => {
                self.probes.push(ProbePoint {
                    seq: event.seq,
                    step: event.step,
                    phase: event.phase.clone(),
                    max_rank: max_rank.clone(),
                    avg_mass: avg_mass.clone(),
                    rank: rank.clone(),
                    lazy_layers: lazy_layers.clone(),
                });
                let text = format!("probe {} lazy of {} layers", lazy_layers.len(), rank.len());
                self.note(event, Level::Info, text);
            }
            Body::Checkpointing { .. } => self.snapshots.push((event.seq, self.core.clone())),
            Body::Checkpoint {
                name,
                val_loss,
                reason,
                begun,
                of_step,
                ..
            } => {
                let (seq, step) = (begun.unwrap_or(event.seq), of_step.unwrap_or(event.step));
                self.checkpoints.push(CheckpointNote {
                    seq,
                    name: name.clone(),
                    step,
                    val_loss: *val_loss,
                });
                if begun.is_none() {
                    self.snapshots.push((event.seq, self.core.clone()));
                }
                self.marks.push(Mark {
                    seq,
                    step,
                    kind: MarkKind::Checkpoint,
                });
                self.note(event, Level::Info, format!("checkpoint {name} ({reason})"));
            }
            Body::Command { by, command, .. } => {
                self.note(event, Level::Info, format!("{by}: {}", command.describe()));
            }
            Body::Answer {
                applied, message, ..
            } => {
                self.refusals += u64::from(!*applied);
                let (level, word) = if *applied {
                    (Level::Good, "done")
                } else {
                    (Level::Warning, "refused")
                };
                self.note(event, level, format!("{word}: {message}"));
            }
            Body::Decision {
                id,
                status,
                reason,
                evidence,
                choice,
                by,
            } => match (status, evidence) {
                (DecisionStatus::Open, Some(evidence)) => {
                    self.core.decision = Some(OpenDecision {
                        id: *id,
                        reason: *reason,
                        step: event.step,
                        phase_step: event.phase_step,
                        evidence: (**evidence).clone(),
                    });
                    self.note(event, Level::Good, format!("decision: {}", evidence.why));
                }
                _ => {
                    self.core.decision = None;
                    let by = by.map(|b| format!(" by {b}")).unwrap_or_default();
                    let choice = choice.as_deref().unwrap_or("closed");
                    self.note(event, Level::Good, format!("decided{by}: {choice}"));
                }
            },
            Body::Inherit { layers, from, .. } => {
                let n = layers.len();
                self.note(event, Level::Info, format!("inherit {n} layers of {from}"));
            }
            Body::Grow {
                from_layers,
                to_layers,
                mode,
                ..
            } => {
                self.mark(event, MarkKind::Growth(*from_layers, *to_layers));
                let text = format!("grow  {from_layers} → {to_layers} layers ({mode})");
                self.note(event, Level::Good, text);
            }
            Body::Rollback {
                checkpoint, why, ..
            } => {
                let text = format!("rollback to {checkpoint}: {why}");
                self.note(event, Level::Warning, text);
            }
            Body::Resumed {
                from_seq,
                checkpoint,
            } => self.on_resumed(event, *from_seq, checkpoint),
            Body::Warning { message } => self.note(event, Level::Warning, message.clone()),
            Body::Gap { dropped } => self.dropped += dropped,
            Body::Log { message } => self.note(event, Level::Info, message.clone()),
            Body::Done {
                outcome,
                failed,
                message,
            } => {
                self.core.status = if *failed {
                    Status::Failed
                } else {
                    Status::Done
                };
                self.core.outcome = *outcome;
                self.core.decision = None;
                self.core.message.clone_from(message);
                let (level, how) = match outcome {
                    Some(outcome) => (Level::Good, outcome.to_string()),
                    None if *failed => (Level::Warning, "failed".into()),
                    None => (Level::Good, "done".into()),
                };
                self.note(event, level, format!("{how}: {message}"));
            }
            Body::Unknown(rest) => {
                let kind = rest.get("kind").and_then(|k| k.as_str()).unwrap_or("?");
                self.note(event, Level::Info, format!("unknown event {kind}"));
            }
        }
    }

    fn on_run(
        &mut self,
        event: &Event,
        status: RunStatus,
        info: Option<&RunInfo>,
        message: Option<&str>,
    ) {
        if let Some(info) = info {
            self.info = Some(info.clone());
            // A resume may bring another number of steps.
            if let Some(now) = &mut self.core.phase {
                match now.phase {
                    Phase::Reference => now.steps = info.reference_steps,
                    Phase::Round(_) => now.steps = info.round_steps,
                    _ => {}
                }
            }
        }
        self.core.status = match status {
            RunStatus::Started | RunStatus::Running => Status::Running,
            RunStatus::Paused => Status::Paused,
            RunStatus::Interrupted => Status::Interrupted,
        };
        if self.core.status == Status::Running {
            self.running_since = event.seq;
        }
        let text = match message {
            Some(m) => format!("{}: {m}", self.core.status),
            None => self.core.status.to_string(),
        };
        self.note(event, Level::Info, text);
    }

    fn on_phase_start(&mut self, event: &Event, mut now: PhaseNow) {
        if let (Some(before), Phase::Round(n)) = (&self.core.phase, &now.phase)
            && *n > 1
        {
            now.added = now.layers.saturating_sub(before.layers);
        }
        let text = format!("{}: {} layers, {} start", now.phase, now.layers, now.start);
        self.core.phase = Some(now);
        self.core.decision = None;
        self.mark(event, MarkKind::Phase(event.phase.clone()));
        self.note(event, Level::Info, text);
    }

    fn on_phase_end(&mut self, event: &Event, result: &PhaseResult) {
        let result = result.clone();
        let text = match result.gap {
            Some(gap) => format!("{} ended: gap {gap:+.4}", event.phase),
            None => format!("{} ended: val {:.4}", event.phase, result.val_loss),
        };
        let control = |name: &str, result| ControlResult {
            name: name.into(),
            result,
        };
        match &event.phase {
            Phase::Reference => self.core.reference = Some(result),
            Phase::Round(round) => {
                self.core.rounds.retain(|r| r.round != *round);
                self.core.rounds.push(RoundResult {
                    round: *round,
                    result,
                });
            }
            Phase::ControlRandom => self.core.controls.push(control("random", result)),
            Phase::ControlReference => self
                .core
                .controls
                .push(control("reference_continued", result)),
            Phase::Other(name) => self.core.controls.push(control(name, result)),
        }
        self.note(event, Level::Good, text);
    }

    /// Drops what the resumed process does again: everything after `from_seq`.
    fn on_resumed(&mut self, event: &Event, from_seq: u64, checkpoint: &str) {
        self.train.retain(|p| p.seq <= from_seq);
        self.evals.retain(|p| p.seq <= from_seq);
        self.probes.retain(|p| p.seq <= from_seq);
        self.marks.retain(|m| m.seq <= from_seq);
        self.checkpoints.retain(|c| c.seq <= from_seq);
        self.snapshots.retain(|(seq, _)| *seq <= from_seq);
        let core = self.snapshots.last().map(|(_, core)| core.clone());
        self.core = core.unwrap_or_default();
        self.core.step = event.step;
        self.core.phase_step = event.phase_step;
        self.core.status = Status::Running;
        self.mark(event, MarkKind::Resumed);
        self.note(event, Level::Good, format!("resumed from {checkpoint}"));
    }

    fn mark(&mut self, event: &Event, kind: MarkKind) {
        self.marks.push(Mark {
            seq: event.seq,
            step: event.step,
            kind,
        });
    }

    fn note(&mut self, event: &Event, level: Level, text: String) {
        self.push_note(Note {
            t: event.t,
            step: event.step,
            level,
            text,
        });
    }

    /// Adds a warning that no event told.
    pub fn warn(&mut self, text: String) {
        self.version += 1;
        self.push_note(Note {
            t: self.t,
            step: self.core.step,
            level: Level::Warning,
            text,
        });
    }

    fn push_note(&mut self, note: Note) {
        if self.notes.len() == NOTES_KEPT {
            self.notes.pop_front();
        }
        self.notes.push_back(note);
    }

    /// Shows a run as interrupted that the journal leaves running or paused when no process is `alive` that works
    /// on it; undone by the next event, or by settling again once there is one.
    pub fn settle(&mut self, alive: bool) {
        let told = self.journaled.unwrap_or(self.core.status);
        let shown = match told {
            Status::Running | Status::Paused if !alive => Status::Interrupted,
            told => told,
        };
        self.journaled = (shown != told).then_some(told);
        if shown != self.core.status {
            self.core.status = shown;
            self.version += 1;
        }
    }

    /// The reference's validation loss, once it is known.
    pub fn benchmark(&self) -> Option<f64> {
        self.core.reference.as_ref().map(|r| r.val_loss)
    }

    /// The paired gap that goes with the latest validation loss.
    pub fn gap(&self) -> Option<f64> {
        self.evals.last().and_then(|e| e.gap)
    }

    /// Event numbers at which phases began.
    pub fn phase_starts(&self) -> Vec<u64> {
        let starts = self.marks.iter();
        starts
            .filter(|m| matches!(m.kind, MarkKind::Phase(_)))
            .map(|m| m.seq)
            .collect()
    }

    /// Evaluations of the present phase, oldest first.
    pub fn evals_of_phase(&self) -> &[EvalPoint] {
        let seq = self.phase_starts().last().copied().unwrap_or(0);
        let first = self.evals.partition_point(|e| e.seq < seq);
        &self.evals[first..]
    }
}
