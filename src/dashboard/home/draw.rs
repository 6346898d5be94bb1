//! Draws the home screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};

use super::list::Home;
use super::{about, columns, form_draw};
use crate::config;
use crate::dashboard::app::Options;
use crate::dashboard::keymap;
use crate::dashboard::keys::Scope;
use crate::dashboard::layers::scroll::{INDENT, wrap};
use crate::dashboard::library::Listed;
use crate::dashboard::scene::SMALL;
use crate::run::table::plural;
use crate::text;

/// Scopes of the list's and the form's keys in the table.
pub const LIST: Scope = Scope::View("home");
pub const FORM: Scope = Scope::Layer("new run");

/// Heights of the screen, and the least lines of the box below the list from each height on.
const BOX: [(u16, u16); 3] = [(40, 5), (20, 4), (15, 2)];

/// Draws the screen.
pub fn draw(frame: &mut Frame<'_>, home: &Home<'_>) {
    let area = frame.area();
    let options = home.options;
    let tall = area.width >= SMALL.0 && area.height >= SMALL.1;
    let edge = if tall { 2 } else { 0 };
    let width = usize::from(area.width).saturating_sub(edge);
    let about = about::lines(home).into_iter();
    let mut about: Vec<Line<'_>> = about.flat_map(|line| wrap(line, width, INDENT)).collect();
    let needed = u16::try_from(about.len()).unwrap_or(u16::MAX);
    let height = match BOX.iter().find(|(rows, _)| tall && area.height >= *rows) {
        Some((_, lines)) => needed.clamp(*lines, area.height / 2) + 2,
        None => needed.min(area.height / 5),
    };
    let refusal = home
        .refusal
        .lines(area.width, &options.theme, options.glyphs);
    let foot = u16::try_from(refusal.len()).unwrap_or(u16::MAX).max(1);
    let [head, list, below, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(height),
        Constraint::Length(foot),
    ])
    .areas(area);

    let (title, lines) = entries(home, list, edge);
    let first = format!(" heirloom {}", env!("CARGO_PKG_VERSION"));
    let place = match tall {
        true => format!("  runs in {}", text::path(home.dir)),
        false => format!(" {title}"),
    };
    let head_line = Line::from(vec![
        Span::styled(first, options.theme.title),
        Span::styled(options.glyphs.text(&place), options.theme.dim),
    ]);
    frame.render_widget(head_line, head);
    frame.render_widget(panel(options, tall, title, lines), list);
    about.truncate(usize::from(height).saturating_sub(edge));
    let title = text::cut(&about::title(home), width.saturating_sub(2).max(3)).into_owned();
    frame.render_widget(panel(options, tall, format!(" {title} "), about), below);
    let scope = if home.form.is_some() { FORM } else { LIST };
    match refusal.is_empty() {
        true => footer(frame, options, scope, foot),
        false => frame.render_widget(Paragraph::new(refusal), foot),
    }
    if let Some(form) = &home.form {
        let over = Rect {
            height: area.height.saturating_sub(foot.height),
            ..area
        };
        form_draw::draw(frame, form, options, over);
    }
    options.theme.paint(frame.buffer_mut());
}

/// Returns the title of the list, and its visible lines.
fn entries<'a>(home: &Home<'_>, area: Rect, edge: usize) -> (String, Vec<Line<'a>>) {
    let (theme, glyphs) = (&home.options.theme, home.options.glyphs);
    let rows = usize::from(area.height).saturating_sub(edge);
    let width = usize::from(area.width).saturating_sub(edge);
    let runs = &home.library.runs;
    if runs.is_empty() {
        let presets = config::presets().iter().enumerate().map(|(i, p)| {
            let text = format!("{:<10} {}", p.name, glyphs.text(p.summary));
            marked(home, i, vec![Span::raw(text)])
        });
        home.sight.set((0, rows));
        let mut lines = vec![Line::styled("  Enter starts the marked preset:", theme.dim)];
        lines.extend(presets);
        return (" no runs yet ".into(), lines);
    }
    // Two columns on the left mark the selected entry.
    let layout = columns::Layout::of(runs, home.clock, width.saturating_sub(2));
    let heading = glyphs.text(&format!("  {}", layout.headings()));
    let mut lines = vec![Line::styled(heading, theme.dim)];
    let rows = rows.saturating_sub(1).max(1);
    let from = in_sight(home.sight.get().0, home.selected, rows, runs.len());
    home.sight.set((from, rows));
    for (i, run) in runs.iter().enumerate().skip(from).take(rows) {
        let [name, state, rest] = layout.cells(run, home.clock).map(|text| glyphs.text(&text));
        let state = Span::styled(state, style_of(home, run));
        lines.push(marked(
            home,
            i,
            vec![Span::raw(name), state, Span::raw(rest)],
        ));
    }
    let title = match rows < runs.len() {
        true => format!(
            " runs {}-{} of {} ",
            from + 1,
            from + lines.len() - 1,
            runs.len()
        ),
        false => format!(" {} ", plural(runs.len(), "run")),
    };
    (title, lines)
}

/// Returns the first visible entry: that of the last frame, moved as little as needed to show the selected one.
fn in_sight(from: usize, chosen: usize, rows: usize, all: usize) -> usize {
    let least = (chosen + 1).saturating_sub(rows);
    from.clamp(least, chosen.max(least))
        .min(all.saturating_sub(rows))
}

fn marked<'a>(home: &Home<'_>, i: usize, spans: Vec<Span<'a>>) -> Line<'a> {
    let theme = &home.options.theme;
    if i != home.selected {
        let spans = [vec![Span::raw("  ")], spans].concat();
        return Line::from(spans).style(theme.plain);
    }
    let plain = |span: Span<'a>| span.style(theme.selected);
    let spans = spans.into_iter().map(plain);
    let mut line = Line::from(Span::styled("> ", theme.selected));
    line.extend(spans);
    line
}

fn style_of(home: &Home<'_>, run: &Listed) -> Style {
    let theme = &home.options.theme;
    match run.row.as_ref().map(|row| row.state.as_str()) {
        Some("running" | "matched") => theme.good,
        Some("paused" | "crashed" | "failed" | "unreadable") => theme.warning,
        _ => theme.plain,
    }
}

fn panel<'a>(
    options: &Options,
    framed: bool,
    title: String,
    lines: Vec<Line<'a>>,
) -> Paragraph<'a> {
    let text = Paragraph::new(lines);
    if !framed {
        return text;
    }
    let title = Span::styled(options.glyphs.text(&title), options.theme.title);
    let block = Block::new()
        .borders(Borders::ALL)
        .border_set(options.glyphs.border())
        .border_style(options.theme.dim)
        .title(title);
    text.block(block)
}

/// Draws the keys of a scope that fit.
fn footer(frame: &mut Frame<'_>, options: &Options, scope: Scope, area: Rect) {
    let mut line = Line::default();
    let shown = keymap::bindings().filter(|b| b.scope == scope && !b.footer.is_empty());
    for binding in shown {
        let (key, what) = binding.footer();
        if line.width() + key.len() + what.len() + 2 > usize::from(area.width) {
            continue;
        }
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
    use crate::dashboard::home::list::Last;
    use crate::dashboard::message::Act;
    use crate::dashboard::tests::contrast::{Looks, cases};
    use crate::dashboard::theme::Theme;
    use crate::run::dir::RunDir;

    /// Returns frames of the home screen with a stopped run, without and with the question about it, and with the form.
    fn frames(options: &Options) -> Vec<Buffer> {
        let tmp = tempfile::tempdir().unwrap();
        let name = "a-name-that-is-longer-than-its-column";
        let dir = RunDir::create(tmp.path(), "tiny", Some(name)).unwrap();
        std::fs::write(dir.config(), "").unwrap();
        let mut home = Home::open(tmp.path(), options, Last::default(), &|_| Ok(())).unwrap();
        home.library.read_next();
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let mut frames = Vec::new();
        for act in [Act::Top, Act::Bottom, Act::Accept, Act::New] {
            home.act(act);
            terminal.draw(|frame| draw(frame, &home)).unwrap();
            frames.push(terminal.backend().buffer().clone());
        }
        home.refusal.show("cannot suspend".into());
        terminal.draw(|frame| draw(frame, &home)).unwrap();
        frames.push(terminal.backend().buffer().clone());
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
            ..super::super::tests::options()
        }
    }
}
