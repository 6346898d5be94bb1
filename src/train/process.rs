//! A process's part in a recipe: goes from task to task, until something ends it.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::control::PAUSED_GLANCE;
use super::outcome::Ended;
use super::state::Task;
use super::trainer::Trainer;
use crate::dist::DistError;
use crate::run::event::{Body, Done, RunStatus};

/// Time that the end of a process waits for a disk that does not accept the journal's last lines.
const LAST_LINES: Duration = Duration::from_secs(5);

impl Trainer {
    /// Runs the recipe to its end, or to whatever ends this process's part in it.
    pub fn run(&mut self) -> Result<Ended> {
        let ended = loop {
            let task = self.state.task.clone();
            if task != Task::Train
                && let Some(end) = self.measure_before_next()?
            {
                break end;
            }
            match task {
                Task::Train => {}
                Task::Inherit | Task::Grow { .. } => self.adopt_config()?,
                Task::Control(_) | Task::Baseline(_) | Task::Finish => self.drop_waiting(),
            }
            let end = match task {
                Task::Train => self.phase()?,
                Task::Inherit => self.inherit()?,
                Task::Grow { layers, mode } => self.grow(layers, mode)?,
                Task::Control(control) => self.control(control).map(|()| None)?,
                Task::Baseline(phase) => self.baseline(phase)?,
                Task::Finish => Some(self.finish()),
            };
            if let Some(end) = end {
                break end;
            }
        };
        self.keep_algorithms();
        self.keeping().finish();
        self.keeping().write_owed();
        match &ended {
            Ended::Done => {}
            Ended::Failed(message) => self.fail(message),
            Ended::Stopped => self.interrupted("stopped by the operator"),
            Ended::Preempted => self.interrupted("checkpointed and stopped"),
            Ended::Lost(_) => self.interrupted("stopped without a checkpoint of its last state"),
        }
        let ended = self.end_journal(ended);
        self.learner.peers().dismiss(&ended);
        Ok(ended)
    }

    /// Writes the journal's last lines, retrying for [`LAST_LINES`]. Missing lines are reported.
    fn end_journal(&mut self, ended: Ended) -> Ended {
        let began = Instant::now();
        while !self.journal.flush() {
            if began.elapsed() >= LAST_LINES {
                let why = self.journal.failure().unwrap_or_default();
                let message = format!("the journal's last lines are lost ({why})");
                let run = self.directory.run().argument();
                return match ended {
                    Ended::Done => Ended::Failed(format!(
                        "the recipe is done, but {message}: heirloom train --resume {run} writes the end again"
                    )),
                    Ended::Stopped => Ended::Failed(format!(
                        "stopped by the operator, but {message}; resume: heirloom train --resume {run}"
                    )),
                    Ended::Preempted => Ended::Lost(format!(
                        "the checkpoint is written, but {message}; resume: heirloom train --resume {run}"
                    )),
                    ended => ended,
                };
            }
            std::thread::sleep(PAUSED_GLANCE);
        }
        ended
    }

    fn interrupted(&mut self, why: &str) {
        self.journal_news();
        let how = format!(
            "{why}; resume: heirloom train --resume {}",
            self.directory.run().argument()
        );
        self.report_run(RunStatus::Interrupted, None, Some(how));
    }

    /// Returns the error of a rank that is lost, if one is.
    pub fn lost(&self) -> Option<DistError> {
        self.learner.peers().check().err()
    }

    /// Describes from where a failed run can be continued.
    pub fn way_back(&mut self) -> String {
        self.keeping().finish();
        let run = self.directory.run().argument();
        if self.lost().is_some() {
            // The processes must end soon, and there is not enough time to check a large checkpoint.
            return format!("resume: heirloom train --resume {run}");
        }
        match self.keeper.checkpoints().newest_whole() {
            Ok(name) => {
                format!("its last good checkpoint is {name}; resume: heirloom train --resume {run}")
            }
            Err(_) => {
                format!("it has no checkpoint: heirloom train --resume {run} starts it over")
            }
        }
    }

    /// Journals a warning at once.
    pub fn note(&mut self, message: &str) {
        self.warn(message.into());
        self.journal.flush();
    }

    /// Journals that the run failed.
    pub fn fail(&mut self, message: &str) {
        self.keeping().finish();
        self.journal_news();
        self.emit(Body::Done(Done {
            outcome: None,
            failed: true,
            message: message.into(),
        }));
        self.journal.flush();
    }
}
