//! What is refused before a confirmation is asked for, because the trainer would refuse it afterwards.

use crate::config::keys;
use crate::dashboard::costs::layers_left;
use crate::dashboard::rollback_points;
use crate::dashboard::ui::Context;
use crate::run::command::Command;
use crate::run::event::Phase;

/// Checks a command that is about to be confirmed.
///
/// # Errors
/// Why it cannot be done, and what can be.
pub fn check(context: &Context<'_>, command: &Command) -> Result<(), String> {
    let run = context.run;
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
                    "the model has {most} layers, the most that grow.max_layers allows"
                )),
                left if *layers > left => Err(format!(
                    "can grow by at most {left} more layers (grow.max_layers = {most})"
                )),
                _ => Ok(()),
            }
        }
        Command::Rollback { checkpoint } => rollback(context, checkpoint),
        _ => Ok(()),
    }
}

/// Whether a checkpoint, a link to one, or one of a step exists.
fn rollback(context: &Context<'_>, wanted: &str) -> Result<(), String> {
    let nearby = &context.facts.nearby;
    let points = rollback_points::on_screen(context);
    let of_step = wanted.parse().ok();
    let known = points
        .iter()
        .any(|p| p.note.name == wanted || Some(p.note.step) == of_step);
    if known || nearby.kept.is_none() || (of_step.is_none() && nearby.is_kept(wanted)) {
        return Ok(());
    }
    let names = points.iter().map(|p| p.note.name.as_str());
    let advice = match (points.is_empty(), keys::best(wanted, names, 0.6)) {
        (true, _) => "none has been written yet: c writes one".into(),
        (false, Some(near)) => format!("did you mean {near}?"),
        (false, None) => "R lists them".to_string(),
    };
    Err(format!("no checkpoint {wanted:?}; {advice}"))
}
