//! The choices of the decision prompt, and the command that each of them sends.

use crate::dashboard::costs::{Choice, layers_left};
use crate::dashboard::layers::scroll::Scroll;
use crate::run::command::{Command, GrowMode, MOST_STEPS};
use crate::run::event::Suggestion;
use crate::run::state::{OpenDecision, RunState};
use crate::run::trouble::{self, Good, Kind, Trouble};
use crate::text;

/// Entries of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Rollback,
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
    /// Scroll position, where not all lines fit.
    pub scroll: Scroll,
    /// The checkpoint of the offered rollback, if one is offered.
    pub good: Option<Good>,
}

impl Decision {
    /// Makes the prompt with the choices that the evidence permits and the suggested one selected. If the training is in trouble,
    /// a rollback is offered. `is_kept` returns whether a checkpoint still exists.
    pub fn new(decision: &OpenDecision, run: &RunState, is_kept: &dyn Fn(&str) -> bool) -> Self {
        let (evidence, info) = (&decision.evidence, run.info.as_ref());
        let mut entries = vec![Entry::TrainOn, Entry::Stop, Entry::Cancel];
        if evidence.growth.is_some() {
            entries.insert(0, Entry::Grow);
        }
        let trouble = Trouble::of(run, None, is_kept);
        let lost = trouble.is_some_and(|t| matches!(t.kind, Kind::Diverged | Kind::NotFinite));
        let lost = lost || evidence.suggestion == Suggestion::Rollback;
        let good = trouble::good(run, is_kept).filter(|_| lost);
        if good.is_some() {
            entries.insert(0, Entry::Rollback);
        }
        let wanted = match evidence.suggestion {
            _ if good.is_some() => Entry::Rollback,
            _ if lost => Entry::Cancel,
            Suggestion::Rollback => Entry::Rollback,
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
            scroll: Scroll::default(),
            good,
        }
    }

    /// Selects the entry that is selected in `other`, with its amounts, as far as they are possible. An offered rollback, or an
    /// advice to wait, stays selected instead.
    pub fn with_choice_of(mut self, other: &Self) -> Self {
        let careful = [Entry::Rollback, Entry::Cancel];
        let chosen = other.entries[other.selected];
        let place = self.entries.iter().position(|e| *e == chosen);
        if let Some(place) = place.filter(|_| !careful.contains(&self.entries[self.selected])) {
            self.selected = place;
        }
        if chosen == Entry::Grow && self.decision.evidence.layers == other.decision.evidence.layers
        {
            self.layers = other.layers;
        }
        (self.mode, self.steps) = (other.mode, other.steps);
        self
    }

    /// Changes the amount of the selected entry. Returns the limit if the model cannot grow by more layers.
    pub fn adjust(&mut self, run: &RunState, up: bool) -> Option<String> {
        let most = layers_left(run).max(1);
        match self.entries[self.selected] {
            Entry::Grow if up && self.layers >= most => {
                self.layers = most;
                let max = run.info.as_ref()?.max_layers;
                let layers = text::plural(max, "layer");
                let are = if max == 1 { "is" } else { "are" };
                return Some(format!(
                    "{layers} {are} the maximum (grow.max_layers = {max})"
                ));
            }
            Entry::Grow if up => self.layers += 1,
            Entry::Grow => self.layers = self.layers.saturating_sub(1).max(1),
            Entry::TrainOn if up => self.steps = self.steps.saturating_mul(2).min(MOST_STEPS),
            Entry::TrainOn => self.steps = (self.steps / 2).max(1),
            Entry::Rollback | Entry::Stop | Entry::Cancel => {}
        }
        None
    }

    /// Describes an entry's effect, with its amount.
    pub fn choice_of(&self, entry: Entry) -> Option<Choice> {
        match entry {
            Entry::Grow => Some(Choice::Grow(self.layers)),
            Entry::TrainOn => Some(Choice::TrainOn(self.steps)),
            Entry::Stop => Some(Choice::Stop),
            Entry::Rollback | Entry::Cancel => None,
        }
    }

    /// Describes the selected entry's effect.
    pub fn choice(&self) -> Option<Choice> {
        self.choice_of(self.entries[self.selected])
    }

    /// Returns the command of the selected entry; `None` if it sends nothing.
    pub fn command(&self) -> Option<Command> {
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
            Entry::Rollback => Some(Command::Rollback {
                checkpoint: self.good.as_ref()?.checkpoint.clone(),
            }),
            Entry::Cancel => None,
        }
    }
}
