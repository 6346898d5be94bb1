//! The two lines at the top: the run, its state, its progress, and its losses.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::dashboard::panels::figures::{self, Figure, fitted};
use crate::dashboard::panels::trouble;
use crate::dashboard::scene::Scene;
use crate::run::show;
use crate::text;

/// Least width at which the reason of a pause leaves room for the losses.
const ROOMY: u16 = 160;

/// Draws two lines, and the banner between them.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, banner: Vec<Line<'static>>, area: Rect) {
    frame.render_widget(fitted(&figures::of_state(scene), area.width), area);
    let between = Rect {
        y: area.y + 1,
        height: (banner.len() as u16).min(area.height.saturating_sub(1)),
        ..area
    };
    let second = Rect {
        y: between.bottom(),
        height: 1,
        ..area
    };
    let explained = !banner.is_empty();
    trouble::draw(frame, banner, between);
    if second.y < area.bottom() {
        let mut line = figures::of_losses(scene);
        // Shows the reason of a pause, unless the banner has it.
        if let Some(why) = show::pause(scene.run).filter(|_| !explained) {
            line.insert(0, reason(scene, why, area.width));
        }
        frame.render_widget(fitted(&line, area.width), second);
    }
}

/// Draws one line, in which state, step and validation loss come first.
pub fn short(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let mut line = figures::of_state(scene);
    for figure in &mut line {
        match figure.name {
            "run" => figure.rank = 3,
            "step" => figure.text = figure.text.replace("step ", ""),
            _ => {}
        }
    }
    let losses = figures::of_losses(scene).into_iter();
    line.extend(losses.filter(|f| f.name == "validation loss").map(|f| {
        // The mark of a best loss is left out.
        let text = f.text.split([' ']).take(2).collect::<Vec<_>>().join(" ");
        Figure { text, ..f }
    }));
    frame.render_widget(fitted(&line, area.width), area);
}

/// Returns the part of a pause's reason that fits; the log has the rest.
fn reason(scene: &Scene<'_>, why: &str, width: u16) -> Figure {
    let all = scene.text(&format!("because {why}"));
    let room = match width >= ROOMY {
        true => usize::from(width) / 2,
        false => usize::from(width.saturating_sub(1)),
    };
    let text = match text::width(&all) > room {
        true => scene.glyphs.fit(&all, room).trim_end().to_string(),
        false => all,
    };
    Figure {
        name: "paused",
        text,
        style: scene.theme.warning,
        rank: 0,
    }
}
