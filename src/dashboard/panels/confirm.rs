//! Lists the consequences of a command for its confirmation.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::evidence;
use crate::dashboard::costs::{Choice, Cost};
use crate::dashboard::rollback_points;
use crate::dashboard::scene::Scene;
use crate::dashboard::widgets::thousands;
use crate::dashboard::{eta, when};
use crate::run::command::{Command, GrowMode};
use crate::run::event::{Evidence, Phase, Prospect};
use crate::run::order::Comparison;
use crate::run::show::duration;
use crate::run::{losses, table};

/// Returns the question, the consequences, and the keys that answer.
pub fn lines(scene: &Scene<'_>, command: &Command) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let (question, details) = words(scene, command);
    let line = |text: String, style: Style| Line::styled(scene.text(&text), style);
    let mut lines = vec![line(question, theme.title)];
    lines.extend(details.into_iter().map(|text| line(text, theme.plain)));
    lines.push(Line::from(vec![
        Span::styled("Enter", theme.key),
        Span::raw(" confirm   "),
        Span::styled("Esc", theme.key),
        Span::raw(" cancel"),
    ]));
    lines
}

/// Returns the question, and the consequences as separate facts.
pub fn words(scene: &Scene<'_>, command: &Command) -> (String, Vec<String>) {
    match command {
        Command::Grow { layers, mode, .. } => grow(scene, *layers, *mode),
        Command::TrainOn { steps, .. } => train_on(scene, *steps),
        Command::Stop { .. } => stop(scene),
        Command::Rollback { checkpoint } => rollback_points::words(scene, checkpoint),
        Command::Quit => (
            "Stop after a checkpoint?".into(),
            vec![format!(
                "resume: heirloom train --resume {}",
                scene.facts.argument
            )],
        ),
        other => (format!("{}?", other.describe()), Vec::new()),
    }
}

/// Returns the evidence of the open decision, else of the last one.
fn known<'a>(scene: &'a Scene<'_>) -> Option<&'a Evidence> {
    let core = &scene.run.core;
    let decision = core.decision.as_ref().or(core.last_decision.as_ref());
    decision.map(|d| &d.evidence)
}

/// Formats `300 steps, ~12m40s, until Thu 14:10`.
fn span(scene: &Scene<'_>, steps: u64, cost: &Cost) -> String {
    let mut text = format!("{} steps", thousands(steps));
    let [.., takes] = cost.cells();
    if takes != "-" {
        text.push_str(&format!(", {takes}"));
    }
    if let Some(end) = evidence::end(scene, cost) {
        text.push_str(&format!(", until {end}"));
    }
    text
}

/// Returns the expected result of a choice, or why it is not known.
fn forecast(scene: &Scene<'_>, prospect: Prospect) -> Option<String> {
    let forecast = scene.run.prospect(prospect)?;
    Some(match forecast.final_loss {
        Some(_) => format!("forecast: {}", forecast.words()),
        None => format!("forecast: {}", forecast.why),
    })
}

fn grow(scene: &Scene<'_>, layers: usize, mode: Option<GrowMode>) -> (String, Vec<String>) {
    let run = scene.run;
    let info = run.info.as_ref();
    let mode = mode.unwrap_or_else(|| info.map_or(GrowMode::Restart, |i| i.grow_mode));
    let plural = if layers == 1 { "" } else { "s" };
    let question = format!("Grow by {layers} layer{plural} ({mode})?");
    let e = known(scene);
    let cost = Cost::of(run, e, Choice::Grow(layers));
    let mut model = format!("{} → {} layers", cost.layers.0, cost.layers.1);
    let mut all = e.into_iter().flat_map(|e| e.costs.iter().chain(&e.growth));
    if let Some(known) = all.find(|c| c.layers == cost.layers.1 && c.add == layers) {
        let sources: Vec<String> = known.source_layers.iter().map(usize::to_string).collect();
        let copies = info.is_some_and(|i| i.grow_source.copies());
        let of = if copies {
            "copies of reference"
        } else {
            "reference"
        };
        model.push_str(&format!(" ({of} {})", sources.join(", ")));
    }
    let [_, parameters, bytes, speed, _] = cost.cells();
    for (value, unit) in [(parameters, " parameters"), (bytes, ""), (speed, " tok/s")] {
        if value != "-" {
            model.push_str(&format!(", {value}{unit}"));
        }
    }
    let how = match mode {
        GrowMode::Restart => {
            "restart: all layers fresh from the reference, new optimizer and schedule"
        }
        GrowMode::Keep => "keep: trained layers and their optimizer state stay",
    };
    let round = match run.core.phase.as_ref().map(|p| &p.phase) {
        Some(Phase::Round(n)) => *n,
        _ => 0,
    };
    let steps = info.map_or(0, |i| i.round_steps);
    let mut details = vec![
        model,
        format!("round {}: {}", round + 1, span(scene, steps, &cost)),
    ];
    details.extend(forecast(scene, Prospect::Grow { layers }));
    details.push(how.into());
    details.push(format!(
        "first a verified checkpoint, pre-grow-{round}, to roll back to"
    ));
    (question, details)
}

fn train_on(scene: &Scene<'_>, steps: u64) -> (String, Vec<String>) {
    let cost = Cost::of(scene.run, known(scene), Choice::TrainOn(steps));
    let due = scene.run.core.phase_step.saturating_add(steps);
    let mut details = vec![format!(
        "{}, {}",
        table::plural(cost.layers.0, "layer"),
        span(scene, steps, &cost)
    )];
    details.extend(forecast(scene, Prospect::TrainOn { steps }));
    details.push(format!(
        "next decision at step {} of the round",
        thousands(due)
    ));
    (format!("Train on for {} steps?", thousands(steps)), details)
}

fn stop(scene: &Scene<'_>) -> (String, Vec<String>) {
    let run = scene.run;
    let mut result = match &run.core.phase {
        Some(now) => format!(
            "this model of {} is the result",
            table::plural(now.layers, "layer")
        ),
        None => "the present model is the result".into(),
    };
    if let Some(eval) = run.evals_of_phase().last() {
        result.push_str(&format!(
            ": val {}",
            losses::loss_words(eval.val_loss(), f64::NAN)
        ));
        if eval.gap.is_some() {
            let gap = losses::gap_words(eval.gap, eval.gap_stderr);
            result.push_str(&format!(", gap {gap}"));
        }
    }
    let all = run.info.as_ref().map_or(Vec::new(), Comparison::of_run);
    let name = |c: &Comparison| match &c.phase {
        Phase::Control(control) => Some(control.name.to_string()),
        _ => None,
    };
    let mut controls: Vec<String> = all.iter().filter_map(name).collect();
    let baselines = all.len() - controls.len();
    if baselines > 0 {
        controls.push(table::plural(baselines, "baseline phase"));
    }
    let after = match controls.is_empty() {
        true => "the run ends".to_string(),
        false => {
            let mut text = format!("the configured controls follow: {}", controls.join(", "));
            if let Some(seconds) = eta::of_controls(run).filter(|&s| s > 0.0) {
                text.push_str(&format!(", {}", duration(seconds)));
                if let Some(end) = when::at(scene.now(), seconds, scene.zone) {
                    text.push_str(&format!(", until {end}"));
                }
            }
            text
        }
    };
    ("Stop growing?".into(), vec![result, after])
}
