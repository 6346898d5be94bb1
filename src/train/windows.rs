//! Determines the number of validation windows that a run evaluates.

use anyhow::{Result, bail};

use super::state::TrainState;
use crate::eval::disjoint_windows;
use crate::run::windows::EvalWindows;

/// Returns the windows of a run over `n_tokens` validation tokens, `time` tokens each, where `eval.windows` asks for `asked` of them.
/// `resumed` is the state that a resume continues from: its benchmark, or its evaluations so far, keep their windows.
///
/// # Errors
/// When the reference was measured on another number of windows than is asked for now.
pub fn of_run(
    asked: usize,
    n_tokens: usize,
    time: usize,
    resumed: Option<&TrainState>,
) -> Result<EvalWindows> {
    let disjoint = disjoint_windows(n_tokens, time);
    let new = EvalWindows::of_new_run(asked, disjoint, time);
    let Some(state) = resumed else {
        return Ok(new);
    };
    let measured = state.benchmark.as_ref().map(|b| b.losses.len());
    // States of earlier versions do not hold the number; they evaluated as many windows as were asked for.
    let had = measured.or(state.eval_windows).unwrap_or(asked);
    match EvalWindows::of_resumed_run(asked, disjoint, time, had) {
        Some(windows) => Ok(windows),
        None if measured.is_none() => Ok(new),
        None => bail!(
            "the reference was measured on {had} windows, eval.windows is {asked} now: gaps would compare different text; resume without it, or with --set eval.windows={had}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::state::Benchmark;

    fn measured(windows: usize) -> TrainState {
        let mut state = TrainState::new([String::new(), String::new()]);
        state.benchmark = Some(Benchmark {
            losses: vec![1.0; windows],
            val_loss: 1.0,
            layers: 4,
            lazy_layers: Vec::new(),
        });
        state
    }

    #[test]
    fn a_stored_benchmark_decides_and_a_contradiction_is_refused() {
        let windows = |asked, state: &TrainState| {
            of_run(asked, 3000, 128, Some(state)).map(|w| (w.windows, w.overlap()))
        };
        // A run of an earlier version, and one whose windows were capped.
        assert_eq!(windows(256, &measured(256)).unwrap(), (256, true));
        assert_eq!(windows(256, &measured(23)).unwrap(), (23, false));
        let said = windows(16, &measured(256)).unwrap_err().to_string();
        assert!(
            said.contains("measured on 256 windows") && said.contains("eval.windows=256"),
            "{said}"
        );
    }

    #[test]
    fn before_there_is_a_benchmark_a_resume_keeps_what_it_had_unless_told_otherwise() {
        let mut state = TrainState::new([String::new(), String::new()]);
        let windows =
            |asked, state: &TrainState| of_run(asked, 3000, 128, Some(state)).unwrap().windows;
        assert_eq!(windows(256, &state), 256, "an earlier version's");
        state.eval_windows = Some(23);
        assert_eq!(windows(256, &state), 23);
        assert_eq!(windows(16, &state), 16);
        assert_eq!(of_run(256, 3000, 128, None).unwrap().windows, 23);
    }
}
