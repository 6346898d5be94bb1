//! Tasks by model: the latest value of each metric with its standard error, next to chance.

use ratatui::text::{Line, Span};

use super::trend::trend;
use crate::dashboard::scene::Scene;
use crate::run::event::{Phase, TaskMetric};
use crate::run::state::{TaskRow, TaskTable, metric_words};
use crate::run::table;
use crate::text;

pub const TITLE: &str = " tasks · value ± standard error; each model's latest ";

/// Columns of a task's name and metric, of chance, and of a model.
const NAME: usize = 24;
const CHANCE: usize = 7;
const MODEL: usize = 15;
/// Columns of a trend, least and most.
const TREND: (usize, usize) = (6, 24);

/// A heading and a line a metric of each task, in `rows`; where nothing was measured, how results are had.
pub fn lines(scene: &Scene<'_>, width: usize, rows: usize) -> Vec<Line<'static>> {
    let found = scene.run.task_table();
    let mut lines = progress(scene);
    if found.models.is_empty() {
        lines.extend(advice(scene, width));
        return lines;
    }
    let name = NAME.min(width / 3);
    let left = width.saturating_sub(1 + name + CHANCE);
    let fitting = (left / MODEL).max(1);
    let shown = shown(found.models.len(), fitting);
    let bars = left.saturating_sub(shown.len() * MODEL + 1).min(TREND.1);
    lines.push(heading(scene, &found, &shown, name, bars, width));
    let room = rows.saturating_sub(lines.len());
    let all = &found.rows;
    // Where not all fit, each task's first metric alone.
    let firsts: Vec<&TaskRow<'_>> = match all.len() > room {
        true => {
            let is_first = |i: usize| i == 0 || all[i - 1].task != all[i].task;
            (0..all.len())
                .filter(|&i| is_first(i))
                .map(|i| &all[i])
                .collect()
        }
        false => all.iter().collect(),
    };
    let hidden = firsts.len().saturating_sub(room);
    let kept = if hidden > 0 {
        room.saturating_sub(1)
    } else {
        firsts.len()
    };
    for row in firsts.iter().take(kept) {
        lines.push(line(scene, row, &shown, name, bars));
    }
    if hidden > 0 {
        let text = format!(
            " and {} more: a higher screen, or heirloom show",
            hidden + 1
        );
        lines.push(Line::styled(
            scene.glyphs.fit(&text, width),
            scene.theme.dim,
        ));
    }
    lines
}

/// How far an evaluation is, while one is in progress.
fn progress(scene: &Scene<'_>) -> Vec<Line<'static>> {
    let Some(progress) = scene.run.tasking() else {
        return Vec::new();
    };
    let text = format!(" evaluating on {}; training waits", progress.words());
    vec![Line::styled(scene.text(&text), scene.theme.warning)]
}

/// What to do for results, in as many lines as the width needs.
fn advice(scene: &Scene<'_>, width: usize) -> Vec<Line<'static>> {
    let texts = [
        "no downstream task has been measured",
        "now:              : eval piqa,sciq limit 200",
        "at phase ends:    eval.tasks = [\"piqa\", \"sciq\"] in config.toml",
        "files:            eval.data, or HEIRLOOM_DATA, is their directory",
        "of a checkpoint:  heirloom eval RUN --tasks piqa --data DIR",
        "texts:            : sample \"Once upon a time\"",
    ];
    let line = |text: &str| {
        let text = scene.glyphs.fit(&scene.text(&format!(" {text}")), width);
        Line::styled(text.trim_end().to_string(), scene.theme.dim)
    };
    texts.into_iter().map(line).collect()
}

/// Which of `all` models are shown in `fitting` columns: the first, which is the reference where it was measured, and the
/// latest.
fn shown(all: usize, fitting: usize) -> Vec<usize> {
    match all <= fitting {
        true => (0..all).collect(),
        false if fitting < 2 => vec![all - 1],
        false => std::iter::once(0).chain(all + 1 - fitting..all).collect(),
    }
}

fn heading(
    scene: &Scene<'_>,
    found: &TaskTable<'_>,
    shown: &[usize],
    name: usize,
    bars: usize,
    width: usize,
) -> Line<'static> {
    let mut text = format!(" {}{:>CHANCE$}", scene.glyphs.fit("task", name), "chance");
    for &i in shown {
        text.push_str(&right(scene, &model_name(found.models[i]), MODEL));
    }
    if bars >= TREND.0 {
        text.push_str(" trend");
    }
    Line::styled(scene.glyphs.fit(&text, width), scene.theme.title)
}

fn model_name(phase: &Phase) -> String {
    match phase {
        Phase::Control(control) => control.short.to_string(),
        Phase::Baseline(baseline) => baseline.short(),
        phase => table::phase_name(phase),
    }
}

fn line(
    scene: &Scene<'_>,
    row: &TaskRow<'_>,
    shown: &[usize],
    name: usize,
    bars: usize,
) -> Line<'static> {
    let theme = scene.theme;
    let task = scene.text(&format!("{} {}", row.task, row.metric));
    let chance = row.chance.map_or("-".into(), |c| format!("{c:.2}"));
    let mut spans = vec![
        Span::styled(format!(" {}", scene.glyphs.fit(&task, name)), theme.plain),
        Span::styled(format!("{chance:>CHANCE$}"), theme.dim),
    ];
    for &i in shown {
        let cell = row.cells[i];
        let words = cell.map_or("-".into(), metric_words);
        let style = match cell.is_some_and(|m| is_at_chance(m, row.chance)) {
            true => theme.dim,
            false => theme.plain,
        };
        spans.push(Span::styled(right(scene, &words, MODEL), style));
    }
    if bars >= TREND.0 {
        let values = scene.run.task_trend(row.task, row.metric);
        let bars = trend(&values, bars, scene.glyphs);
        spans.push(Span::styled(format!(" {bars}"), theme.val));
    }
    Line::from(spans)
}

/// Whether a value is within two standard errors of guessing.
fn is_at_chance(metric: &TaskMetric, chance: Option<f64>) -> bool {
    let error = metric.stderr.unwrap_or(0.0);
    chance.is_some_and(|chance| (metric.value - chance).abs() <= 2.0 * error)
}

/// A text at the right end of so many columns, a blank before it.
fn right(scene: &Scene<'_>, words: &str, columns: usize) -> String {
    let words = scene.text(words);
    let fits = match text::width(&words) < columns {
        true => words,
        false => scene.glyphs.fit(&words, columns - 1),
    };
    " ".repeat(columns - text::width(&fits)) + &fits
}
