//! The open layers, of which the top one takes keys first. Handles the lock after opening, and stale confirmations, for all layers.

use std::any::Any;
use std::time::Instant;

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::Rect;

use super::layers::{LOCK, Layer, Room, Stamp, Step};
use super::message::{Act, Effect};
use super::scene::Scene;
use super::session::Facts;
use super::ui::Context;
use crate::run::command::Command;
use crate::run::state::RunState;

/// An open layer.
#[derive(Debug)]
pub struct Open {
    layer: Box<dyn Layer>,
    locked_until: Instant,
    confirming: Option<Stamp>,
}

/// The open layers, the top one last.
#[derive(Debug, Default)]
pub struct Stack(Vec<Open>);

/// The effects that a layer asks for after a key.
pub enum Asked {
    Effects(Vec<Effect>),
    /// Run a typed command, and pass the result to [`Stack::answer`] or drop the layer.
    Run(Open, String),
}

impl Stack {
    /// Opens a layer on top. One that covers the screen is closed before another opens.
    pub fn push(&mut self, layer: Box<dyn Layer>, now: Instant) {
        self.0.retain(|open| open.layer.room() != Room::Over);
        let locked_until = now + layer.lock();
        self.0.push(Open {
            layer,
            locked_until,
            confirming: None,
        });
    }

    /// Returns the top layer.
    pub fn top(&self) -> Option<&dyn Layer> {
        self.0.last().map(|open| &*open.layer)
    }

    /// Returns the open layer of a type.
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

    /// Closes layers whose questions are obsolete.
    pub fn close_moot(&mut self, facts: &Facts, run: &RunState) {
        self.0.retain(|open| !open.layer.is_moot(facts, run));
    }

    /// Passes a command to the top layer.
    pub fn act(&mut self, act: Act, context: &mut Context<'_>) -> Asked {
        let nothing = Asked::Effects(Vec::new());
        let Some(mut open) = self.0.pop() else {
            return nothing;
        };
        let confirmed = match (open.confirming.take(), act) {
            (None, _) => false,
            (Some(stamp), Act::Accept) if stamp.is_current(context.run) => true,
            (Some(stamp), Act::Accept) => {
                self.refuse(open, &stamp, context);
                return nothing;
            }
            (Some(_), Act::Back) => {
                self.0.push(open);
                return nothing;
            }
            (stamp, act) => {
                open.confirming = stamp;
                open.layer.scroll(act);
                self.0.push(open);
                return nothing;
            }
        };
        let step = open.layer.act(act, confirmed, context);
        self.settle(open, step, context)
    }

    /// Passes a key without a binding to the top layer.
    pub fn type_key(&mut self, key: &KeyEvent, context: &mut Context<'_>) -> Asked {
        match self.0.pop() {
            Some(mut open) if open.confirming.is_none() => {
                let step = open.layer.type_key(key);
                self.settle(open, step, context)
            }
            open => {
                self.0.extend(open);
                Asked::Effects(Vec::new())
            }
        }
    }

    /// Passes pasted text to the top layer. Returns false if it is not taken.
    pub fn paste(&mut self, text: &str) -> bool {
        let top = self.0.last_mut();
        top.is_some_and(|open| open.confirming.is_none() && open.layer.paste(text))
    }

    /// Shows an answer in the layer that asked for it, and puts the layer back on top.
    pub fn show(&mut self, mut open: Open, text: String) {
        open.layer.show(text);
        self.0.push(open);
    }

    /// Passes the result of a command to the layer that asked to run it.
    pub fn answer(
        &mut self,
        mut open: Open,
        asked: Result<Command, String>,
        context: &mut Context<'_>,
    ) {
        let step = open.layer.answer(asked, context);
        self.settle(open, step, context);
    }

    /// Refuses a stale confirmation, and keeps a layer that has newer content.
    fn refuse(&mut self, mut open: Open, stamp: &Stamp, context: &mut Context<'_>) {
        let renewed = open.layer.renew(context);
        if renewed.is_some() {
            open.locked_until = context.now + LOCK;
            self.0.push(open);
        }
        context.ui.notice = Some(renewed.unwrap_or_else(|| stamp.refusal()).into());
    }

    fn settle(&mut self, mut open: Open, step: Step, context: &mut Context<'_>) -> Asked {
        match step {
            Step::Close => {}
            Step::Do(effects) => return Asked::Effects(effects),
            Step::Run(line) => return Asked::Run(open, line),
            Step::Confirm(stamp) if !stamp.is_current(context.run) => {
                self.refuse(open, &stamp, context);
            }
            Step::Confirm(stamp) => {
                open.confirming = Some(stamp);
                open.locked_until = context.now + LOCK;
                self.0.push(open);
            }
            Step::Stay => self.0.push(open),
            Step::Ask(effects) => {
                self.0.push(open);
                return Asked::Effects(effects);
            }
        }
        Asked::Effects(Vec::new())
    }

    /// Draws the top layer.
    pub fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
        if let Some(open) = self.0.last() {
            let confirming = open.confirming.is_some();
            open.layer.draw(frame, scene, area, confirming);
        }
    }
}
