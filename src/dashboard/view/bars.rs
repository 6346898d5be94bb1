//! The event strip and the footer.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::{Scene, fitted};
use crate::dashboard::keymap::{self, Binding, Scope};
use crate::dashboard::views;
use crate::run::state::{Level, Note, Status};

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

/// The views, and the keys that matter now.
pub fn footer(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let mut segments = tabs(scene);
    segments.extend(keys(scene));
    let mut line = fitted(segments, area.width);
    // The key itself stands out from what it does.
    let key = scene.theme.key;
    line.spans = line
        .spans
        .into_iter()
        .flat_map(|span| emphasised(span, key))
        .collect();
    frame.render_widget(line, area);
}

/// The views by their keys, the one that is shown standing out; none while a layer takes the keys.
fn tabs(scene: &Scene<'_>) -> Vec<(String, Style)> {
    if scene.ui.layers.top().is_some() {
        return Vec::new();
    }
    let tab = |view: &views::Row| {
        let style = match view.id == scene.ui.view {
            true => scene.theme.title,
            false => scene.theme.dim,
        };
        let key = view.keys.first().copied().unwrap_or_default();
        (format!("{key} {}", view.title), style)
    };
    views::all().map(tab).collect()
}

fn keys(scene: &Scene<'_>) -> Vec<(String, Style)> {
    let (ui, facts) = (scene.ui, scene.facts);
    let locked = facts.read_only || scene.over() || facts.ended;
    let scopes = keymap::scopes(ui, facts);
    // A layer that lets keys through shows its own alone.
    let scopes: Vec<Scope> = match scopes.first() {
        Some(first @ Scope::Layer(_)) => vec![*first],
        _ => scopes,
    };
    let shown = keymap::bindings().filter(|b| !b.footer.is_empty() && scopes.contains(&b.scope));
    let mut shown: Vec<Binding> = shown.filter(|b| !(b.needs_control() && locked)).collect();
    // The way to every other key and the way out, then what is particular to this place.
    shown.sort_by_key(|b| match b.command {
        "help" | "leave" => 0,
        _ if b.scope != Scope::Global => 1,
        _ => 2,
    });
    shown
        .into_iter()
        .map(|b| {
            let playing = facts.replay.as_ref().is_some_and(|r| r.playing);
            let (key, what) = b.footer();
            let what = match b.command {
                "play" if playing => "pause",
                "pause-resume" if scene.run.core.status == Status::Paused => "resume",
                _ => what,
            };
            (format!("{key} {what}"), scene.theme.dim)
        })
        .collect()
}

fn emphasised(span: Span<'static>, key: Style) -> Vec<Span<'static>> {
    let text = span.content.to_string();
    match text.rsplit_once(' ') {
        Some((name, what)) if !name.trim().is_empty() => vec![
            Span::styled(name.to_string(), key),
            Span::styled(format!(" {what}"), span.style),
        ],
        _ => vec![span],
    }
}
