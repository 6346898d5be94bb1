//! The data of the run that a dashboard shows. Only this module and the [library](super::library) own data of runs.

use jiff::Timestamp;

use super::neighbours::Nearby;
use super::replay::Playing;
use super::starting::Starting;
use crate::run::state::{RunState, Status};

/// Facts about a feed and its run that are not in any event.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Whether commands cannot be sent: the feed only reads, or another client has control.
    pub read_only: bool,
    /// Who has control, if another client has it.
    pub controller: Option<String>,
    /// The run as an argument of a command: its name, or a path.
    pub argument: String,
    /// Whether the trainer is in this process, so that leaving needs a decision.
    pub owner: bool,
    /// Whether a signal has asked this process's trainer to stop.
    pub stopping: bool,
    /// Whether all events have come.
    pub ended: bool,
    /// Share of the journal's past that has been read, from 0 to 1, while it is being read.
    pub loading: Option<f64>,
    /// Position of a replay.
    pub replay: Option<Playing>,
    /// Progress of a run that is being started and has no events yet.
    pub starting: Option<Starting>,
    /// The run's surroundings, as far as they have been read.
    pub nearby: Nearby,
}

impl Facts {
    /// Returns why commands cannot be sent now, if they cannot.
    pub fn locked(&self, run: &RunState) -> Option<String> {
        let over = is_over(run.core.status);
        match (&self.controller, self.read_only) {
            _ if self.replay.is_some() => Some("a replay takes no commands".into()),
            _ if run.core.status == Status::Interrupted => Some(format!(
                "this run is not running; resume it: heirloom train --resume {}",
                self.argument
            )),
            _ if self.ended || over => Some("this run has ended; q to leave".into()),
            (Some(other), _) => Some(format!("{other} has control; :take-control to take over")),
            (None, true) => Some(format!(
                "read-only view; to control the run: heirloom attach {}",
                self.argument
            )),
            (None, false) => None,
        }
    }
}

/// A run's state, and the facts about its feed.
#[derive(Debug)]
pub struct Session {
    pub run: RunState,
    pub facts: Facts,
    /// The run as it stood when the display was frozen.
    frozen: Option<Box<RunState>>,
}

impl Session {
    /// Makes a session of a run whose state so far is `run`.
    pub fn new(run: RunState, facts: Facts) -> Self {
        Self {
            run,
            facts,
            frozen: None,
        }
    }

    /// Freezes the display, or lets it follow the run again.
    pub fn toggle_freeze(&mut self) {
        self.frozen = match self.frozen.take() {
            Some(_) => None,
            None => Some(Box::new(self.run.clone())),
        };
    }

    /// Whether the display stands still.
    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Returns the state to show: the frozen one, if there is one.
    pub fn shown(&self) -> &RunState {
        self.frozen.as_deref().unwrap_or(&self.run)
    }

    /// Returns the run's name. For a run of another process that is the name of its directory, `of_directory`: the journal of a
    /// copied run has the name of the original. In the run's own process it is the journal's, because a new run may get another
    /// name than was planned.
    pub fn name<'a>(&'a self, of_directory: &'a str) -> &'a str {
        match &self.run.info {
            Some(info) if self.facts.owner || of_directory.is_empty() => &info.name,
            _ => of_directory,
        }
    }

    /// Returns the present Unix time in milliseconds, for a run that is in progress.
    pub fn clock(&self) -> Option<i64> {
        let live = matches!(self.run.core.status, Status::Running | Status::Paused);
        let now = Timestamp::now().as_millisecond();
        // Another machine's clock may be ahead of this one's.
        (live && self.facts.replay.is_none() && !self.facts.ended).then(|| now.max(self.run.t))
    }
}

/// Whether a run's status is final.
pub fn is_over(status: Status) -> bool {
    matches!(status, Status::Done | Status::Failed)
}
