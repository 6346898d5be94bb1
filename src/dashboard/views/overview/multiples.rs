//! Small series that explain the loss, next to the heat map, or in place of the chart if both do not fit.

use std::ops::Range;

use ratatui::Frame;
use ratatui::layout::Rect;

use super::extent::View;
use crate::dashboard::widgets::heatmap::{Part, columns};
use crate::dashboard::widgets::spark::{self, Spark};
use crate::run::series::pyramid::Series;
use crate::run::state::{
    CLIP_RATE, EXCHANGE, GAP, GPU_PERCENT, GRAD_NORM, LOSS, LR, MEAN_WAIT, MOMENTUM_NORM,
    PARAM_NORM, RunState, TOKENS_PER_SECOND,
};
use crate::run::table;

/// Columns of both figures side by side, and stacked.
const FIGURES: u16 = 22;
const FIGURE: u16 = 13;
/// With more than `FEW` series, which have one row each, both figures need a panel of `BROAD` columns.
const FEW: usize = 6;
const BROAD: u16 = 60;

/// A series.
struct Kind {
    label: &'static str,
    from: From,
    column: usize,
    /// Converts the series' value to the shown one.
    value: fn(f64, f64) -> f64,
    words: fn(f64) -> String,
    note: Note,
}

/// The events from which a series is taken.
#[derive(Clone, Copy)]
enum From {
    Train,
    Val,
    Ranks,
}

/// The figure in addition to the last value.
enum Note {
    Least,
    Greatest,
}

/// Makes a series of the training events that is shown unchanged.
const fn kind(label: &'static str, column: usize, note: Note, words: fn(f64) -> String) -> Kind {
    Kind {
        label,
        from: From::Train,
        column,
        value: |v, _| v,
        words,
        note,
    }
}

/// Makes a series of the ranks' times per step.
const fn of_ranks(label: &'static str, column: usize) -> Kind {
    Kind {
        from: From::Ranks,
        value: |v, _| 1000.0 * v,
        ..kind(label, column, Note::Greatest, |v| format!("{v:.1}"))
    }
}

const KINDS: [Kind; 12] = [
    Kind {
        from: From::Val,
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
    of_ranks("wait ms", MEAN_WAIT),
    of_ranks("exch ms", EXCHANGE),
    kind("weights", PARAM_NORM, Note::Greatest, |v| format!("{v:.1}")),
    kind("moments", MOMENTUM_NORM, Note::Greatest, |v| {
        format!("{v:.3}")
    }),
    kind("clipped", CLIP_RATE, Note::Greatest, |v| {
        format!("{:.0} %", 100.0 * v)
    }),
    LOSS_KIND,
];

/// The loss, for panels in which the series replace its chart.
const LOSS_KIND: Kind = kind("loss", LOSS, Note::Least, |v| format!("{v:.4}"));

/// Returns the number of series that can be chosen in this run.
pub fn all(run: &RunState) -> usize {
    let all = |kind: &&Kind| {
        let series = series(run, kind);
        is_finite(series, kind, 0..series.len())
    };
    KINDS.iter().filter(all).count()
}

/// Returns the series that are shown, with or without the loss.
fn kinds(view: &View<'_>, with_loss: bool) -> impl Iterator<Item = &'static Kind> {
    let few = KINDS.len() - usize::from(!with_loss);
    KINDS[..few].iter().filter(|kind| {
        let series = series(view.scene.run, kind);
        is_finite(series, kind, view.parts.range(series))
    })
}

/// Returns the number of series next to the loss.
pub fn count(view: &View<'_>) -> usize {
    kinds(view, false).count()
}

/// Whether a series that replaces the loss is chosen.
pub fn is_chosen(view: &View<'_>) -> bool {
    let chosen = view.scene.ui.chart.multiple;
    chosen.is_some_and(|i| i < kinds(view, true).count())
}

fn series<'a>(run: &'a RunState, kind: &Kind) -> &'a Series {
    let live = run.live();
    match kind.from {
        From::Train => &live.train,
        From::Val => &live.val,
        From::Ranks => &live.times,
    }
}

fn is_finite(series: &Series, kind: &Kind, range: Range<usize>) -> bool {
    let shown = series.column(kind.column).get(range);
    // A single finite value is enough.
    shown.is_some_and(|spans| spans.iter().any(|s| s.low <= s.high))
}

/// Draws the panel, with the loss if the panel replaces the loss chart.
pub fn draw(frame: &mut Frame<'_>, view: &View<'_>, area: Rect, with_loss: bool) {
    let scene = view.scene;
    let block = scene.panel(scene.text(" also measured · [ ] enlarges "));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    // The loss comes last. If it is chosen next to its chart, it is also shown as a series, so that every choice has an effect.
    let with_loss = with_loss || scene.ui.chart.multiple == Some(count(view));
    let kinds: Vec<&Kind> = kinds(view, with_loss).collect();
    let is_tight =
        kinds.len() > FEW && usize::from(inside.height) < 2 * kinds.len() && inside.width < BROAD;
    let figures = if is_tight { FIGURE } else { FIGURES };
    let wide = inside.width.saturating_sub(spark::LABEL + figures);
    let sparks: Vec<Spark> = kinds
        .into_iter()
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
    let series = series(run, kind);
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
