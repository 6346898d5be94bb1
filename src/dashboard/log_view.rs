//! The view of the log: what is in sight, what is left out, what is searched for.

use std::cell::Cell;

use crate::run::state::{Level, Note, RunState};

/// The view of the log.
#[derive(Debug, Default)]
pub struct LogView {
    /// Number of the last note in sight, counted from the run's first; none: the newest, whichever that is.
    pub bottom: Option<u64>,
    /// Long lines are cut and not wrapped.
    pub cut: bool,
    pub warnings: bool,
    /// The search text, in lower case.
    pub search: String,
    /// Number of the note that was found.
    pub found: Option<u64>,
    /// Rows of the last frame, for a page.
    pub rows: Cell<usize>,
}

impl LogView {
    /// Whether a note is shown.
    pub fn shows(&self, note: &Note) -> bool {
        !self.warnings || is_warning(note)
    }

    /// Whether a note is what is searched for.
    pub fn matches(&self, note: &Note) -> bool {
        !self.search.is_empty() && note.text.to_lowercase().contains(&self.search)
    }

    /// The numbers of the notes that are shown.
    pub fn numbers(&self, run: &RunState) -> Vec<u64> {
        numbered(run)
            .filter(|(_, note)| self.shows(note))
            .map(|(n, _)| n)
            .collect()
    }

    /// Searches, from the newest note back.
    pub fn search_for(&mut self, run: &RunState, text: &str) {
        self.search = text.trim().to_lowercase();
        (self.bottom, self.found) = (None, None);
        self.find(run, true);
    }

    /// Goes to the next note that matches, back or forward; does not move without a match.
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

    /// Moves by so many notes, negative: back.
    pub fn scroll(&mut self, run: &RunState, by: isize) {
        let numbers = self.numbers(run);
        let Some(last) = numbers.len().checked_sub(1) else {
            return;
        };
        let at = self
            .bottom
            .map_or(last, |n| numbers.partition_point(|&m| m < n).min(last));
        let to = at.saturating_add_signed(by).min(last);
        // A page up from the start moves nothing more.
        let least = self.rows.get().saturating_sub(1).min(last);
        self.bottom = match to {
            to if to >= last => None,
            to => Some(numbers[to.max(least)]),
        };
    }
}

/// The notes with their numbers, counted from the run's first.
pub fn numbered(run: &RunState) -> impl DoubleEndedIterator<Item = (u64, &Note)> {
    let gone = run.notes_gone;
    run.notes
        .iter()
        .enumerate()
        .map(move |(i, note)| (gone + i as u64, note))
}

/// Whether a note is to be seen even where others are left out.
pub fn is_warning(note: &Note) -> bool {
    matches!(note.level, Level::Warning | Level::Refused)
}
