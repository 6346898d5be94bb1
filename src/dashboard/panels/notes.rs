//! Notes of events, in lines; and the strip of the latest ones.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::dashboard::scene::Scene;
use crate::run::state::{Level, Note};

/// The answer to the last key, or the latest events, newest last.
pub fn strip(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let mut rows = usize::from(area.height);
    let mut lines = Vec::new();
    if scene.ui.notice.is_some() {
        rows = rows.saturating_sub(1);
    }
    let notes = &scene.run.notes;
    for note in notes.iter().skip(notes.len().saturating_sub(rows)) {
        lines.push(note_line(scene, note));
    }
    // The newest note stands next to the footer, an answer below it.
    if let Some(notice) = &scene.ui.notice {
        let text = format!(" {}", scene.text(notice));
        lines.push(Line::styled(text, scene.theme.selected));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// A note in one line.
pub fn note_line(scene: &Scene<'_>, note: &Note) -> Line<'static> {
    Line::from(vec![
        Span::styled(note_place(scene, note), scene.theme.dim),
        Span::styled(note_text(scene, note), note_style(scene, note.level)),
    ])
}

/// When and at which step a note was made.
pub fn note_place(scene: &Scene<'_>, note: &Note) -> String {
    format!(" {}  step {}  ", clock(scene, note.t), note.step)
}

/// What a note says.
pub fn note_text(scene: &Scene<'_>, note: &Note) -> String {
    let mark = match note.level {
        Level::Warning | Level::Refused => "! ",
        Level::Info | Level::Good => "",
    };
    format!("{mark}{}", scene.text(&note.text))
}

/// How a note of a level looks.
pub fn note_style(scene: &Scene<'_>, level: Level) -> Style {
    match level {
        Level::Info => scene.theme.plain,
        Level::Good => scene.theme.good,
        Level::Warning | Level::Refused => scene.theme.warning,
    }
}

/// Local wall-clock time of a Unix time in milliseconds.
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
