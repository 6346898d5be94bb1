//! `heirloom watch`: the dashboard over a run directory, read-only.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use super::UiArgs;
use crate::dashboard::{self, PlainPrinter, TailFeed};
use crate::run::dir::{DEFAULT_RUNS, RunDir};
use crate::run::lock::RunLock;
use crate::run::state::{RunState, Status};
use crate::run::table;
use crate::run::tail::{self, Tail, TailItem};

/// Watch a run of another process, or a finished one; without a terminal, as plain lines
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's name under the runs directory, or a path [default: the run that changed last]
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// Where runs are kept
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNS)]
    runs: PathBuf,
    /// Print the journal's events
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ui: UiArgs,
}

impl Args {
    /// # Errors
    /// When there is no such run, or it cannot be read.
    pub fn run(self) -> Result<()> {
        let dir = match &self.path {
            Some(name) => find(&self.runs, name)?,
            None => newest(&self.runs)?,
        };
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        if terminal && !self.json && !self.ui.plain() {
            return dashboard(&dir, &self.ui);
        }
        lines(&dir, self.json)
    }
}

/// A run by its name under `runs` or by path; one that has written nothing yet is an empty directory.
///
/// # Errors
/// When there is no such run.
pub fn find(runs: &Path, name: &str) -> Result<RunDir> {
    let empty =
        |path: &Path| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    for path in [runs.join(name), PathBuf::from(name)] {
        if empty(&path) {
            return Ok(RunDir::at(&path));
        }
    }
    Ok(RunDir::open(runs, name)?)
}

/// The run under `runs` whose journal changed last.
fn newest(runs: &Path) -> Result<RunDir> {
    let changed = |dir: &RunDir| {
        std::fs::metadata(dir.events())
            .and_then(|m| m.modified())
            .ok()
    };
    match RunDir::list(runs)?.into_iter().max_by_key(changed) {
        Some(dir) => Ok(dir),
        None => bail!(
            "no runs under {}; `heirloom train tiny` starts one",
            runs.display()
        ),
    }
}

/// Full screen, until the operator leaves.
///
/// # Errors
/// When the terminal cannot be taken over or the run cannot be read.
pub fn dashboard(dir: &RunDir, ui: &UiArgs) -> Result<()> {
    let mut feed = TailFeed::new(dir.path());
    let options = ui.options(&dir.name(), None);
    dashboard::run(&mut feed, &options, RunState::default()).map(drop)
}

/// Lines for what has happened and what happens, until the run is over or nobody works on it.
fn lines(dir: &RunDir, json: bool) -> Result<()> {
    let mut tail = Tail::open(dir.path());
    let mut state = RunState::default();
    let mut plain = PlainPrinter::default();
    let mut out = std::io::stdout().lock();
    loop {
        let alive = RunLock::is_live(dir.path());
        for item in tail.poll()? {
            item.apply_to(&mut state);
            let line = match &item {
                TailItem::Event(event) if json => Some(event.to_line()),
                TailItem::Event(event) => plain.line(&state, event),
                _ => None,
            };
            // A reader that has left (`| head`) ends the watching.
            if let Some(line) = line
                && writeln!(out, "{line}").is_err()
            {
                return Ok(());
            }
        }
        let _ = out.flush();
        if !tail.caught_up() {
            continue;
        }
        let over = matches!(
            state.core.status,
            Status::Done | Status::Failed | Status::Interrupted
        );
        // Asked before the last poll, so that nothing written at the end is missed.
        if over || (!alive && state.core.status != Status::Empty) {
            tail::settle(&mut state, dir.path());
            if !json {
                let _ = write!(out, "\n{}", table::text(&state));
            }
            return Ok(());
        }
        tail.wait(Duration::from_secs(1));
    }
}
