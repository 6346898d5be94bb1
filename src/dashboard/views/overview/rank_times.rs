//! Times per step of each process (rank) of a run of several: a cell for each, or all in one line.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::extent::View;
use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::scene::Scene;
use crate::dashboard::widgets::heatmap::{Part, columns};
use crate::run::event::{RankTimes, time_words};
use crate::run::state::{compute_of, wait_of};
use crate::text;

/// Columns of a rank's number and of a time, with the spaces around them.
const LABEL: usize = 5;
const TIME: usize = 9;
/// Columns of a cell without its two sparklines.
const CELL: usize = LABEL + 2 * TIME;
/// Possible columns of a sparkline, widest first.
const SPARKS: [usize; 6] = [16, 10, 6, 4, 2, 1];
/// Rows of cells: `FEW` if sparklines fit then, otherwise up to `ROWS`.
const FEW: usize = 2;
const ROWS: usize = 8;
/// Share by which a rank must compute longer than the mean to be marked as slow.
const SLOW: f64 = 0.05;
/// Most and least columns of bars in the one-line form; one bar per rank if there is room.
const BARS: (usize, usize) = (32, 4);

/// Returns the rows needed in `width` columns, frame included; 0 for a run of one process.
pub fn height(scene: &Scene<'_>, width: u16) -> u16 {
    let Some(times) = scene.run.rank_times() else {
        return 0;
    };
    let (_, _, down) = cells(times.world, usize::from(width.saturating_sub(2)));
    (down.min(ROWS) + 2) as u16
}

/// Returns the columns of a sparkline, the number of cells side by side, and their rows.
fn cells(ranks: usize, width: usize) -> (usize, usize, usize) {
    let fit = |spark: usize| {
        let across = (width / (CELL + 2 * spark)).max(1);
        (spark, across, ranks.max(1).div_ceil(across))
    };
    let within = |rows: usize| SPARKS.into_iter().map(fit).find(|c| c.2 <= rows);
    within(FEW)
        .or_else(|| within(ROWS))
        .unwrap_or_else(|| fit(1))
}

/// Returns the block character for a time between 0 and `top`, which is common to all ranks.
fn level(value: f64, top: f64, glyphs: Glyphs) -> char {
    let levels = glyphs.levels();
    let share = value / top;
    if !share.is_finite() {
        return ' ';
    }
    levels[(share.clamp(0.0, 1.0) * (levels.len() - 1) as f64).round() as usize]
}

/// Whether a rank computes longer than the mean by more than [`SLOW`].
fn is_slow(times: &RankTimes, rank: usize) -> bool {
    let compute = times.compute.get(rank).copied().unwrap_or(0.0);
    compute > (1.0 + SLOW) * times.mean_compute()
}

/// Returns the ranks that are shown. If not all fit, these are the slowest ones, in their order.
fn shown(times: &RankTimes, room: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..times.compute.len()).collect();
    if all.len() > room {
        all.sort_by(|&a, &b| times.compute[b].total_cmp(&times.compute[a]));
        all.truncate(room);
        all.sort_unstable();
    }
    all
}

/// Draws a cell for each rank: its number, computation and waiting per step over the x axis of the charts and now.
pub fn draw(frame: &mut Frame<'_>, view: &View<'_>, area: Rect) {
    let scene = view.scene;
    let Some(times) = scene.run.rank_times() else {
        return;
    };
    let block = scene.panel(scene.text(&title(scene, times, usize::from(area.width))));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let (spark, across, down) = cells(times.world, usize::from(inside.width));
    let down = down.min(usize::from(inside.height));
    let ranks = shown(times, across * down);
    let mut window = view.window;
    let now = view.now();
    // Sparklines are too narrow to leave columns for the future.
    if now > window.from {
        window.to = window.to.min(now);
    }
    let series = &scene.run.live().times;
    let part = Part {
        series,
        range: view.parts.range(series),
        origin: view.parts.zero(window.axis),
        until: now,
    };
    let curves: Vec<[Vec<f64>; 2]> = ranks
        .iter()
        .map(|&r| [compute_of(r), wait_of(r)].map(|c| columns(&part, c, &window, spark)))
        .collect();
    let all = curves.iter().flatten().flatten().copied();
    let top = all.filter(|v| v.is_finite()).fold(0.0, f64::max);
    let bars = |values: &[f64]| -> String {
        let levels = values.iter().map(|&v| level(v, top, scene.glyphs));
        levels.collect()
    };
    let time = |all: &[f64], rank: usize| {
        let words = all.get(rank).map_or("-".into(), |&s| time_words(s));
        format!("{:>TIME$}", words + " ")
    };
    let mut lines = vec![Line::default(); down];
    // Cells are filled column by column.
    for (i, (&rank, [compute, wait])) in ranks.iter().zip(&curves).enumerate() {
        let style = style(scene, times, rank);
        lines[i % down.max(1)].spans.extend([
            Span::styled(format!("{:>LABEL$}", format!("r{rank} ")), style),
            Span::styled(bars(compute), scene.theme.train),
            Span::styled(time(&times.compute, rank), style),
            Span::styled(bars(wait), scene.theme.val),
            Span::styled(time(&times.wait, rank), scene.theme.dim),
        ]);
    }
    frame.render_widget(Paragraph::new(lines), inside);
}

fn style(scene: &Scene<'_>, times: &RankTimes, rank: usize) -> Style {
    match is_slow(times, rank) {
        true => scene.theme.warning,
        false => scene.theme.plain,
    }
}

/// Returns ` 8 ranks (mpi) · per step: compute, wait · slowest 5 (+12 %) · exchange 30 ms `, in order of importance.
fn title(scene: &Scene<'_>, times: &RankTimes, width: usize) -> String {
    let layout = scene.run.layout();
    let name = layout.map_or_else(|| format!("{} ranks", times.world), |l| l.words());
    let (_, across, down) = cells(times.world, width.saturating_sub(2));
    let part = match across * down.min(ROWS) < times.world {
        true => ", the slowest of them",
        false => "",
    };
    let mut title = format!(" {name}{part} · per step: compute, wait ");
    let exchange = format!("exchange {}", time_words(times.exchange));
    for more in times.slowest_words().into_iter().chain([exchange]) {
        if text::width(&title) + text::width(&more) + 5 <= width {
            title.push_str(&format!("· {more} "));
        }
    }
    title
}

/// Returns one line with a bar for each rank: ` 8 ranks  compute ▇▇▇█ 412 ms  wait ▂▂▂▁ 21 ms  slowest 3 (+12 %)`; `None` for a
/// run of one process.
pub fn line(scene: &Scene<'_>, width: u16) -> Option<Line<'static>> {
    let times = scene.run.rank_times()?;
    let theme = scene.theme;
    let all = times.compute.iter().chain(&times.wait).copied();
    let top = all.fold(0.0, f64::max);
    let slowest = match times.lag() > SLOW {
        true => theme.warning,
        false => theme.dim,
    };
    let words = times.slowest_words().unwrap_or_default();
    let parts = |columns: usize| {
        let bars = |values: &[f64]| -> String {
            // Ranks that share a column show their greatest value.
            let each = values.len().div_ceil(columns).max(1);
            let shares = values.chunks(each);
            let greatest = shares.map(|c| c.iter().copied().fold(0.0, f64::max));
            greatest.map(|v| level(v, top, scene.glyphs)).collect()
        };
        [
            (format!(" {} ranks", times.world), theme.plain),
            ("  compute ".into(), theme.dim),
            (bars(&times.compute), theme.train),
            (
                format!(" {}", time_words(times.mean_compute())),
                theme.plain,
            ),
            ("  wait ".into(), theme.dim),
            (bars(&times.wait), theme.val),
            (format!(" {}", time_words(times.mean_wait())), theme.plain),
            (format!("  {words}"), slowest),
            (
                format!("  exchange {}", time_words(times.exchange)),
                theme.dim,
            ),
        ]
    };
    let wide = |parts: &[(String, Style)]| parts.iter().map(|p| text::width(&p.0)).sum::<usize>();
    let width = usize::from(width);
    // The exchange is left out before the bars become narrower.
    let room = width.saturating_sub(wide(&parts(1)[..8])) / 2 + 1;
    let mut parts = parts(room.clamp(BARS.1, BARS.0)).to_vec();
    while wide(&parts) > width && parts.len() > 1 {
        parts.pop();
    }
    let spans = parts.into_iter();
    let spans = spans.map(|(words, style)| Span::styled(scene.text(&words), style));
    Some(Line::from(spans.collect::<Vec<_>>()))
}
