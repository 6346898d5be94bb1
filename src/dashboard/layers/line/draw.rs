//! Draws the `:` line, with its completions above it.

use std::ops::Range;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::typed::CommandLine;
use crate::dashboard::keys::Entry;
use crate::dashboard::layers::input::visible;
use crate::dashboard::layers::scroll::{INDENT, note_more, wrap};
use crate::dashboard::panels::confirm;
use crate::dashboard::panels::menu::framed;
use crate::dashboard::scene::Scene;
use crate::text;

/// Rows of the layer.
pub const HEIGHT: u16 = 8;
/// Rows while a command waits for its confirmation.
pub const ASKING: u16 = 9;

/// Places words side by side, three spaces apart, in several lines. Returns the range of each line's words.
fn columns(words: &[&str], width: usize) -> Vec<Range<usize>> {
    let mut lines: Vec<Range<usize>> = Vec::new();
    let mut used = 0;
    for (i, word) in words.iter().enumerate() {
        let wide = text::width(word);
        match lines.last_mut() {
            Some(line) if used + 3 + wide <= width => {
                line.end = i + 1;
                used += 3 + wide;
            }
            _ => {
                lines.push(i..i + 1);
                used = wide;
            }
        }
    }
    lines
}

/// Returns words in at most `rows` lines, with the one that was used last among them, and the number of words that do not fit.
fn grid(
    scene: &Scene<'_>,
    words: &[&str],
    taken: Option<usize>,
    (width, rows): (usize, usize),
) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let all = columns(words, width);
    let shown = match all.len() > rows {
        true => rows.saturating_sub(1),
        false => all.len(),
    };
    let line_of = |i| all.iter().position(|line| line.contains(&i)).unwrap_or(0);
    let from = (taken.map_or(0, line_of) + 1).saturating_sub(shown);
    let mut lines = Vec::new();
    let mut hidden = words.len();
    for range in all.into_iter().skip(from).take(shown) {
        let mut line = Line::default();
        for i in range {
            if !line.spans.is_empty() {
                line.push_span("   ");
            }
            let style = if taken == Some(i) {
                theme.key
            } else {
                theme.plain
            };
            line.push_span(Span::styled(scene.text(words[i]), style));
            hidden -= 1;
        }
        lines.push(line);
    }
    if hidden > 0 {
        lines.push(more(scene, hidden));
    }
    lines
}

fn more(scene: &Scene<'_>, hidden: usize) -> Line<'static> {
    Line::styled(scene.text(&format!("… {hidden} more")), scene.theme.dim)
}

/// Returns commands with their help in at most `rows` lines, and the number of commands that do not fit.
fn described(
    scene: &Scene<'_>,
    entries: &[&Entry],
    (width, rows): (usize, usize),
) -> Vec<Line<'static>> {
    let theme = scene.theme;
    let all: Vec<Vec<Line<'static>>> = entries
        .iter()
        .map(|entry| {
            let line = Line::from(vec![
                Span::styled(format!("{:<22} ", entry.words), theme.key),
                Span::styled(entry.help, theme.plain),
            ]);
            wrap(line, width, INDENT)
        })
        .collect();
    let needed: usize = all.iter().map(Vec::len).sum();
    let room = if needed > rows {
        rows.saturating_sub(1)
    } else {
        rows
    };
    let mut lines = Vec::new();
    let mut hidden = all.len();
    for entry in all {
        // The first command is cut instead of left out.
        if lines.len() + entry.len() > room && !lines.is_empty() {
            break;
        }
        lines.extend(entry);
        hidden -= 1;
    }
    lines.truncate(room);
    if hidden > 0 {
        lines.push(more(scene, hidden));
    }
    lines
}

/// Draws the line at the bottom, and its possible commands above it.
pub fn draw(
    frame: &mut Frame<'_>,
    scene: &Scene<'_>,
    p: &CommandLine,
    area: Rect,
    confirming: bool,
) {
    let theme = scene.theme;
    let block = scene.panel(" command ".into()).border_style(theme.key);
    let inside = framed(frame, block, area);
    let rows = usize::from(inside.height.saturating_sub(1));
    if let Some(asked) = p.asked.as_ref().filter(|_| confirming) {
        let lines = confirm::lines(scene, asked).into_iter();
        let width = usize::from(inside.width);
        let lines: Vec<Line<'_>> = lines.flat_map(|l| wrap(l, width, INDENT)).collect();
        let (shown, more) = p.scroll.visible(lines, rows + 1);
        frame.render_widget(Paragraph::new(shown), inside);
        if more {
            note_more(frame, scene, area);
        }
        return;
    }
    let typed = p.input.value();
    let width = usize::from(inside.width);
    let room = (width, rows);
    let mut lines: Vec<Line<'_>> = match &p.error {
        Some(error) => wrap(Line::styled(scene.text(error), theme.warning), width, 0),
        None if p.shown.is_some() => {
            let text = p.shown.iter().flat_map(|text| text.lines());
            let line = |l: &str| wrap(Line::styled(scene.text(l), theme.plain), width, 0);
            text.flat_map(line).collect()
        }
        // Lists all commands that fit.
        None if typed.is_empty() => {
            let all = scene.tables.entries.iter();
            let words: Vec<&str> = all.map(|e| e.words.as_str()).collect();
            grid(scene, &words, None, room)
        }
        None if p.candidates.len() > 1 => {
            let words: Vec<&str> = p.candidates.iter().map(|c| c.trim_end()).collect();
            grid(scene, &words, p.taken, room)
        }
        None => {
            let entries: Vec<&Entry> = fitting(&scene.tables.entries, typed).collect();
            described(scene, &entries, room)
        }
    };
    lines.truncate(rows);
    lines.resize(rows, Line::default());
    let mut line = Line::from(Span::styled(":", theme.title));
    line.spans
        .extend(visible(scene, &p.input, inside.width.saturating_sub(1)));
    lines.push(line);
    frame.render_widget(Paragraph::new(lines), inside);
}

/// Returns the commands that the line may become.
fn fitting<'a>(entries: &'a [Entry], line: &str) -> impl Iterator<Item = &'a Entry> {
    entries.iter().filter(move |entry| {
        let fixed = entry.fixed();
        fixed.starts_with(line) || line.starts_with(&format!("{fixed} "))
    })
}
