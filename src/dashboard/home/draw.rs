//! What the home screen looks like.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};

use super::list::Home;
use crate::config;
use crate::dashboard::app::Options;
use crate::dashboard::keymap;
use crate::dashboard::keys::Scope;
use crate::dashboard::library::Way;
use crate::text::{self, sanitize};

/// Where its keys stand in the table.
pub const SCOPE: Scope = Scope::View("home");

/// Draws the whole screen.
pub fn draw(frame: &mut Frame<'_>, home: &Home<'_>, options: &Options) {
    let area = frame.area();
    let presets = config::presets();
    let tall = area.height >= 15;
    let [head, top, below, about, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(if tall {
            presets.len() as u16 + 2
        } else {
            presets.len() as u16
        }),
        Constraint::Fill(1),
        Constraint::Length(if tall { 4 } else { 0 }),
        Constraint::Length(1),
    ])
    .areas(area);
    let theme = &options.theme;
    let title = format!(" heirloom {}", env!("CARGO_PKG_VERSION"));
    frame.render_widget(Line::styled(title, theme.title), head);
    let marked = |i: usize, text: String| {
        let (mark, style) = if i == home.selected {
            ("> ", theme.selected)
        } else {
            ("  ", theme.plain)
        };
        Line::styled(format!("{mark}{text} "), style)
    };
    let starts = presets.iter().enumerate();
    let starts = starts.map(|(i, p)| {
        marked(
            i,
            format!("{:<10} {}", p.name, options.glyphs.text(p.summary)),
        )
    });
    let starts: Vec<Line<'_>> = starts.collect();
    frame.render_widget(panel(options, tall, " start a preset ", starts), top);

    let rows = usize::from(below.height).saturating_sub(if tall { 2 } else { 0 });
    let chosen = home.selected.checked_sub(presets.len());
    // The chosen run stays in sight.
    let from = chosen.map_or(0, |c| (c + 1).saturating_sub(rows));
    let mut lines = Vec::new();
    for (i, run) in home.library.runs.iter().enumerate().skip(from).take(rows) {
        let name = options.glyphs.fit(&sanitize(&run.dir.name()), 25);
        let text = match &run.row {
            None => format!("{name} ..."),
            // 76 columns, the narrowest screen's.
            Some(r) => format!(
                "{} {:<12.12} {:<17.17} {:>2}L {:>6.6} {:>7.7}",
                name, r.state, r.phase, r.layers, r.val, r.gap
            ),
        };
        lines.push(marked(presets.len() + i, text));
    }
    if home.library.runs.is_empty() {
        lines.push(Line::styled("  none yet", theme.dim));
    }
    frame.render_widget(
        panel(
            options,
            tall,
            " open a run: state, phase, layers, val loss, gap ",
            lines,
        ),
        below,
    );
    frame.render_widget(
        panel(options, tall, " Enter ", vec![described(home, options)]).wrap(Wrap { trim: true }),
        about,
    );
    footer(frame, options, foot);
    options.theme.paint(frame.buffer_mut());
}

fn panel<'a>(
    options: &Options,
    framed: bool,
    title: &'a str,
    lines: Vec<Line<'a>>,
) -> Paragraph<'a> {
    let text = Paragraph::new(lines);
    if !framed {
        return text;
    }
    let block = Block::new()
        .borders(Borders::ALL)
        .border_set(options.glyphs.border());
    let block = block
        .border_style(options.theme.dim)
        .title(Span::styled(title, options.theme.title));
    text.block(block)
}

/// The command that Enter stands for, or the question it asks.
fn described<'a>(home: &Home<'_>, options: &Options) -> Line<'a> {
    let Some(run) = home.run() else {
        let preset = &config::presets()[home.selected];
        let text = format!(" heirloom train {}", preset.name);
        return Line::styled(options.glyphs.text(&text), options.theme.dim);
    };
    let path = text::argument(run.dir.path());
    let (text, style) = match run.way() {
        Way::Attach => (format!("heirloom attach {path}"), options.theme.dim),
        Way::Watch => (format!("heirloom watch {path}"), options.theme.dim),
        Way::Resume if home.asked => (
            format!("Enter resumes it, w watches it, Esc back: heirloom train --resume {path}"),
            options.theme.warning,
        ),
        Way::Resume => (format!("heirloom train --resume {path}"), options.theme.dim),
    };
    Line::styled(options.glyphs.text(&format!(" {text}")), style)
}

fn footer(frame: &mut Frame<'_>, options: &Options, area: Rect) {
    let mut line = Line::default();
    let shown = keymap::bindings().filter(|b| b.scope == SCOPE && !b.footer.is_empty());
    for binding in shown {
        let (key, what) = binding.footer();
        line.push_span(Span::styled(format!(" {key}"), options.theme.key));
        line.push_span(Span::styled(format!(" {what} "), options.theme.dim));
    }
    frame.render_widget(line, area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;

    use super::*;
    use crate::dashboard::glyphs::Glyphs;
    use crate::dashboard::message::Act;
    use crate::dashboard::tests::contrast::{Looks, cases};
    use crate::dashboard::theme::Theme;
    use crate::run::dir::RunDir;

    /// Frames of the home screen with a run that is stopped, without and with the question about it.
    fn frames(options: &Options) -> Vec<Buffer> {
        let tmp = tempfile::tempdir().unwrap();
        let name = "a-name-that-is-longer-than-its-column";
        let dir = RunDir::create(tmp.path(), "tiny", Some(name)).unwrap();
        std::fs::write(dir.config(), "").unwrap();
        let mut home = Home::open(tmp.path(), options).unwrap();
        home.library.read_next();
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let mut frames = Vec::new();
        for act in [Act::Top, Act::Bottom, Act::Accept] {
            home.act(act);
            terminal.draw(|frame| draw(frame, &home, options)).unwrap();
            frames.push(terminal.backend().buffer().clone());
        }
        frames
    }

    #[test]
    fn the_home_screen_is_legible_in_every_theme() {
        for case in cases() {
            let mut looks = Looks::default();
            for frame in frames(&options(case.theme, Glyphs::Braille)) {
                looks.add("home", &frame);
            }
            looks.check(&case);
        }
    }

    #[test]
    fn the_home_screen_without_utf8_is_ascii() {
        for frame in frames(&options(Theme::mono(), Glyphs::Ascii)) {
            let mut cells = frame.content().iter();
            assert!(cells.all(|c| c.symbol().is_ascii()), "{frame:?}");
        }
    }

    fn options(theme: Theme, glyphs: Glyphs) -> Options {
        Options {
            theme,
            glyphs,
            title: String::new(),
            log: None,
            dir: None,
            verify: |_, _| Ok(()),
        }
    }
}
