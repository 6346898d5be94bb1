//! Describes the selected run, and the effect of Enter on it.

use ratatui::style::Style;
use ratatui::text::Line;

use super::columns;
use super::list::Home;
use crate::config;
use crate::dashboard::library::OpenAs;
use crate::text::sanitize;

/// Returns the name of the selected run or preset.
pub fn title(home: &Home<'_>) -> String {
    home.run().map_or_else(
        || config::presets()[home.selected].name.into(),
        columns::name,
    )
}

/// Returns the effect of Enter, the equivalent command, and remarks for the operator, as lines that may have to be wrapped.
pub fn lines(home: &Home<'_>) -> Vec<Line<'static>> {
    let theme = &home.options.theme;
    let line =
        |text: &str, style: Style| Line::styled(home.options.glyphs.text(&sanitize(text)), style);
    let Some(run) = home.run() else {
        let preset = &config::presets()[home.selected];
        return vec![
            line(
                "Enter starts it; n names it, or starts a config",
                theme.plain,
            ),
            line(&format!("heirloom train {}", preset.name), theme.dim),
        ];
    };
    let path = run.dir.argument();
    let (words, command, style) = match run.open_as() {
        OpenAs::Attach => (
            "Enter attaches to it, w only watches it",
            "attach",
            theme.plain,
        ),
        OpenAs::Watch => ("Enter watches it", "watch", theme.plain),
        OpenAs::Resume if home.asked => (
            "Enter resumes it, w watches it, Esc back",
            "train --resume",
            theme.warning,
        ),
        OpenAs::Resume => (
            "Enter asks to resume it, w watches it",
            "train --resume",
            theme.plain,
        ),
    };
    let mut all = vec![line(words, style)];
    let row = run.row.as_ref();
    // The error comes first.
    let error = row.and_then(|row| row.error.as_ref());
    all.splice(0..0, error.map(|error| line(error, theme.warning)));
    all.push(line(&format!("heirloom {command} {path}"), theme.dim));
    let remarks = row.into_iter().flat_map(|row| &row.remarks);
    all.extend(remarks.map(|remark| line(remark, theme.plain)));
    all
}
