//! Formats notes of events as lines, and draws the strip of the latest ones.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::dashboard::layers::scroll::wrap;
use crate::dashboard::scene::Scene;
use crate::dashboard::widgets::thousands;
use crate::run::event::Phase;
use crate::run::state::{Level, MarkKind, Note};
use crate::text;

/// Draws the latest events, newest last, and below them the answer to the last key.
pub fn strip(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let width = usize::from(area.width);
    let rows = usize::from(area.height);
    let mut answer = answer(scene, width, rows);
    let left = rows.saturating_sub(answer.len());
    let notes = &scene.run.notes;
    let latest = notes.iter().skip(notes.len().saturating_sub(left));
    let mut lines: Vec<Line<'_>> = latest.map(|note| cut(scene, note, width)).collect();
    lines.append(&mut answer);
    frame.render_widget(Paragraph::new(lines), area);
}

/// Returns the notice in at most `rows` lines. A notice that does not fit ends with a mark; the info layer has all of it.
fn answer(scene: &Scene<'_>, width: usize, rows: usize) -> Vec<Line<'static>> {
    let Some(notice) = &scene.ui.notice else {
        return Vec::new();
    };
    let style = scene.theme.selected;
    let text = Line::styled(scene.text(&format!(" {notice}")), style);
    let mut lines = wrap(text, width, 1);
    if lines.len() > rows {
        lines.truncate(rows);
        if let Some(last) = lines.last_mut() {
            let more = scene.text("… i all");
            let room = width.saturating_sub(text::width(&more) + 1);
            let cut = scene.glyphs.fit(&last.to_string(), room);
            *last = Line::styled(format!("{cut} {more}"), style);
        }
    }
    lines
}

/// Returns a note in one line, with an ellipsis if it is cut; the log has the complete note.
fn cut(scene: &Scene<'_>, note: &Note, width: usize) -> Line<'static> {
    let place = note_place(scene, note);
    let room = width.saturating_sub(text::width(&place));
    let said = scene.glyphs.fit(&note_text(scene, note), room);
    Line::from(vec![
        Span::styled(place, scene.theme.dim),
        Span::styled(said.trim_end().to_string(), note_style(scene, note.level)),
    ])
}

/// Returns a note in one line.
pub fn note_line(scene: &Scene<'_>, note: &Note) -> Line<'static> {
    Line::from(vec![
        Span::styled(note_place(scene, note), scene.theme.dim),
        Span::styled(note_text(scene, note), note_style(scene, note.level)),
    ])
}

/// Returns the time, the phase and the phase's step of a note.
pub fn note_place(scene: &Scene<'_>, note: &Note) -> String {
    let starts = scene.run.live().marks.iter().rev();
    let start = starts
        .filter_map(|m| match &m.kind {
            MarkKind::Phase(phase) if m.step <= note.step => Some((phase, m.step)),
            _ => None,
        })
        .next();
    let (phase, step) = match start {
        Some((phase, began)) => (short(phase), note.step - began),
        None => (String::new(), note.step),
    };
    format!(" {}  {phase}{}  ", clock(scene, note.t), thousands(step))
}

/// Returns a phase's name in a few characters, followed by a blank.
fn short(phase: &Phase) -> String {
    match phase {
        Phase::Reference => "ref ".into(),
        Phase::Round(n) => format!("r{n} "),
        Phase::Control(control) => format!("{} ", control.tag),
        Phase::Baseline(_) => "base ".into(),
        Phase::Other(_) => "? ".into(),
    }
}

/// Returns the text of a note.
pub fn note_text(scene: &Scene<'_>, note: &Note) -> String {
    let mark = match note.level {
        Level::Warning | Level::Refused => "! ",
        Level::Info | Level::Good => "",
    };
    format!("{mark}{}", scene.text(&note.text))
}

/// Returns the style of a note's level.
pub fn note_style(scene: &Scene<'_>, level: Level) -> Style {
    match level {
        Level::Info => scene.theme.plain,
        Level::Good => scene.theme.good,
        Level::Warning | Level::Refused => scene.theme.warning,
    }
}

/// Formats a Unix time in milliseconds as local time of day.
fn clock(scene: &Scene<'_>, t: i64) -> String {
    Timestamp::from_millisecond(t).map_or_else(
        |_| "--:--:--".into(),
        |t| {
            t.to_zoned_datetime(scene.zone.clone())
                .strftime("%H:%M:%S")
                .to_string()
        },
    )
}
