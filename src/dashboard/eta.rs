//! Estimates the latest end of the recipe.

use crate::run::event::{Phase, Planned, RunInfo, Start};
use crate::run::order::{Comparison, Recipe};
use crate::run::state::{PhaseNow, RoundResult, RunState, Status};

/// Number of points of the training curve from which the speed is computed.
const RECENT: usize = 50;

/// Returns the seconds to the end of the recipe if every growth takes place, from the recent speed (evaluations and probes
/// included) and the cost of each model left to train. `None` before a speed is known, and while nothing runs.
pub fn seconds(run: &RunState) -> Option<f64> {
    Some(flops_left(run)? * per_flop(run)? + of_tasks(run))
}

/// Estimates [`seconds`] for a run whose curves have not been read, from the speed of its last step and the cost of evaluations
/// and probes in the last finished phase.
pub fn rough_seconds(run: &RunState) -> Option<f64> {
    let (info, now) = (run.info.as_ref()?, run.core.phase.as_ref()?);
    let speed = run.core.tokens_per_second;
    // Before a phase's first step, the speed is that of the previous phase.
    if run.core.status != Status::Running || run.core.phase_step == 0 || speed <= 0.0 {
        return None;
    }
    let ended = run.core.rounds.last().map(|round| &round.result);
    let ended = ended.or(run.core.reference.as_ref());
    let more = ended.map(|r| r.tokens_per_second / r.tokens_per_second_wall);
    let more = more.filter(|x| x.is_finite() && *x >= 1.0).unwrap_or(1.0);
    let seconds = flops_left(run)? * more / (speed * cost_of(info, &now.phase, now.layers));
    seconds.is_finite().then_some(seconds)
}

/// Returns the cost of the rest of the recipe if every growth takes place, in units of [`cost`].
fn flops_left(run: &RunState) -> Option<f64> {
    let (info, now) = (run.info.as_ref()?, run.core.phase.as_ref()?);
    let left =
        now.due.saturating_sub(run.core.phase_step) as f64 * cost_of(info, &now.phase, now.layers);
    let later: f64 = later(run, info, now)
        .iter()
        .map(|p| p.steps as f64 * cost_of(info, &p.phase, p.layers))
        .sum();
    Some((left + later) * info.batch_tokens as f64)
}

/// Returns the seconds per unit of [`cost`], from the last points of the training curve.
fn per_flop(run: &RunState) -> Option<f64> {
    let (info, now) = (run.info.as_ref()?, run.core.phase.as_ref()?);
    if run.core.status != Status::Running {
        return None;
    }
    // Time before the last pause or rollback does not count.
    let seq = run.live().phase_start().max(run.running_since);
    let stretches = run.live().train.stretches();
    let first = stretches.partition_point(|s| s.first.seq < seq);
    let recent = &stretches[first.max(stretches.len().saturating_sub(RECENT))..];
    let (a, b) = (recent.first()?.last, recent.last()?.last);
    let tokens = b.tokens.checked_sub(a.tokens).filter(|&t| t > 0)? as f64;
    Some((b.elapsed - a.elapsed) / (tokens * cost_of(info, &now.phase, now.layers)))
}

/// Returns the seconds that training will still wait for downstream tasks: those of the evaluation in progress, and the planned
/// ones at their latest speeds. A task without a measured speed counts only in the evaluation in progress.
fn of_tasks(run: &RunState) -> f64 {
    of_evaluation(run) + planned_tasks(run).unwrap_or(0.0)
}

/// Returns the seconds until training continues, while it waits for an evaluation on tasks.
fn of_evaluation(run: &RunState) -> f64 {
    let Some(progress) = run.tasking() else {
        return 0.0;
    };
    let current = progress.left.unwrap_or(0.0);
    let (Some(info), Some(now)) = (&run.info, &run.core.phase) else {
        return current;
    };
    // An operator may have asked for other tasks, which no event names.
    let names = info.tasks.as_ref().map_or(&[][..], |t| &t.names);
    let number = progress.number as usize;
    let is_planned = names.len() as u64 == progress.tasks
        && number.checked_sub(1).and_then(|i| names.get(i)) == Some(&progress.task);
    let rest = names.iter().skip(number).filter(|_| is_planned);
    let rest: f64 = rest
        .map(|name| task_seconds(run, info, name) * cost(info, now.layers))
        .sum();
    current + rest
}

/// Returns the seconds of the planned evaluations after the one in progress.
fn planned_tasks(run: &RunState) -> Option<f64> {
    let (info, now) = (run.info.as_ref()?, run.core.phase.as_ref()?);
    let plan = info.tasks.as_ref()?;
    let own = plan.evaluations_after(run.core.phase_step, now.due) as f64;
    // An evaluation has no teacher, so that a baseline's own cost does not count.
    let later = later(run, info, now)
        .iter()
        .map(|p| plan.evaluations_after(0, p.steps) as f64 * cost(info, p.layers))
        .sum::<f64>();
    let names = plan.names.iter();
    let speed: f64 = names.map(|name| task_seconds(run, info, name)).sum();
    Some(speed * (own * cost(info, now.layers) + later))
}

/// Returns the seconds that a task took last per unit of [`cost`]; 0 where it was not measured.
fn task_seconds(run: &RunState, info: &RunInfo, name: &str) -> f64 {
    let points = run.live().tasks.iter().rev();
    let mut of_task = points.filter(|p| p.task == name && p.refused.is_none());
    of_task
        .next()
        .map_or(0.0, |p| p.seconds / cost(info, p.layers))
}

/// Returns the seconds to the end of the present round, at which a decision is due; `None` outside rounds and without a speed.
pub fn to_decision(run: &RunState) -> Option<f64> {
    let (info, now) = (run.info.as_ref()?, run.core.phase.as_ref()?);
    if !matches!(now.phase, Phase::Round(_)) || run.core.phase_step >= now.due {
        return None;
    }
    let left = now.due - run.core.phase_step;
    let training = left as f64 * info.batch_tokens as f64 * cost_of(info, &now.phase, now.layers);
    Some(training * per_flop(run)? + of_evaluation(run))
}

/// Returns the seconds that the controls take if the present round ends with these layers; 0 without controls in the config.
pub fn of_controls(run: &RunState) -> Option<f64> {
    let (info, now) = (run.info.as_ref()?, run.core.phase.as_ref()?);
    let all = Comparison::of_run(info);
    let of = |c: &Comparison| {
        let layers = c.depth.layers(now.layers, info.n_layer);
        cost_of(info, &c.phase, layers) * c.length.steps(now.due) as f64
    };
    let flops: f64 = all.iter().map(of).sum();
    Some(flops * info.batch_tokens as f64 * per_flop(run)?)
}

/// Returns the speed of a model of `layers` layers in tokens per second, from the speed of the present model.
pub fn speed_of(run: &RunState, layers: usize) -> Option<f64> {
    let (info, now) = (run.info.as_ref()?, run.core.phase.as_ref()?);
    let speed = run.core.tokens_per_second;
    (speed > 0.0).then(|| speed * cost_of(info, &now.phase, now.layers) / cost(info, layers))
}

/// Returns the training cost of one token in relative units: blocks, attention over half a context, head.
fn cost(info: &RunInfo, layers: usize) -> f64 {
    let (d, t) = (info.n_embd as f64, info.context_length as f64);
    layers as f64 * (12.0 * d * d + d * t) + info.vocab as f64 * d
}

/// Returns the cost of one token for a phase's model: a baseline may be narrower than other models, or have a teacher.
fn cost_of(info: &RunInfo, phase: &Phase, layers: usize) -> f64 {
    let factor = match phase {
        Phase::Baseline(baseline) => {
            let mut planned = info.baselines.iter().filter(|b| b.name == baseline.name());
            let planned = planned.find(|b| b.part == baseline.part());
            let cost = planned.and_then(|b| b.cost);
            cost.filter(|c| c.is_finite() && *c > 0.0).unwrap_or(1.0)
        }
        _ => 1.0,
    };
    factor * cost(info, layers)
}

/// Returns the phases after the present one, with all growths.
fn later(run: &RunState, info: &RunInfo, now: &PhaseNow) -> Vec<Planned> {
    let is_largest = now.layers >= info.max_layers || info.grow_step == 0;
    // No event has the first round's number of layers yet; the recipe's default is half.
    let half = (info.n_layer / 2).max(1);
    let (layers, same) = match &now.phase {
        Phase::Reference => (half, info.round_steps),
        Phase::Round(_) if !is_largest => (now.layers, info.round_steps),
        // A baseline has its own layers and steps, so those of the last round, the final model, are used.
        Phase::Baseline(_) => match run.core.rounds.last() {
            Some(last) => (last.result.layers, same_steps(&run.core.rounds)),
            None => (half, info.round_steps),
        },
        // Controls train for the steps of the last round, which may have been extended.
        _ => (now.layers, now.due),
    };
    let mut phases = Recipe::of_run(info).phases(&now.phase, layers, same);
    phases.drain(..1.min(phases.len()));
    phases
}

/// Returns the steps of the rounds that made the final model: those since the last restart.
fn same_steps(rounds: &[RoundResult]) -> u64 {
    let restart = rounds.iter().rposition(|r| r.result.start != Start::Keep);
    let last = &rounds[restart.unwrap_or(0)..];
    last.iter().map(|r| r.result.steps).sum()
}

/// Formats a duration as `40 s`, `4m30s`, `3h10m`: with about two significant figures, so that it changes seldom.
pub fn words(seconds: f64) -> String {
    let coarse = match seconds {
        s if s < 60.0 => (s / 5.0).ceil() * 5.0,
        s if s < 600.0 => (s / 10.0).ceil() * 10.0,
        s => (s / 60.0).ceil() * 60.0,
    };
    crate::run::show::duration(coarse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::tests::realistic::{journal::Moment, run_at};
    use crate::run::controls::extra;

    #[test]
    fn the_last_speed_says_about_as_much_as_the_curve() {
        let run = run_at(Moment::Healthy);
        let (curve, rough) = (seconds(&run).unwrap(), rough_seconds(&run).unwrap());
        assert!((rough / curve - 1.0).abs() < 0.1, "{rough} and {curve}");
        assert_eq!(rough_seconds(&run_at(Moment::Interrupted)), None);
        assert_eq!(rough_seconds(&RunState::default()), None);
    }

    #[test]
    fn a_further_control_is_waited_for() {
        let run = run_at(Moment::Healthy);
        let (without, of_controls_without) = (seconds(&run).unwrap(), of_controls(&run).unwrap());
        let (with, of_controls_with) =
            extra::with(|| (seconds(&run).unwrap(), of_controls(&run).unwrap()));
        assert!(with > without && of_controls_with > of_controls_without);
    }
}
