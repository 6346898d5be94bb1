//! Shows the evidence of a decision: the last evidence with its age, the cost of each choice, the rounds so far, and the checkpoints
//! for a rollback. It is also shown after the decision, and when the run is over.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::measured::measured;
use crate::dashboard::costs::{Choice, Cost, layers_left};
use crate::dashboard::scene::Scene;
use crate::dashboard::when;
use crate::dashboard::widgets::thousands;
use crate::run::event::{Evidence, Suggestion};
use crate::run::show::duration;
use crate::run::state::OpenDecision;
use crate::run::{losses, table};

/// Most checkpoints, and most rounds, that are shown.
const MOST: usize = 6;
/// Most controls and baselines in a table.
const MOST_COMPARED: usize = 16;

/// Returns the evidence in lines of at most `width` columns.
pub fn lines(scene: &Scene<'_>, width: u16) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(last) = &scene.run.core.last_decision {
        lines.extend(head(scene, last));
        lines.extend(measured(scene, &last.evidence, None, usize::from(width)));
        let rules = last.evidence.rules.iter().map(|rule| scene.text(rule));
        lines.extend(rules.map(|rule| Line::styled(rule, scene.theme.dim)));
        lines.push(Line::default());
        lines.extend(choices(scene, &last.evidence));
    }
    for part in [rounds(scene), rollback_points(scene, width)] {
        if !part.is_empty() {
            lines.push(Line::default());
            lines.extend(part);
        }
    }
    lines
}

/// Returns the step of the evidence, and whether a newer evaluation exists.
pub fn age(scene: &Scene<'_>, decision: &OpenDecision) -> (String, Style) {
    let run = scene.run;
    let step = thousands(decision.phase_step);
    let of = format!("evidence of round {} step {step}", decision.evidence.round);
    let old = thousands(decision.age(run.core.step));
    let newer = run.core.eval.is_some_and(|e| e.step > decision.step);
    let open = run.core.decision.is_some() && !scene.facts.read_only;
    match (newer, old.as_str()) {
        (true, _) if open => (
            format!("{of}, {old} steps old; D gathers newer"),
            scene.theme.warning,
        ),
        (true, _) => (format!("{of}, {old} steps old"), scene.theme.warning),
        (false, "0") => (format!("{of} (now)"), scene.theme.dim),
        (false, _) => (
            format!("{of}, {old} steps old, no newer evaluation"),
            scene.theme.dim,
        ),
    }
}

fn head(scene: &Scene<'_>, decision: &OpenDecision) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let mut lines = Vec::new();
    if scene.run.core.decision.is_some() {
        let (call, style) = suggestion(scene, &decision.evidence);
        let key = if scene.facts.read_only { "" } else { "  [D]" };
        lines.push(Line::from(vec![
            Span::styled(scene.text(call), style),
            Span::styled(key, theme.key),
        ]));
    }
    let (words, style) = age(scene, decision);
    let why = scene.text(&decision.evidence.why);
    lines.push(Line::styled(why, theme.plain));
    lines.push(Line::styled(scene.text(&words), style));
    lines.push(Line::default());
    lines
}

/// Returns the suggestion, in capitals.
pub fn suggestion(scene: &Scene<'_>, e: &Evidence) -> (&'static str, Style) {
    match e.suggestion {
        Suggestion::Grow => ("▶ GROW SUGGESTED", scene.theme.warning),
        Suggestion::Stop => ("▶ STOP SUGGESTED", scene.theme.good),
        Suggestion::TrainOn => ("▶ TRAIN ON SUGGESTED", scene.theme.plain),
        Suggestion::Rollback => ("▶ ROLLBACK SUGGESTED", scene.theme.warning),
        Suggestion::InsufficientData => ("▶ INSUFFICIENT DATA", scene.theme.warning),
    }
}

/// Returns a line per choice: layers, parameters, memory, tokens per second, duration, end.
fn choices(scene: &Scene<'_>, e: &Evidence) -> Vec<Line<'static>> {
    let steps = scene.run.info.as_ref();
    let steps = steps.map_or(1, |i| (i.round_steps / 2).max(1));
    let titles = [
        "if you ...",
        "layers",
        "params",
        "memory",
        "tok/s",
        "takes",
        "until",
    ];
    let mut rows = vec![titles.map(Into::into)];
    let add = e.growth.as_ref().map_or(0, |g| g.add);
    let add = add.min(layers_left(scene.run));
    if add > 0 {
        rows.push(row(scene, &format!("grow {add}"), e, Choice::Grow(add)));
    }
    let name = format!("train on {}", thousands(steps));
    rows.push(row(scene, &name, e, Choice::TrainOn(steps)));
    rows.push(row(scene, "stop", e, Choice::Stop));
    aligned(scene, &rows)
}

/// Returns the cells of a choice with its cost.
pub fn row(scene: &Scene<'_>, name: &str, e: &Evidence, choice: Choice) -> [String; 7] {
    let cost = Cost::of(scene.run, Some(e), choice);
    let end = end(scene, &cost).unwrap_or_else(|| "-".into());
    let [layers, parameters, bytes, speed, takes] = cost.cells();
    [name.into(), layers, parameters, bytes, speed, takes, end]
}

/// Returns the time of day at which a choice would be over.
pub fn end(scene: &Scene<'_>, cost: &Cost) -> Option<String> {
    let seconds = cost.seconds.filter(|&s| s > 0.0)?;
    when::at(scene.now(), seconds, scene.zone)
}

/// Aligns rows in columns; the first row has the titles.
fn aligned<const N: usize>(scene: &Scene<'_>, rows: &[[String; N]]) -> Vec<Line<'static>> {
    // Converted to the shown characters first, because these determine the widths.
    let shown = |row: &[String; N]| std::array::from_fn(|i| scene.text(&row[i]));
    let rows: Vec<[String; N]> = rows.iter().map(shown).collect();
    let text = table::aligned(&rows, &[0]);
    let line = |(i, line): (usize, &str)| {
        let style = match i {
            0 => scene.theme.dim,
            _ => scene.theme.plain,
        };
        Line::styled(line.to_string(), style)
    };
    text.lines().enumerate().map(line).collect()
}

/// Returns the finished reference, rounds, controls and baselines: layers, loss, gap, lazy layers, duration.
fn rounds(scene: &Scene<'_>) -> Vec<Line<'static>> {
    let core = &scene.run.core;
    let titles = ["so far", "layers", "val", "gap", "lazy", "takes"];
    let mut rows = vec![titles.map(Into::into)];
    let reference = core.reference.iter().map(|r| ("reference".to_string(), r));
    let skipped = core.rounds.len().saturating_sub(MOST);
    let rounds = core.rounds.iter().skip(skipped);
    let rounds = rounds.map(|r| (format!("round {}", r.round), &r.result));
    let compared: Vec<_> = table::compared(core).collect();
    let gone = compared.len().saturating_sub(MOST_COMPARED);
    let compared = compared.into_iter().skip(gone);
    let compared = compared.map(|c| (scene.text(&c.short), c.result));
    for (name, r) in reference.chain(rounds).chain(compared) {
        let speed = r.tokens_per_second_wall;
        let takes = match speed.is_finite() && speed > 0.0 {
            true => duration(r.tokens as f64 / speed),
            false => "-".into(),
        };
        let gap = match r.gap {
            Some(_) => losses::gap_words(r.gap, r.gap_stderr),
            None => "-".into(),
        };
        rows.push([
            name,
            r.layers.to_string(),
            format!("{:.4}", r.val_loss),
            gap,
            format!("{}/{}", r.lazy_layers.len(), r.layers),
            takes,
        ]);
    }
    match rows.len() {
        1 => Vec::new(),
        _ => aligned(scene, &rows),
    }
}

/// Returns the latest checkpoints, which a rollback can name.
fn rollback_points(scene: &Scene<'_>, width: u16) -> Vec<Line<'static>> {
    let checkpoints = &scene.run.checkpoints;
    let titles = ["rollback points", "val", "age", "size", "why"];
    let mut rows = vec![titles.map(Into::into)];
    for c in checkpoints.iter().rev().take(MOST) {
        rows.push([
            scene.text(&c.name),
            c.val_loss.map_or("-".into(), |v| format!("{v:.4}")),
            when::ago((scene.now() - c.t) as f64 / 1000.0),
            table::bytes(c.bytes),
            scene.text(&c.reason),
        ]);
    }
    if rows.len() == 1 {
        return Vec::new();
    }
    let mut lines = aligned(scene, &rows);
    lines.retain(|l| l.width() <= usize::from(width.max(20)));
    lines
}
