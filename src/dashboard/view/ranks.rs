//! Attention rank per layer: a sparkline over the probes, the present value, and what is lazy.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::Scene;
use crate::run::state::ProbePoint;

/// Width of a layer's cell with its sparkline, and of one without.
const CELL: usize = 38;
const SHORT: usize = 11;
/// Probes shown in a sparkline.
const SPARK: usize = 15;

/// Rows wanted at this width, frame included.
pub fn height(scene: &Scene<'_>, width: u16) -> u16 {
    let columns = (usize::from(width.saturating_sub(2)) / CELL).max(1);
    let rows = layers(scene).max(1).div_ceil(columns) + 2;
    u16::try_from(rows).unwrap_or(u16::MAX)
}

fn layers(scene: &Scene<'_>) -> usize {
    let run = scene.run;
    let probed = run.probe().map_or(0, |p| p.max_rank.len());
    run.core.phase.as_ref().map_or(probed, |p| p.layers)
}

/// Draws the panel: full cells where they fit, short ones where they do not.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let length = scene.run.info.as_ref().map_or(0, |i| i.probe_length);
    let title = format!(" attention rank: max over heads of k* (T={length}); bi: block influence ");
    let block = scene.panel(title);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let rows = usize::from(inside.height);
    let width = usize::from(inside.width);
    // A probe of the phase before says nothing about this model.
    let phase = scene.run.core.phase.as_ref().map(|p| &p.phase);
    let last = scene.run.probe().filter(|p| Some(&p.phase) == phase);
    let count = layers(scene);
    if scene.run.probe().is_none() || count == 0 || rows == 0 {
        let text = Line::styled("not measured yet", scene.theme.dim);
        frame.render_widget(text, inside);
        return;
    }
    let full = count.div_ceil((width / CELL).max(1)) <= rows;
    let cell = if full { CELL } else { SHORT };
    let columns = (width / cell).max(1);
    let down = count.div_ceil(columns).min(rows);
    let mut lines = vec![Line::default(); down];
    for (row, line) in lines.iter_mut().enumerate() {
        for column in 0..columns {
            let layer = column * down + row;
            if layer < count {
                let spans = if full {
                    full_cell(scene, last, layer, count)
                } else {
                    short_cell(scene, last, layer)
                };
                line.spans.extend(spans);
            }
        }
    }
    if down * columns < count {
        let text = format!(
            " {} more layers: a larger window shows them",
            count - down * columns
        );
        if let Some(line) = lines.last_mut() {
            *line = Line::styled(text, scene.theme.dim);
        }
    }
    frame.render_widget(Paragraph::new(lines), inside);
}

/// The highest rank on screen: all sparklines share one scale, so that layers can be compared.
fn top(scene: &Scene<'_>) -> f64 {
    let shown = scene.run.live().probes.iter().rev().take(SPARK);
    shown
        .flat_map(|p| p.max_rank.iter().copied())
        .filter(|r| r.is_finite())
        .fold(2.0, f64::max)
}

fn level(scene: &Scene<'_>, rank: f64, top: f64) -> char {
    let levels = scene.glyphs.levels();
    // Logarithmic: what matters is how near a layer is to rank one.
    let share = (rank.ln() / top.ln()).clamp(0.0, 1.0);
    if share.is_nan() {
        return '?';
    }
    levels[(share * (levels.len() - 1) as f64).round() as usize]
}

fn full_cell(
    scene: &Scene<'_>,
    last: Option<&ProbePoint>,
    layer: usize,
    count: usize,
) -> Vec<Span<'static>> {
    let theme = scene.theme;
    let probes = &scene.run.live().probes;
    let top = top(scene);
    let from = probes.len().saturating_sub(SPARK);
    let spark: String = probes[from..]
        .iter()
        .map(|p| {
            p.max_rank
                .get(layer)
                .map_or(' ', |&rank| level(scene, rank, top))
        })
        .collect();
    let added = scene.run.core.phase.as_ref().map_or(0, |p| p.added);
    let new = if layer + added >= count { "+" } else { " " };
    let lazy = last.is_some_and(|p| p.lazy_layers.contains(&layer));
    let rank = last
        .and_then(|p| p.max_rank.get(layer))
        .map_or("-".into(), |r| format!("{r:.1}"));
    // A second opinion where the flag is not needed.
    let influence = last.and_then(|p| p.block_influence.get(layer));
    let (flag, style) = match (lazy, influence) {
        (true, _) => ("LAZY".into(), theme.warning),
        (false, Some(x)) => (format!("bi {x:.3}"), theme.dim),
        (false, None) => (String::new(), theme.dim),
    };
    vec![
        Span::styled(format!("{:>4}{new} ", format!("L{layer}")), theme.dim),
        Span::styled(
            format!("{spark:<SPARK$}"),
            if lazy { theme.warning } else { theme.train },
        ),
        Span::styled(format!("{rank:>6} "), theme.plain),
        Span::styled(format!("{flag:<10.10}"), style),
    ]
}

fn short_cell(scene: &Scene<'_>, last: Option<&ProbePoint>, layer: usize) -> Vec<Span<'static>> {
    let theme = scene.theme;
    let lazy = last.is_some_and(|p| p.lazy_layers.contains(&layer));
    let style = if lazy { theme.warning } else { theme.plain };
    let rank = last.and_then(|p| p.max_rank.get(layer)).copied();
    let value = rank.map_or("-".into(), |r| {
        if lazy {
            "LAZY".into()
        } else {
            format!("{r:.1}")
        }
    });
    let bar = rank.map_or(' ', |r| level(scene, r, top(scene)));
    vec![
        Span::styled(format!("{:>4}", format!("L{layer}")), theme.dim),
        Span::styled(format!("{bar}"), theme.train),
        Span::styled(format!("{value:<6}"), style),
    ]
}
