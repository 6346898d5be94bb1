//! `heirloom show`: prints a run's state and final table, as text or JSON.

use anyhow::Context;

use super::find::last_run;
use super::{Global, say};
use crate::run::dir::RunDir;
use crate::run::{show, tail};
use crate::text;

/// Show a run: its state, the table of its phases, its checkpoints
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's name under the runs directory, or a path [default: the most recently written]
    #[arg(value_name = "RUN", value_parser = super::values::exact_text())]
    run: Option<String>,
    #[command(flatten)]
    global: Global,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// # Errors
    /// When there is no such run, or it cannot be read.
    pub fn run(self) -> anyhow::Result<()> {
        let dir = match &self.run {
            Some(name) => RunDir::open(&self.global.runs, name)?,
            None => last_run(&self.global.runs)?,
        };
        let state = tail::load(dir.path())
            .with_context(|| format!("cannot read {}", text::path(&dir.events())))?;
        match self.json {
            true => say::json(&show::json(&state, &dir))?,
            false => say::out(&show::text(&state, &dir))?,
        }
        Ok(())
    }
}
