//! Commands of an operator, a script or a policy to a trainer.
//!
//! Every command is journaled with who asked and answered with an [`Answer`](super::event::Body::Answer)
//! event: applied at step N, or refused and why.

use serde::{Deserialize, Serialize};
use std::fmt;

use super::setting::Setting;

/// Longest note, in characters.
pub const LONGEST_NOTE: usize = 500;
/// Longest text to be continued, in characters.
pub const LONGEST_PROMPT: usize = 500;
/// Tasks of one command, and characters of a task's name.
pub const MOST_TASKS: usize = 64;
pub const LONGEST_TASK: usize = 64;
/// Longest phase, in steps.
pub const MOST_STEPS: u64 = 1_000_000_000;

/// The start of a grown model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GrowMode {
    /// All layers come fresh from the reference; new optimizer, new schedule.
    #[default]
    Restart,
    /// Trained layers stay, with their moments; [`GrowSource`] names the layers that are added.
    Keep,
}

impl fmt::Display for GrowMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restart => "restart",
            Self::Keep => "keep",
        })
    }
}

/// The source of the layers that a growth adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrowSource {
    /// The reference's next layers.
    #[default]
    Next,
    /// The model's middle layers, copied right above themselves (Saunshi et al., "MIDAS", arXiv 2409.19044).
    CopyMiddle,
    /// The model's top layers, copied on top.
    CopyTop,
}

impl GrowSource {
    /// The names in a config.
    pub const NAMES: [&'static str; 3] = ["next", "copy-middle", "copy-top"];

    /// Whether layers of the model are copied.
    pub fn copies(self) -> bool {
        self != Self::Next
    }

    /// Whether the reference's next layers are added, which journals omit.
    pub fn is_next(&self) -> bool {
        !self.copies()
    }
}

impl fmt::Display for GrowSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES[*self as usize])
    }
}

/// The sender of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    Keyboard,
    Policy,
    Signal,
    /// `heirloom ctl`.
    Control,
    /// Repeated from another run's journal (`train --decisions`).
    Decisions,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyboard => "operator",
            Self::Policy => "policy",
            Self::Signal => "signal",
            Self::Control => "control",
            Self::Decisions => "decisions",
        })
    }
}

/// One request to the trainer. Commands that answer a decision carry its `decision` id, so that an answer to a decision
/// that has been replaced meanwhile (another step, another round) is refused. Without an id they answer whichever
/// decision is open, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Command {
    /// Stop stepping at the next step boundary; the process stays.
    Pause,
    /// Continue after a pause.
    Resume,
    /// Write a checkpoint at the next step boundary.
    Checkpoint,
    /// Evaluate on the validation windows at the next step boundary.
    Eval,
    /// Evaluate on downstream tasks at the next step boundary; training waits.
    EvalTasks {
        tasks: Vec<String>,
        /// Most documents of each; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
    /// Continue a text with the model at the next step boundary.
    Sample { text: String },
    /// Probe the attention ranks at the next step boundary.
    Probe,
    /// Gather fresh evidence and open a decision.
    Decide,
    /// Grow by `layers` and start the next round.
    Grow {
        layers: usize,
        /// The config's `grow.mode` when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<GrowMode>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decision: Option<u64>,
    },
    /// Train `steps` from here before the next decision is offered.
    TrainOn {
        steps: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decision: Option<u64>,
    },
    /// Put the next decision off by `steps`.
    Extend { steps: u64 },
    /// Learning rate of the next update; the rest of the phase's schedule is scaled with it.
    SetLr { lr: f64 },
    /// A hyperparameter of all updates from the next one on.
    Set { setting: Setting, value: f64 },
    /// Weight of a source of the training text (counted from 0) in all batches from the next one on.
    SetMixture { source: usize, weight: f64 },
    /// Let the learning rate fall linearly to its minimum within `steps`; then the decision is due.
    Cooldown { steps: u64 },
    /// Freeze the layers `from..to`.
    Freeze { from: usize, to: usize },
    /// Train the layers `from..to` again.
    Unfreeze { from: usize, to: usize },
    /// Go back to a checkpoint, on a new branch.
    Rollback { checkpoint: String },
    /// End the recipe here: the present model is the result.
    Stop {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decision: Option<u64>,
    },
    /// Checkpoint, then end the process; the run can be resumed.
    Quit,
    /// Keep a remark at the present step.
    Note { text: String },
}

impl Command {
    /// One line for the event strip.
    pub fn describe(&self) -> String {
        match self {
            Self::Pause => "pause".into(),
            Self::Resume => "resume".into(),
            Self::Checkpoint => "checkpoint".into(),
            Self::Eval => "evaluate".into(),
            Self::EvalTasks { tasks, limit } => match limit {
                Some(n) => format!("evaluate on {} (limit {n})", tasks.join(", ")),
                None => format!("evaluate on {}", tasks.join(", ")),
            },
            Self::Sample { text } => format!("sample {text:?}"),
            Self::Probe => "probe ranks".into(),
            Self::Decide => "decide".into(),
            Self::Grow { layers, mode, .. } => match mode {
                Some(mode) => format!("grow by {layers} ({mode})"),
                None => format!("grow by {layers}"),
            },
            Self::TrainOn { steps, .. } => format!("train on for {steps} steps"),
            Self::Extend { steps } => format!("extend by {steps} steps"),
            Self::SetLr { lr } => format!("learning rate {lr:.3e}"),
            Self::Set { setting, value } => format!("{setting} {value}"),
            Self::SetMixture { source, weight } => format!("weight {weight} of source {source}"),
            Self::Cooldown { steps } => format!("cool down over {steps} steps"),
            Self::Freeze { from, to } => format!("freeze layers {from}..{to}"),
            Self::Unfreeze { from, to } => format!("unfreeze layers {from}..{to}"),
            Self::Rollback { checkpoint } => format!("roll back to {checkpoint}"),
            Self::Stop { .. } => "stop growing".into(),
            Self::Quit => "checkpoint and quit".into(),
            Self::Note { text } => format!("note: {text}"),
        }
    }
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The number the command has in the journal.
    pub id: u64,
    pub applied: bool,
    pub message: String,
}

/// Takes the answer; dropped without one when the trainer ends first.
pub type Reply = tokio::sync::oneshot::Sender<Answered>;

/// A command with its sender, as it travels to the trainer.
#[derive(Debug)]
pub struct Request {
    pub by: By,
    pub command: Command,
    /// Process that sent it over the control socket.
    pub pid: Option<u32>,
    pub reply: Option<Reply>,
}

impl Request {
    /// A request whose answer appears only in the journal.
    pub fn new(by: By, command: Command) -> Self {
        Self {
            by,
            command,
            pid: None,
            reply: None,
        }
    }
}
