//! The screen's own state, and what a command works on.

use std::cell::Cell;
use std::time::Instant;

use super::chart_view::ChartView;
use super::feed::Ticket;
use super::keys::Tables;
use super::log_view::LogView;
use super::scroll::Scroll;
use super::session::Facts;
use crate::run::command::Command;
use crate::run::state::RunState;
use crate::run::trouble::Kind;

/// The name of the view a dashboard begins with.
pub const OVERVIEW: &str = "overview";
/// The name of the log.
pub const LOG: &str = "log";

/// Lines of the command line that are remembered.
const REMEMBERED: usize = 100;

/// Everything on screen that is not the run's.
#[derive(Debug)]
pub struct Ui {
    /// The view that is shown, by its name in the table.
    pub view: &'static str,
    pub chart: ChartView,
    pub log: LogView,
    /// Scroll position of the table of tasks.
    pub tasks: Scroll,
    /// One line of answer to the last key.
    pub notice: Option<String>,
    /// The last notice, also when it is gone.
    pub said: Option<String>,
    /// Text for the terminal's clipboard.
    pub copy: Option<String>,
    /// When the notice was first seen.
    pub noticed: Option<Instant>,
    /// Lines given to the command line, oldest first.
    pub history: Vec<String>,
    /// A fresh decision was asked for, to replace this one; the prompt opens when it comes.
    pub awaiting: Option<Option<u64>>,
    /// The trouble in the banner of the last frame.
    pub banner: Cell<Option<(Kind, u64)>>,
    /// The trouble whose banner was dismissed, until trouble of that kind is over.
    pub dismissed: Cell<Option<(Kind, u64)>>,
    /// The stop after a checkpoint was asked for.
    pub quitting: bool,
    /// Commands of this screen that have no answer yet.
    pub pending: Vec<(Ticket, Command)>,
}

impl Default for Ui {
    fn default() -> Self {
        Self {
            view: OVERVIEW,
            chart: ChartView::default(),
            log: LogView::default(),
            tasks: Scroll::default(),
            notice: None,
            said: None,
            copy: None,
            noticed: None,
            history: Vec::new(),
            awaiting: None,
            banner: Cell::default(),
            dismissed: Cell::default(),
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

/// The context of a command.
pub struct Context<'a> {
    pub ui: &'a mut Ui,
    pub facts: &'a Facts,
    pub run: &'a RunState,
    pub tables: &'a Tables,
    pub now: Instant,
}
