//! `heirloom watch`: shows the dashboard of a run directory, read-only.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::find::last_run;
use super::{Global, UiArgs, say};
use crate::dashboard::plain::{Answers, Lines};
use crate::dashboard::{self, TailFeed};
use crate::run::dir::RunDir;
use crate::run::lock::RunLock;
use crate::run::state::{RunState, Status};
use crate::run::table;
use crate::run::tail::{self, Tail, TailItem};
use crate::text::{self, exact};

/// Watch a run of another process, or a finished one
///
/// Without a terminal, events are printed as plain lines.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's name under the runs directory, or a path [default: the most recently written]
    #[arg(value_name = "PATH", value_parser = super::values::exact_text())]
    path: Option<String>,
    #[command(flatten)]
    global: Global,
    /// Print the journal's events
    #[arg(long)]
    json: bool,
}

impl Args {
    /// # Errors
    /// When there is no such run, or it cannot be read.
    pub fn run(self) -> Result<()> {
        let dir = match &self.path {
            Some(name) => find(&self.global.runs, name)?,
            None => last_run(&self.global.runs)?,
        };
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        if terminal && !self.json && !self.global.ui.plain() {
            return dashboard(&dir, &self.global.ui);
        }
        lines(&dir, self.json)
    }
}

/// Returns a run by its name under `runs` or by its path. The directory of a run that has just begun may be empty.
///
/// # Errors
/// When there is no such run.
pub fn find(runs: &Path, name: &str) -> Result<RunDir> {
    let empty =
        |path: &Path| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    let named = RunDir::named(runs, name);
    for dir in [named, Some(RunDir::at(&exact::to_path(name)))]
        .into_iter()
        .flatten()
    {
        if empty(dir.path()) {
            return Ok(dir);
        }
    }
    Ok(RunDir::open(runs, name)?)
}

/// Shows the dashboard until the operator leaves.
///
/// # Errors
/// When the terminal cannot be taken over or the run cannot be read.
pub fn dashboard(dir: &RunDir, ui: &UiArgs) -> Result<()> {
    let (mut feed, past) = TailFeed::open(dir.path());
    let options = ui.options(&dir.name(), Some(dir.path()), None);
    dashboard::run(&mut feed, &options, past).map(drop)
}

/// Prints lines for past and new events, until the run is over or no process works on it.
fn lines(dir: &RunDir, json: bool) -> Result<()> {
    let mut tail = Tail::open(dir.path());
    let mut state = RunState::default();
    let mut out = std::io::stdout().lock();
    let (lines, run) = (Lines::local(dir), dir.argument());
    // Past decisions are printed without answers.
    let mut caught_up = false;
    loop {
        let alive = RunLock::is_live(dir.path());
        let answers = match caught_up && alive {
            true => Answers::Commands(&run),
            false => Answers::No,
        };
        for item in tail.poll()? {
            item.apply_to(&mut state);
            let line = match &item {
                TailItem::Event(event) if json => Some(text::json(&event.to_line()).into_owned()),
                TailItem::Event(event) => lines.of_event(&state, event, answers).text,
                TailItem::Skipped { .. } if json => {
                    say::err(&item.skipped().unwrap_or_default());
                    None
                }
                TailItem::Skipped { .. } => item.skipped(),
                TailItem::Restarted => None,
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
        if !caught_up {
            caught_up = true;
            let open = lines.of_present(&state, Answers::Commands(&run)).text;
            if let Some(open) = open.filter(|_| alive && !json) {
                let _ = writeln!(out, "{open}");
                let _ = out.flush();
            }
        }
        let over = matches!(
            state.core.status,
            Status::Done | Status::Failed | Status::Interrupted
        );
        // Checked before the last poll, so that nothing written at the end is missed.
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
