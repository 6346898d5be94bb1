//! The decision prompt, with the evidence as of its step, a choice, and a confirmation.

mod draw;
mod prompt;

use ratatui::Frame;
use ratatui::layout::Rect;

use super::layer::{Layer, Opening, Room, Row, Stamp, Step, moved};
use crate::dashboard::keys::Differs;
use crate::dashboard::layers::scroll::Scroll;
use crate::dashboard::message::{Act, Effect};
use crate::dashboard::scene::Scene;
use crate::dashboard::ui::Context;
use crate::run::command::{Command, GrowMode};
use crate::run::event::Phase;
use crate::run::state::RunState;

pub use prompt::{Decision, Entry};

pub const ROW: Row = Row {
    id: "decision",
    keys: &["D"],
    footer: "decide",
    help: "open the decision: evidence, then grow, train on or stop",
    control: true,
    passes: false,
    differs: Differs::Appears("gap"),
    open,
};

/// Opens the prompt, or asks for fresh evidence if the decision is not based on the newest figures.
fn open(context: &mut Context<'_>) -> Opening {
    let run = context.run;
    match &run.core.decision {
        Some(decision) if run.core.eval.is_some_and(|e| e.step > decision.step) => {
            Opening::Effects(ask(context, Some(decision.id)))
        }
        Some(decision) => {
            let kept = |name: &str| context.facts.nearby.is_kept(name);
            Opening::of(Decision::new(decision, run, &kept))
        }
        None if !in_round(run) => Opening::refused(
            context,
            "nothing to decide now: decisions are made in rounds",
        ),
        None => Opening::Effects(ask(context, None)),
    }
}

/// Whether a round is being trained, so that a decision is possible.
pub fn in_round(run: &RunState) -> bool {
    matches!(&run.core.phase, Some(p) if matches!(p.phase, Phase::Round(_)))
}

/// Asks for fresh evidence, to replace decision `before`.
fn ask(context: &mut Context<'_>, before: Option<u64>) -> Vec<Effect> {
    context.ui.awaiting = Some(before);
    context.ui.notice = Some("gathering evidence at the next step ...".into());
    vec![Effect::Send(Command::Decide)]
}

impl Layer for Decision {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn act(&mut self, act: Act, confirmed: bool, context: &mut Context<'_>) -> Step {
        if let Some(selected) = moved(self.selected, self.entries.len(), act) {
            self.selected = selected;
            return Step::Stay;
        }
        match act {
            Act::More | Act::Less => {
                if let Some(limit) = self.adjust(context.run, act == Act::More) {
                    context.ui.notice = Some(limit);
                }
            }
            Act::Mode => {
                self.mode = match self.mode {
                    GrowMode::Restart => GrowMode::Keep,
                    GrowMode::Keep => GrowMode::Restart,
                };
            }
            Act::PageDown | Act::PageUp => self.scroll.act(act),
            Act::Refresh => return Step::Do(ask(context, Some(self.decision.id))),
            Act::Back => return Step::Close,
            Act::Accept => {
                return match (self.command(), confirmed) {
                    (None, _) => Step::Close,
                    (Some(_), false) => {
                        // Scrolls to the top, where the question is.
                        self.scroll = Scroll::default();
                        Step::Confirm(Stamp::Decision(self.decision.id))
                    }
                    (Some(command), true) => Step::Do(vec![Effect::Send(command)]),
                };
            }
            _ => {}
        }
        Step::Stay
    }

    fn scroll(&mut self, act: Act) {
        self.scroll.act(act);
    }

    /// Takes the decision that has replaced this one. The operator's choice stays selected if it is still possible.
    fn renew(&mut self, context: &Context<'_>) -> Option<&'static str> {
        let decision = context.run.core.decision.as_ref()?;
        let kept = |name: &str| context.facts.nearby.is_kept(name);
        *self = Self::new(decision, context.run, &kept).with_choice_of(self);
        Some("decision out of date: this is the new evidence; Enter chooses again")
    }

    fn room(&self) -> Room {
        Room::Side {
            columns: 80,
            rows: 11,
        }
    }

    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, confirming: bool) {
        draw::draw(frame, scene, self, area, confirming);
    }
}
