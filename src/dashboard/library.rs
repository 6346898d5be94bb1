//! The runs of a directory, read lazily: with the [session](super::session), the only owner of run data.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use crate::run::dir::RunDir;
use crate::run::lock::RunLock;
use crate::run::series::open::Budget;
use crate::run::state::RunState;
use crate::run::{series, show, table};

/// How long one run is read, during which no key is answered.
const MOST_TIME: Duration = Duration::from_millis(500);

/// The runs, the one that changed last first.
#[derive(Debug, Default)]
pub struct Library {
    pub runs: Vec<Listed>,
}

/// A run in the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    pub dir: RunDir,
    /// When its journal last changed.
    pub changed: Option<SystemTime>,
    /// `None` until it has been read.
    pub row: Option<Row>,
}

/// What can be done with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is in progress.
    Attach,
    /// It is not finished, and no process works on it.
    Resume,
    Watch,
}

impl Listed {
    /// Finds what its operator would do with it now.
    pub fn way(&self) -> Way {
        let state = self.row.as_ref().map(|row| row.state.as_str());
        if RunLock::is_live(self.dir.path()) {
            return Way::Attach;
        }
        match state {
            Some("stopped" | "crashed" | "interrupted") => Way::Resume,
            _ => Way::Watch,
        }
    }
}

/// What the list shows of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub state: String,
    pub phase: String,
    pub layers: String,
    pub val: String,
    pub gap: String,
}

impl Library {
    /// Lists the runs of a directory; none of them is read yet.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn open(runs: &Path) -> Result<Self> {
        Ok(Self {
            runs: listed(runs)?,
        })
    }

    /// Reads one run that has not been read. False when there is none.
    pub fn read_next(&mut self) -> bool {
        let Some(run) = self.runs.iter_mut().find(|run| run.row.is_none()) else {
            return false;
        };
        run.row = Some(read(&run.dir));
        true
    }

    /// Whether every run has been read.
    pub fn is_read(&self) -> bool {
        self.runs.iter().all(|run| run.row.is_some())
    }

    /// Takes a newer list, in which what has not changed keeps what was read of it. False when all is as it was.
    pub fn refresh(&mut self, newer: Self) -> bool {
        let same = |a: &Listed, b: &Listed| a.dir == b.dir && a.changed == b.changed;
        let newer = newer.runs;
        if newer.len() == self.runs.len() && newer.iter().zip(&self.runs).all(|(a, b)| same(a, b)) {
            return false;
        }
        let old = std::mem::replace(&mut self.runs, newer);
        for run in &mut self.runs {
            run.row = old
                .iter()
                .find(|o| same(o, run))
                .and_then(|o| o.row.clone());
        }
        true
    }
}

/// The runs, the one that changed last first, none of them read yet.
fn listed(runs: &Path) -> Result<Vec<Listed>> {
    let one = |dir: RunDir| {
        let meta = std::fs::metadata(dir.events());
        Listed {
            changed: meta.and_then(|m| m.modified()).ok(),
            row: None,
            dir,
        }
    };
    let mut all: Vec<Listed> = RunDir::list(runs)?.into_iter().map(one).collect();
    all.sort_by_key(|run| std::cmp::Reverse(run.changed));
    Ok(all)
}

fn read(dir: &RunDir) -> Row {
    let Ok(state) = series::open::brief(dir.path(), &Budget::of(MOST_TIME)) else {
        return Row {
            state: "unreadable".into(),
            ..Row::of(&RunState::default(), dir)
        };
    };
    Row::of(&state, dir)
}

impl Row {
    /// What the list shows of a run.
    pub fn of(state: &RunState, dir: &RunDir) -> Self {
        let core = &state.core;
        let dash = || "-".to_string();
        let now = core.phase.as_ref();
        let last = core.eval;
        Self {
            state: core
                .outcome
                .map_or_else(|| show::state_text(state, dir).into(), |o| o.to_string()),
            phase: now.map_or_else(dash, |p| table::phase_name(&p.phase)),
            layers: now.map_or_else(dash, |p| p.layers.to_string()),
            val: last.map_or_else(dash, |e| format!("{:.4}", e.val_loss)),
            gap: state.gap().map_or_else(dash, |g| format!("{g:+.4}")),
        }
    }
}
