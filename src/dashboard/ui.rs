//! The screen's own state, and the context of a command.

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

/// The name of a dashboard's first view.
pub const OVERVIEW: &str = "overview";
/// The name of the log's view.
pub const LOG: &str = "log";

/// Most lines in the history of the command line.
const REMEMBERED: usize = 100;

/// The screen's state, apart from the run's.
#[derive(Debug)]
pub struct Ui {
    /// The view that is shown, by its name in the table.
    pub view: &'static str,
    pub chart: ChartView,
    pub log: LogView,
    /// Scroll position of the table of tasks.
    pub tasks: Scroll,
    /// The answer to the last key, in one line.
    pub notice: Option<String>,
    /// The last notice, even after it has disappeared.
    pub said: Option<String>,
    /// Text to copy to the terminal's clipboard.
    pub copy: Option<String>,
    /// Time at which the notice was first shown.
    pub noticed: Option<Instant>,
    /// Lines that were typed in the command line, oldest first.
    pub history: Vec<String>,
    /// Set after a request for a fresh decision, to the decision that it replaces. The prompt opens when the new one comes.
    pub awaiting: Option<Option<u64>>,
    /// The trouble in the banner of the last frame.
    pub banner: Cell<Option<(Kind, u64)>>,
    /// The trouble whose banner was dismissed, until trouble of that kind is over.
    pub dismissed: Cell<Option<(Kind, u64)>>,
    /// Whether a stop after a checkpoint was asked for.
    pub quitting: bool,
    /// Commands of this screen without an answer.
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
    /// Adds a line to the command line's history.
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
