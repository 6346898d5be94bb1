//! `heirloom show`: a run's state and final table, as text or JSON.

use anyhow::Context;
use std::path::PathBuf;

use super::say;
use crate::run::dir::{DEFAULT_RUNS, RunDir};
use crate::run::{show, tail};
use crate::text;

/// Show a run: its state, the table of its phases, its checkpoints
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's name under the runs directory, or a path
    #[arg(value_name = "RUN")]
    run: String,
    /// Where runs are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNS)]
    runs: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// # Errors
    /// When there is no such run, or it cannot be read.
    pub fn run(self) -> anyhow::Result<()> {
        let dir = RunDir::open(&self.runs, &self.run)?;
        let state = tail::load(dir.path())
            .with_context(|| format!("cannot read {}", text::path(&dir.events())))?;
        match self.json {
            true => say::json(&show::json(&state, &dir))?,
            false => say::out(&show::text(&state, &dir))?,
        }
        Ok(())
    }
}
