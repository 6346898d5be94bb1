//! Attention rank per layer: a heat map over the x axis of the charts, or small cells if the heat map does not fit.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use super::extent::View;
use crate::dashboard::chart_view::{Axis, place_before};
use crate::dashboard::scene::Scene;
use crate::dashboard::widgets::axes::Window;
use crate::dashboard::widgets::heatmap::{self, Part, Row, shade};
use crate::run::event::Phase;
use crate::run::state::{Mark, MarkKind, ProbePoint, max_rank};

/// Columns to the right of the heat map.
pub const FIGURES: u16 = 27;
const HEADS: &str = "   now  min    bi  state ";
/// Columns of a small cell without its sparkline.
const CELL: usize = 11;
/// Possible columns of a sparkline, widest first.
const SPARKS: [usize; 7] = [24, 15, 10, 6, 4, 2, 1];
/// Most rows of small cells.
const ROWS: usize = 8;

/// Returns the rows that the heat map needs, frame included.
pub fn height(scene: &Scene<'_>) -> u16 {
    let rows = layers(scene).max(1) + 2;
    u16::try_from(rows).unwrap_or(u16::MAX)
}

/// Returns the rows that small cells need in `width` columns, frame included.
pub fn compact_height(scene: &Scene<'_>, width: u16) -> u16 {
    let (_, _, down) = cells(layers(scene), usize::from(width.saturating_sub(2)), 3);
    u16::try_from(down + 2).unwrap_or(u16::MAX)
}

fn layers(scene: &Scene<'_>) -> usize {
    let run = scene.run;
    let probed = run.probe().map_or(0, |p| p.max_rank.len());
    run.core.phase.as_ref().map_or(probed, |p| p.layers)
}

/// Returns the columns of a sparkline, the number of cells side by side, and their rows, for `layers` layers: as few rows as
/// possible, but at least `least`.
fn cells(layers: usize, width: usize, least: usize) -> (usize, usize, usize) {
    let fit = |spark: usize| {
        let across = (width / (CELL + spark)).max(1);
        (spark, across, layers.max(1).div_ceil(across))
    };
    let mut all = SPARKS.into_iter().map(fit);
    let found = all.find(|c| c.2 <= least);
    found
        .or_else(|| SPARKS.into_iter().map(fit).find(|c| c.2 <= ROWS))
        .unwrap_or_else(|| fit(1))
}

/// The data of both forms.
struct Ranks<'a> {
    view: &'a View<'a>,
    /// The last probe of the present phase. A probe of an earlier phase has measured another model.
    last: Option<&'a ProbePoint>,
    count: usize,
}

impl<'a> Ranks<'a> {
    /// Returns the ranks of a run; `None` before the first probe.
    fn of(view: &'a View<'a>) -> Option<Self> {
        let run = view.scene.run;
        let phase = run.core.phase.as_ref().map(|p| &p.phase);
        let last = run.probe().filter(|p| Some(&p.phase) == phase);
        let count = layers(view.scene);
        (run.probe().is_some() && count > 0).then_some(Self { view, last, count })
    }

    fn is_lazy(&self, layer: usize) -> bool {
        self.last.is_some_and(|p| p.lazy_layers.contains(&layer))
    }

    fn style(&self, layer: usize) -> Style {
        let theme = self.view.scene.theme;
        if self.is_lazy(layer) {
            theme.lazy
        } else {
            theme.train
        }
    }

    /// Returns the layers' ranks over the x axis.
    fn values(&self, window: &Window, count: usize, columns: usize) -> Vec<Vec<f64>> {
        let view = self.view;
        let run = view.scene.run;
        let series = &run.live().ranks;
        let axis = view.window.axis;
        let part = Part {
            series,
            range: view.parts.range(series),
            origin: view.parts.zero(axis),
            until: view.now(),
        };
        (0..count)
            .map(|l| heatmap::columns(&part, max_rank(l), window, columns))
            .collect()
    }

    /// Returns a layer's label, with `+` if the layer is new in this round.
    fn label(&self, layer: usize) -> String {
        let phase = self.view.scene.run.core.phase.as_ref();
        let new = layer + phase.map_or(0, |p| p.added) >= self.count;
        format!("L{layer}{}", if new { "+" } else { "" })
    }

    fn now(&self, layer: usize) -> Option<f64> {
        self.last?.max_rank.get(layer).copied()
    }

    fn cross(&self) -> char {
        self.view.scene.glyphs.marks().gap
    }

    /// Returns the figures at the right of a row: present rank, rank of the weakest head, block influence, state.
    fn figures(&self, layer: usize) -> Vec<Span<'static>> {
        let theme = self.view.scene.theme;
        let value = |v: Option<f64>, decimals: usize, wide: usize| match v {
            Some(v) if v.is_finite() => format!("{v:>wide$.decimals$}"),
            _ => format!("{:>wide$}", "-"),
        };
        let heads = self.last.and_then(|p| p.rank.get(layer));
        let least = heads.and_then(|h| h.iter().copied().reduce(f64::min));
        let influence = self.last.and_then(|p| p.block_influence.get(layer));
        let (state, style) = match self.is_lazy(layer) {
            true => (format!("  {} LAZY", self.cross()), theme.warning),
            false => (String::new(), theme.dim),
        };
        vec![
            Span::styled(value(self.now(layer), 1, 6), theme.plain),
            Span::styled(value(least, 1, 5), theme.dim),
            Span::styled(value(influence.copied(), 3, 6), theme.dim),
            Span::styled(state, style),
        ]
    }
}

/// Returns the highest rank: all layers have one scale, so that they can be compared.
fn top(values: &[Vec<f64>]) -> f64 {
    let finite = values.iter().flatten().copied().filter(|v| v.is_finite());
    finite.fold(2.0, f64::max)
}

fn empty(frame: &mut Frame<'_>, view: &View<'_>, block: Block<'_>, area: Rect) {
    let text = Line::styled("not measured yet", view.scene.theme.dim);
    frame.render_widget(Paragraph::new(text).block(block), area);
}

/// Draws the heat map: labels in `margin` columns, shades in `plot` columns, figures to their right.
pub fn heatmap(frame: &mut Frame<'_>, view: &View<'_>, area: Rect, margin: u16, plot: u16) {
    let scene = view.scene;
    let length = scene.run.info.as_ref().map_or(0, |i| i.probe_length);
    let name = format!(" attention rank: max over heads of k* (T={length})");
    let Some(ranks) = Ranks::of(view) else {
        empty(frame, view, scene.panel(format!("{name} ")), area);
        return;
    };
    let room = area.width.saturating_sub(2 + margin);
    let plot = plot.min(room.saturating_sub(FIGURES - 2).max(room / 2));
    let rows = usize::from(area.height.saturating_sub(2));
    let shown = if ranks.count <= rows {
        ranks.count
    } else {
        rows.saturating_sub(1)
    };
    let values = ranks.values(&view.window, shown, usize::from(plot));
    let top = top(&values);
    let levels = scene.glyphs.levels();
    let scale = format!("{} 1 … {} {top:.0}", levels[0], levels[levels.len() - 1]);
    let title = scene.text(&format!("{name}, {scale}, | = growth "));
    let mut block = scene.panel(title);
    // The headings stand above their figures.
    if room >= plot + FIGURES - 2 {
        let after = usize::from(room - plot).saturating_sub(HEADS.len());
        let heads = format!(
            "{HEADS}{}",
            scene.glyphs.border().horizontal_top.repeat(after)
        );
        block = block.title(Line::styled(heads, scene.theme.dim).right_aligned());
    }
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let all: Vec<Row> = values
        .into_iter()
        .enumerate()
        .map(|(layer, values)| Row {
            label: ranks.label(layer),
            values,
            style: ranks.style(layer),
            tail: ranks.figures(layer),
        })
        .collect();
    heatmap::draw(
        frame.buffer_mut(),
        inside,
        (margin, plot),
        &all,
        top,
        &growths(view, &view.window, usize::from(plot)),
        (scene.glyphs, scene.theme.dim),
    );
    if shown < ranks.count && rows > 0 {
        let y = inside.bottom() - 1;
        let line = rest(
            &ranks,
            shown,
            scene,
            u16::try_from(ranks.count - rows).unwrap_or(u16::MAX),
        );
        frame
            .buffer_mut()
            .set_line(inside.x, y, &line, inside.width);
    }
}

/// Returns the columns at which phases begin, except the first one on screen.
fn growths(view: &View<'_>, window: &Window, columns: usize) -> Vec<usize> {
    let first = view.parts.first_seq();
    let zero = view.parts.zero(window.axis);
    let live = view.scene.run.live();
    let marks = live.marks.iter().filter(|m| m.seq > first);
    let starts = marks.filter(|m| matches!(m.kind, MarkKind::Phase(Phase::Round(_))));
    let place = |m: &Mark| match window.axis {
        Axis::Step => m.step as f64,
        axis => axis.value(&place_before(live, m.seq)),
    };
    let mut found: Vec<usize> = starts
        .map(|m| place(m) - zero)
        .filter(|&x| x > window.from)
        .filter_map(|x| window.column(x, columns))
        .collect();
    found.dedup();
    found
}

/// Returns a line such as `10 more layers, 3 of them LAZY (L14 L15 L16): 12 more rows show them`.
fn rest(ranks: &Ranks<'_>, shown: usize, scene: &Scene<'_>, missing: u16) -> Line<'static> {
    let lazy: Vec<String> = (shown..ranks.count)
        .filter(|&l| ranks.is_lazy(l))
        .map(|l| format!("L{l}"))
        .collect();
    let mut text = format!(
        "L{shown} to L{}: {} more layers",
        ranks.count - 1,
        ranks.count - shown
    );
    if !lazy.is_empty() {
        let names = match lazy.len() {
            1..=12 => format!(" ({})", lazy.join(" ")),
            _ => String::new(),
        };
        text.push_str(&format!(", {} of them LAZY{names}", lazy.len()));
    }
    text.push_str(&format!("; a window {missing} rows higher shows them"));
    let style = if lazy.is_empty() {
        scene.theme.dim
    } else {
        scene.theme.warning
    };
    Line::styled(text, style)
}

/// Draws small cells, several layers side by side.
pub fn compact(frame: &mut Frame<'_>, view: &View<'_>, area: Rect) {
    let scene = view.scene;
    let Some(ranks) = Ranks::of(view) else {
        let title = " attention rank ".to_string();
        empty(frame, view, scene.panel(title), area);
        return;
    };
    let lazy = (0..ranks.count).filter(|&l| ranks.is_lazy(l)).count();
    let title = format!(
        " attention rank · L0 … L{} · {lazy} of {} LAZY ({}) ",
        ranks.count - 1,
        ranks.count,
        ranks.cross(),
    );
    let block = scene.panel(scene.text(&title));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let rows = usize::from(inside.height);
    let (spark, across, down) = cells(ranks.count, usize::from(inside.width), rows);
    let fits = down <= rows;
    let down = if fits { down } else { rows };
    let shown = match fits {
        true => ranks.count,
        false => down.saturating_sub(1) * across,
    };
    // Sparklines are too narrow to leave columns for the future.
    let mut window = view.window;
    let now = view.now();
    if now > window.from {
        window.to = window.to.min(now);
    }
    let values = ranks.values(&window, shown, spark);
    let top = top(&values);
    let mut lines = vec![Line::default(); down];
    // Cells are filled column by column.
    let each = if fits { down } else { down.saturating_sub(1) };
    for (layer, values) in values.iter().enumerate() {
        let shades: String = values
            .iter()
            .map(|&v| shade(v, top, scene.glyphs))
            .collect();
        let now = ranks.now(layer).map_or("-".into(), |v| format!("{v:.1}"));
        let mark = if ranks.is_lazy(layer) {
            ranks.cross()
        } else {
            ' '
        };
        let label = ranks.label(layer);
        lines[layer % each.max(1)].spans.extend([
            Span::styled(format!("{label:>5}"), scene.theme.dim),
            Span::styled(shades, ranks.style(layer)),
            Span::styled(format!("{now:>5}"), scene.theme.plain),
            Span::styled(mark.to_string(), scene.theme.warning),
        ]);
    }
    if !fits && let Some(last) = lines.last_mut() {
        let needed = cells(ranks.count, usize::from(inside.width), ROWS).2;
        let missing = needed.saturating_sub(rows).max(1);
        *last = rest(&ranks, shown, scene, missing as u16);
    }
    frame.render_widget(Paragraph::new(lines), inside);
}
