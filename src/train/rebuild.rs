//! Handles a run directory that is deleted or moved while the trainer runs.

use anyhow::Result;

use super::directory::Found;
use super::trainer::Trainer;
use crate::run::event::{Body, RunStatus};

impl Trainer {
    /// Makes a deleted directory again from what is in memory; reports once that a directory was moved.
    pub(super) fn look_after_directory(&mut self) {
        match self.directory.look(&self.journal) {
            None | Some(Found::Lost(None)) => {}
            Some(Found::Lost(Some(warning))) => self.warn(warning),
            Some(Found::Kept(warning)) => {
                if let Some(warning) = warning {
                    self.warn(warning);
                }
                self.keeping().write_owed();
            }
            // Retried until it succeeds.
            Some(Found::Deleted { first }) => {
                let message = match self.make_directory_again() {
                    Ok(()) => {
                        self.directory.is_back();
                        "the run's journal was deleted and a new one was begun: its earlier events are lost, and so is whatever else was deleted".into()
                    }
                    Err(error) if first => format!(
                        "the run's directory was deleted and cannot be made again: {error:#}; training continues and tries again every second"
                    ),
                    Err(_) => return,
                };
                self.warn(message);
                self.journal.flush();
            }
        }
    }

    fn make_directory_again(&mut self) -> Result<()> {
        // The checkpoint that is on its way belongs to the directory that is gone.
        self.keeping().finish();
        let journal = self.directory.make_again()?;
        let path = self.directory.run().events();
        self.journal.begin_again(journal, path)?;
        self.directory.write_config(self.config.wanted())?;
        let info = self.info();
        self.report_run(RunStatus::Started, Some(info), None);
        // Old checkpoints are mostly gone with the directory.
        let there = self.keeper.checkpoints().names();
        self.state.kept.retain(|k| there.contains(&k.name));
        self.keeping().look_for_best();
        let phase = self.phase_event(None);
        self.emit(Body::Phase(phase));
        self.keeping().background("directory made again", false);
        Ok(())
    }
}
