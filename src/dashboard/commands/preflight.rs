//! Checks commands before their confirmation, so that the operator need not confirm a command that the trainer would refuse.

use crate::config::keys;
use crate::dashboard::costs::layers_left;
use crate::dashboard::rollback_points;
use crate::run::command::Command;
use crate::run::event::Phase;
use crate::run::state::RunState;
use crate::run::table;

/// Checks a command that is about to be confirmed. `is_kept` returns whether a checkpoint is on disk; without it, any checkpoint
/// is accepted.
///
/// # Errors
/// When the command would be refused; the error has the reason and an alternative.
pub fn check(
    run: &RunState,
    is_kept: Option<&dyn Fn(&str) -> bool>,
    command: &Command,
) -> Result<(), String> {
    let phase = run.core.phase.as_ref().map(|p| &p.phase);
    let round = matches!(phase, Some(Phase::Round(_)));
    match command {
        Command::Grow { .. } | Command::Stop { .. } if !round => {
            Err("only a round can be grown or stopped; quit stops after a checkpoint".into())
        }
        Command::Grow { layers, .. } => {
            let most = run.info.as_ref().map_or(0, |i| i.max_layers);
            match layers_left(run) {
                0 => Err(format!(
                    "the model has {}, the most that grow.max_layers allows",
                    table::plural(most, "layer")
                )),
                left if *layers > left => Err(format!(
                    "can grow by at most {} (grow.max_layers = {most})",
                    table::plural(left, "more layer")
                )),
                _ => Ok(()),
            }
        }
        Command::Rollback { checkpoint } => match is_kept {
            Some(is_kept) => rollback(run, is_kept, checkpoint),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Checks that a checkpoint with this name or at this step, or a link of this name, exists.
fn rollback(run: &RunState, is_kept: &dyn Fn(&str) -> bool, wanted: &str) -> Result<(), String> {
    let points = rollback_points::of(run, is_kept);
    let of_step = wanted.parse().ok();
    let known = points
        .iter()
        .any(|p| p.note.name == wanted || Some(p.note.step) == of_step);
    if known || (of_step.is_none() && is_kept(wanted)) {
        return Ok(());
    }
    let names: Vec<&str> = points.iter().map(|p| p.note.name.as_str()).collect();
    let advice = match (keys::best(wanted, names.iter().copied(), 0.6), &names[..]) {
        (_, []) => "none has been written yet: `checkpoint` writes one".into(),
        (Some(near), _) => format!("did you mean {near}?"),
        (None, names) => format!("the newest are {}", names[..names.len().min(3)].join(", ")),
    };
    Err(format!("no checkpoint {wanted:?}; {advice}"))
}
