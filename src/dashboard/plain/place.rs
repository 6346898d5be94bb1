//! The place of a line in a run, and the ways to answer it.

use crate::run::event::Phase;
use crate::run::state::RunState;
use crate::text::sanitize;

/// The way in which a decision or a pause can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers<'a> {
    /// It cannot be answered: the event is past.
    No,
    /// With `heirloom ctl RUN ...`; holds RUN, quoted for a shell.
    Commands(&'a str),
    /// With numbers and commands at this terminal.
    Typed,
}

/// Formats `round-1 step 90/300`: the step of the phase, and the phase's last step if it is known.
pub fn place(state: &RunState, phase: &Phase, step: u64) -> String {
    let now = state.core.phase.as_ref().filter(|now| now.phase == *phase);
    let planned = || {
        let info = state.info.as_ref()?;
        match phase {
            Phase::Reference => Some(info.reference_steps),
            Phase::Round(_) => Some(info.round_steps),
            _ => None,
        }
    };
    let name = phase.to_string();
    let name = sanitize(&name);
    match now.map(|now| now.due).or_else(planned) {
        Some(due) => format!("{name} step {step}/{due}"),
        None => format!("{name} step {step}"),
    }
}

/// Returns the run's present place.
pub fn present_place(state: &RunState) -> String {
    match &state.core.phase {
        Some(now) => place(state, &now.phase, state.core.phase_step),
        None => format!("step {}", state.core.step),
    }
}
