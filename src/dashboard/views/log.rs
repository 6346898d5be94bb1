//! The log: all notes with their times and steps, a search, wrapping, and warnings pinned at the top.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::view::Row;
use crate::dashboard::keys::Differs;
use crate::dashboard::log_view::{is_warning, numbered};
use crate::dashboard::message::Act;
use crate::dashboard::panels::notes;
use crate::dashboard::scene::Scene;
use crate::dashboard::ui::{Context, LOG};
use crate::run::state::Note;
use crate::text::{self, sanitize};

pub const ROW: Row = Row {
    id: LOG,
    title: "Log",
    keys: &["4"],
    command: "view log",
    help: "the events, with search; warnings pinned",
    chart: false,
    differs: Differs::Appears("events ·"),
    draw,
    draw_small: draw,
    act,
};

/// Most warnings that are pinned above the events.
const PINNED: usize = 3;

fn act(context: &mut Context<'_>, act: Act) {
    let (log, run) = (&mut context.ui.log, context.run);
    let page = log.rows.get().max(2) as isize - 1;
    match act {
        Act::Previous => log.scroll(run, -1),
        Act::Next => log.scroll(run, 1),
        Act::PageUp => log.scroll(run, -page),
        Act::PageDown => log.scroll(run, page),
        Act::Top => log.scroll(run, isize::MIN / 2),
        Act::Bottom => (log.bottom, log.found) = (None, None),
        Act::NextMatch | Act::PreviousMatch => {
            log.find(run, act == Act::PreviousMatch);
            if log.search.is_empty() {
                context.ui.notice = Some("no search yet: press / first".into());
            } else if log.found.is_none() {
                context.ui.notice = Some(format!("{:?} is not in the log", log.search));
            }
        }
        Act::Copy => copy(context),
        Act::Wrap => log.cut = !log.cut,
        Act::Warnings => {
            log.warnings = !log.warnings;
            (log.bottom, log.found) = (None, None);
        }
        Act::Back => (log.search, log.found) = (String::new(), None),
        _ => {}
    }
}

/// Copies the note that the search has found, else the one at the bottom.
fn copy(context: &mut Context<'_>) {
    let (log, run) = (&context.ui.log, context.run);
    let shown = numbered(run).filter(|(_, n)| log.shows(n));
    let wanted = log.found.or(log.bottom);
    let note = match wanted {
        Some(number) => shown.filter(|(n, _)| *n <= number).last(),
        None => shown.last(),
    };
    if let Some((_, note)) = note {
        context.ui.copy = Some(sanitize(&note.text).into_owned());
        context.ui.notice = Some("copied to the terminal's clipboard".into());
    }
}

/// Draws pinned warnings, and below them the notes, newest last.
fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let log = &scene.ui.log;
    let block = scene
        .panel(scene.text(&title(scene)))
        .title_bottom(Span::styled(place(scene), scene.theme.dim));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let pinned: Vec<&Note> = match log.warnings || inside.height < 12 {
        true => Vec::new(),
        false => {
            let all = scene.run.notes.iter().rev().filter(|n| is_warning(n));
            all.take(PINNED).collect()
        }
    };
    let top = pinned.len() as u16 + u16::from(!pinned.is_empty());
    let [above, below] =
        Layout::vertical([Constraint::Length(top), Constraint::Fill(1)]).areas(inside);
    if !pinned.is_empty() {
        let mut lines: Vec<Line<'_>> = pinned
            .into_iter()
            .rev()
            .map(|note| notes::note_line(scene, note))
            .collect();
        let rule = if scene.glyphs.dots() == (1, 1) {
            "-"
        } else {
            "─"
        };
        let rule = rule.repeat(usize::from(inside.width));
        lines.push(Line::styled(rule, scene.theme.dim));
        frame.render_widget(Paragraph::new(lines), above);
    }
    log.rows.set(usize::from(below.height));
    let lines = notes(scene, usize::from(below.width), usize::from(below.height));
    frame.render_widget(Paragraph::new(lines), below);
}

fn title(scene: &Scene<'_>) -> String {
    let log = &scene.ui.log;
    let mut title = " events ·".to_string();
    title.push_str(if log.bottom.is_none() {
        " newest last"
    } else {
        " G follows"
    });
    if log.warnings {
        title.push_str(" · warnings alone");
    }
    if log.cut {
        title.push_str(" · long lines cut");
    }
    if !log.search.is_empty() {
        title.push_str(&format!(" · /{}", log.search));
    }
    title + " "
}

/// Returns `120-160 of 800, 12 found`.
fn place(scene: &Scene<'_>) -> String {
    let log = &scene.ui.log;
    let numbers = log.numbers(scene.run);
    let at = log
        .bottom
        .map_or(numbers.len(), |n| numbers.partition_point(|&m| m < n) + 1);
    let gone = match scene.run.notes_gone {
        0 => String::new(),
        n => format!(", {n} older ones only in events.jsonl"),
    };
    let found = match log.search.is_empty() {
        true => String::new(),
        false => {
            let hits = numbered(scene.run).filter(|(_, n)| log.shows(n) && log.matches(n));
            format!(", {} found", hits.count())
        }
    };
    format!(" {at} of {}{found}{gone} ", numbers.len())
}

/// Returns the lines that fit and end with the note at the bottom.
fn notes(scene: &Scene<'_>, width: usize, rows: usize) -> Vec<Line<'static>> {
    let log = &scene.ui.log;
    let mut lines: Vec<Line<'static>> = Vec::new();
    for (number, note) in numbered(scene.run).rev() {
        if lines.len() >= rows {
            break;
        }
        if !log.shows(note) || log.bottom.is_some_and(|bottom| number > bottom) {
            continue;
        }
        let found = log.found == Some(number);
        let mut of_note = wrapped(scene, note, width, log.cut, found);
        of_note.reverse();
        lines.extend(of_note);
    }
    lines.truncate(rows);
    lines.reverse();
    if lines.is_empty() {
        let text = if log.warnings {
            " no warning so far"
        } else {
            " no event so far"
        };
        lines.push(Line::styled(text, scene.theme.dim));
    }
    lines
}

/// Wraps a note into rows; later rows begin below the text.
fn wrapped(
    scene: &Scene<'_>,
    note: &Note,
    width: usize,
    cut: bool,
    found: bool,
) -> Vec<Line<'static>> {
    let place = notes::note_place(scene, note);
    let indent = text::width(&place);
    let style = match found {
        true => scene.theme.selected,
        false => notes::note_style(scene, note.level),
    };
    let body = notes::note_text(scene, note);
    let room = width.saturating_sub(indent).max(8);
    let parts = match cut {
        true => vec![scene.glyphs.fit(&body, room).trim_end().to_string()],
        false => fill(&body, room),
    };
    let line = |(i, part): (usize, String)| {
        let start = match i {
            0 => place.clone(),
            _ => " ".repeat(indent),
        };
        let mut spans = vec![Span::styled(start, scene.theme.dim)];
        spans.extend(highlighted(
            &part,
            &scene.ui.log.search,
            style,
            scene.theme.key,
        ));
        Line::from(spans)
    };
    parts.into_iter().enumerate().map(line).collect()
}

/// Wraps text into rows of at most `width` columns, at blanks if possible.
fn fill(body: &str, width: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut used = 0;
    for word in body.split_inclusive(' ') {
        let long = text::width(word);
        if used + text::width(word.trim_end()) > width && used > 0 {
            rows.push(String::new());
            used = 0;
        }
        if long > width {
            for c in word.chars() {
                let w = text::width(c.encode_utf8(&mut [0; 4]));
                if used + w > width {
                    rows.push(String::new());
                    used = 0;
                }
                if let Some(row) = rows.last_mut() {
                    row.push(c);
                }
                used += w;
            }
            continue;
        }
        if let Some(row) = rows.last_mut() {
            row.push_str(word);
        }
        used += long;
    }
    rows
}

/// Returns the text with the search text highlighted.
fn highlighted(part: &str, search: &str, style: Style, hit: Style) -> Vec<Span<'static>> {
    let lower = part.to_lowercase();
    let same_length = lower.len() == part.len();
    match lower
        .find(search)
        .filter(|_| same_length && !search.is_empty())
    {
        Some(at) if part.is_char_boundary(at) && part.is_char_boundary(at + search.len()) => vec![
            Span::styled(part[..at].to_string(), style),
            Span::styled(part[at..at + search.len()].to_string(), style.patch(hit)),
            Span::styled(part[at + search.len()..].to_string(), style),
        ],
        _ => vec![Span::styled(part.to_string(), style)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_blanks_and_inside_words_that_are_too_long() {
        assert_eq!(fill("one two three", 8), ["one two ", "three"]);
        assert_eq!(fill("abcdefghij kl", 4), ["abcd", "efgh", "ij ", "kl"]);
        assert_eq!(fill("", 4), [""]);
    }
}
