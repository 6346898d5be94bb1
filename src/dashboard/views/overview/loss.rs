//! The loss chart: the training loss with its average, the validation loss, the reference's loss, earlier rounds, and branches
//! that rollbacks have abandoned.

use ratatui::text::{Line, Span};

use super::extent::{MARGIN, View};
use super::forecast;
use super::marks;
use super::phases;
use crate::dashboard::chart_view::end_of_phase;
use crate::dashboard::widgets::chart::{Chart, Level};
use crate::dashboard::widgets::trace::{Kind, Trace, averages};
use crate::run::event::Phase;
use crate::run::state::{Abandoned, LOSS, VAL_LOSS};
use crate::text;

pub const TITLE: &str = "loss";

/// Builds the chart for a panel with `width` columns inside its frame.
pub fn chart<'a>(view: &'a View<'_>, width: u16) -> Chart<'a> {
    let (scene, parts) = (view.scene, &view.parts);
    let (run, look) = (scene.run, &scene.ui.chart);
    let live = run.live();
    let decay = look.decay(run, width.saturating_sub(MARGIN));
    let mut traces = overlays(view, VAL_LOSS, |_| true);
    traces.extend(compared(view));
    let origin = parts.zero(look.axis);
    let shown = parts.range(&live.train);
    let smooth = decay.map(|decay| averages(&live.train, LOSS, &shown, &parts.starts, decay, None));
    for left in &run.history.abandoned {
        traces.extend(abandoned(view, left, decay, smooth.as_deref()));
    }
    traces.push(Trace {
        range: parts.range(&live.val),
        origin,
        breaks: &parts.starts,
        plain: scene.glyphs.marks().val,
        ..Trace::new(&live.val, VAL_LOSS, Kind::Points, scene.theme.val)
    });
    traces.push(Trace {
        range: shown,
        origin,
        breaks: &parts.starts,
        averages: smooth.unwrap_or_default(),
        plain: scene.glyphs.marks().line,
        ..Trace::new(&live.train, LOSS, Kind::Line, scene.theme.train)
    });
    Chart {
        window: view.window,
        traces,
        levels: benchmark(view).into_iter().collect(),
        cone: forecast::of_loss(view),
        marks: marks::of(view),
        whole: look.all,
        log: look.log,
        cursor: look.cursor,
        theme: scene.theme,
        glyphs: scene.glyphs,
    }
}

/// Returns the reference's validation loss as a horizontal line.
fn benchmark(view: &View<'_>) -> Option<Level> {
    let reference = view.scene.run.core.reference.as_ref()?;
    Some(Level {
        value: reference.val_loss,
        style: view.scene.theme.reference,
        label: format!(" ref {}L {:.4}", reference.layers, reference.val_loss),
    })
}

/// Returns the curves of a column of the evaluations, for the earlier phases for which `wanted` holds, by the step within their
/// phase.
pub fn overlays<'a>(
    view: &'a View<'_>,
    column: usize,
    wanted: impl Fn(&Phase) -> bool,
) -> Vec<Trace<'a>> {
    let scene = view.scene;
    if scene.ui.chart.alone {
        return Vec::new();
    }
    let val = &scene.run.live().val;
    let earlier = view.parts.earlier.iter().filter(|p| wanted(&p.phase));
    earlier
        .map(|part| Trace {
            range: part.range(val),
            origin: scene.ui.chart.axis.value(&part.origin),
            fits: false,
            ..Trace::new(val, column, Kind::Dotted(part.letter), scene.theme.dim)
        })
        .collect()
}

/// Returns the validation losses of the run that is compared: of its phase of the same name, or of the complete run if that is
/// shown.
fn compared<'a>(view: &'a View<'_>) -> Option<Trace<'a>> {
    let scene = view.scene;
    let other = scene.facts.nearby.compared.as_ref()?;
    let val = &other.run.live().val;
    let (range, origin) = match view.parts.phase() {
        Some(phase) => {
            let part = phases::latest(&other.run, phase)?;
            (part.range(val), scene.ui.chart.axis.value(&part.origin))
        }
        None => (0..val.len(), 0.0),
    };
    Some(Trace {
        range,
        origin,
        plain: COMPARED,
        ..Trace::new(val, VAL_LOSS, Kind::Dotted(COMPARED), scene.theme.plain)
    })
}

/// The letter that marks the curve of the run that is compared.
const COMPARED: char = 'C';

/// Returns the curve of a branch that a rollback has abandoned, if it belongs to the part that is shown.
fn abandoned<'a>(
    view: &'a View<'_>,
    left: &'a Abandoned,
    decay: Option<f64>,
    smooth: Option<&[f32]>,
) -> Option<Trace<'a>> {
    let (scene, parts) = (view.scene, &view.parts);
    if left.fork < parts.first_seq() {
        return None;
    }
    let series = &left.branch.train;
    let range = phases::range(series, 0, end_of_phase(&left.branch, parts.whole));
    let live = &scene.run.live().train;
    let shown = parts.range(live);
    // Its average continues that of the branch from which it forked.
    let shared = live
        .stretches()
        .partition_point(|s| s.last.seq <= left.fork);
    let seed = shared.checked_sub(1).and_then(|last| {
        let average = smooth?.get(last.checked_sub(shown.start)?)?;
        Some((f64::from(*average), live.stretches()[last].last.step))
    });
    let averages = decay.map(|decay| averages(series, LOSS, &range, &[], decay, seed));
    let marks = scene.glyphs.marks();
    Some(Trace {
        range,
        origin: parts.zero(scene.ui.chart.axis),
        averages: averages.unwrap_or_default(),
        plain: marks.abandoned,
        fits: false,
        end: Some((marks.end, scene.theme.warning)),
        ..Trace::new(series, LOSS, Kind::Thin, scene.theme.dim)
    })
}

/// Returns the legend, in order of importance, as far as it fits into `room` columns.
pub fn legend(view: &View<'_>, room: usize) -> Line<'static> {
    let (scene, theme) = (view.scene, view.scene.theme);
    let run = scene.run;
    let marks = scene.glyphs.marks();
    let ascii = scene.is_ascii();
    let pick = |a: &str, b: &str| if ascii { a.to_string() } else { b.to_string() };
    let mut items = vec![(format!("{}{} train", marks.line, marks.range), theme.train)];
    if !run.live().val.is_empty() {
        let mark = pick(&format!("{}{}", marks.point, marks.val), "●");
        items.push((format!("{mark} val"), theme.val));
    }
    // The reference needs no entry: its line has a label.
    if forecast::of_loss(view).is_some() {
        items.push((forecast::legend(view), theme.val));
    }
    if let Some(reference) = &run.core.reference {
        let name = format!("{0}{0} ref {1}L", marks.level, reference.layers);
        items.push((name, theme.reference));
    }
    if let Some(other) = &scene.facts.nearby.compared {
        let mark = pick("C", "∙C∙");
        let name = scene.text(&other.name);
        let has = |phase| phases::latest(&other.run, phase).is_some();
        items.push(match view.parts.phase() {
            Some(phase) if !has(phase) => {
                let phase = crate::run::table::phase_name(phase);
                (format!("{name}: no {phase}"), theme.warning)
            }
            _ => (format!("{mark} {name}"), theme.plain),
        });
    }
    if !scene.ui.chart.alone {
        for part in view.parts.earlier.iter().rev() {
            let letter = part.letter;
            let mark = pick(&format!("{letter}"), &format!("∙{letter}∙"));
            let name = crate::run::table::phase_name(&part.phase);
            let layers = part.layers.map_or(String::new(), |l| format!(" ({l}L)"));
            items.push((format!("{mark} {name}{layers}"), theme.dim));
        }
    }
    let first = view.parts.first_seq();
    if run.history.abandoned.iter().any(|l| l.fork >= first) {
        let dash = if ascii { "" } else { " " };
        items.push((
            format!("{0}{dash}{0} abandoned", marks.abandoned),
            theme.dim,
        ));
    }
    // In ASCII the checkpoint's mark is a letter, which could be taken for a series; a diamond could not.
    if ascii && marks::of(view).iter().any(|m| m.label.is_none()) {
        items.push((format!("{} checkpoint", marks.checkpoint), theme.dim));
    }
    let mut line = Line::default();
    let mut left = room.saturating_sub(1);
    for (item, style) in items {
        let wide = text::width(&item) + 2;
        if wide <= left {
            left -= wide;
            line.push_span(Span::styled(format!(" {item} "), style));
        }
    }
    line.right_aligned()
}
