//! Reopens a run to resume it: takes its lock, reads its journal, finds its checkpoint, and compares its config.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::args::Args;
use crate::config::keys::Key;
use crate::config::resume::{self, Given};
use crate::config::{self, Config, Source};
use crate::locate;
use crate::run::dir::RunDir;
use crate::run::event::RunInfo;
use crate::run::lock::RunLock;
use crate::run::state::{RunState, Status};
use crate::run::tail;
use crate::train::Resume;
use crate::train::checkpoint::Checkpoints;

/// A run that is being resumed, with its lock held.
pub(super) struct Reopened {
    pub(super) dir: RunDir,
    pub(super) checkpoint: String,
    pub(super) lock: RunLock,
    pub(super) past: RunState,
}

impl Args {
    /// Takes the lock of the run that `--resume` names and reads its journal.
    pub(super) fn reopen(&self, run: &str) -> Result<Reopened> {
        let (dir, checkpoint) = self.resumed(run)?;
        let lock = RunLock::acquire(dir.path())?;
        let past = tail::load(dir.path())?;
        if past.core.status == Status::Done {
            bail!(
                "run {} is done; `heirloom show {}` prints its table",
                dir.name(),
                dir.argument()
            );
        }
        Ok(Reopened {
            dir,
            checkpoint,
            lock,
            past,
        })
    }

    /// Returns the directory and the checkpoint that `--resume` names.
    pub(super) fn resumed(&self, run: &str) -> Result<(RunDir, String)> {
        let (name, checkpoint) = locate::split(run);
        let checkpoint = checkpoint.unwrap_or("latest");
        Ok((RunDir::open(&self.global.runs, name)?, checkpoint.into()))
    }

    /// Returns the description in the journal of the run that `--resume` names, without taking the run's lock; `None` without
    /// `--resume`.
    ///
    /// # Errors
    /// When the run or its journal cannot be read.
    pub(super) fn past_info(&self) -> Result<Option<RunInfo>> {
        let Some(run) = &self.resume else {
            return Ok(None);
        };
        Ok(tail::load(self.resumed(run)?.0.path())?.info)
    }

    /// Checks, without taking the run's lock, that the run of `--resume`, if any, can be resumed with this config.
    ///
    /// # Errors
    /// As [`Self::judge_resume`].
    pub(super) fn check_resume(&self, config: &Config) -> Result<()> {
        if let Some(run) = &self.resume {
            let (dir, checkpoint) = self.resumed(run)?;
            self.judge_resume(config, &dir, &Checkpoints::at(&dir), &checkpoint)?;
        }
        Ok(())
    }

    /// Compares the config with the run's own, by the rules of the table of keys. `wanted` names the checkpoint.
    ///
    /// # Errors
    /// When a value differs that must not change on resume, or the checkpoint is missing.
    pub(super) fn judge_resume(
        &self,
        config: &Config,
        dir: &RunDir,
        checkpoints: &Checkpoints,
        wanted: &str,
    ) -> Result<Resume> {
        let (checkpoint, damage) = checkpoints.to_resume(wanted)?;
        let mut origin = Resume {
            checkpoint,
            damage,
            ..Resume::default()
        };
        let Some(name) = &origin.checkpoint else {
            let run = dir.name();
            let start = format!("run {run} has no checkpoint yet: it starts over");
            origin.changes.push(start);
            return Ok(origin);
        };
        // The error about a damaged checkpoint names another one to resume from.
        let state = checkpoints
            .state(name)
            .or_else(|_| checkpoints.verify(name))?;
        // The stored config is read without overrides. If it is valid only with them, it is not compared.
        let stored = config::load(&Source::Run(dir.config()), &[]).ok();
        let stored = stored.map(|mut stored| {
            config::resolve_paths(&mut stored.config, &stored.base);
            resume::values(&stored.config)
        });
        let new = resume::values(config);
        origin.values = match (state.values.is_empty(), &stored) {
            (false, _) => state.values.clone(),
            (true, Some(stored)) => stored.clone(),
            (true, None) => new.clone(),
        };
        let stage = state.stage();
        let changes = resume::changes(&origin.values, &new);
        let given = |key: &Key| {
            let set = self.overrides.iter().filter_map(|s| s.split_once('='));
            match set.into_iter().any(|(path, _)| path.trim() == key.path) {
                true => Given::Set,
                false => Given::File,
            }
        };
        resume::judge(&changes, stage, &dir.argument(), given)?;
        for change in &changes {
            let described = change.describe(stage, &new);
            match change.key.path {
                "train.dtype" => origin.warnings.push(format!(
                    "{described}: from here on the numbers differ slightly from those of an uninterrupted run"
                )),
                _ => origin.changes.push(described),
            }
        }
        Ok(origin)
    }

    /// Finds the files of a resumed run's reference. Its checkpoints hold the weights and the tokenizer, so that the
    /// original reference is not needed again.
    pub(super) fn known_reference(
        &self,
        config: &Config,
        dir: &RunDir,
        checkpoint: &str,
    ) -> Result<Option<PathBuf>> {
        let checkpoints = Checkpoints::at(dir);
        match &config.reference.path {
            Some(name) if !checkpoints.names().is_empty() => {
                let own = || anyhow::Ok(checkpoints.path().join(checkpoints.resolve(checkpoint)?));
                let path =
                    locate::kept(name, &self.global.runs).or_else(|gone| own().map_err(|_| gone));
                Ok(Some(path?))
            }
            _ => self.reference(config),
        }
    }
}
