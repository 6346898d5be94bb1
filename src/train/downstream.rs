//! The tasks and samples that are due. A checkpoint holds them, so that a resume measures what was not measured, and nothing twice.

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::run::command::{LONGEST_TASK, MOST_TASKS};
use crate::run::event::PlannedTasks;

/// Returns a config's tasks and when they are due, for the run's journal; `None` without tasks.
pub(super) fn planned(config: &Config) -> Option<PlannedTasks> {
    let names = config.eval.tasks().to_vec();
    let every = config.eval.tasks_every.unwrap_or(0);
    (!names.is_empty()).then_some(PlannedTasks { names, every })
}

/// Tasks and samples that are due on the present model, and the tasks that were measured at its present step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Downstream {
    /// Tasks in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tasks: Vec<String>,
    /// Whether the config's texts are to be continued.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    samples: bool,
    /// The step of the phase at which `done` was measured with the config's limit.
    #[serde(default)]
    at: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    done: Vec<String>,
}

impl Downstream {
    /// Whether it is empty, so that it need not be written.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && !self.samples && self.done.is_empty()
    }

    /// Whether something is due.
    pub(super) fn is_due(&self) -> bool {
        !self.tasks.is_empty() || self.samples
    }

    /// Makes tasks due at step `step` of the phase, except those that were measured there.
    pub(super) fn owe(&mut self, tasks: &[String], step: u64) {
        if self.at != step {
            self.done.clear();
        }
        self.at = step;
        let measured = &self.done;
        self.tasks = tasks
            .iter()
            .filter(|t| !measured.contains(t))
            .cloned()
            .collect();
    }

    /// Makes the config's texts due.
    pub(super) fn owe_samples(&mut self) {
        self.samples = true;
    }

    /// The task that is next, its number from 1, and how many are due at this step altogether.
    pub(super) fn next(&self) -> Option<(&str, u64, u64)> {
        let done = self.done.len() as u64;
        let task = self.tasks.first()?;
        Some((task, done + 1, done + self.tasks.len() as u64))
    }

    pub(super) fn owes_samples(&self) -> bool {
        self.samples
    }

    /// Takes the next task off the list, measured or given up.
    pub(super) fn finish_task(&mut self) {
        if !self.tasks.is_empty() {
            let task = self.tasks.remove(0);
            self.done.push(task);
        }
    }

    pub(super) fn finish_samples(&mut self) {
        self.samples = false;
    }

    /// Rejects values that a trainer never writes.
    ///
    /// # Errors
    /// Describes the problem.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut all = self.tasks.iter().chain(&self.done);
        let fits = self.tasks.len().max(self.done.len()) <= MOST_TASKS
            && all.all(|task| task.chars().count() <= LONGEST_TASK);
        match fits {
            true => Ok(()),
            false => Err("downstream names more tasks, or longer ones, than there are".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_was_measured_at_a_step_is_not_due_there_again() {
        let mut due = Downstream::default();
        assert!(due.is_empty() && !due.is_due());
        due.owe(&names(&["piqa", "sciq"]), 40);
        assert_eq!(due.next(), Some(("piqa", 1, 2)));
        due.finish_task();
        assert_eq!(due.next(), Some(("sciq", 2, 2)));
        // The phase ends where the tasks were due anyway.
        due.owe(&names(&["piqa", "sciq"]), 40);
        assert_eq!(due.next(), Some(("sciq", 2, 2)));
        due.finish_task();
        assert!(!due.is_due() && !due.is_empty());
        due.owe(&names(&["piqa", "sciq"]), 40);
        assert!(!due.is_due());
        due.owe(&names(&["piqa", "sciq"]), 80);
        assert_eq!(due.next(), Some(("piqa", 1, 2)));
    }

    #[test]
    fn it_is_read_back_from_a_checkpoint() {
        let mut due = Downstream::default();
        due.owe(&names(&["piqa", "sciq"]), 40);
        due.finish_task();
        due.owe_samples();
        let text = serde_json::to_string(&due).unwrap();
        assert_eq!(
            text,
            r#"{"tasks":["sciq"],"samples":true,"at":40,"done":["piqa"]}"#
        );
        assert_eq!(serde_json::from_str::<Downstream>(&text).unwrap(), due);
        assert!(due.check().is_ok());
        due.owe(&names(&[&"x".repeat(100)]), 41);
        assert!(due.check().is_err());
    }
}
