//! The models that the recipe's result is compared with, a row each. Phases, tasks, tables, screens, forecasts and the
//! trainer's plan take a control's name, its place in the order and its start from this table alone.

use std::hash::{Hash, Hasher};

use super::event::{RunInfo, Start};
use crate::config::ControlConfig;
use crate::config::keys::Stage;

/// A model that is trained for comparison after the rounds.
#[derive(Debug)]
pub struct Control {
    /// Name of its phase, in journals and checkpoints.
    pub id: &'static str,
    /// Name of its result, in checkpoints' states and `show --json`.
    pub result: &'static str,
    /// Name of the task to begin it, in checkpoints' states.
    pub task: &'static str,
    /// The config key that asks for it, and the stage from which a run trains it.
    pub key: &'static str,
    pub stage: Stage,
    /// Name in tables and charts.
    pub short: &'static str,
    /// Name in front of a remark: five characters at most.
    pub tag: &'static str,
    /// Description in plans and in questions.
    pub title: &'static str,
    pub name: &'static str,
    /// Its size, in a plan that does not know the number of layers.
    pub size: &'static str,
    /// Description below a table.
    pub legend: &'static str,
    /// Its start. The reference's control has the reference's layers, all others have those of the final model.
    pub start: Start,
    is_wanted: fn(&ControlConfig) -> bool,
    is_planned: fn(&RunInfo) -> bool,
}

/// All controls, in the order in which they are trained.
pub static CONTROLS: &[Control] = &[
    Control {
        id: "control-random",
        result: "random",
        task: "control_random",
        key: "control.random",
        stage: Stage::Controls,
        short: "random",
        tag: "rnd",
        title: "random start",
        name: "random start",
        size: "as large as the last round's model",
        legend: "control, random weights in the final size, same number of steps",
        start: Start::Random,
        is_wanted: |config| config.random,
        is_planned: |info| info.control_random,
    },
    Control {
        id: "control-reference",
        result: "reference_continued",
        task: "control_reference",
        key: "control.reference_continued",
        stage: Stage::LastControl,
        short: "continued",
        tag: "cont",
        title: "reference trained on",
        name: "reference continued",
        size: "as large as the reference",
        legend: "control, the reference trained further, same number of steps",
        start: Start::Reference,
        is_wanted: |config| config.reference_continued,
        is_planned: |info| info.control_reference,
    },
    #[cfg(test)]
    Control {
        id: "control-extra",
        result: "extra",
        task: "control_extra",
        key: "control.random",
        stage: Stage::LastControl,
        short: "extra",
        tag: "ext",
        title: "another random start",
        name: "another random start",
        size: "as large as the last round's model",
        legend: "control of a test",
        start: Start::Random,
        is_wanted: |_| extra::is_on(),
        is_planned: |_| extra::is_on(),
    },
];

/// A further row, for tests of everything that reads this table.
#[cfg(test)]
pub mod extra {
    use std::cell::Cell;

    thread_local! {
        static ON: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn is_on() -> bool {
        ON.get()
    }

    /// Has this thread's configs and runs ask for the further control while `f` runs.
    pub fn with<T>(f: impl FnOnce() -> T) -> T {
        ON.set(true);
        let done = f();
        ON.set(false);
        done
    }
}

impl Control {
    /// Returns the control whose phase has this name.
    pub fn of_phase(id: &str) -> Option<&'static Self> {
        CONTROLS.iter().find(|c| c.id == id)
    }

    /// Returns the control that a task begins.
    pub fn of_task(task: &str) -> Option<&'static Self> {
        CONTROLS.iter().find(|c| c.task == task)
    }

    /// Returns the control whose result has this name.
    pub fn of_result(result: &str) -> Option<&'static Self> {
        CONTROLS.iter().find(|c| c.result == result)
    }

    /// Whether a config asks for it.
    pub fn is_wanted(&self, config: &ControlConfig) -> bool {
        (self.is_wanted)(config)
    }

    /// Returns its number of layers, given those of the final model and of the reference.
    pub fn layers(&self, last: usize, reference: usize) -> usize {
        match self.start {
            Start::Reference => reference,
            _ => last,
        }
    }

    /// Whether it is trained after `before`; every control is trained after the rounds, for which `None` stands.
    pub fn is_after(&self, before: Option<&Self>) -> bool {
        let place = |control: &Self| CONTROLS.iter().position(|c| c == control);
        before.is_none_or(|before| place(self) > place(before))
    }

    /// Returns the controls that a config asks for, in order.
    pub fn wanted(config: &ControlConfig) -> impl Iterator<Item = &'static Self> {
        CONTROLS.iter().filter(|c| c.is_wanted(config))
    }

    /// Returns the controls that a run with these facts trains, in order.
    pub fn planned(info: &RunInfo) -> impl Iterator<Item = &'static Self> {
        CONTROLS.iter().filter(|c| (c.is_planned)(info))
    }
}

impl PartialEq for Control {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Control {}

impl Hash for Control {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_control_has_names_of_its_own() {
        for (i, a) in CONTROLS.iter().enumerate() {
            assert!(a.tag.len() <= 4 && a.short.len() <= 9, "{}", a.id);
            for b in &CONTROLS[..i] {
                assert!(a.id != b.id && a.result != b.result && a.task != b.task);
                assert!(a.short != b.short && a.tag != b.tag);
            }
        }
        let config = ControlConfig::default();
        let ids = |before| {
            Control::wanted(&config)
                .filter(|c| c.is_after(before))
                .map(|c| c.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(None), ["control-random", "control-reference"]);
        assert_eq!(ids(Some(&CONTROLS[0])), ["control-reference"]);
        extra::with(|| assert_eq!(ids(Some(&CONTROLS[1])), ["control-extra"]));
        assert!(ids(Some(&CONTROLS[1])).is_empty());
    }
}
