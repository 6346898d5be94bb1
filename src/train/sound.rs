//! Checks whether a state read from a file can have been written by a trainer.
//!
//! The checksums in `state.json` cover the other files of a checkpoint but not itself, and a run directory may come from
//! anywhere. The trainer relies on numbers that do not overflow and on names that stay in their folder.

use super::state::{Task, TrainState};
use crate::run::controls::CONTROLS;
use crate::run::dir::is_name;
use crate::run::event::Phase;
use crate::run::event::foreign::{MOST_COUNTED, MOST_LAYERS, MOST_ROUNDS};
use crate::text;

/// Most phases of a recipe: the reference, rounds, controls and baselines.
const MOST_PHASES: u64 = MOST_ROUNDS + 1 + CONTROLS.len() as u64 + MOST_BASELINE_PHASES;
/// Most phases of baselines.
const MOST_BASELINE_PHASES: u64 = 64;
/// Branches of a run: each rollback begins one.
const MOST_BRANCHES: u32 = 1 << 20;

impl TrainState {
    /// Rejects values that a trainer never writes.
    ///
    /// # Errors
    /// Names the field and describes the problem.
    pub(super) fn check(&self) -> Result<(), String> {
        let counts = [
            ("seq", self.seq),
            ("step", self.step),
            ("phase_step", self.phase_step),
            ("steps", self.steps),
            ("due", self.due),
            ("stream", self.stream),
            ("tokens", self.tokens),
            ("phase_tokens", self.phase_tokens),
            ("loss_count", self.loss_count),
            ("clipped", self.clipped),
            ("overrun_from", self.overrun_from),
            ("ended_at", self.ended_at.unwrap_or(0)),
            ("decisions", self.decisions),
            ("commands", self.commands),
        ];
        for (field, n) in counts {
            if n > MOST_COUNTED {
                return Err(format!("{field} is {n}, which no run reaches"));
            }
        }
        if self.branch > MOST_BRANCHES {
            return Err(format!("branch is {}, which no run reaches", self.branch));
        }
        self.check_phases()?;
        let layers = self.source_layers.len() as u64;
        let highest = self.source_layers.iter().max();
        if layers > MOST_LAYERS || highest.is_some_and(|&l| l as u64 > MOST_LAYERS) {
            return Err(format!(
                "source_layers names more than {MOST_LAYERS} layers"
            ));
        }
        if let Task::Grow { layers, .. } = self.task
            && layers as u64 > MOST_LAYERS
        {
            return Err(format!("the task is to grow by {layers} layers"));
        }
        self.live.check(MOST_LAYERS as usize)?;
        self.downstream.check()?;
        let kept = self.kept.iter().map(|k| &k.name);
        let best = self.best.iter().map(|(name, _)| name);
        let pending = self.pending_growth.iter().map(|p| &p.checkpoint);
        let mut names = kept
            .chain(best)
            .chain(pending)
            .chain(&self.reference_checkpoint);
        if let Some(name) = names.find(|name| !is_name(name)) {
            let name = text::clean(name);
            return Err(format!("{name:?} cannot be the name of a checkpoint"));
        }
        Ok(())
    }

    fn check_phases(&self) -> Result<(), String> {
        let rounds = self.rounds.iter();
        let rounds = rounds.map(|r| (u64::from(r.round), r.result.steps));
        for (round, steps) in rounds.chain([(u64::from(self.round()), 0)]) {
            if round > MOST_ROUNDS || steps > MOST_COUNTED {
                return Err(format!(
                    "round {round} of {steps} steps, which no run reaches"
                ));
            }
        }
        if self.rounds.len() as u64 > MOST_ROUNDS {
            return Err(format!("it has {} rounds", self.rounds.len()));
        }
        if self.finished.len() as u64 > MOST_PHASES {
            return Err(format!("it has {} finished phases", self.finished.len()));
        }
        match &self.phase {
            Phase::Other(name) => {
                let name = text::clean(name);
                Err(format!("its phase {name:?} is not known"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::command::GrowMode;
    use crate::train::state::Kept;

    #[test]
    fn states_that_no_trainer_writes_are_refused() {
        let new = || TrainState::new([String::new(), String::new()]);
        assert_eq!(new().check(), Ok(()));
        type Change = fn(&mut TrainState);
        let changes: [(&str, Change); 8] = [
            ("step is 18446744073709551615", |s| s.step = u64::MAX),
            ("due is", |s| s.due = MOST_COUNTED + 1),
            ("branch is 4294967295", |s| s.branch = u32::MAX),
            ("phase \"../../x\" is not known", |s| {
                s.phase = Phase::Other("../../x".into());
            }),
            ("round 4294967295", |s| s.phase = Phase::Round(u32::MAX)),
            ("grow by", |s| {
                s.task = Task::Grow {
                    layers: usize::MAX,
                    mode: GrowMode::Keep,
                };
            }),
            ("\"../x\" cannot be the name", |s| {
                s.kept = vec![Kept {
                    name: "../x".into(),
                    milestone: false,
                }];
            }),
            ("\"/etc\" cannot be the name", |s| {
                s.reference_checkpoint = Some("/etc".into());
            }),
        ];
        for (wanted, change) in changes {
            let mut state = new();
            change(&mut state);
            let told = state.check().unwrap_err();
            assert!(told.contains(wanted), "{wanted}: {told}");
        }
    }

    #[test]
    fn a_state_that_would_draw_is_refused_with_a_sentence_that_does_not() {
        let tmp = tempfile::tempdir().unwrap();
        let run = crate::run::dir::RunDir::at(tmp.path());
        let dir = run.checkpoints().join("b0-s1");
        std::fs::create_dir_all(&dir).unwrap();
        let state = TrainState::new([String::new(), String::new()]);
        let file = serde_json::json!({ "v": 1, "program": "p", "files": {}, "state": state });
        let told = |text: &str| {
            std::fs::write(dir.join("state.json"), text).unwrap();
            let checkpoints = crate::train::checkpoint::Checkpoints::at(&run);
            checkpoints.state("b0-s1").map_err(|e| e.to_string())
        };
        let text = file.to_string();
        assert!(told(&text).is_ok());
        let bad = text.replace("\"random\"", r#""rand\u001b[2J\u007fm""#);
        assert_ne!(bad, text);
        let error = told(&bad).unwrap_err();
        assert!(
            error.contains("unknown variant") && !error.contains(char::is_control),
            "{error:?}"
        );
    }
}
