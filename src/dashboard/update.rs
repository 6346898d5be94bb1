//! What keys do: a pure function of the screen's state, the run's state, a key and the time.

use std::time::{Duration, Instant};

use crossterm::event::KeyEvent;

use super::chart_view::ChartView;
use super::commands::{self, Ran};
use super::feed::Ticket;
use super::keymap::{self, Found};
use super::layers::{self, Stack, decision};
use super::replay::Steer;
use super::session::Facts;
use super::views::{self, log::LogView};
use crate::run::command::Command;
use crate::run::state::RunState;

/// A notice goes after this long.
pub const NOTICE: Duration = Duration::from_secs(5);

/// Lines of the command line that are remembered.
const REMEMBERED: usize = 100;

/// Everything on screen that is not the run's.
#[derive(Debug)]
pub struct Ui {
    /// The view that is shown, by its name in the table.
    pub view: &'static str,
    pub layers: Stack,
    pub chart: ChartView,
    pub log: LogView,
    /// One line of answer to the last key.
    pub notice: Option<String>,
    /// When the notice was first seen.
    noticed: Option<Instant>,
    /// Keys of a sequence so far.
    prefix: Option<String>,
    /// Lines given to the command line, oldest first.
    pub history: Vec<String>,
    /// A fresh decision was asked for, to replace this one; the prompt opens when it comes.
    pub awaiting: Option<Option<u64>>,
    /// The stop after a checkpoint was asked for.
    pub quitting: bool,
    /// Commands of this screen that have no answer yet.
    pub pending: Vec<(Ticket, Command)>,
}

impl Default for Ui {
    fn default() -> Self {
        Self {
            view: views::OVERVIEW,
            layers: Stack::default(),
            chart: ChartView::default(),
            log: LogView::default(),
            notice: None,
            noticed: None,
            prefix: None,
            history: Vec::new(),
            awaiting: None,
            quitting: false,
            pending: Vec::new(),
        }
    }
}

impl Ui {
    /// Keeps a line for the command line's history.
    pub fn remember(&mut self, line: &str) {
        if self.history.last().is_none_or(|last| last != line) {
            self.history.push(line.into());
        }
        if self.history.len() > REMEMBERED {
            self.history.remove(0);
        }
    }
}

/// What a command works on.
pub struct Context<'a> {
    pub ui: &'a mut Ui,
    pub facts: &'a Facts,
    pub run: &'a RunState,
    pub now: Instant,
}

/// What the loop around has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Send(Command),
    TakeControl,
    /// Move the replay.
    Steer(Steer),
    /// Freeze the display, or let it follow the run again.
    Freeze,
    /// Draw every cell again.
    Redraw,
    Detach,
    /// Close a view that owns nothing, or whose run is over.
    Close,
}

/// Takes a key.
pub fn on_key(
    ui: &mut Ui,
    facts: &Facts,
    run: &RunState,
    key: &KeyEvent,
    now: Instant,
) -> Vec<Effect> {
    (ui.notice, ui.noticed) = (None, None);
    if ui.layers.locked(now) {
        return Vec::new();
    }
    let prefix = ui.prefix.take();
    let found = keymap::look_up(ui, facts, prefix.as_deref(), key);
    let mut context = Context {
        ui,
        facts,
        run,
        now,
    };
    match found {
        Found::Nothing => layers::type_key(&mut context, key),
        Found::Prefix(keys) => {
            context.ui.prefix = Some(keys);
            Vec::new()
        }
        Found::Command(line) => match commands::run(&mut context, &line) {
            Ok(Ran::Done(effects)) => effects,
            // No key is bound to a command that has to be confirmed: prompts send those.
            Ok(Ran::Ask(_)) => Vec::new(),
            Err(error) => {
                context.ui.notice = Some(error);
                Vec::new()
            }
        },
    }
}

/// Takes pasted text, where a line is being typed.
pub fn on_paste(ui: &mut Ui, facts: &Facts, run: &RunState, text: &str, now: Instant) {
    let mut context = Context {
        ui,
        facts,
        run,
        now,
    };
    if !layers::paste(&mut context, text) {
        ui.notice = Some("text can be pasted into a line: press : first".into());
    }
}

/// Looks at a run that has changed, and at the clock: opens a prompt that was waited for, closes what was answered.
/// True when the screen has changed.
pub fn on_run(ui: &mut Ui, facts: &Facts, run: &RunState, now: Instant) -> bool {
    ui.layers.close_moot(facts, run);
    let changed = age(ui, now);
    let Some(before) = ui.awaiting else {
        return changed;
    };
    if !decision::in_round(run) {
        (ui.awaiting, ui.notice) = (None, None);
        return true;
    }
    let open = run.core.decision.as_ref();
    if let Some(decision) = open.filter(|d| Some(d.id) != before)
        && ui.layers.top().is_none()
    {
        (ui.awaiting, ui.notice) = (None, None);
        let mut context = Context {
            ui,
            facts,
            run,
            now,
        };
        decision::show(&mut context, decision);
        return true;
    }
    changed
}

/// Lets a notice go after a while, unless it says what is being waited for.
fn age(ui: &mut Ui, now: Instant) -> bool {
    if ui.notice.is_none() {
        ui.noticed = None;
        return false;
    }
    let since = *ui.noticed.get_or_insert(now);
    let waiting = ui.awaiting.is_some() || ui.quitting;
    if !waiting && now.duration_since(since) >= NOTICE {
        (ui.notice, ui.noticed) = (None, None);
        return true;
    }
    false
}
