//! The table of downstream tasks: the latest value of each metric for each model, with its standard error, next to the value of
//! guessing.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::panel::{inside, room};
use super::trend::trend;
use crate::dashboard::layers::scroll::{INDENT, note_more, wrap};
use crate::dashboard::scene::Scene;
use crate::run::event::{Phase, TaskMetric};
use crate::run::state::{TaskRow, TaskTable, documents, metric_words, result_words};
use crate::run::table;
use crate::text;

const TITLE: &str = " tasks · value ± standard error; each model's latest ";

/// Columns of a task's name and metric, of chance, and of a model.
const NAME: usize = 24;
const CHANCE: usize = 7;
const MODEL: usize = 15;
/// Columns of a trend, least and most.
const TREND: (usize, usize) = (6, 24);

/// The widths of the table's columns.
struct Columns {
    name: usize,
    /// Indices of the models that are shown.
    shown: Vec<usize>,
    trend: usize,
}

/// Draws a heading and, scrollable below it, a line for each metric of each task; without results, advice on how to get them.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let (width, rows) = (inside(area.width), room(area));
    let found = scene.run.task_table();
    let mut lines = progress(scene);
    let body = match found.rows.is_empty() {
        true => refusals(scene, width)
            .into_iter()
            .chain(advice(scene, width))
            .collect(),
        false => {
            let columns = Columns::of(&found, width);
            lines.push(heading(scene, &found, &columns, width));
            body(scene, &found, &columns, width)
        }
    };
    lines.truncate(rows.saturating_sub(1));
    let (shown, more) = scene.ui.tasks.visible(body, rows - lines.len().min(rows));
    lines.extend(shown);
    let block = scene.panel(scene.text(TITLE));
    frame.render_widget(Paragraph::new(lines).block(block), area);
    if more {
        note_more(frame, scene, area);
    }
}

/// Returns the metrics of all tasks; below a task's metrics, the number of documents of each model where these numbers differ.
fn body(
    scene: &Scene<'_>,
    found: &TaskTable<'_>,
    columns: &Columns,
    width: usize,
) -> Vec<Line<'static>> {
    let mut lines = refusals(scene, width);
    for of_task in found.tasks() {
        lines.extend(of_task.iter().map(|row| line(scene, row, columns)));
        if let Some(all) = documents(&of_task[0]) {
            lines.push(counts(scene, &all, columns));
        }
    }
    lines
}

/// Returns the reasons for which tasks were not measured.
fn refusals(scene: &Scene<'_>, width: usize) -> Vec<Line<'static>> {
    let refused = scene.run.refused_tasks().into_iter();
    let line = |words: String| Line::styled(scene.text(&words), scene.theme.warning);
    refused
        .map(|point| {
            let model = model_name(&point.phase);
            line(format!(" {} ({model})", result_words(&point.result)))
        })
        .flat_map(|line| wrap(line, width, INDENT))
        .collect()
}

/// Returns the progress of the evaluation, while one is in progress.
fn progress(scene: &Scene<'_>) -> Vec<Line<'static>> {
    let Some(progress) = scene.run.tasking() else {
        return Vec::new();
    };
    let text = format!(" evaluating on {}; training waits", progress.words());
    vec![Line::styled(scene.text(&text), scene.theme.warning)]
}

/// Returns advice on how to get results, wrapped to the width.
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

impl Columns {
    fn of(found: &TaskTable<'_>, width: usize) -> Self {
        let name = NAME.min(width / 3);
        let left = width.saturating_sub(1 + name + CHANCE);
        let shown = shown(found.models.len(), (left / MODEL).max(1));
        let trend = left.saturating_sub(shown.len() * MODEL + 1).min(TREND.1);
        Self { name, shown, trend }
    }

    fn has_trend(&self) -> bool {
        self.trend >= TREND.0
    }
}

/// Returns which of `all` models are shown in `fitting` columns: the first one, which is the reference if it was measured, and
/// the latest ones.
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
    columns: &Columns,
    width: usize,
) -> Line<'static> {
    let name = scene.glyphs.fit("task", columns.name);
    let mut text = format!(" {name}{:>CHANCE$}", "chance");
    for &i in &columns.shown {
        text.push_str(&right(scene, &model_name(found.models[i]), MODEL));
    }
    if columns.has_trend() {
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

fn line(scene: &Scene<'_>, row: &TaskRow<'_>, columns: &Columns) -> Line<'static> {
    let theme = scene.theme;
    let task = scene.text(&format!("{} {}", row.task, row.metric));
    let chance = row.chance.map_or("-".into(), |c| format!("{c:.2}"));
    let name = scene.glyphs.fit(&task, columns.name);
    let mut spans = vec![
        Span::styled(format!(" {name}"), theme.plain),
        Span::styled(format!("{chance:>CHANCE$}"), theme.dim),
    ];
    for &i in &columns.shown {
        let cell = row.cells[i];
        let words = cell.map_or("-".into(), metric_words);
        let style = match cell.is_some_and(|m| is_at_chance(m, row.chance)) {
            true => theme.dim,
            false => theme.plain,
        };
        spans.push(Span::styled(right(scene, &words, MODEL), style));
    }
    if columns.has_trend() {
        let values = scene.run.task_trend(row.task, row.metric);
        let bars = trend(&values, columns.trend, scene.glyphs);
        spans.push(Span::styled(format!(" {bars}"), theme.val));
    }
    Line::from(spans)
}

/// Returns the number of documents behind each model's values.
fn counts(scene: &Scene<'_>, all: &[Option<u64>], columns: &Columns) -> Line<'static> {
    let name = scene.glyphs.fit("  documents", columns.name);
    let mut text = format!(" {name}{:CHANCE$}", "");
    for &i in &columns.shown {
        let n = all[i].map_or("-".into(), |n| table::count(n).to_string());
        text.push_str(&right(scene, &n, MODEL));
    }
    Line::styled(text, scene.theme.warning)
}

/// Whether a value is within two standard errors of that of guessing.
fn is_at_chance(metric: &TaskMetric, chance: Option<f64>) -> bool {
    let error = metric.stderr.unwrap_or(0.0);
    chance.is_some_and(|chance| (metric.value - chance).abs() <= 2.0 * error)
}

/// Aligns a text to the right in `columns` columns, with a blank before it.
fn right(scene: &Scene<'_>, words: &str, columns: usize) -> String {
    let words = scene.text(words);
    let fits = match text::width(&words) < columns {
        true => words,
        false => scene.glyphs.fit(&words, columns - 1),
    };
    " ".repeat(columns - text::width(&fits)) + &fits
}
