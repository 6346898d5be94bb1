//! Defines layers.

use std::any::Any;
use std::fmt::Debug;
use std::time::Duration;

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::Rect;

use crate::dashboard::keys::Differs;
use crate::dashboard::message::{Act, Effect};
use crate::dashboard::scene::Scene;
use crate::dashboard::session::Facts;
use crate::dashboard::ui::Context;
use crate::run::command::Command;
use crate::run::event::Phase;
use crate::run::state::RunState;

/// Keys are ignored for this long after a prompt or its confirmation opens, so that one meant for the screen below
/// decides nothing.
pub const LOCK: Duration = Duration::from_millis(300);

/// A kind of layer: its key, its command and its help, as the tables show them.
pub struct Row {
    /// Also the name of its command and of its scope in the key table.
    pub id: &'static str,
    pub keys: &'static [&'static str],
    /// For the footer; empty: not shown there.
    pub footer: &'static str,
    pub help: &'static str,
    /// Needs a trainer that takes commands.
    pub control: bool,
    /// Whether the keys of the view below work as well.
    pub passes: bool,
    pub differs: Differs,
    /// Makes the layer, or says in a notice why not.
    pub open: fn(&mut Context<'_>) -> Opening,
}

/// The result of opening a layer.
#[derive(Debug)]
pub enum Opening {
    Layer(Box<dyn Layer>),
    /// It does not open: these are done instead.
    Effects(Vec<Effect>),
}

impl Opening {
    /// Opens a layer.
    pub fn of(layer: impl Layer) -> Self {
        Self::Layer(Box::new(layer))
    }

    /// Opens nothing: the notice reports why.
    pub fn refused(context: &mut Context<'_>, why: &str) -> Self {
        context.ui.notice = Some(why.into());
        Self::Effects(Vec::new())
    }
}

/// The part of the screen that a layer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// So many rows at the bottom of the view.
    Bottom(u16),
    /// So many columns on the right where the screen is wide, otherwise so many rows at the bottom.
    Side { columns: u16, rows: u16 },
    /// Over the middle of the screen.
    Over,
}

/// The state that a confirmation refers to; it is stale when the run is elsewhere by now.
#[derive(Debug, Clone, PartialEq)]
pub enum Stamp {
    /// The open decision.
    Decision(u64),
    /// A phase, the step it began at, and the event that began to run it.
    Stretch(Option<(Phase, u64)>, u64),
}

impl Stamp {
    /// The present stretch of a run.
    pub fn stretch(run: &RunState) -> Self {
        let phase = run.core.phase.as_ref();
        Self::Stretch(
            phase.map(|p| (p.phase.clone(), p.began_at)),
            run.running_since,
        )
    }

    pub fn is_current(&self, run: &RunState) -> bool {
        match self {
            Self::Decision(id) => run.core.decision.as_ref().map(|d| d.id) == Some(*id),
            Self::Stretch(..) => *self == Self::stretch(run),
        }
    }

    pub fn refusal(&self) -> &'static str {
        match self {
            Self::Decision(_) => "decision out of date; press D for the new evidence",
            Self::Stretch(..) => "not applied: the run has since entered another phase",
        }
    }
}

/// The fate of a layer after a key.
pub enum Step {
    Stay,
    /// Ask for a confirmation, which belongs to this.
    Confirm(Stamp),
    Close,
    /// Stay, and do these.
    Ask(Vec<Effect>),
    /// Close, and do these.
    Do(Vec<Effect>),
    /// Run a command in words, and close unless it has to be confirmed or is refused: see [`Layer::answer`].
    Run(String),
}

/// A layer.
pub trait Layer: Any + Debug {
    fn row(&self) -> &'static Row;
    /// Scrolls what is asked, while a confirmation is waited for.
    fn scroll(&mut self, _act: Act) {}
    /// Takes a command of its scope; [`Act::Accept`] comes after the confirmation as well.
    fn act(&mut self, act: Act, confirmed: bool, context: &mut Context<'_>) -> Step;
    /// Takes what became of [`Step::Run`]: a command that has to be confirmed, or the error.
    fn answer(&mut self, _asked: Result<Command, String>, _context: &mut Context<'_>) -> Step {
        Step::Close
    }
    /// Takes a key that is bound to nothing in its scope.
    fn type_key(&mut self, _key: &KeyEvent) -> Step {
        Step::Stay
    }
    /// Takes pasted text; false when it takes none.
    fn paste(&mut self, _text: &str) -> bool {
        false
    }
    /// Shows an answer to what it asked for.
    fn show(&mut self, _text: String) {}
    /// Effects for the loop once the layer is open.
    fn opened(&self) -> Vec<Effect> {
        Vec::new()
    }
    /// Time for which keys are ignored after it has opened.
    fn lock(&self) -> Duration {
        LOCK
    }
    /// Whether what it asks has been answered by the run.
    fn is_moot(&self, _facts: &Facts, _run: &RunState) -> bool {
        false
    }
    fn room(&self) -> Room;
    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, confirming: bool);
}

/// A list of entries with a marked one: moving in it.
pub fn moved(selected: usize, entries: usize, act: Act) -> Option<usize> {
    match act {
        Act::Previous => Some(selected.saturating_sub(1)),
        Act::Next => Some((selected + 1).min(entries.saturating_sub(1))),
        _ => None,
    }
}
