//! The home screen: presets to start, runs to open.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};

use super::Options;
use super::commands;
use super::event_loop::{self, Screen};
use super::keymap::{self, Found, Scope};
use super::library::Library;
use super::message::Act;
use super::terminal::{Input, Terminal};
use crate::config;
use crate::text::{self, sanitize};

/// How long input is waited for when all runs have been read; then they are listed again.
const REST: Duration = Duration::from_secs(1);

/// Where its keys stand in the table.
const SCOPE: Scope = Scope::View("home");

/// What the operator chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Train this preset.
    Preset(String),
    /// Open this run.
    Run(PathBuf),
    Quit,
}

/// What the screen shows: presets first, then runs, the newest first.
struct Home<'a> {
    dir: &'a Path,
    options: &'a Options,
    library: Library,
    selected: usize,
    /// Keys of a sequence so far.
    prefix: Option<String>,
    listed: Instant,
    dirty: bool,
}

/// Shows the home screen until something is chosen.
///
/// # Errors
/// When there is no terminal or the runs directory cannot be read.
pub fn run(runs: &Path, options: &Options) -> Result<Choice> {
    let mut home = Home::open(runs, options)?;
    let mut terminal = Terminal::enter().context("the home screen needs a terminal")?;
    event_loop::drive(&mut home, &mut terminal)
}

impl<'a> Home<'a> {
    fn open(dir: &'a Path, options: &'a Options) -> Result<Self> {
        Ok(Self {
            dir,
            options,
            library: Library::open(dir)?,
            selected: 0,
            prefix: None,
            listed: Instant::now(),
            dirty: true,
        })
    }

    fn len(&self) -> usize {
        config::presets().len() + self.library.runs.len()
    }

    /// Takes a newer list; the choice stays on its run. False when all is as it was.
    fn refresh(&mut self, newer: Library) -> bool {
        let presets = config::presets().len();
        let chosen = self.selected.checked_sub(presets);
        let chosen = chosen.map(|i| self.library.runs[i].dir.clone());
        if !self.library.refresh(newer) {
            return false;
        }
        if let Some(dir) = chosen {
            let mut runs = self.library.runs.iter();
            let place = runs.position(|run| run.dir == dir);
            self.selected = presets + place.unwrap_or(0);
            self.selected = self.selected.min(self.len() - 1);
        }
        true
    }

    fn act(&mut self, act: Act) -> Option<Choice> {
        let last = self.len() - 1;
        match act {
            Act::Back => return Some(Choice::Quit),
            Act::Previous => self.selected = self.selected.saturating_sub(1),
            Act::Next => self.selected = (self.selected + 1).min(last),
            Act::Top => self.selected = 0,
            Act::Bottom => self.selected = last,
            Act::Accept => {
                let presets = config::presets();
                return Some(match presets.get(self.selected) {
                    Some(preset) => Choice::Preset(preset.name.into()),
                    None => {
                        let run = &self.library.runs[self.selected - presets.len()];
                        Choice::Run(run.dir.path().into())
                    }
                });
            }
            _ => {}
        }
        None
    }
}

impl Screen for Home<'_> {
    type Out = Choice;

    /// One run a turn is read, so that keys are answered while a long journal is.
    fn turn(&mut self, now: Instant) -> Result<Option<Choice>> {
        if self.library.read_next() {
            self.dirty = true;
        } else if now.duration_since(self.listed) >= REST {
            self.listed = now;
            self.dirty |= self.refresh(Library::open(self.dir)?);
        }
        Ok(None)
    }

    fn wait(&self) -> Duration {
        match self.library.is_read() {
            true => REST,
            false => Duration::ZERO,
        }
    }

    fn is_due(&self, _: bool, _: Instant) -> bool {
        self.dirty
    }

    fn draw(&mut self, terminal: &mut Terminal, _: Instant) {
        terminal.draw(|frame| draw(frame, self, self.options));
        self.dirty = false;
    }

    fn on_input(&mut self, input: Input, _: &mut Terminal) -> Option<Choice> {
        self.dirty = true;
        match input {
            Input::Hangup | Input::Stop => Some(Choice::Quit),
            Input::Key(key) => {
                let prefix = self.prefix.take();
                match keymap::look_up(
                    &keymap::tables().bindings,
                    &[SCOPE],
                    prefix.as_deref(),
                    &key,
                ) {
                    Found::Command(line) => commands::act_of(&line).and_then(|act| self.act(act)),
                    Found::Prefix(keys) => {
                        self.prefix = Some(keys);
                        None
                    }
                    Found::Nothing => None,
                }
            }
            Input::Resized | Input::Paste(_) => None,
        }
    }

    fn on_resize(&mut self) {
        self.dirty = true;
    }
}

fn draw(frame: &mut Frame<'_>, home: &Home<'_>, options: &Options) {
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
        let name = options.glyphs.text(&sanitize(&run.dir.name()));
        let text = match &run.row {
            None => format!("{} ...", text::fit(&name, 25)),
            // 76 columns, the narrowest screen's.
            Some(r) => format!(
                "{} {:<12.12} {:<17.17} {:>2}L {:>6.6} {:>7.7}",
                text::fit(&name, 25),
                r.state,
                r.phase,
                r.layers,
                r.val,
                r.gap
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
        panel(options, tall, " ", vec![described(home, options)]).wrap(Wrap { trim: true }),
        about,
    );
    footer(frame, options, foot);
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

fn described<'a>(home: &Home<'_>, options: &Options) -> Line<'a> {
    let presets = config::presets();
    let text = match presets.get(home.selected) {
        Some(preset) => format!("heirloom train {}", preset.name),
        None => {
            let dir = &home.library.runs[home.selected - presets.len()].dir;
            format!("heirloom watch {}", text::argument(dir.path()))
        }
    };
    Line::styled(options.glyphs.text(&format!(" {text}")), options.theme.dim)
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
    use super::*;
    use crate::dashboard::glyphs::Glyphs;
    use crate::dashboard::theme::Theme;
    use crate::run::dir::RunDir;

    fn options() -> Options {
        Options {
            theme: Theme::mono(),
            glyphs: Glyphs::Braille,
            title: String::new(),
            log: None,
            dir: None,
        }
    }

    #[test]
    fn keys_choose_presets_then_runs() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::create(tmp.path(), "tiny", Some("mine")).unwrap();
        std::fs::write(dir.config(), "").unwrap();
        let options = options();
        let mut home = Home::open(tmp.path(), &options).unwrap();
        assert_eq!(home.act(Act::Accept), Some(Choice::Preset("tiny".into())));
        assert_eq!(home.act(Act::Previous), None);
        assert_eq!(home.act(Act::Bottom), None);
        assert_eq!(home.act(Act::Next), None);
        assert_eq!(home.act(Act::Accept), Some(Choice::Run(dir.path().into())));
        assert_eq!(home.act(Act::Back), Some(Choice::Quit));
    }

    #[test]
    fn a_refreshed_list_keeps_the_choice_and_what_was_read() {
        let tmp = tempfile::tempdir().unwrap();
        let run = |name: &str| {
            let dir = RunDir::create(tmp.path(), "tiny", Some(name)).unwrap();
            std::fs::write(dir.events(), "").unwrap();
        };
        run("first");
        let options = options();
        let mut home = Home::open(tmp.path(), &options).unwrap();
        assert!(home.library.read_next() && home.library.is_read());
        home.act(Act::Bottom);
        assert!(!home.refresh(Library::open(tmp.path()).unwrap()));
        std::thread::sleep(Duration::from_millis(20));
        run("second");
        assert!(home.refresh(Library::open(tmp.path()).unwrap()));
        assert_eq!(home.library.runs.len(), 2);
        let chosen = &home.library.runs[home.selected - config::presets().len()];
        assert_eq!(chosen.dir.name(), "first");
        assert!(chosen.row.is_some());
    }
}
