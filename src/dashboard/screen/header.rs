//! The two lines on top: which run, what it does, how far it is, and its losses.

use ratatui::Frame;
use ratatui::layout::Rect;

use crate::dashboard::panels::figures::{self, Figure, fitted};
use crate::dashboard::scene::Scene;
use crate::run::show;
use crate::text;

/// From this width on the reason of a pause leaves room for the losses.
const ROOMY: u16 = 160;

/// Two lines.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    frame.render_widget(fitted(&figures::of_state(scene), area.width), area);
    let second = Rect {
        y: area.y + 1,
        height: 1,
        ..area
    };
    if area.height > 1 {
        let mut line = figures::of_losses(scene);
        // A run that stands still has a reason.
        if let Some(why) = show::pause(scene.run) {
            line.insert(0, reason(scene, why, area.width));
        }
        frame.render_widget(fitted(&line, area.width), second);
    }
}

/// One line.
pub fn short(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    frame.render_widget(fitted(&figures::of_state(scene), area.width), area);
}

/// As much of the reason of a pause as fits; the log has the rest.
fn reason(scene: &Scene<'_>, why: &str, width: u16) -> Figure {
    let all = scene.text(&format!("because {why}"));
    let room = match width >= ROOMY {
        true => usize::from(width) / 2,
        false => usize::from(width.saturating_sub(1)),
    };
    let text = match text::width(&all) > room {
        true => text::fit(&all, room).trim_end().to_string(),
        false => all,
    };
    Figure {
        name: "paused",
        text,
        style: scene.theme.warning,
        rank: 0,
    }
}
