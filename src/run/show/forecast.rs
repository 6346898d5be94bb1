//! The forecast of the present phase in `show` and `ctl status`. A run that is done has none.

use serde_json::Value;

use crate::run::state::RunState;

/// The forecast as `heirloom forecast --json` prints it.
pub fn json(state: &RunState) -> Option<Value> {
    let outlook = state.outlook()?;
    Some(state.known()?.json(&outlook.forecast))
}

/// Prints the expected end of the present phase, and the reason: `loss 2.0123 ±0.0110, gap +0.0123 ±0.0110 at step 300,
/// will match` and a sentence; only the sentence where data is missing.
pub fn sentences(state: &RunState) -> Vec<String> {
    let Some(outlook) = state.outlook() else {
        return Vec::new();
    };
    let forecast = &outlook.forecast;
    let words = forecast.words();
    let expected = forecast.loss_words().map(|loss| match forecast.final_gap {
        Some(_) => format!("loss {loss}, {words}"),
        None => words,
    });
    expected.into_iter().chain([forecast.why.clone()]).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::run::dir::RunDir;
    use crate::run::event::{
        Body, Evaluation, Event, Log, Phase, PhaseEvent, PhaseResult, RunEvent, RunStatus,
        Schedule, Start,
    };
    use crate::run::show;
    use crate::run::state::RunState;
    use crate::run::table::tests::finished;

    /// A reference and a round half way, with their schedules.
    fn trained() -> RunState {
        let mut state = RunState::default();
        let (mut seq, mut step) = (0, 0);
        let mut tell = |state: &mut RunState, phase: &Phase, step: u64, phase_step: u64, body| {
            seq += 1;
            state.apply(&Event {
                step,
                phase_step,
                phase: phase.clone(),
                ..Event::numbered(seq, body)
            });
        };
        let run = RunEvent {
            status: RunStatus::Started,
            info: None,
            message: None,
        };
        tell(&mut state, &Phase::Reference, 0, 0, Body::Run(run));
        for (phase, start, until, ahead) in [
            (Phase::Reference, Start::Random, 1000, 0.0),
            (Phase::Round(1), Start::Inherit, 400, 0.3),
        ] {
            let began = step;
            let begin = |result| {
                Body::Phase(PhaseEvent {
                    layers: 4,
                    parameters: 1,
                    steps: 1000,
                    start,
                    source_layers: Vec::new(),
                    result,
                    schedule: Some(Schedule {
                        kind: "cosine".into(),
                        peak: 1e-3,
                        min: 1e-4,
                        warmup: 20,
                        steps: 1000,
                    }),
                    planned: Vec::new(),
                })
            };
            tell(&mut state, &phase, step, 0, begin(None));
            for i in (50..=until).step_by(50) {
                step = began + i;
                let x = i as f64 / 1000.0;
                let loss = 2.5 + 2.0 / (1.0 + 10.0 * x) - 0.2 * x * x - ahead * (1.0 - x);
                let reference = state.benchmark().map(|b| loss - b);
                let eval = Evaluation {
                    val_loss: Some(loss),
                    nonfinite: None,
                    stderr: Some(0.01),
                    windows: 16,
                    blocks: None,
                    gap: reference,
                    gap_stderr: reference.map(|_| 0.002),
                    matched: false,
                    seconds: 0.1,
                };
                tell(&mut state, &phase, step, i, Body::Eval(eval));
            }
            if phase == Phase::Reference {
                let result = PhaseResult {
                    val_loss: 2.5 + 2.0 / 11.0 - 0.2,
                    ..finished().core.reference.unwrap()
                };
                tell(&mut state, &phase, step, 1000, begin(Some(result)));
            }
        }
        state
    }

    #[test]
    fn show_and_status_print_the_numbers_of_the_outlook() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::create(tmp.path(), "tiny", Some("a")).unwrap();
        let state = trained();
        let outlook = state.outlook().unwrap();
        let forecast = &outlook.forecast;
        let (loss, gap) = (forecast.final_loss.unwrap(), forecast.final_gap.unwrap());
        let number = |x: f64| format!("{x:.4}");
        for text in [show::text(&state, &dir), show::status(&state, &dir)] {
            let line = text.lines().find(|l| l.starts_with("forecast")).unwrap();
            for wanted in [
                number(loss.value),
                number(loss.half_width()),
                format!("{:+.4}", gap.value),
                "at step 1,000".into(),
                forecast.verdict.to_string(),
            ] {
                assert!(line.contains(&wanted), "{wanted}: {line}");
            }
            assert!(text.contains(&forecast.why), "{text}");
        }
        let json = show::json(&state, &dir);
        let same = |what: &str| json["forecast"][what].clone();
        assert_eq!(same("final_loss"), serde_json::json!(forecast.final_loss));
        assert_eq!(same("final_gap"), serde_json::json!(forecast.final_gap));
        assert_eq!(same("verdict"), forecast.verdict.to_string());
        assert_eq!((same("step"), same("to")), (400.into(), 1000.into()));
        assert_eq!(json["plateau"], serde_json::json!(outlook.plateau));
    }

    #[test]
    fn the_outlook_is_worked_out_once_for_each_evaluation() {
        let mut state = trained();
        let first = state.outlook().unwrap();
        let mut tell = |body| {
            state.apply(&Event {
                step: state.core.step,
                phase_step: state.core.phase_step,
                phase: Phase::Round(1),
                ..Event::numbered(state.seq + 1, body)
            });
            state.outlook().unwrap()
        };
        let message = "between two evaluations".to_string();
        let same = tell(Body::Log(Log { message }));
        assert!(Arc::ptr_eq(&first, &same));
        let later = tell(Body::Eval(Evaluation {
            val_loss: Some(2.6),
            nonfinite: None,
            stderr: Some(0.01),
            windows: 16,
            blocks: None,
            gap: Some(0.1),
            gap_stderr: Some(0.002),
            matched: false,
            seconds: 0.1,
        }));
        assert!(!Arc::ptr_eq(&first, &later));
    }

    #[test]
    fn a_run_that_is_done_has_no_forecast() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::create(tmp.path(), "tiny", Some("a")).unwrap();
        let state = finished();
        assert_eq!(state.outlook(), None);
        assert!(!show::text(&state, &dir).contains("\nforecast"));
        assert!(!show::status(&state, &dir).contains("\nforecast"));
        let json = show::json(&state, &dir);
        assert!(json["forecast"].is_null() && json["plateau"].is_null());
    }
}
