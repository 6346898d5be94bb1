//! A dashboard's knowledge of the run it shows: the only owner of run data besides the [library](super::library).

use jiff::Timestamp;

use super::neighbours::Nearby;
use super::replay::Playing;
use super::starting::Starting;
use crate::run::state::{RunState, Status};

/// The state of a feed and its run that is not in any event.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Commands cannot be sent: another process's run, or another one has control.
    pub read_only: bool,
    /// Who has control, when it is another one.
    pub controller: Option<String>,
    /// The run as a command takes it: its name, or a path.
    pub argument: String,
    /// The trainer is in this process, so that leaving it needs a decision.
    pub owner: bool,
    /// No more events will come.
    pub ended: bool,
    /// The journal's past is still being read: how much of it has been, from 0 to 1.
    pub loading: Option<f64>,
    /// A run is played again, and stands here.
    pub replay: Option<Playing>,
    /// The run is being started: it has no events yet.
    pub starting: Option<Starting>,
    /// The run's surroundings, as far as they have been read.
    pub nearby: Nearby,
}

impl Facts {
    /// Why no command can be sent now, if that is so.
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

/// A run, and what its feed says.
#[derive(Debug)]
pub struct Session {
    pub run: RunState,
    pub facts: Facts,
    /// The run as it stood when the display was frozen.
    frozen: Option<Box<RunState>>,
}

impl Session {
    /// A session of a run of which `run` is known.
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

    /// The run as it is to be shown.
    pub fn shown(&self) -> &RunState {
        self.frozen.as_deref().unwrap_or(&self.run)
    }

    /// The run's name. The directory's, `of_directory`, is the right one of a copied run, whose journal has the name of the
    /// original; a new run may get another name than was planned, which its own process reads in the journal.
    pub fn name<'a>(&'a self, of_directory: &'a str) -> &'a str {
        match &self.run.info {
            Some(info) if self.facts.owner || of_directory.is_empty() => &info.name,
            _ => of_directory,
        }
    }

    /// The time by the clock, Unix time in milliseconds, for a run that is in progress.
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
