//! The banner of a run in trouble: the trouble with its step, the run's reaction, and the keys of the remedies.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use crate::dashboard::layers::scroll::wrap;
use crate::dashboard::scene::Scene;
use crate::dashboard::ui::OVERVIEW;
use crate::run::trouble::{Help, Trouble};
use crate::text;

/// Returns the trouble of the run that is shown, even if its banner was dismissed.
pub fn of(scene: &Scene<'_>) -> Option<Trouble> {
    let silence = scene.clock.and_then(|now| scene.run.silence(now));
    Trouble::of(scene.run, silence, &|name| scene.facts.nearby.is_kept(name))
}

/// Returns the lines of the banner in `width` columns and at most `rows` rows; empty without trouble or after a dismissal.
pub fn banner(scene: &Scene<'_>, width: u16, rows: usize) -> Vec<Line<'static>> {
    let trouble = of(scene);
    let dismissed = scene.ui.dismissed.get();
    // The trouble is over, so the next one of this kind shows a banner again.
    if dismissed.is_some_and(|(kind, _)| trouble.as_ref().is_none_or(|t| t.kind != kind)) {
        scene.ui.dismissed.set(None);
    }
    let trouble = trouble.filter(|t| dismissed != Some((t.kind, t.id)));
    scene
        .ui
        .banner
        .set(trouble.as_ref().map(|t| (t.kind, t.id)));
    let Some(trouble) = trouble else {
        return Vec::new();
    };
    let style = style(scene);
    let width = usize::from(width);
    let mut parts = vec![format!(" ! {}", trouble.sentence())];
    parts.extend(keys(scene, &trouble));
    let mut lines = Vec::new();
    let mut last = String::new();
    for part in parts {
        let part = scene.text(&part);
        let more = text::width(&last) + 2 + text::width(&part);
        if !last.is_empty() && more <= width {
            last.push_str("  ");
            last.push_str(&part);
            continue;
        }
        if !last.is_empty() {
            lines.extend(wrap(Line::raw(std::mem::take(&mut last)), width, 3));
            last = format!("   {part}");
        } else {
            last = part;
        }
    }
    lines.extend(wrap(Line::raw(last), width, 3));
    let whole = lines.len() <= rows;
    lines.truncate(rows);
    let count = lines.len();
    let fill = |(i, line): (usize, Line<'static>)| {
        let mut text = line.to_string();
        if !whole && i + 1 == count {
            // The info layer has the complete text.
            let more = scene.text("… i all");
            let room = width.saturating_sub(text::width(&more) + 1);
            text = format!("{} {more}", scene.glyphs.fit(&text, room));
        }
        Line::styled(scene.glyphs.fit(&text, width), style)
    };
    lines.into_iter().enumerate().map(fill).collect()
}

/// Draws the lines of [`banner`].
pub fn draw(frame: &mut Frame<'_>, lines: Vec<Line<'static>>, area: Rect) {
    frame.render_widget(Paragraph::new(lines), area);
}

/// Returns all facts about the trouble, for the info layer.
pub fn lines(scene: &Scene<'_>) -> Vec<Line<'static>> {
    let Some(trouble) = of(scene) else {
        return Vec::new();
    };
    let warning = scene.theme.warning;
    let mut lines = vec![Line::styled(
        scene.text(&format!(" ! {}", trouble.sentence())),
        warning,
    )];
    let commands = trouble.commands(&scene.facts.argument);
    let commands = commands.iter().map(|c| scene.text(&format!("   {c}")));
    lines.extend(commands.map(|c| Line::styled(c, scene.theme.plain)));
    lines.push(Line::default());
    lines
}

fn style(scene: &Scene<'_>) -> Style {
    scene.theme.warning.add_modifier(Modifier::REVERSED)
}

/// Returns the remedies, each with its key. A screen that cannot command the run gets the way to control it.
fn keys(scene: &Scene<'_>, trouble: &Trouble) -> Vec<String> {
    let run = &scene.facts.argument;
    let locked = scene.facts.locked(scene.run).is_some();
    let key = |help: &Help| match help {
        Help::Resume => format!("heirloom train --resume {run}"),
        Help::NextBatch => "p next batch".into(),
        Help::RollBack(good) => format!("R roll back to {}", good.words()),
        Help::LowerRate(lr) => format!(":set lr {lr:.1e}"),
        Help::TryNow => "c try now".into(),
    };
    // The long remedy comes last, so that the short ones share a line.
    let is_long = |help: &&Help| matches!(help, Help::RollBack(_));
    let short = trouble.helps.iter().filter(|h| !is_long(h));
    let mut keys: Vec<String> = match (locked, &scene.facts.controller) {
        (false, _) => short.map(key).collect(),
        (true, Some(other)) => vec![format!("{other} has control")],
        (true, None) if trouble.helps == [Help::Resume] => vec![key(&Help::Resume)],
        (true, None) if scene.facts.replay.is_none() => vec![format!("heirloom attach {run}")],
        (true, None) => Vec::new(),
    };
    // In other views Esc leads back to the overview.
    if scene.ui.view == OVERVIEW {
        keys.push("Esc dismiss".into());
    }
    let long = trouble.helps.iter().filter(is_long);
    keys.extend(long.filter(|_| !locked).map(key));
    keys
}
