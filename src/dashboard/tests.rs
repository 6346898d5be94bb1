//! Tests of screens and keys, one file per topic. A [`Story`] is a run, and a [`Screen`] shows it.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Modifier;

use super::glyphs::Glyphs;
use super::keymap;
use super::keys::Scope;
use super::layers::LOCK;
use super::layers::decision::Decision;
use super::message::Effect;
use super::scene::Scene;
use super::screen;
use super::session::Facts;
use super::stack::Stack;
use super::theme::{Depth, Theme, ThemeName};
use super::update::{self, Desk};
use crate::run::command::{By, Command, GrowMode, GrowSource};
use crate::run::event::{
    Body, DecisionReason, DecisionStatus, Event, Evidence, FORMAT_VERSION, GrowthCost, Outcome,
    Phase, PhaseResult, Plateau, RunInfo, RunStatus, Start, Suggestion,
};
use crate::run::state::RunState;

pub(super) mod contrast;
mod deciding;
mod evaluated;
mod evidence;
mod forecasts;
mod gallery;
mod keys;
mod layers;
mod marks;
mod notices;
mod plain;
mod ranked;
pub(super) mod realistic;
mod replay;
pub(super) mod rows;
mod screens;
pub(super) mod story;
mod trouble;

use story::Story;

/// A screen under test.
struct Screen {
    desk: Desk,
    scopes: Vec<Scope>,
    facts: Facts,
    frozen: bool,
    theme: Theme,
    glyphs: Glyphs,
    clock: Instant,
    zone: TimeZone,
    now: Option<i64>,
}

impl Screen {
    fn new() -> Self {
        Self {
            desk: Desk::default(),
            scopes: Vec::new(),
            facts: Facts {
                owner: true,
                ..Facts::default()
            },
            frozen: false,
            theme: Theme::of(ThemeName::Dark, Depth::Indexed),
            glyphs: Glyphs::Braille,
            clock: Instant::now(),
            zone: TimeZone::UTC,
            now: None,
        }
    }

    /// Returns the scene that is drawn for a run.
    fn scene<'a>(&'a mut self, run: &'a RunState) -> Scene<'a> {
        self.scopes = keymap::below(&self.desk.ui, &self.facts);
        Scene {
            run,
            facts: &self.facts,
            frozen: self.frozen,
            status: run.core.status,
            ui: &self.desk.ui,
            tables: &self.desk.tables,
            scopes: &self.scopes,
            theme: &self.theme,
            glyphs: self.glyphs,
            title: run.info.as_ref().map_or("untold", |info| &info.name),
            zone: &self.zone,
            clock: self.now,
        }
    }

    fn buffer(&mut self, run: &RunState, width: u16, height: u16) -> Buffer {
        let layers = std::mem::take(&mut self.desk.layers);
        let scene = self.scene(run);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let draw = |frame: &mut Frame<'_>| screen::draw(frame, &scene, &layers);
        terminal.draw(draw).unwrap();
        self.desk.layers = layers;
        terminal.backend().buffer().clone()
    }

    fn text(&mut self, run: &RunState, width: u16, height: u16) -> String {
        let buffer = self.buffer(run, width, height);
        let rows = buffer.content().chunks(usize::from(width.max(1)));
        rows.map(|row| {
            row.iter()
                .map(|c| c.symbol())
                .collect::<String>()
                .trim_end()
                .to_string()
                + "\n"
        })
        .collect()
    }

    /// Presses a key after the time in which a prompt ignores keys.
    fn press(&mut self, run: &RunState, code: KeyCode) -> Vec<Effect> {
        self.clock += 2 * LOCK;
        let key = KeyEvent::new(code, KeyModifiers::NONE);
        let effects = update::on_key(&mut self.desk, &self.facts, run, &key, self.clock);
        if effects == [Effect::Freeze] {
            self.frozen = !self.frozen;
        }
        effects
    }

    /// Updates the screen after the run has changed.
    fn look(&mut self, run: &RunState) {
        update::on_run(&mut self.desk, &self.facts, run, self.clock);
    }

    fn decision(&self) -> Option<&Decision> {
        self.desk.layers.find()
    }
}

const D: KeyCode = KeyCode::Char('D');
