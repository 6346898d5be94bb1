//! The footer, with the views and the most important keys.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

use crate::dashboard::keys::{Binding, Scope};
use crate::dashboard::scene::{Scene, fitted};
use crate::dashboard::views;
use crate::run::state::Status;

/// Draws the views, and the keys of the present scopes.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, scopes: &[Scope], area: Rect) {
    let mut segments = match scopes.first() {
        // While a layer takes the keys, views cannot be changed.
        Some(Scope::Layer(_) | Scope::Confirm) => Vec::new(),
        _ => tabs(scene),
    };
    segments.extend(keys(scene, scopes));
    let mut line = fitted(segments, area.width);
    // The key is highlighted, its effect is not.
    let key = scene.theme.key;
    line.spans = line
        .spans
        .into_iter()
        .flat_map(|span| emphasised(span, key))
        .collect();
    frame.render_widget(line, area);
}

/// Returns the views with their keys, the present one highlighted.
fn tabs(scene: &Scene<'_>) -> Vec<(String, Style)> {
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

fn keys(scene: &Scene<'_>, scopes: &[Scope]) -> Vec<(String, Style)> {
    let facts = scene.facts;
    let locked = facts.read_only || scene.over() || facts.ended;
    // A layer that passes keys to the view shows only its own keys.
    let scopes = match scopes {
        [first @ Scope::Layer(_), ..] => std::slice::from_ref(first),
        _ => scopes,
    };
    let all = scene.tables.bindings.iter();
    let shown = all.filter(|b| !b.footer.is_empty() && scopes.contains(&b.scope));
    let mut shown: Vec<&Binding> = shown.filter(|b| !(b.control && locked)).collect();
    // Help and quit come first, then the keys of this place; in a layer, the keys that close it.
    let in_layer = matches!(scopes.first(), Some(Scope::Layer(_)));
    shown.sort_by_key(|b| match b.command {
        "help" | "leave" => 0,
        "accept" | "back" if in_layer => 0,
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
