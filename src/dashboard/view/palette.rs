//! The `:` line and what it may become.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::Scene;
use crate::dashboard::palette::LinePrompt;

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
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, p: &LinePrompt, area: Rect) {
    let theme = scene.theme;
    let block = scene.panel(" command ".into()).border_style(theme.key);
    let inside = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    let rows = usize::from(inside.height.saturating_sub(1));
    let mut lines: Vec<Line<'_>> = match (&p.confirming, &p.error) {
        (Some(asked), _) => vec![
            Line::styled(
                scene.text(&format!("{}?", asked.command.describe())),
                theme.title,
            ),
            Line::from(vec![
                Span::styled("Enter", theme.key),
                Span::raw(" do it   "),
                Span::styled("Esc", theme.key),
                Span::raw(" back"),
            ]),
        ],
        (None, Some(error)) => vec![Line::styled(scene.text(error), theme.warning)],
        // Everything there is, as far as it fits.
        (None, None) if p.text.is_empty() => {
            let words: Vec<&str> = p.fitting().iter().map(|(words, _)| *words).collect();
            wrapped(&words, usize::from(inside.width))
                .into_iter()
                .map(|line| Line::styled(line, theme.plain))
                .collect()
        }
        (None, None) => p
            .fitting()
            .into_iter()
            .map(|(words, help)| {
                Line::from(vec![
                    Span::styled(format!("{words:<22} "), theme.key),
                    Span::styled(help, theme.plain),
                ])
            })
            .collect(),
    };
    if p.confirming.is_some() {
        // The question takes the line's place where there is room for one only.
        lines.truncate(rows + 1);
        frame.render_widget(Paragraph::new(lines), inside);
        return;
    }
    lines.truncate(rows);
    lines.resize(rows, Line::default());
    // The end of what is typed stays in sight.
    let typed = scene.text(&p.text);
    let room = usize::from(inside.width.saturating_sub(2));
    let hidden = typed.chars().count().saturating_sub(room);
    let typed: String = typed.chars().skip(hidden).collect();
    lines.push(Line::from(vec![
        Span::styled(format!(":{typed}"), theme.title),
        Span::styled(" ", theme.selected),
    ]));
    frame.render_widget(Paragraph::new(lines), inside);
}
