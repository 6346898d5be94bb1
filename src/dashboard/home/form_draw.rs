//! Draws the form for a new run.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use super::form::{Field, Form, POLICIES};
use crate::config;
use crate::dashboard::app::Options;
use crate::dashboard::layers::input::visible_in;
use crate::dashboard::layers::scroll::{INDENT, wrap};
use crate::text::{argument, exact, sanitize};

/// Most columns and rows of the form.
const SIZE: (u16, u16) = (90, 20);
/// Columns of a field's name, with its mark.
const NAME: u16 = 10;

/// Draws the form in the middle of `area`.
pub fn draw(frame: &mut Frame<'_>, form: &Form, options: &Options, area: Rect) {
    let (width, height) = (area.width.min(SIZE.0), area.height.min(SIZE.1));
    let area = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let theme = &options.theme;
    let block = Block::new()
        .borders(Borders::ALL)
        .border_set(options.glyphs.border())
        .border_style(theme.key)
        .title(Span::styled(" new run ", theme.title));
    let inside = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);

    let mut lines = fields(form, options, inside.width);
    let command = command(form, options, inside.width);
    let rows = usize::from(inside.height).saturating_sub(lines.len());
    // The command is shown only without an error and if there is room.
    let (foot, rows) = match form.error.is_none() && rows > command.len() + 2 {
        true => (command, rows),
        false => (Vec::new(), rows),
    };
    let rows = rows.saturating_sub(foot.len());
    let about = about(form, options, usize::from(inside.width));
    let most = about.len().saturating_sub(rows);
    // The last row of a page is the hint below.
    form.shape.set((most, rows.saturating_sub(1)));
    let from = form.from.min(most);
    let mut about: Vec<Line<'_>> = about.into_iter().skip(from).take(rows).collect();
    about.resize(rows, Line::default());
    // A hint that more lines follow replaces the last visible line.
    if from < most
        && let Some(last) = about.last_mut()
    {
        let more = options
            .glyphs
            .text(&format!("… {} more: PgDn", most - from + 1));
        *last = Line::styled(more, theme.dim);
    }
    lines.extend(about);
    lines.extend(foot);
    frame.render_widget(Paragraph::new(lines), inside);
}

fn fields(form: &Form, options: &Options, width: u16) -> Vec<Line<'static>> {
    let theme = &options.theme;
    let room = width.saturating_sub(NAME);
    let field = |which, name, empty: &'static str| {
        let here = form.field == which;
        let mark = if here { "> " } else { "  " };
        let mut line = Line::from(Span::styled(
            format!("{mark}{name:<7} "),
            if here { theme.key } else { theme.plain },
        ));
        let input = match which {
            Field::Config => &form.config,
            Field::Name => &form.name,
            Field::Policy => {
                let words = POLICIES[form.policy].1;
                let style = if here { theme.selected } else { theme.plain };
                line.push_span(Span::styled(words, style));
                return line;
            }
        };
        match (here, input.value().is_empty()) {
            (true, _) => {
                line.extend(visible_in(theme, options.glyphs, input, room));
                if input.value().is_empty() {
                    line.push_span(Span::styled(format!(" {empty}"), theme.dim));
                }
            }
            (false, true) => line.push_span(Span::styled(empty, theme.dim)),
            (false, false) => {
                let text = options.glyphs.text(&sanitize(input.value()));
                line.push_span(Span::raw(text));
            }
        }
        line
    };
    vec![
        field(
            Field::Config,
            "config",
            "a preset, or the path of a .toml file",
        ),
        field(Field::Name, "name", "the preset's, with date and time"),
        field(Field::Policy, "policy", ""),
        Line::default(),
    ]
}

/// Returns the error, or else the completions of the word, or else the presets.
fn about(form: &Form, options: &Options, width: usize) -> Vec<Line<'static>> {
    let theme = &options.theme;
    let text = |text: &str| options.glyphs.text(&sanitize(text));
    let mut all = Vec::new();
    if let Some(error) = &form.error {
        for line in error.lines() {
            all.extend(wrap(Line::styled(text(line), theme.warning), width, INDENT));
        }
    } else if !form.candidates.is_empty() {
        for (i, word) in form.candidates.iter().enumerate() {
            let style = if form.taken == Some(i) {
                theme.selected
            } else {
                theme.plain
            };
            all.extend(wrap(Line::styled(text(word), style), width, INDENT));
        }
        // The completion that was used last is among the first.
        let from = form.taken.unwrap_or(0).saturating_sub(1);
        all.drain(..from.min(all.len()));
    } else {
        all.push(Line::styled("presets:", theme.dim));
        for preset in config::presets() {
            let line = format!("{:<7} {}", preset.name, preset.summary);
            all.extend(wrap(Line::styled(text(&line), theme.dim), width, INDENT));
        }
    }
    all
}

/// Returns the command that has the effect of Enter.
fn command(form: &Form, options: &Options, width: u16) -> Vec<Line<'static>> {
    let start = form.start();
    if start.config.is_empty() {
        return Vec::new();
    }
    let word = |text: &str| argument(&exact::to_path(text));
    let mut line = format!("Enter: heirloom train {}", word(&start.config));
    if let Some(name) = &start.name {
        line += &format!(" --name {}", word(name));
    }
    for set in start.overrides() {
        line += &format!(" --set {set}");
    }
    let line = Line::styled(options.glyphs.text(&line), options.theme.dim);
    wrap(line, usize::from(width), INDENT)
}
