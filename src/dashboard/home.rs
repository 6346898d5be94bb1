//! The home screen: presets to start, runs to open.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};

use super::Options;
use super::keys;
use super::terminal::{Input, Terminal};
use crate::config;
use crate::run::dir::RunDir;
use crate::run::series::open::Budget;
use crate::run::state::RunState;
use crate::run::{series, show, table};
use crate::text::{self, sanitize};

/// How long input is waited for when all runs have been read.
const REST: Duration = Duration::from_secs(1);

/// How long one run is read, during which no key is answered.
const MOST_TIME: Duration = Duration::from_millis(500);

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
#[derive(Debug, Default)]
struct Home {
    runs: Vec<Listed>,
    selected: usize,
}

/// A run in the list.
#[derive(Debug, Clone, PartialEq)]
struct Listed {
    dir: RunDir,
    /// When its journal last changed.
    changed: Option<SystemTime>,
    /// `None` until it has been read.
    row: Option<Row>,
}

/// What is told of a run.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    state: String,
    phase: String,
    layers: String,
    val: String,
    gap: String,
}

/// Shows the home screen until something is chosen.
///
/// # Errors
/// When there is no terminal or the runs directory cannot be read.
pub fn run(runs: &Path, options: &Options) -> Result<Choice> {
    let mut home = Home {
        runs: listed(runs)?,
        selected: 0,
    };
    let mut terminal = Terminal::enter().context("the home screen needs a terminal")?;
    let mut dirty = true;
    loop {
        if dirty {
            terminal.draw(|frame| draw(frame, &home, options));
            dirty = false;
        }
        // One run a turn is read, so that keys are answered while a long journal is.
        let unread = home.runs.iter_mut().find(|run| run.row.is_none());
        let wait = if unread.is_some() {
            Duration::ZERO
        } else {
            REST
        };
        if let Some(run) = unread {
            run.row = Some(read(&run.dir));
            dirty = true;
        }
        let inputs = terminal.inputs(wait);
        if inputs.is_empty() && wait == REST {
            dirty |= home.refresh(listed(runs)?);
        }
        for input in inputs {
            dirty = true;
            match input {
                Input::Hangup | Input::Stop => return Ok(Choice::Quit),
                Input::Resized => {}
                Input::Key(key) => {
                    if let Some(choice) = home.on_key(&key) {
                        return Ok(choice);
                    }
                }
            }
        }
    }
}

/// The runs, the one that changed last first, none of them read yet.
fn listed(runs: &Path) -> Result<Vec<Listed>> {
    let one = |dir: RunDir| {
        let meta = std::fs::metadata(dir.events());
        Listed {
            changed: meta.and_then(|m| m.modified()).ok(),
            row: None,
            dir,
        }
    };
    let mut all: Vec<Listed> = RunDir::list(runs)?.into_iter().map(one).collect();
    all.sort_by_key(|run| std::cmp::Reverse(run.changed));
    Ok(all)
}

fn read(dir: &RunDir) -> Row {
    let Ok(state) = series::open::brief(dir.path(), &Budget::of(MOST_TIME)) else {
        return Row {
            state: "unreadable".into(),
            ..Row::of(&RunState::default(), dir)
        };
    };
    Row::of(&state, dir)
}

impl Row {
    fn of(state: &RunState, dir: &RunDir) -> Self {
        let core = &state.core;
        let dash = || "-".to_string();
        let now = core.phase.as_ref();
        let last = core.eval;
        Self {
            state: core
                .outcome
                .map_or_else(|| show::state_word(state, dir).into(), |o| o.to_string()),
            phase: now.map_or_else(dash, |p| table::phase_name(&p.phase)),
            layers: now.map_or_else(dash, |p| p.layers.to_string()),
            val: last.map_or_else(dash, |e| format!("{:.4}", e.val_loss)),
            gap: state.gap().map_or_else(dash, |g| format!("{g:+.4}")),
        }
    }
}

impl Home {
    fn len(&self) -> usize {
        config::presets().len() + self.runs.len()
    }

    /// Takes a newer list: what has not changed keeps its row, the choice stays on its run. False when all is as it was.
    fn refresh(&mut self, newer: Vec<Listed>) -> bool {
        let same = |a: &Listed, b: &Listed| a.dir == b.dir && a.changed == b.changed;
        if newer.len() == self.runs.len() && newer.iter().zip(&self.runs).all(|(a, b)| same(a, b)) {
            return false;
        }
        let presets = config::presets().len();
        let chosen = self.selected.checked_sub(presets);
        let chosen = chosen.map(|i| self.runs[i].dir.clone());
        let old = std::mem::replace(&mut self.runs, newer);
        for run in &mut self.runs {
            run.row = old
                .iter()
                .find(|o| same(o, run))
                .and_then(|o| o.row.clone());
        }
        if let Some(dir) = chosen {
            let place = self.runs.iter().position(|run| run.dir == dir);
            self.selected = presets + place.unwrap_or(0);
            self.selected = self.selected.min(self.len() - 1);
        }
        true
    }

    fn on_key(&mut self, key: &KeyEvent) -> Option<Choice> {
        if keys::is_interrupt(key) {
            return Some(Choice::Quit);
        }
        let last = self.len() - 1;
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Choice::Quit),
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.selected = (self.selected + 1).min(last),
            KeyCode::Home | KeyCode::Char('g') => self.selected = 0,
            KeyCode::End | KeyCode::Char('G') => self.selected = last,
            KeyCode::Enter => {
                let presets = config::presets();
                return Some(match presets.get(self.selected) {
                    Some(preset) => Choice::Preset(preset.name.into()),
                    None => Choice::Run(self.runs[self.selected - presets.len()].dir.path().into()),
                });
            }
            _ => {}
        }
        None
    }
}

fn draw(frame: &mut Frame<'_>, home: &Home, options: &Options) {
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
    for (i, run) in home.runs.iter().enumerate().skip(from).take(rows) {
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
    if home.runs.is_empty() {
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

fn described<'a>(home: &Home, options: &Options) -> Line<'a> {
    let presets = config::presets();
    let text = match presets.get(home.selected) {
        Some(preset) => format!("heirloom train {}", preset.name),
        None => {
            let dir = &home.runs[home.selected - presets.len()].dir;
            format!("heirloom watch {}", text::argument(dir.path()))
        }
    };
    Line::styled(options.glyphs.text(&format!(" {text}")), options.theme.dim)
}

fn footer(frame: &mut Frame<'_>, options: &Options, area: Rect) {
    let keys = [
        ("Up Down", "choose"),
        ("Enter", "start or open"),
        ("q", "quit"),
    ];
    let mut line = Line::default();
    for (key, what) in keys {
        line.push_span(Span::styled(format!(" {key}"), options.theme.key));
        line.push_span(Span::styled(format!(" {what} "), options.theme.dim));
    }
    frame.render_widget(line, area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::KeyModifiers;

    fn press(home: &mut Home, code: KeyCode) -> Option<Choice> {
        home.on_key(&KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_choose_presets_then_runs() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::create(tmp.path(), "tiny", Some("mine")).unwrap();
        std::fs::write(dir.config(), "").unwrap();
        let mut home = Home {
            runs: listed(tmp.path()).unwrap(),
            selected: 0,
        };
        assert_eq!(
            press(&mut home, KeyCode::Enter),
            Some(Choice::Preset("tiny".into()))
        );
        assert_eq!(press(&mut home, KeyCode::Up), None);
        assert_eq!(press(&mut home, KeyCode::End), None);
        assert_eq!(press(&mut home, KeyCode::Down), None);
        assert_eq!(
            press(&mut home, KeyCode::Enter),
            Some(Choice::Run(dir.path().into()))
        );
        assert_eq!(press(&mut home, KeyCode::Char('q')), Some(Choice::Quit));
    }

    #[test]
    fn a_refreshed_list_keeps_the_choice_and_what_was_read() {
        let tmp = tempfile::tempdir().unwrap();
        let run = |name: &str| {
            let dir = RunDir::create(tmp.path(), "tiny", Some(name)).unwrap();
            std::fs::write(dir.events(), "").unwrap();
        };
        run("first");
        let mut home = Home {
            runs: listed(tmp.path()).unwrap(),
            selected: 0,
        };
        home.runs[0].row = Some(Row::of(&RunState::default(), &home.runs[0].dir));
        press(&mut home, KeyCode::End);
        assert!(!home.refresh(listed(tmp.path()).unwrap()));
        std::thread::sleep(Duration::from_millis(20));
        run("second");
        assert!(home.refresh(listed(tmp.path()).unwrap()));
        assert_eq!(home.runs.len(), 2);
        let chosen = &home.runs[home.selected - config::presets().len()];
        assert_eq!(chosen.dir.name(), "first");
        assert!(chosen.row.is_some());
    }
}
