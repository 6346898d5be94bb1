//! The state of the log view: scrolling, filter and search.

use std::cell::Cell;

use crate::run::state::{Level, Note, RunState};

/// The state of the log view.
#[derive(Debug, Default)]
pub struct LogView {
    /// Number of the last visible note, counted from the run's first; `None` follows the newest.
    pub bottom: Option<u64>,
    /// Whether long lines are cut instead of wrapped.
    pub cut: bool,
    pub warnings: bool,
    /// The search text, in lower case.
    pub search: String,
    /// Number of the note that the search has found.
    pub found: Option<u64>,
    /// Rows of the last frame, which are a page.
    pub rows: Cell<usize>,
}

impl LogView {
    /// Whether a note is shown.
    pub fn shows(&self, note: &Note) -> bool {
        !self.warnings || is_warning(note)
    }

    /// Whether a note contains the search text.
    pub fn matches(&self, note: &Note) -> bool {
        !self.search.is_empty() && note.text.to_lowercase().contains(&self.search)
    }

    /// Returns the numbers of the notes that are shown.
    pub fn numbers(&self, run: &RunState) -> Vec<u64> {
        numbered(run)
            .filter(|(_, note)| self.shows(note))
            .map(|(n, _)| n)
            .collect()
    }

    /// Searches for a text, from the newest note back.
    pub fn search_for(&mut self, run: &RunState, text: &str) {
        self.search = text.trim().to_lowercase();
        (self.bottom, self.found) = (None, None);
        self.find(run, true);
    }

    /// Moves to the next match, back or forward. Does not move without a match.
    pub fn find(&mut self, run: &RunState, back: bool) {
        let hits = numbered(run).filter(|(_, note)| self.shows(note) && self.matches(note));
        let hits: Vec<u64> = hits.map(|(n, _)| n).collect();
        let next = match (self.found, back) {
            (None, _) => hits.last(),
            (Some(at), true) => hits.iter().rev().find(|&&n| n < at),
            (Some(at), false) => hits.iter().find(|&&n| n > at),
        };
        if let Some(&next) = next {
            (self.found, self.bottom) = (Some(next), Some(next));
        }
    }

    /// Moves by a number of notes; a negative one moves back.
    pub fn scroll(&mut self, run: &RunState, by: isize) {
        let numbers = self.numbers(run);
        let Some(last) = numbers.len().checked_sub(1) else {
            return;
        };
        let at = self
            .bottom
            .map_or(last, |n| numbers.partition_point(|&m| m < n).min(last));
        let to = at.saturating_add_signed(by).min(last);
        // The first page is the limit of scrolling up.
        let least = self.rows.get().saturating_sub(1).min(last);
        self.bottom = match to {
            to if to >= last => None,
            to => Some(numbers[to.max(least)]),
        };
    }
}

/// Returns the notes with their numbers, counted from the run's first.
pub fn numbered(run: &RunState) -> impl DoubleEndedIterator<Item = (u64, &Note)> {
    let gone = run.notes_gone;
    run.notes
        .iter()
        .enumerate()
        .map(move |(i, note)| (gone + i as u64, note))
}

/// Whether a note is shown even if the filter leaves out others.
pub fn is_warning(note: &Note) -> bool {
    matches!(note.level, Level::Warning | Level::Refused)
}
