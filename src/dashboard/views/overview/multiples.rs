//! Small series next to the heat map: what explains the loss.

use ratatui::Frame;
use ratatui::layout::Rect;

use super::extent::View;
use crate::dashboard::widgets::heatmap::{Part, columns};
use crate::dashboard::widgets::spark::{self, Spark};
use crate::run::series::pyramid::Series;
use crate::run::state::{GAP, GPU_PERCENT, GRAD_NORM, LR, TOKENS_PER_SECOND};
use crate::run::table;

/// Columns of the figures.
const FIGURES: u16 = 22;

/// One of them.
struct Kind {
    label: &'static str,
    of_val: bool,
    column: usize,
    /// From the series' value to the one shown.
    value: fn(f64, f64) -> f64,
    words: fn(f64) -> String,
    note: Note,
}

/// The figure besides the last value.
enum Note {
    Least,
    Greatest,
}

/// How many there are at most.
pub const SERIES: usize = KINDS.len();

/// A series of the training events, shown as it is.
const fn kind(label: &'static str, column: usize, note: Note, words: fn(f64) -> String) -> Kind {
    Kind {
        label,
        of_val: false,
        column,
        value: |v, _| v,
        words,
        note,
    }
}

const KINDS: [Kind; 6] = [
    Kind {
        of_val: true,
        ..kind("gap", GAP, Note::Least, |v| format!("{v:+.4}"))
    },
    kind("lr", LR, Note::Greatest, |v| format!("{v:.2e}")),
    kind("grad", GRAD_NORM, Note::Greatest, |v| format!("{v:.2}")),
    kind("tok/s", TOKENS_PER_SECOND, Note::Least, |v| {
        table::count(v.max(0.0) as u64)
    }),
    kind("GPU %", GPU_PERCENT, Note::Least, |v| format!("{v:.0}")),
    Kind {
        value: |v, batch| 1000.0 * batch / v,
        ..kind("step ms", TOKENS_PER_SECOND, Note::Greatest, |v| {
            format!("{v:.0}")
        })
    },
];

/// How many there are.
pub fn count(view: &View<'_>) -> usize {
    KINDS.iter().filter(|k| exists(view, k)).count()
}

fn series<'a>(view: &View<'a>, kind: &Kind) -> &'a Series {
    let live = view.scene.run.live();
    if kind.of_val { &live.val } else { &live.train }
}

fn exists(view: &View<'_>, kind: &Kind) -> bool {
    let series = series(view, kind);
    let shown = series.column(kind.column).get(view.parts.range(series));
    // The first finite value is enough.
    shown.is_some_and(|spans| spans.iter().any(|s| s.low <= s.high))
}

/// Draws the panel.
pub fn draw(frame: &mut Frame<'_>, view: &View<'_>, area: Rect) {
    let scene = view.scene;
    let block = scene.panel(scene.text(" also measured · [ ] enlarges "));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let wide = inside.width.saturating_sub(spark::LABEL + FIGURES);
    let sparks: Vec<Spark> = KINDS
        .iter()
        .filter(|k| exists(view, k))
        .map(|k| one(view, k, usize::from(wide)))
        .collect();
    spark::draw(
        frame.buffer_mut(),
        inside,
        &sparks,
        scene.ui.chart.multiple.filter(|&i| i < sparks.len()),
        scene.theme,
        scene.glyphs,
    );
}

fn one(view: &View<'_>, kind: &Kind, wide: usize) -> Spark {
    let run = view.scene.run;
    let batch = run.info.as_ref().map_or(0, |i| i.batch_tokens) as f64;
    let series = series(view, kind);
    let axis = view.window.axis;
    let zero = view.parts.zero(axis);
    let part = Part {
        series,
        range: view.parts.range(series),
        origin: zero,
        until: view.now(),
    };
    let shown = |v: f64| (kind.value)(v, batch);
    let values = columns(&part, kind.column, &view.window, wide);
    let buckets = view.window.buckets(series, &part.range, zero);
    let last = series.column(kind.column)[..buckets.end]
        .iter()
        .rev()
        .find(|s| s.is_finite());
    let words = |v: f64| (kind.words)(shown(v));
    let note = match series.range(kind.column, buckets.start, buckets.end) {
        Some((a, b)) => {
            let (low, high) = (shown(a).min(shown(b)), shown(a).max(shown(b)));
            match kind.note {
                Note::Least => format!("min {}", (kind.words)(low)),
                Note::Greatest => format!("max {}", (kind.words)(high)),
            }
        }
        None => String::new(),
    };
    Spark {
        label: kind.label.into(),
        values: values.into_iter().map(shown).collect(),
        last: last.map_or("-".into(), |s| words(s.value())),
        note,
    }
}
