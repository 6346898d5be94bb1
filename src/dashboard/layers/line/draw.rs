//! What the `:` line looks like, with what it may become above it.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::typed::CommandLine;
use crate::dashboard::keys::Entry;
use crate::dashboard::layers::input::visible;
use crate::dashboard::panels::menu::framed;
use crate::dashboard::scene::Scene;

/// Rows that are asked for.
pub const HEIGHT: u16 = 8;

/// Words side by side, three spaces apart, in as many lines as they need.
fn wrapped(words: &[&str], width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words {
        let line = lines.last_mut().filter(|l| !l.is_empty());
        match line {
            Some(line) if line.len() + 3 + word.len() <= width => {
                line.push_str("   ");
                line.push_str(word);
            }
            Some(_) => lines.push((*word).into()),
            None => lines = vec![(*word).into()],
        }
    }
    lines
}

/// The line at the bottom, the commands it may become above it.
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
        // The question takes the line's place where there is room for one only.
        let mut lines = vec![
            Line::styled(scene.text(&format!("{}?", asked.describe())), theme.title),
            Line::from(vec![
                Span::styled("Enter", theme.key),
                Span::raw(" do it   "),
                Span::styled("Esc", theme.key),
                Span::raw(" back"),
            ]),
        ];
        lines.truncate(rows + 1);
        frame.render_widget(Paragraph::new(lines), inside);
        return;
    }
    let typed = p.input.value();
    let width = usize::from(inside.width);
    let mut lines: Vec<Line<'_>> = match &p.error {
        Some(error) => vec![Line::styled(scene.text(error), theme.warning)],
        // Everything there is, as far as it fits.
        None if typed.is_empty() => {
            let all = scene.tables.entries.iter();
            let words: Vec<&str> = all.map(|e| e.words.as_str()).collect();
            wrapped(&words, width)
                .into_iter()
                .map(|line| Line::styled(line, theme.plain))
                .collect()
        }
        None if p.candidates.len() > 1 => {
            let taken = p.taken.and_then(|i| p.candidates.get(i));
            let words: Vec<&str> = p.candidates.iter().map(|c| c.trim_end()).collect();
            let lines = wrapped(&words, width).into_iter();
            let mark = |line: String| match taken.map(|t| t.trim_end()) {
                Some(t) if line.contains(t) => Line::styled(line, theme.key),
                _ => Line::styled(line, theme.plain),
            };
            lines.map(mark).collect()
        }
        None => fitting(&scene.tables.entries, typed)
            .map(|entry| {
                Line::from(vec![
                    Span::styled(format!("{:<22} ", entry.words), theme.key),
                    Span::styled(entry.help, theme.plain),
                ])
            })
            .collect(),
    };
    lines.truncate(rows);
    lines.resize(rows, Line::default());
    let mut line = Line::from(Span::styled(":", theme.title));
    line.spans
        .extend(visible(scene, &p.input, inside.width.saturating_sub(1)));
    lines.push(line);
    frame.render_widget(Paragraph::new(lines), inside);
}

/// The commands that a line may become.
fn fitting<'a>(entries: &'a [Entry], line: &str) -> impl Iterator<Item = &'a Entry> {
    entries.iter().filter(move |entry| {
        let fixed = entry.fixed();
        fixed.starts_with(line) || line.starts_with(&format!("{fixed} "))
    })
}
