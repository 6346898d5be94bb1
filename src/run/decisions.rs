//! The decisions of a finished or interrupted run, to be repeated by another run.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::command::{By, Command};
use super::dir::RunDir;
use super::event::{Answer, Body, CommandGiven, Event, Phase, Resumed};
use super::handle::DECISIONS;
use super::tail::{Tail, TailItem};
use crate::file::Dir;

/// Bytes of the file that decisions are kept in.
const LONGEST_FILE: u64 = 16 << 20;

/// A command to be repeated at the same place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// Global step and phase at whose boundary the command was applied.
    pub step: u64,
    pub phase: Phase,
    pub command: Command,
}

/// Returns the applied commands of a run that its model depends on, in order. Commands that a resume has superseded are
/// left out, and so are pauses and ends of the process, which change no model.
///
/// # Errors
/// When the journal cannot be read.
pub fn of_run(dir: &Path) -> io::Result<Vec<Repeat>> {
    let mut tail = Tail::open(dir);
    let mut found = Found::default();
    loop {
        for item in tail.poll()? {
            match item {
                TailItem::Event(event) => found.take(event),
                TailItem::Restarted => found = Found::default(),
                TailItem::Skipped { .. } => {}
            }
        }
        if tail.caught_up() {
            // A checkpoint is answered only when it is on disk, after commands that came later.
            found.applied.sort_by_key(|(seq, _)| *seq);
            let repeats = found.applied.into_iter().map(|(_, repeat)| repeat);
            return Ok(repeats.collect());
        }
    }
}

/// Writes the decisions into the directory of a new run, for a resume before its first checkpoint.
///
/// # Errors
/// When the file cannot be written.
pub fn keep(dir: &Dir, decisions: &[Repeat]) -> io::Result<()> {
    dir.replace_file(DECISIONS, &serde_json::to_vec(decisions)?)
}

/// Returns the decisions in a run's directory; none if the file does not exist.
///
/// # Errors
/// When it is there but cannot be read.
pub fn kept(dir: &RunDir) -> io::Result<Vec<Repeat>> {
    match crate::file::read_text(&dir.decisions(), LONGEST_FILE) {
        Ok(text) => Ok(serde_json::from_str(&text)?),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

#[derive(Default)]
struct Found {
    /// Commands without an answer yet, by their ids.
    asked: HashMap<u64, Repeat>,
    /// Applied commands with their event numbers.
    applied: Vec<(u64, Repeat)>,
    seqs: HashMap<u64, u64>,
}

impl Found {
    fn take(&mut self, event: Event) {
        match event.body {
            // A policy makes its own decisions again.
            Body::Command(CommandGiven {
                id, by, command, ..
            }) if by != By::Policy && counts(&command) => {
                self.seqs.insert(id, event.seq);
                let repeat = Repeat {
                    step: event.step,
                    phase: event.phase,
                    command: undated(command),
                };
                self.asked.insert(id, repeat);
            }
            Body::Answer(Answer { id, applied, .. }) => {
                if let Some(repeat) = self.asked.remove(&id)
                    && applied
                {
                    let seq = self.seqs.remove(&id).unwrap_or(event.seq);
                    self.applied.push((seq, repeat));
                }
            }
            Body::Resumed(Resumed { from_seq, .. }) => {
                self.applied.retain(|(seq, _)| *seq <= from_seq);
                self.asked.clear();
            }
            _ => {}
        }
    }
}

/// Whether a command changes the training, or what later commands refer to.
fn counts(command: &Command) -> bool {
    match command {
        Command::Pause
        | Command::Probe
        | Command::Quit
        | Command::EvalTasks { .. }
        | Command::Sample { .. }
        | Command::Note { .. } => false,
        // It ends a pause that the trainer made itself.
        Command::Resume
        | Command::Checkpoint
        | Command::Eval
        | Command::Decide
        | Command::Grow { .. }
        | Command::TrainOn { .. }
        | Command::Extend { .. }
        | Command::SetLr { .. }
        | Command::Set { .. }
        | Command::SetMixture { .. }
        | Command::Cooldown { .. }
        | Command::Freeze { .. }
        | Command::Unfreeze { .. }
        | Command::Rollback { .. }
        | Command::Stop { .. } => true,
    }
}

/// Removes the decision's id from a command, so that it answers whichever decision is open.
fn undated(command: Command) -> Command {
    match command {
        Command::Grow { layers, mode, .. } => Command::Grow {
            layers,
            mode,
            decision: None,
        },
        Command::TrainOn { steps, .. } => Command::TrainOn {
            steps,
            decision: None,
        },
        Command::Stop { .. } => Command::Stop { decision: None },
        other => other,
    }
}
