//! A command line that is being typed, with its history and its completion.

use tui_input::Input;

use super::complete;
use crate::dashboard::keys::Entry;
use crate::dashboard::layers::input::{LONGEST, insert};
use crate::dashboard::layers::scroll::Scroll;
use crate::dashboard::neighbours::Nearby;
use crate::run::command::Command;
use crate::run::state::RunState;

/// A command that is being typed.
#[derive(Debug, Default)]
pub struct CommandLine {
    pub input: Input,
    /// Why the line is not a valid command.
    pub error: Option<String>,
    /// The answer that the last line asked for.
    pub shown: Option<String>,
    /// The command to confirm.
    pub asked: Option<Command>,
    /// Scroll position of the question.
    pub scroll: Scroll,
    /// Earlier lines, and the index of the one that is shown; their number if none is.
    history: Vec<String>,
    at: usize,
    /// Completions of the last word, and the one that was used last.
    pub candidates: Vec<String>,
    pub taken: Option<usize>,
}

impl CommandLine {
    /// Makes an empty line with the earlier lines.
    pub fn new(history: &[String]) -> Self {
        Self {
            at: history.len(),
            history: history.to_vec(),
            ..Self::default()
        }
    }

    fn show(&mut self, text: &str) {
        self.input = Input::new(text.into());
        (self.error, self.shown, self.taken) = (None, None, None);
        self.candidates.clear();
    }

    /// Shows an earlier line, or a later one.
    pub fn recall(&mut self, earlier: bool) {
        self.at = match earlier {
            true => self.at.saturating_sub(1),
            false => (self.at + 1).min(self.history.len()),
        };
        let text = self.history.get(self.at).cloned().unwrap_or_default();
        self.show(&text);
    }

    /// Ends the last word in the only way there is, or in the next one of several.
    pub fn complete(&mut self, entries: &[Entry], run: &RunState, nearby: &Nearby) {
        if self.taken.is_none() {
            self.candidates = complete::candidates(self.input.value(), entries, run, nearby);
        }
        match self.candidates.len() {
            0 => {}
            1 => {
                let only = self.candidates[0].clone();
                self.show(&only);
            }
            n => {
                let shared = complete::shared_prefix(&self.candidates);
                if self.taken.is_none() && shared.len() > self.input.value().len() {
                    self.show(&shared);
                    return;
                }
                let next = self.taken.map_or(0, |i| (i + 1) % n);
                self.taken = Some(next);
                self.input = Input::new(self.candidates[next].trim_end().into());
            }
        }
    }

    /// Inserts text at the cursor.
    pub fn insert(&mut self, text: &str) {
        insert(&mut self.input, text, LONGEST);
        (self.error, self.shown, self.taken) = (None, None, None);
    }
}
