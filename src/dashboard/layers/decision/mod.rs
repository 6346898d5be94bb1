//! The decision prompt: evidence as of its step, a choice, a confirmation.

pub(in crate::dashboard) mod draw;

use ratatui::Frame;
use ratatui::layout::Rect;

use super::{Layer, Room, Row, Stamp, Step, moved};
use crate::dashboard::commands::Act;
use crate::dashboard::costs::Choice;
use crate::dashboard::keymap::Differs;
use crate::dashboard::update::{Context, Effect};
use crate::dashboard::view::Scene;
use crate::run::command::{Command, GrowMode, MOST_STEPS};
use crate::run::event::{Phase, Suggestion};
use crate::run::state::{OpenDecision, RunState};

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

/// Entries of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Grow,
    TrainOn,
    Stop,
    Cancel,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub decision: OpenDecision,
    pub entries: Vec<Entry>,
    pub selected: usize,
    pub layers: usize,
    pub mode: GrowMode,
    pub steps: u64,
}

/// Opens the prompt, or asks for fresh evidence where there are newer figures than those the decision rests on.
fn open(context: &mut Context<'_>) -> Vec<Effect> {
    let run = context.run;
    match &run.core.decision {
        Some(decision) if run.core.eval.is_some_and(|e| e.step > decision.step) => {
            ask(context, Some(decision.id))
        }
        Some(decision) => {
            show(context, decision);
            Vec::new()
        }
        None if !in_round(run) => {
            context.ui.notice = Some("nothing to decide yet: decisions belong to rounds".into());
            Vec::new()
        }
        None => ask(context, None),
    }
}

/// Opens the prompt on a decision.
pub fn show(context: &mut Context<'_>, decision: &OpenDecision) {
    let layer = Box::new(Decision::new(decision, context.run));
    context.ui.layers.push(layer, context.now);
}

/// Whether a round is being trained, to which a decision can belong.
pub fn in_round(run: &RunState) -> bool {
    matches!(&run.core.phase, Some(p) if matches!(p.phase, Phase::Round(_)))
}

/// Asks for fresh evidence, to replace decision `before`.
fn ask(context: &mut Context<'_>, before: Option<u64>) -> Vec<Effect> {
    context.ui.awaiting = Some(before);
    context.ui.notice = Some("gathering evidence at the next step ...".into());
    vec![Effect::Send(Command::Decide)]
}

/// Most layers that can still be added.
pub fn room(run: &RunState) -> usize {
    let max = run.info.as_ref().map_or(0, |i| i.max_layers);
    let have = run.core.phase.as_ref().map_or(0, |p| p.layers);
    max.saturating_sub(have)
}

impl Decision {
    fn new(decision: &OpenDecision, run: &RunState) -> Self {
        let (evidence, info) = (&decision.evidence, run.info.as_ref());
        let mut entries = vec![Entry::TrainOn, Entry::Stop, Entry::Cancel];
        if evidence.growth.is_some() {
            entries.insert(0, Entry::Grow);
        }
        let wanted = match evidence.suggestion {
            Suggestion::Grow => Entry::Grow,
            Suggestion::Stop => Entry::Stop,
            Suggestion::TrainOn => Entry::TrainOn,
            Suggestion::InsufficientData => Entry::Cancel,
        };
        Self {
            selected: entries.iter().position(|e| *e == wanted).unwrap_or(0),
            entries,
            layers: evidence.growth.as_ref().map_or(0, |g| g.add),
            mode: info.map_or(GrowMode::Restart, |i| i.grow_mode),
            steps: info.map_or(100, |i| (i.round_steps / 2).max(1)),
            decision: decision.clone(),
        }
    }

    /// Changes the amount of the chosen entry.
    fn adjust(&mut self, run: &RunState, up: bool) {
        match self.entries[self.selected] {
            Entry::Grow if up => self.layers = (self.layers + 1).min(room(run).max(1)),
            Entry::Grow => self.layers = self.layers.saturating_sub(1).max(1),
            Entry::TrainOn if up => self.steps = self.steps.saturating_mul(2).min(MOST_STEPS),
            Entry::TrainOn => self.steps = (self.steps / 2).max(1),
            Entry::Stop | Entry::Cancel => {}
        }
    }

    /// What an entry would do, with its amount.
    fn choice_of(&self, entry: Entry) -> Option<Choice> {
        match entry {
            Entry::Grow => Some(Choice::Grow(self.layers)),
            Entry::TrainOn => Some(Choice::TrainOn(self.steps)),
            Entry::Stop => Some(Choice::Stop),
            Entry::Cancel => None,
        }
    }

    /// What the marked entry would do.
    fn choice(&self) -> Option<Choice> {
        self.choice_of(self.entries[self.selected])
    }

    fn command(&self) -> Option<Command> {
        let decision = Some(self.decision.id);
        match self.entries[self.selected] {
            Entry::Grow => Some(Command::Grow {
                layers: self.layers,
                mode: Some(self.mode),
                decision,
            }),
            Entry::TrainOn => Some(Command::TrainOn {
                steps: self.steps,
                decision,
            }),
            Entry::Stop => Some(Command::Stop { decision }),
            Entry::Cancel => None,
        }
    }
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
            Act::More | Act::Less => self.adjust(context.run, act == Act::More),
            Act::Mode => {
                self.mode = match self.mode {
                    GrowMode::Restart => GrowMode::Keep,
                    GrowMode::Keep => GrowMode::Restart,
                };
            }
            Act::Refresh => return Step::Do(ask(context, Some(self.decision.id))),
            Act::Back => return Step::Close,
            Act::Accept => {
                return match (self.command(), confirmed) {
                    (None, _) => Step::Close,
                    (Some(_), false) => Step::Confirm(Stamp::Decision(self.decision.id)),
                    (Some(command), true) => Step::Do(vec![Effect::Send(command)]),
                };
            }
            _ => {}
        }
        Step::Stay
    }

    fn room(&self) -> Room {
        Room::Side {
            columns: 72,
            rows: 11,
        }
    }

    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, confirming: bool) {
        draw::draw(frame, scene, self, area, confirming);
    }
}
