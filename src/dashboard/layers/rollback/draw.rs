//! Draws the list of checkpoints to roll back to.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::dashboard::layers::scroll::{INDENT, wrap};
use crate::dashboard::panels::confirm;
use crate::dashboard::panels::menu::framed;
use crate::dashboard::rollback_points::{self, Point};
use crate::dashboard::scene::Scene;
use crate::dashboard::when;
use crate::dashboard::widgets::thousands;
use crate::run::command::Command;
use crate::run::{losses, table};
use crate::text;

/// Rows of the layer.
pub const HEIGHT: u16 = 13;

/// Titles of the columns in order of importance; the last ones are left out if they do not fit.
const TITLES: [&str; 7] = ["checkpoint", "step", "val", "gap", "age", "size", "why"];

/// Least columns of the last column.
const LEAST: usize = 6;

/// Draws the list, with the steps that the selected rollback would abandon, or the confirmation.
pub fn draw(
    frame: &mut Frame<'_>,
    scene: &Scene<'_>,
    points: &[Point],
    selected: usize,
    area: Rect,
    confirming: bool,
) {
    let title = format!(" roll back · {} of {} ", selected + 1, points.len());
    let block = scene
        .panel(scene.text(&title))
        .border_style(scene.theme.key);
    let inside = framed(frame, block, area);
    let width = usize::from(inside.width);
    let point = &points[selected];
    if confirming {
        let command = Command::Rollback {
            checkpoint: point.note.name.clone(),
        };
        let lines = confirm::lines(scene, &command).into_iter();
        let lines: Vec<Line<'_>> = lines.flat_map(|l| wrap(l, width, INDENT)).collect();
        frame.render_widget(Paragraph::new(lines), inside);
        return;
    }
    let below = about(scene, point, width);
    let rows = usize::from(inside.height)
        .saturating_sub(below.len() + 1)
        .max(1);
    let from = (selected + 1).saturating_sub(rows);
    let mut lines = listed(scene, points, selected, width);
    let titles = lines.remove(0);
    let mut shown: Vec<Line<'_>> = lines.into_iter().skip(from).take(rows).collect();
    shown.insert(0, titles);
    shown.extend(below);
    frame.render_widget(Paragraph::new(shown), inside);
}

/// Returns whether the selected checkpoint is intact, and what a rollback to it would abandon.
fn about(scene: &Scene<'_>, point: &Point, width: usize) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let (checked, style) = match scene.facts.nearby.verified.get(&point.note.name) {
        None => ("being verified ...".to_string(), theme.dim),
        Some(Ok(())) => ("every file verified".into(), theme.good),
        Some(Err(why)) => (why.clone(), theme.warning),
    };
    let mut lines = wrap(Line::styled(scene.text(&checked), style), width, INDENT);
    let abandons = rollback_points::abandons(scene.run, point);
    lines.extend(wrap(
        Line::styled(scene.text(&abandons), theme.plain),
        width,
        INDENT,
    ));
    lines
}

/// Returns the titles and a line for each checkpoint, with the columns that fit.
fn listed(
    scene: &Scene<'_>,
    points: &[Point],
    selected: usize,
    width: usize,
) -> Vec<Line<'static>> {
    let mut rows = vec![TITLES.map(String::from)];
    let ready = |p: &Point| cells(scene, p).map(|c| scene.glyphs.text(&c));
    rows.extend(points.iter().map(ready));
    let mut shown = TITLES.len();
    let widths: Vec<usize> = (0..TITLES.len())
        .map(|c| rows.iter().map(|r| text::width(&r[c])).max().unwrap_or(0))
        .collect();
    // A mark and a blank on the left, two blanks between columns; the last column may be cut to a few characters.
    let needs = |shown: usize| {
        let (last, before) = (widths[shown - 1], &widths[..shown - 1]);
        2 + before.iter().map(|w| w + 2).sum::<usize>() + last.min(LEAST)
    };
    while shown > 1 && needs(shown) > width {
        shown -= 1;
    }
    let line = |(i, row): (usize, &[String; 7])| {
        let mut text = String::new();
        for (cell, wide) in row.iter().zip(&widths).take(shown) {
            text.push_str(&scene.glyphs.fit(cell, *wide));
            text.push_str("  ");
        }
        let (mark, style) = match i.checked_sub(1) {
            None => ("  ", scene.theme.dim),
            Some(i) if i == selected => ("> ", scene.theme.selected),
            Some(_) => ("  ", scene.theme.plain),
        };
        Line::from(vec![Span::styled(
            scene
                .glyphs
                .fit(&format!("{mark}{}", text.trim_end()), width),
            style,
        )])
    };
    rows.iter().enumerate().map(line).collect()
}

fn cells(scene: &Scene<'_>, p: &Point) -> [String; 7] {
    let began = scene.run.core.phase.as_ref().map_or(0, |n| n.began_at);
    let step = match p.live && p.note.step >= began {
        true => thousands(p.note.step - began),
        // The step within an abandoned phase is not known here; the checkpoint's name has the run's step.
        false => "-".into(),
    };
    let why = match p.live {
        true => p.note.reason.clone(),
        false => format!("left branch, {}", p.note.reason),
    };
    let gap = p.gap.map_or("-".into(), |(gap, _)| format!("{gap:+.4}"));
    let age = when::ago((scene.now() - p.note.t) as f64 / 1000.0);
    [
        scene.text(&p.note.name),
        step,
        p.val_loss.map_or("-".into(), losses::loss),
        gap,
        age.trim_end_matches(" ago").into(),
        table::bytes(p.note.bytes),
        scene.text(&why),
    ]
}
