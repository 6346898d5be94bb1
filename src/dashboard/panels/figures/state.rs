//! Figures of the run's state and progress.

use super::{Figure, Figures};
use crate::dashboard::replay::speed_words;
use crate::dashboard::scene::Scene;
use crate::dashboard::widgets::thousands;
use crate::dashboard::{eta, when};
use crate::run::state::Status;
use crate::run::table;

/// Returns the figures of the header's first line: the run, its state and its progress.
pub fn of_state(scene: &Scene<'_>) -> Vec<Figure> {
    let (run, theme) = (scene.run, scene.theme);
    let core = &run.core;
    let mut all = Figures(scene, Vec::new());
    all.push("", 9, "heirloom", theme.title);
    all.push("run", 0, scene.title, theme.title);
    let (word, style) = match core.status {
        Status::Empty => ("WAITING", theme.dim),
        Status::Running if run.tasking().is_some() => ("● EVAL", theme.warning),
        Status::Running => ("● TRAIN", theme.good),
        Status::Paused => ("PAUSED", theme.warning),
        Status::Interrupted if run.is_crashed() => ("CRASHED", theme.warning),
        Status::Interrupted => ("STOPPED", theme.warning),
        Status::Done => ("DONE", theme.good),
        Status::Failed => ("FAILED", theme.warning),
    };
    match &scene.facts.replay {
        None => all.push("state", 0, word, style),
        Some(playing) => {
            let speed = format!("REPLAY {}", speed_words(playing.speed));
            all.push("state", 0, &speed, theme.selected);
            // Running is the expected state of a replayed run; any other state is shown in the past tense.
            if core.status != Status::Running {
                all.plain("state then", 0, &format!("was {}", core.status));
            }
        }
    }
    // States that change the meaning of all other figures come first, because later figures may not fit.
    if let Some(share) = scene.facts.loading {
        let text = format!("LOADING {:.0}%", (100.0 * share).floor());
        all.push("loading", 0, &text, theme.warning);
    }
    if scene.frozen {
        all.push("display", 0, "FROZEN", theme.warning);
        if scene.status != core.status {
            let now = format!("now {}", scene.status);
            all.push("state now", 0, &now, theme.warning);
        }
    }
    match &scene.facts.controller {
        Some(other) => all.push("control", 1, &format!("control: {other}"), theme.warning),
        None if scene.facts.replay.is_some() || scene.over() => {}
        None if scene.facts.read_only => all.push("control", 2, "read only", theme.dim),
        None => all.push("control", 6, "control: you", theme.dim),
    }
    if let Some(world) = run.world() {
        all.plain("", 4, &format!("{world} ranks"));
    }
    if let Some(progress) = run.tasking() {
        let left = match progress.left {
            Some(left) => format!(", {} left", eta::words(left)),
            None => String::new(),
        };
        let text = format!("tasks: {}{left}", progress.words());
        all.push("tasks", 1, &text, theme.warning);
    }
    let Some(now) = &core.phase else {
        return all.1;
    };
    let layers = format!(
        "{} · {}",
        table::phase_name(&now.phase),
        table::plural(now.layers, "layer")
    );
    all.plain("phase", 1, &layers);
    let step = format!("step {}/{}", thousands(core.phase_step), thousands(now.due));
    all.plain("step", 0, &step);
    let share = core.phase_step as f64 / now.due.max(1) as f64;
    let percent = format!("{:.0} %", (100.0 * share).floor());
    all.plain("of the phase", 5, &percent);
    all.push("", 7, &bar(scene, share), theme.dim);
    if scene.facts.replay.is_none() {
        all.1.extend(times(scene));
    }
    all.1
}

/// Returns a progress bar of forty columns.
fn bar(scene: &Scene<'_>, share: f64) -> String {
    const WIDTH: usize = 40;
    let full = (share.clamp(0.0, 1.0) * WIDTH as f64) as usize;
    let (on, off) = match scene.is_ascii() {
        true => ("#", "."),
        false => ("█", "░"),
    };
    on.repeat(full) + &off.repeat(WIDTH - full)
}

/// Returns the times of the next decision and of the run's end.
fn times(scene: &Scene<'_>) -> Vec<Figure> {
    let (run, theme) = (scene.run, scene.theme);
    let mut all = Figures(scene, Vec::new());
    if run.core.decision.is_some() && !scene.over() {
        all.push("decision", 2, "decision open: D", theme.warning);
    } else if let Some(left) = eta::to_decision(run) {
        let text = format!("decision in {}", eta::words(left));
        all.plain("decision", 2, &text);
    }
    if let Some(left) = eta::seconds(run) {
        // If an operator decides, rounds may last longer than planned.
        let bound = match &run.info {
            Some(info) if info.policy == "auto" => "≤",
            _ => "~",
        };
        let at = when::at(scene.now(), left, scene.zone).unwrap_or_default();
        let text = format!("done in {bound}{}, {at}", eta::words(left));
        all.plain("recipe", 3, &text);
    }
    all.1
}
