//! The table of a finished run.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use crate::dashboard::scene::Scene;
use crate::run::state::Status;
use crate::run::table;

/// Returns the rows that the table needs, at most `room`, frame included.
pub fn height(scene: &Scene<'_>, room: u16) -> u16 {
    let rows = text(scene, room).lines().count() + 2;
    u16::try_from(rows).unwrap_or(u16::MAX)
}

/// Returns the table, with its legend if it fits into `height` rows, frame included.
fn text(scene: &Scene<'_>, height: u16) -> String {
    let text = table::text(scene.run);
    match text.lines().count() + 2 > usize::from(height) {
        true => table::brief(scene.run),
        false => text,
    }
}

/// Draws the table and the outcome. If they do not fit, the legend between them is left out first, then the last rows.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let room = usize::from(area.height.saturating_sub(2));
    let text = text(scene, area.height);
    let mut lines: Vec<&str> = text.lines().collect();
    while lines.len() > room && lines.len() > 1 {
        let above_outcome = lines.len() - 2;
        lines.remove(above_outcome);
    }
    let failed = scene.run.core.status == Status::Failed;
    let style = if failed {
        scene.theme.warning
    } else {
        scene.theme.good
    };
    let last = lines.len().saturating_sub(1);
    let styled = lines.into_iter().enumerate().map(|(i, line)| {
        let style = match i {
            0 => scene.theme.title,
            i if i == last => style,
            _ => scene.theme.plain,
        };
        Line::styled(line.to_string(), style)
    });
    let lines: Vec<Line<'_>> = styled.collect();
    frame.render_widget(
        Paragraph::new(lines).block(scene.panel(" result ".into())),
        area,
    );
}
