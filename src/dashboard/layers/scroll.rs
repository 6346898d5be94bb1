//! A scrollable panel of lines over the middle of the screen, used by the help and the figures.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use crate::dashboard::message::Act;
use crate::dashboard::scene::Scene;
pub use crate::dashboard::scroll::Scroll;
use crate::text;

/// Draws the lines in the middle of `area`, as wide as the widest line if there is room, wrapped otherwise. The frame shows
/// `name` and `closing`, the keys that close the panel.
pub fn draw(
    scroll: &Scroll,
    frame: &mut Frame<'_>,
    scene: &Scene<'_>,
    area: Rect,
    (name, closing): (&str, &str),
    lines: Vec<Line<'_>>,
) {
    let widest = lines.iter().map(Line::width).max().unwrap_or(0) + 3;
    let width = u16::try_from(widest).unwrap_or(u16::MAX).min(area.width);
    let room = usize::from(width.saturating_sub(2));
    let lines: Vec<Line<'_>> = lines
        .into_iter()
        .flat_map(|l| wrap(l, room, INDENT))
        .collect();
    let height = u16::try_from(lines.len() + 2)
        .unwrap_or(u16::MAX)
        .min(area.height);
    let inside = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let rows = usize::from(height.saturating_sub(2));
    let (shown, more) = scroll.visible(lines, rows);
    let more = if more { "j scrolls · " } else { "" };
    let title = scene.text(&format!(" {name} · {more}{closing} closes "));
    let block = scene.panel(title).title_style(scene.theme.title);
    frame.render_widget(Clear, inside);
    frame.render_widget(Paragraph::new(shown).block(block), inside);
}

/// Marks in the lower edge of a panel that more lines follow below.
pub fn note_more(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    if area.width >= 40 {
        let note = Line::styled(" PgDn more ", scene.theme.key).right_aligned();
        let last = Rect {
            y: area.bottom().saturating_sub(1),
            height: 1,
            width: area.width.saturating_sub(2),
            ..area
        };
        frame.render_widget(note, last);
    }
}

/// Moves the selection in a list of `entries` by ten, or to an end.
pub fn page(selected: usize, entries: usize, act: Act) -> Option<usize> {
    let last = entries.saturating_sub(1);
    match act {
        Act::PageUp => Some(selected.saturating_sub(10)),
        Act::PageDown => Some((selected + 10).min(last)),
        Act::Top => Some(0),
        Act::Bottom => Some(last),
        _ => None,
    }
}

/// Indentation of the continuation of a wrapped entry.
pub const INDENT: usize = 2;

/// Breaks a line into lines of at most `width` columns: at blanks, and inside words that are longer. All but the first are
/// indented.
pub fn wrap(line: Line<'_>, width: usize, indent: usize) -> Vec<Line<'static>> {
    let base = line.style;
    let cells: Vec<(char, Style)> = line
        .spans
        .iter()
        .flat_map(|s| s.content.chars().map(|c| (c, base.patch(s.style))))
        .collect();
    let mut lines = Vec::new();
    let mut at = 0;
    loop {
        let indent = if at == 0 { 0 } else { indent.min(width / 2) };
        let room = width.saturating_sub(indent).max(1);
        let mut end = at;
        let mut used = 0;
        while let Some((c, _)) = cells.get(end) {
            used += text::width(&c.to_string());
            if used > room && end > at {
                break;
            }
            end += 1;
        }
        let mut next = end;
        if end < cells.len() {
            let blank = cells[at..end].iter().rposition(|(c, _)| *c == ' ');
            // A line is not broken at the blanks that it begins with.
            let word = cells[at..end].iter().position(|(c, _)| *c != ' ');
            if let Some(blank) = blank.filter(|b| word.is_some_and(|w| w < *b))
                && cells[end].0 != ' '
            {
                (end, next) = (at + blank, at + blank + 1);
            }
            while cells.get(next).is_some_and(|(c, _)| *c == ' ') {
                next += 1;
            }
        }
        let mut spans = vec![Span::raw(" ".repeat(indent))];
        for part in cells[at..end].chunk_by(|a, b| a.1 == b.1) {
            let text: String = part.iter().map(|(c, _)| *c).collect();
            spans.push(Span::styled(text, part[0].1));
        }
        lines.push(Line::from(spans));
        if next >= cells.len() {
            return lines;
        }
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use ratatui::style::Modifier;

    use super::*;

    #[test]
    fn a_line_is_broken_at_blanks_and_keeps_its_words_and_styles() {
        let key = Style::new().add_modifier(Modifier::BOLD);
        let line = || {
            Line::from(vec![
                Span::styled(" key  ", key),
                Span::raw("one two three"),
            ])
        };
        let text = |width| -> Vec<String> {
            let lines = wrap(line(), width, INDENT);
            lines.iter().map(Line::to_string).collect()
        };
        assert_eq!(text(40), [" key  one two three"]);
        assert_eq!(text(13), [" key  one two", "  three"]);
        assert_eq!(text(10), [" key  one", "  two", "  three"]);
        assert_eq!(
            text(4),
            [" key", "  on", "  e", "  tw", "  o", "  th", "  re", "  e"]
        );
        assert_eq!(wrap(line(), 13, 0)[0].spans[1].style, key);
        for width in 0..3 {
            assert!(wrap(line(), width, 0).len() > 5);
        }
        assert_eq!(wrap(Line::default(), 5, 0).len(), 1);
    }
}
