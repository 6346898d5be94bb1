//! The gap chart: the paired gap to the reference with its error band, and the limits that decisions use.

use super::extent::View;
use super::forecast;
use super::loss;
use crate::dashboard::widgets::chart::{Chart, Level};
use crate::dashboard::widgets::trace::{Kind, Trace};
use crate::run::event::Phase;
use crate::run::state::{GAP, GAP_STDERR};

pub const TITLE: &str = "gap to reference ±2 stderr";

/// Builds the chart, if the phase has a gap. The x axis extends to the end of the phase, as the forecast does.
pub fn chart<'a>(view: &'a View<'_>) -> Option<Chart<'a>> {
    let (scene, parts) = (view.scene, &view.parts);
    let (run, look) = (scene.run, &scene.ui.chart);
    let val = &run.live().val;
    let range = parts.range(val);
    let measured = val.range(GAP, range.start, range.end);
    measured?;
    let mut traces = loss::overlays(view, GAP, |phase| *phase != Phase::Reference);
    traces.push(Trace {
        range,
        origin: parts.zero(look.axis),
        breaks: &parts.starts,
        stderr: Some(GAP_STDERR),
        plain: scene.glyphs.marks().val,
        ..Trace::new(val, GAP, Kind::Points, scene.theme.val)
    });
    let tolerance = run.info.as_ref().and_then(|i| i.tolerance);
    let (zero, limit) = match tolerance {
        Some(t) if t != 0.0 => (" reference", Some(t)),
        Some(_) => (" reference, tolerance", None),
        None => (" reference", None),
    };
    let mut levels = vec![Level {
        value: 0.0,
        style: scene.theme.reference,
        label: zero.into(),
    }];
    levels.extend(limit.map(|value| Level {
        value,
        style: scene.theme.limit,
        label: format!(" tolerance {value:+}"),
    }));
    Some(Chart {
        window: view.window,
        traces,
        levels,
        cone: forecast::of_gap(view),
        marks: Vec::new(),
        whole: look.all,
        // Gaps may be negative, so the axis is always linear.
        log: false,
        cursor: look.cursor,
        theme: scene.theme,
        glyphs: scene.glyphs,
    })
}
