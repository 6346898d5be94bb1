//! The recipe's next task.

use serde::{Deserialize, Serialize};

use crate::run::baseline::BaselinePhase;
use crate::run::command::GrowMode;
use crate::run::controls::Control;

/// The recipe's next task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Task {
    /// Train the present phase, or continue it.
    Train,
    /// Start round 1 from the reference.
    Inherit,
    /// Start the next round with `layers` more.
    Grow { layers: usize, mode: GrowMode },
    /// Start a control.
    Control(&'static Control),
    /// Start a phase of a baseline.
    Baseline(BaselinePhase),
    /// End the recipe.
    Finish,
}

/// A task in `state.json`.
#[derive(Serialize, Deserialize)]
struct Written {
    task: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layers: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<GrowMode>,
}

impl From<Task> for Written {
    fn from(task: Task) -> Self {
        let (name, layers, mode) = match task {
            Task::Train => ("train".into(), None, None),
            Task::Inherit => ("inherit".into(), None, None),
            Task::Grow { layers, mode } => ("grow".into(), Some(layers), Some(mode)),
            Task::Control(control) => (control.task.into(), None, None),
            Task::Baseline(baseline) => (baseline.to_string(), None, None),
            Task::Finish => ("finish".into(), None, None),
        };
        Self {
            task: name,
            layers,
            mode,
        }
    }
}

impl TryFrom<Written> for Task {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match (written.task.as_str(), written.layers, written.mode) {
            ("train", ..) => Ok(Self::Train),
            ("inherit", ..) => Ok(Self::Inherit),
            ("grow", Some(layers), Some(mode)) => Ok(Self::Grow { layers, mode }),
            ("grow", ..) => Err("the task to grow names no layers or no mode".into()),
            ("finish", ..) => Ok(Self::Finish),
            (task, ..) => match (Control::of_task(task), BaselinePhase::of_phase(task)) {
                (Some(control), _) => Ok(Self::Control(control)),
                (None, Some(baseline)) => Ok(Self::Baseline(baseline)),
                (None, None) => Err(format!("unknown task {task:?}")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::controls::CONTROLS;

    #[test]
    fn tasks_are_written_as_they_always_were() {
        let grow = Task::Grow {
            layers: 2,
            mode: GrowMode::Keep,
        };
        for (task, text) in [
            (Task::Train, r#"{"task":"train"}"#),
            (Task::Inherit, r#"{"task":"inherit"}"#),
            (grow, r#"{"task":"grow","layers":2,"mode":"keep"}"#),
            (Task::Control(&CONTROLS[0]), r#"{"task":"control_random"}"#),
            (
                Task::Control(&CONTROLS[1]),
                r#"{"task":"control_reference"}"#,
            ),
            (
                Task::Baseline(BaselinePhase::new("stacking", 2).unwrap()),
                r#"{"task":"baseline-stacking.2"}"#,
            ),
            (Task::Finish, r#"{"task":"finish"}"#),
        ] {
            assert_eq!(serde_json::to_string(&task).unwrap(), text);
            assert_eq!(serde_json::from_str::<Task>(text).unwrap(), task);
        }
        for bad in [r#"{"task":"grow"}"#, r#"{"task":"dance"}"#] {
            assert!(serde_json::from_str::<Task>(bad).is_err(), "{bad}");
        }
    }
}
