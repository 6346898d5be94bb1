//! The interface of layers: panels above the view, such as prompts and help.

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

/// Time after the opening of a prompt or its confirmation in which keys are ignored, so that a key meant for the screen below
/// cannot answer it.
pub const LOCK: Duration = Duration::from_millis(300);

/// A kind of layer: its key, its command and its help, as the tables show them.
pub struct Row {
    /// Also the name of its command and of its scope in the key table.
    pub id: &'static str,
    pub keys: &'static [&'static str],
    /// Its name in the footer; empty: not shown there.
    pub footer: &'static str,
    pub help: &'static str,
    /// Whether it needs a trainer that takes commands.
    pub control: bool,
    /// Whether the keys of the view below also work.
    pub passes: bool,
    pub differs: Differs,
    /// Makes the layer, or shows a notice why it cannot open.
    pub open: fn(&mut Context<'_>) -> Opening,
}

/// The result of opening a layer.
#[derive(Debug)]
pub enum Opening {
    Layer(Box<dyn Layer>),
    /// The layer does not open; these effects happen instead.
    Effects(Vec<Effect>),
}

impl Opening {
    /// Returns an opening with this layer.
    pub fn of(layer: impl Layer) -> Self {
        Self::Layer(Box::new(layer))
    }

    /// Returns an opening without a layer, and shows the reason as a notice.
    pub fn refused(context: &mut Context<'_>, why: &str) -> Self {
        context.ui.notice = Some(why.into());
        Self::Effects(Vec::new())
    }
}

/// The part of the screen that a layer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// This number of rows at the bottom of the view.
    Bottom(u16),
    /// `columns` on the right of a wide screen, otherwise `rows` at the bottom.
    Side { columns: u16, rows: u16 },
    /// Over the middle of the screen.
    Over,
}

/// The state that a confirmation refers to. The confirmation is stale once the run has another stamp.
#[derive(Debug, Clone, PartialEq)]
pub enum Stamp {
    /// The number of the open decision.
    Decision(u64),
    /// A phase with the step at which it began, and the event since which it runs without interruption.
    Phase(Option<(Phase, u64)>, u64),
}

impl Stamp {
    /// Returns the stamp of the run's present phase.
    pub fn phase(run: &RunState) -> Self {
        let phase = run.core.phase.as_ref();
        Self::Phase(
            phase.map(|p| (p.phase.clone(), p.began_at)),
            run.running_since,
        )
    }

    pub fn is_current(&self, run: &RunState) -> bool {
        match self {
            Self::Decision(id) => run.core.decision.as_ref().map(|d| d.id) == Some(*id),
            Self::Phase(..) => *self == Self::phase(run),
        }
    }

    pub fn refusal(&self) -> &'static str {
        match self {
            Self::Decision(_) => "decision out of date; press D for the new evidence",
            Self::Phase(..) => "not applied: the run has since entered another phase",
        }
    }
}

/// The consequence of a key for its layer.
pub enum Step {
    Stay,
    /// Ask for a confirmation, which is valid for this stamp.
    Confirm(Stamp),
    Close,
    /// Stay open, and carry out these effects.
    Ask(Vec<Effect>),
    /// Close, and carry out these effects.
    Do(Vec<Effect>),
    /// Run a typed command, and close unless it needs a confirmation or is refused: see [`Layer::answer`].
    Run(String),
}

/// A panel above the view, which takes keys before the view does.
pub trait Layer: Any + Debug {
    fn row(&self) -> &'static Row;
    /// Scrolls the question while a confirmation is awaited.
    fn scroll(&mut self, _act: Act) {}
    /// Carries out a command of its scope. [`Act::Accept`] comes again, with `confirmed`, after the confirmation.
    fn act(&mut self, act: Act, confirmed: bool, context: &mut Context<'_>) -> Step;
    /// Handles the result of [`Step::Run`]: a command that needs a confirmation, or the error.
    fn answer(&mut self, _asked: Result<Command, String>, _context: &mut Context<'_>) -> Step {
        Step::Close
    }
    /// Handles a key that is not bound in its scope.
    fn type_key(&mut self, _key: &KeyEvent) -> Step {
        Step::Stay
    }
    /// Inserts pasted text. Returns false if the layer does not take text.
    fn paste(&mut self, _text: &str) -> bool {
        false
    }
    /// Shows the answer to a request of the layer.
    fn show(&mut self, _text: String) {}
    /// Returns the effects to carry out once the layer is open.
    fn opened(&self) -> Vec<Effect> {
        Vec::new()
    }
    /// Returns the time for which keys are ignored after the layer has opened.
    fn lock(&self) -> Duration {
        LOCK
    }
    /// Replaces the content after its confirmation has become stale. Returns what the operator should know; `None` if the layer
    /// should close.
    fn renew(&mut self, _context: &Context<'_>) -> Option<&'static str> {
        None
    }
    /// Whether the run has made the layer's question obsolete.
    fn is_moot(&self, _facts: &Facts, _run: &RunState) -> bool {
        false
    }
    fn room(&self) -> Room;
    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, confirming: bool);
}

/// Moves the selection in a list of `entries` by one. Returns the new one; `None` if `act` does not move it.
pub fn moved(selected: usize, entries: usize, act: Act) -> Option<usize> {
    match act {
        Act::Previous => Some(selected.saturating_sub(1)),
        Act::Next => Some((selected + 1).min(entries.saturating_sub(1))),
        _ => None,
    }
}
