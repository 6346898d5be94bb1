//! Computes the state of a run at any of its events. States are kept at intervals, so that going back is a short fold from a kept
//! state.

use std::io;

use crate::run::index::JournalIndex;
use crate::run::state::RunState;

/// Events between kept states at first.
const EVERY: usize = 1024;
/// A state takes at most about 1 / `STATE_SHARE` of the bytes of the journal that it was folded from.
const STATE_SHARE: u64 = 4;
/// Approximate limit of the bytes of kept states. Beyond it, every second state is dropped.
const BUDGET: u64 = 128 << 20;
/// Going back keeps a state this number of events before the goal, for the next step back.
const NEAR: usize = 256;

/// Moves a state along a journal.
pub struct Fold {
    /// Events folded into the state.
    position: usize,
    every: usize,
    budget: u64,
    kept: Vec<(usize, RunState)>,
    near: Option<(usize, RunState)>,
    /// Position at which `near` will be kept.
    near_at: usize,
}

impl Default for Fold {
    fn default() -> Self {
        Self::keeping(EVERY, BUDGET)
    }
}

impl Fold {
    /// For a state that has seen no event.
    fn keeping(every: usize, budget: u64) -> Self {
        Self {
            position: 0,
            every,
            budget,
            kept: Vec::new(),
            near: None,
            near_at: 0,
        }
    }

    /// Returns the number of events in the state.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Moves `state`, which only this fold may have moved, to the first `goal` events, or nearer to it: at most about a mebibyte of the
    /// journal is read at once. The state's version increases whenever it changes.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn go(
        &mut self,
        state: &mut RunState,
        index: &JournalIndex,
        goal: usize,
    ) -> io::Result<()> {
        self.start_from(state, goal);
        for item in index.read(self.position, goal)? {
            if let Some(item) = item {
                item.apply_to(state);
            }
            self.position += 1;
            if self.position == self.near_at {
                self.near = Some((self.position, state.clone()));
            }
            if self.position.is_multiple_of(self.every) {
                self.keep(state, index);
            }
        }
        Ok(())
    }

    /// Starts from the last kept state before `goal`, when going back, or when that saves reading.
    fn start_from(&mut self, state: &mut RunState, goal: usize) {
        let back = goal < self.position;
        let usable = |(position, _): &&(usize, RunState)| *position <= goal;
        let kept = self.kept.iter().rfind(usable);
        let best = self
            .near
            .iter()
            .filter(usable)
            .chain(kept)
            .max_by_key(|(p, _)| *p);
        let from = best.map_or(0, |(p, _)| *p);
        if !back && from <= self.position + self.every {
            return;
        }
        let version = state.version;
        *state = best.map_or_else(RunState::default, |(_, state)| state.clone());
        state.version = version + 1;
        self.position = from;
        if back {
            self.near_at = goal.saturating_sub(NEAR);
        }
    }

    fn keep(&mut self, state: &RunState, index: &JournalIndex) {
        if self.kept.last().is_some_and(|(p, _)| *p >= self.position) {
            return;
        }
        self.kept.push((self.position, state.clone()));
        let bytes =
            |(position, _): &(usize, RunState)| index.entries()[position - 1].offset / STATE_SHARE;
        while self.kept.iter().map(bytes).sum::<u64>() > self.budget {
            self.every *= 2;
            let every = self.every;
            self.kept.retain(|(p, _)| p.is_multiple_of(every));
        }
    }
}

#[cfg(test)]
mod tests;
