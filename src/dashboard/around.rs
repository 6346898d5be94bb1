//! Reads the other files that a dashboard shows, when keys or events need them.

use std::path::Path;

use super::neighbours::{Neighbours, Verify};
use super::session::Session;
use super::ui::Ui;

/// The run's directory and its surroundings.
pub struct Around {
    neighbours: Option<Neighbours>,
    /// Number of checkpoints of the run when those on disk were last listed.
    listed: usize,
}

impl Around {
    /// Makes the surroundings of a run; they stay empty if its directory is not known.
    pub fn new(dir: Option<&Path>, verify: Verify) -> Self {
        Self {
            neighbours: dir.map(|dir| Neighbours::of(dir, verify)),
            listed: usize::MAX,
        }
    }

    /// Takes the results of finished reads. Returns true if the screen has changed.
    pub fn look(&mut self, session: &mut Session, ui: &mut Ui) -> bool {
        self.list_checkpoints(session);
        let Some(neighbours) = &mut self.neighbours else {
            return false;
        };
        let verified = neighbours.poll_verified(&mut session.facts.nearby);
        match neighbours.poll() {
            None => return verified,
            Some(Ok(compared)) => {
                ui.notice = None;
                session.facts.nearby.compared = Some(compared);
            }
            Some(Err(why)) => ui.notice = Some(why),
        }
        true
    }

    /// Lists the checkpoints on disk again when the run has written one: older ones may have been deleted for it.
    fn list_checkpoints(&mut self, session: &mut Session) {
        let written = session.run.checkpoints.len();
        if written != self.listed && session.facts.replay.is_none() {
            self.listed = written;
            let nearby = &mut session.facts.nearby;
            self.neighbours
                .iter()
                .for_each(|n| n.list_checkpoints(nearby));
        }
    }

    /// Lists the other runs, and reads the config.
    pub fn list(&self, session: &mut Session) {
        let nearby = &mut session.facts.nearby;
        self.neighbours.iter().for_each(|n| n.list(nearby));
    }

    /// Begins to check every file of a checkpoint.
    pub fn verify(&mut self, session: &Session, name: &str) {
        let nearby = &session.facts.nearby;
        self.neighbours
            .iter_mut()
            .for_each(|n| n.verify(nearby, name));
    }

    /// Begins to read the run to compare with, or ends a comparison.
    pub fn compare(&mut self, session: &mut Session, ui: &mut Ui, name: Option<&str>) {
        let Some((name, neighbours)) = name.zip(self.neighbours.as_mut()) else {
            session.facts.nearby.compared = None;
            return;
        };
        ui.notice = Some(match neighbours.read(name) {
            Ok(()) => format!("reading {name} ..."),
            Err(why) => why,
        });
    }
}
