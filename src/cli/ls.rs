//! `heirloom ls`: lists the runs in a directory.

use std::io::IsTerminal;
use std::time::Duration;

use crossterm::terminal;
use rayon::prelude::*;

use super::{Global, say};
use crate::run::dir::RunDir;
use crate::run::event::Phase;
use crate::run::state::{RunState, Status};
use crate::run::{series, show, table};
use crate::text;

/// Time to read journals without a `series.bin`, which `show` would write for them.
const MOST_TIME: Duration = Duration::from_secs(5);

/// List runs, most recently changed first
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    global: Global,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

impl Args {
    /// # Errors
    /// When the directory cannot be read. A run that cannot be read is reported on stderr and left out.
    pub fn run(self) -> anyhow::Result<()> {
        let dirs = RunDir::list(&self.global.runs)?;
        // Journals are read in parallel, because those without series.bin take long.
        let budget = series::open::Budget::of(MOST_TIME);
        let brief = |dir: &RunDir| series::open::brief(dir.path(), &budget);
        let states: Vec<_> = match rayon::ThreadPoolBuilder::new().build() {
            Ok(pool) => pool.install(|| dirs.par_iter().map(brief).collect()),
            // If threads are refused, journals are read one after the other.
            Err(_) => dirs.iter().map(brief).collect(),
        };
        let mut runs = Vec::new();
        for (dir, state) in dirs.into_iter().zip(states) {
            match state {
                Ok(state) => runs.push((dir, state)),
                Err(e) => say::err(&format!("cannot read {}: {e}", text::path(&dir.events()))),
            }
        }
        runs.sort_by_key(|(_, state)| std::cmp::Reverse(state.t));
        if self.json {
            let all = runs
                .iter()
                .map(|(dir, state)| show::summary_json(state, dir));
            let list = serde_json::Value::Array(all.collect());
            return Ok(say::json(&list)?);
        }
        if runs.is_empty() {
            let place = text::path(&self.global.runs);
            let hint = "`heirloom train tiny` starts one";
            return Ok(say::out(&format!("no runs under {place}; {hint}\n"))?);
        }
        // Output to a pipe has every column.
        let terminal = std::io::stdout().is_terminal().then(terminal::size);
        let width = terminal.and_then(Result::ok).map(|(columns, _)| columns);
        Ok(say::out(&lines(&runs, width.map(usize::from)))?)
    }
}

/// Columns that are left out if they do not fit, in this order.
const LEFT_OUT: [usize; 5] = [7, 3, 6, 2, 4];

/// Formats the runs as a table of at most `width` columns, unless the names alone are wider.
fn lines(runs: &[(RunDir, RunState)], width: Option<usize>) -> String {
    let headings = [
        "run", "state", "phase", "layers", "step", "val loss", "gap", "time",
    ];
    let mut rows = vec![headings.map(String::from)];
    rows.extend(runs.iter().map(|(dir, state)| row(dir, state)));
    let mut text = table::aligned(&rows, &[0, 1, 2]);
    for column in LEFT_OUT {
        let fits = |line: &str| width.is_none_or(|width| text::width(line) <= width);
        if text.lines().all(fits) {
            break;
        }
        for row in &mut rows {
            row[column].clear();
        }
        text = table::aligned(&rows, &[0, 1, 2]);
    }
    text
}

fn row(dir: &RunDir, state: &RunState) -> [String; 8] {
    let core = &state.core;
    let dash = || "-".to_string();
    let now = core.phase.as_ref();
    // Not the figures of a control or baseline that is trained after the result.
    let round = state.result_before_comparison();
    let done = round.filter(|_| core.status == Status::Done);
    let phase = done.map(|r| Phase::Round(r.round));
    let phase = phase.as_ref().or(now.map(|now| &now.phase));
    let layers = round.map(|r| r.result.layers);
    let layers = layers.or(now.map(|now| now.layers));
    let val_loss = round.map(|r| r.result.val_loss);
    let val_loss = val_loss.or(core.eval.map(|e| e.val_loss()));
    let word = match core.outcome {
        Some(outcome) => outcome.to_string(),
        None => show::state_text(state, dir).into(),
    };
    let gap = round.map_or_else(|| state.gap(), |r| r.result.gap);
    [
        table::ascii(&dir.name()),
        word,
        phase.map_or_else(dash, table::phase_name),
        layers.map_or_else(dash, |layers| layers.to_string()),
        core.step.to_string(),
        val_loss.map_or_else(dash, |loss| format!("{loss:.4}")),
        gap.map_or_else(dash, |gap| format!("{gap:+.4}")),
        show::duration(state.elapsed),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::Event;

    #[test]
    fn the_list_is_aligned_and_tells_states() {
        let tmp = tempfile::tempdir().unwrap();
        let mut runs = Vec::new();
        for name in ["tiny-1", "a-much-longer-name"] {
            let dir = RunDir::create(tmp.path(), "tiny", Some(name)).unwrap();
            runs.push((dir, RunState::default()));
        }
        let text = lines(&runs, None);
        assert!(
            text.starts_with("run                 state        phase  layers  step"),
            "{text}"
        );
        assert!(
            text.contains("\ntiny-1              interrupted  -           -     0"),
            "{text}"
        );
    }

    #[test]
    fn a_run_with_controls_shows_the_figures_of_its_result() {
        let recorded = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runs/tiny");
        let journal = std::fs::read_to_string(recorded.join("events.jsonl")).unwrap();
        let row_at = |last: &str| {
            let mut state = RunState::default();
            for line in journal.lines() {
                state.apply(&Event::from_line(line).unwrap());
                if line.contains(last) {
                    break;
                }
            }
            row(&RunDir::at(&recorded), &state)
        };
        let done = row_at(r#""kind":"done""#);
        assert_eq!(
            done[..7],
            [
                "tiny", "matched", "round 2", "6", "2948", "1.8231", "-0.0078"
            ]
        );
        // While a control is trained, its name stands with the figures of the result.
        let control = row_at(r#""seq":700,"#);
        assert_eq!(control[2..4], ["control continued", "6"]);
        assert_eq!(control[5..7], done[5..7]);
        // In a round, the figures are those of its latest evaluation.
        let round = row_at(r#""seq":560,"#);
        assert_eq!(round[2..4], ["round 2", "6"]);
        let reference = row_at(r#""seq":389,"#);
        assert_eq!((&*reference[2], &*reference[6]), ("reference", "-"));
    }

    #[test]
    fn the_list_fits_a_terminal_of_80_columns() {
        let tmp = tempfile::tempdir().unwrap();
        let long = "books-2026-11-28-14-05-33-with-a-note-of-its-own";
        let dir = RunDir::create(tmp.path(), "tiny", Some(long)).unwrap();
        let runs = [(dir, RunState::default())];
        assert!(lines(&runs, None).lines().all(|l| l.len() > 80));
        for width in [80, 90, 100] {
            let text = lines(&runs, Some(width));
            assert!(text.lines().all(|l| l.len() <= width), "{text}");
            assert!(
                text.contains(long) && text.contains("interrupted"),
                "{text}"
            );
        }
        assert!(lines(&runs, Some(80)).contains("val loss"));
    }
}
