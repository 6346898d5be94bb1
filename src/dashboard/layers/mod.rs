//! What lies over a view and takes keys first: prompts, the command line, the help. Layers are stacked; the top one is
//! asked first. The lock after opening and the check for stale confirmations are here, once for all of them.

pub mod decision;
pub mod help;
pub mod info;
pub mod leave;
pub mod line;
pub mod search;

use std::any::Any;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::Rect;

use super::commands::Act;
use super::keymap::Differs;
use super::session::Facts;
use super::update::{Context, Effect};
use super::view::Scene;
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
    /// Whether the keys of the view below work, too.
    pub passes: bool,
    pub differs: Differs,
    /// Opens the layer, or says in a notice why not.
    pub open: fn(&mut Context<'_>) -> Vec<Effect>,
}

/// Every kind of layer.
const LAYERS: &[Row] = &[
    help::ROW,
    decision::ROW,
    leave::ROW,
    line::ROW,
    search::ROW,
    info::ROW,
];

/// The rows of [`LAYERS`]; under test, those that a test has added, too.
pub fn all() -> impl Iterator<Item = &'static Row> {
    #[cfg(test)]
    return LAYERS.iter().chain(super::tests::rows::layers());
    #[cfg(not(test))]
    LAYERS.iter()
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

/// What a confirmation was asked about; it is stale when the run is elsewhere by now.
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

    fn is_current(&self, run: &RunState) -> bool {
        match self {
            Self::Decision(id) => run.core.decision.as_ref().map(|d| d.id) == Some(*id),
            Self::Stretch(..) => *self == Self::stretch(run),
        }
    }

    fn refusal(&self) -> &'static str {
        match self {
            Self::Decision(_) => {
                "not done: the decision has changed meanwhile; press D for the new evidence"
            }
            Self::Stretch(..) => "not done: the run has moved to another phase meanwhile",
        }
    }
}

/// What becomes of a layer after a key.
pub enum Step {
    Stay,
    /// Ask for a confirmation, which belongs to this.
    Confirm(Stamp),
    Close,
    /// Close, and do these.
    Do(Vec<Effect>),
}

/// A layer.
pub trait Layer: Any + Debug {
    fn row(&self) -> &'static Row;
    /// Takes a command of its scope; [`Act::Accept`] comes after the confirmation, too.
    fn act(&mut self, act: Act, confirmed: bool, context: &mut Context<'_>) -> Step;
    /// Takes a key that is bound to nothing in its scope.
    fn type_key(&mut self, _key: &KeyEvent) -> Step {
        Step::Stay
    }
    /// Takes pasted text; false when it takes none.
    fn paste(&mut self, _text: &str) -> bool {
        false
    }
    /// How long keys are ignored after it has opened.
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

/// An open layer.
#[derive(Debug)]
struct Open {
    layer: Box<dyn Layer>,
    locked_until: Instant,
    confirming: Option<Stamp>,
}

/// The open layers, the top one last.
#[derive(Debug, Default)]
pub struct Stack(Vec<Open>);

impl Stack {
    /// Opens a layer on top. The help never covers another one.
    pub fn push(&mut self, layer: Box<dyn Layer>, now: Instant) {
        self.0.retain(|open| open.layer.room() != Room::Over);
        let locked_until = now + layer.lock();
        self.0.push(Open {
            layer,
            locked_until,
            confirming: None,
        });
    }

    /// The top layer.
    pub fn top(&self) -> Option<&dyn Layer> {
        self.0.last().map(|open| &*open.layer)
    }

    /// The layer of a type, wherever it lies.
    pub fn find<L: Layer>(&self) -> Option<&L> {
        let mut all = self.0.iter().rev();
        all.find_map(|open| (&*open.layer as &dyn Any).downcast_ref())
    }

    /// Whether the top layer waits for a confirmation.
    pub fn confirming(&self) -> bool {
        self.0.last().is_some_and(|open| open.confirming.is_some())
    }

    /// Whether keys are ignored at present.
    pub fn locked(&self, now: Instant) -> bool {
        self.0.last().is_some_and(|open| now < open.locked_until)
    }

    /// Closes what has been answered meanwhile.
    pub fn close_moot(&mut self, facts: &Facts, run: &RunState) {
        self.0.retain(|open| !open.layer.is_moot(facts, run));
    }
}

/// Gives a command to the top layer.
pub fn act(context: &mut Context<'_>, act: Act) -> Vec<Effect> {
    let Some(mut open) = context.ui.layers.0.pop() else {
        return Vec::new();
    };
    let confirmed = match (open.confirming.take(), act) {
        (None, _) => false,
        (Some(stamp), Act::Accept) if stamp.is_current(context.run) => true,
        (Some(stamp), Act::Accept) => {
            context.ui.notice = Some(stamp.refusal().into());
            return Vec::new();
        }
        (Some(_), Act::Back) => {
            context.ui.layers.0.push(open);
            return Vec::new();
        }
        (stamp, _) => {
            open.confirming = stamp;
            context.ui.layers.0.push(open);
            return Vec::new();
        }
    };
    let step = open.layer.act(act, confirmed, context);
    settle(context, open, step)
}

/// Gives a key that is bound to nothing to the top layer.
pub fn type_key(context: &mut Context<'_>, key: &KeyEvent) -> Vec<Effect> {
    match context.ui.layers.0.pop() {
        Some(open) if open.confirming.is_some() => {
            context.ui.layers.0.push(open);
            Vec::new()
        }
        Some(mut open) => {
            let step = open.layer.type_key(key);
            settle(context, open, step)
        }
        None => Vec::new(),
    }
}

/// Gives pasted text to the top layer; false when nothing takes it.
pub fn paste(context: &mut Context<'_>, text: &str) -> bool {
    let top = context.ui.layers.0.last_mut();
    top.is_some_and(|open| open.confirming.is_none() && open.layer.paste(text))
}

fn settle(context: &mut Context<'_>, mut open: Open, step: Step) -> Vec<Effect> {
    match step {
        Step::Close => Vec::new(),
        Step::Do(effects) => effects,
        Step::Confirm(stamp) if !stamp.is_current(context.run) => {
            context.ui.notice = Some(stamp.refusal().into());
            Vec::new()
        }
        Step::Confirm(stamp) => {
            open.confirming = Some(stamp);
            open.locked_until = context.now + LOCK;
            context.ui.layers.0.push(open);
            Vec::new()
        }
        Step::Stay => {
            context.ui.layers.0.push(open);
            Vec::new()
        }
    }
}

/// Draws the top layer.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    if let Some(open) = scene.ui.layers.0.last() {
        let confirming = open.confirming.is_some();
        open.layer.draw(frame, scene, area, confirming);
    }
}

/// A list of entries with a marked one: moving in it.
pub(super) fn moved(selected: usize, entries: usize, act: Act) -> Option<usize> {
    match act {
        Act::Previous => Some(selected.saturating_sub(1)),
        Act::Next => Some((selected + 1).min(entries.saturating_sub(1))),
        _ => None,
    }
}
