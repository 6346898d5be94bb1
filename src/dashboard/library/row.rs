//! The row of a run in the list of runs.

use std::time::Duration;

use crate::dashboard::eta;
use crate::run::dir::RunDir;
use crate::run::event::Phase;
use crate::run::series::open::Budget;
use crate::run::state::{RunState, Status};
use crate::run::{series, show, table};

/// Longest time to read one run: keys are not handled meanwhile.
const MOST_TIME: Duration = Duration::from_millis(500);
/// Most files of a directory whose size is measured.
const MOST_FILES: usize = 1000;

/// The cells of a run's row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// `running`, `paused`, `stopped`, `crashed`, `failed`, or the outcome.
    pub state: String,
    /// Whether the state is one of a run in progress.
    pub live: bool,
    pub phase: String,
    /// Step of the phase, and its last step.
    pub step: String,
    pub layers: String,
    pub val: String,
    /// The lowest validation loss among those at the ends of rounds and the present one.
    pub best: String,
    pub gap: String,
    pub parameters: String,
    pub policy: String,
    pub device: String,
    /// Bytes on disk.
    pub bytes: Option<u64>,
    /// Time of the last event, and the estimated time at which the run will be done if every growth takes place; Unix time in
    /// milliseconds.
    pub t: i64,
    pub done_at: Option<i64>,
    /// Remarks for the operator: the reason of a pause, the open decision, the outcome, the last note.
    pub remarks: Vec<String>,
    /// Why the run cannot be read.
    pub error: Option<String>,
}

/// Reads a run's row; `bytes` is its size on disk, if known.
pub fn read(dir: &RunDir, bytes: Option<u64>) -> Row {
    match series::open::brief(dir.path(), &Budget::of(MOST_TIME)) {
        Ok(state) => Row {
            // The size of a run in progress is not measured again each second.
            bytes: bytes.filter(|_| is_live(&state)).or_else(|| size_of(dir)),
            ..Row::of(&state, dir)
        },
        Err(error) => Row {
            state: "unreadable".into(),
            error: Some(format!("its journal cannot be read: {error}")),
            ..Row::of(&RunState::default(), dir)
        },
    }
}

fn is_live(state: &RunState) -> bool {
    matches!(state.core.status, Status::Running | Status::Paused)
}

/// Returns the bytes of a run's directory, checkpoints included; `None` if it has too many files.
fn size_of(dir: &RunDir) -> Option<u64> {
    let mut folders = vec![(dir.path().to_path_buf(), 0)];
    let (mut bytes, mut files) = (0, 0);
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(folder).ok()? {
            files += 1;
            // Links are counted, but not followed.
            let entry = entry.ok()?;
            let meta = entry.metadata().ok()?;
            if files > MOST_FILES {
                return None;
            }
            if meta.is_dir() && depth < 3 {
                folders.push((entry.path(), depth + 1));
            } else {
                bytes += meta.len();
            }
        }
    }
    Some(bytes)
}

impl Row {
    /// Makes a run's row from its state.
    pub fn of(state: &RunState, dir: &RunDir) -> Self {
        let core = &state.core;
        let dash = || "-".to_string();
        let loss = |x: f64| format!("{x:.4}");
        let now = core.phase.as_ref();
        let info = state.info.as_ref();
        let ended = core.rounds.iter().map(|r| r.result.val_loss);
        let is_round = now.is_some_and(|p| matches!(p.phase, Phase::Round(_)));
        let present = core.eval.filter(|_| is_round).map(|e| e.val_loss());
        let best = ended.chain(present).filter(|x| x.is_finite());
        let best = best.reduce(f64::min);
        let left = eta::rough_seconds(state);
        // Not the figures of a control or baseline that is trained after the result.
        let round = state.result_before_comparison();
        let done = round.filter(|_| core.status == Status::Done);
        let layers = round.map(|r| r.result.layers).or(now.map(|p| p.layers));
        let parameters = round.map(|r| r.result.parameters);
        let parameters = parameters.or(now.map(|p| p.parameters));
        let val = round.map(|r| r.result.val_loss);
        let val = val.or(core.eval.map(|e| e.val_loss()));
        let gap = round.map_or_else(|| state.gap(), |r| r.result.gap);
        Self {
            state: core
                .outcome
                .map_or_else(|| show::state_text(state, dir).into(), |o| o.to_string()),
            live: is_live(state),
            phase: match (done, now) {
                (Some(round), _) => short_name(&Phase::Round(round.round)),
                (None, now) => now.map_or_else(dash, |p| short_name(&p.phase)),
            },
            step: match (done, now) {
                (Some(round), _) => {
                    let steps = round.result.steps;
                    format!("{steps}/{}", table::count(steps))
                }
                (None, Some(p)) => format!("{}/{}", core.phase_step, table::count(p.due)),
                (None, None) => dash(),
            },
            layers: layers.map_or_else(dash, |layers| layers.to_string()),
            val: val.map_or_else(dash, loss),
            best: best.map_or_else(dash, loss),
            gap: gap.map_or_else(dash, |g| format!("{g:+.4}")),
            parameters: parameters.map_or_else(dash, table::count),
            policy: info.map_or_else(dash, |i| table::ascii(&i.policy)),
            device: info.map_or_else(dash, |i| table::ascii(&i.device)),
            bytes: None,
            t: state.t,
            done_at: left.map(|seconds| state.t.saturating_add((1000.0 * seconds) as i64)),
            remarks: remarks(state),
            error: None,
        }
    }
}

/// Returns a phase's name, in at most nine columns if this program knows the phase.
fn short_name(phase: &Phase) -> String {
    match phase {
        Phase::Control(control) => control.short.into(),
        Phase::Baseline(baseline) => baseline.short(),
        other => table::phase_name(other),
    }
}

fn remarks(state: &RunState) -> Vec<String> {
    let core = &state.core;
    let mut all = Vec::new();
    if let Some(why) = show::pause(state) {
        all.push(format!("paused because {why}"));
    }
    if let Some(decision) = &core.decision {
        all.push(format!("decision open: {}", decision.evidence.why));
    }
    if !core.message.is_empty() {
        all.push(core.message.clone());
    }
    if let Some(note) = state.remarks.last() {
        all.push(format!("note at step {}: {}", note.step, note.text));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::dashboard::tests::realistic::{journal::Moment, run_at};
    use crate::dashboard::tests::story::Story;

    #[test]
    fn a_finished_run_shows_its_result_instead_of_its_last_control() {
        let dir = RunDir::at(Path::new("runs/matched"));
        let run = Story::done().state;
        let row = Row::of(&run, &dir);
        assert_eq!((&*row.state, &*row.phase), ("matched", "round 2"));
        assert_eq!((&*row.step, &*row.layers), ("200/200", "6"));
        assert_eq!((&*row.val, &*row.gap), ("1.9877", "-0.0123"));
        // While the control is trained, its name and step stand with the figures of the result.
        let mut live = run;
        live.core.status = Status::Running;
        let row = Row::of(&live, &dir);
        assert_eq!((&*row.phase, &*row.step), ("random", "200/200"));
        assert_eq!(
            (&*row.layers, &*row.val, &*row.gap),
            ("6", "1.9877", "-0.0123")
        );
    }

    #[test]
    fn a_row_has_what_an_operator_asks_first() {
        let dir = RunDir::at(Path::new("runs/real24"));
        let row = |moment| Row::of(&run_at(moment), &dir);
        let healthy = row(Moment::Healthy);
        assert_eq!((&*healthy.phase, &*healthy.step), ("round 2", "62300/100k"));
        assert_eq!((&*healthy.state, healthy.live), ("running", true));
        assert!(healthy.done_at.is_some_and(|at| at > healthy.t));
        assert!(healthy.best <= healthy.val && healthy.best.starts_with('2'));
        let nan = row(Moment::Nan);
        assert!(nan.remarks[0].starts_with("paused because "), "{nan:?}");
        assert_eq!(nan.done_at, None);
        let deciding = row(Moment::Deciding);
        assert!(
            deciding.remarks[0].starts_with("decision open: 14 layers"),
            "{deciding:?}"
        );
        assert_eq!(row(Moment::Interrupted).state, "stopped");
    }
}
