//! The event strip and the footer.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::{Scene, fitted};
use crate::dashboard::keys::{self, Action};
use crate::dashboard::replay::Steer;
use crate::dashboard::update::Prompt;
use crate::run::state::{Level, Status};

/// The answer to the last key, or the latest events, newest last.
pub fn strip(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let mut rows = usize::from(area.height);
    let mut lines = Vec::new();
    if let Some(notice) = &scene.ui.notice {
        rows = rows.saturating_sub(1);
        lines.push(Line::styled(
            format!(" {}", scene.text(notice)),
            scene.theme.selected,
        ));
    }
    let notes = &scene.run.notes;
    for note in notes.iter().skip(notes.len().saturating_sub(rows)) {
        let style = match note.level {
            Level::Info => scene.theme.plain,
            Level::Good => scene.theme.good,
            Level::Warning | Level::Refused => scene.theme.warning,
        };
        let mark = match note.level {
            Level::Warning | Level::Refused => "! ",
            Level::Info | Level::Good => "",
        };
        let text = format!("{mark}{}", scene.text(&note.text));
        let place = format!(" {}  step {}  ", clock(scene, note.t), note.step);
        lines.push(Line::from(vec![
            Span::styled(place, scene.theme.dim),
            Span::styled(text, style),
        ]));
    }
    // The newest note stands next to the footer, an answer below it.
    if scene.ui.notice.is_some() {
        lines.rotate_left(1);
    }
    frame.render_widget(Paragraph::new(lines), area);
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

/// The keys that matter now.
pub fn footer(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let ui = scene.ui;
    let keys: Vec<(&str, &str)> = match &ui.prompt {
        Some(Prompt::Decision(p)) if p.confirming => vec![("Enter", "do it"), ("Esc", "back")],
        Some(Prompt::Decision(_)) => vec![
            ("Up Down", "choose"),
            ("+ -", "amount"),
            ("m", "mode"),
            ("r", "refresh"),
            ("Enter", "confirm"),
            ("Esc", "close"),
        ],
        Some(Prompt::Leave(_)) => vec![("Up Down", "choose"), ("Enter", "do it"), ("Esc", "stay")],
        Some(Prompt::Line(p)) if p.confirming.is_some() => {
            vec![("Enter", "do it"), ("Esc", "back")]
        }
        Some(Prompt::Line(_)) => {
            vec![("Tab", "complete"), ("Enter", "go"), ("Esc", "close")]
        }
        None => {
            let locked = ui.read_only || scene.over() || ui.ended;
            let shown = keys::BINDINGS.iter().filter(|b| !b.short.is_empty());
            shown
                .filter(|b| !(b.control && locked) && b.place.is_here(ui.replay.is_some()))
                .map(|b| match b.action {
                    Action::Steer(Steer::PlayPause)
                        if ui.replay.as_ref().is_some_and(|r| r.playing) =>
                    {
                        (b.label, "pause")
                    }
                    Action::PauseResume if scene.run.core.status == Status::Paused => {
                        (b.label, "resume")
                    }
                    _ => (b.label, b.short),
                })
                .collect()
        }
    };
    let segments: Vec<(String, Style)> = keys
        .into_iter()
        .map(|(key, what)| (format!("{key} {what}"), scene.theme.dim))
        .collect();
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
