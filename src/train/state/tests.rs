use super::*;
use std::path::Path;

fn round(steps: u64, start: Start) -> RoundResult {
    let result = PhaseResult {
        layers: 4,
        parameters: 1,
        steps,
        tokens: 1,
        val_loss: f64::NAN,
        stderr: 0.1,
        gap: None,
        gap_stderr: None,
        tokens_per_second: 1.0,
        tokens_per_second_wall: 1.0,
        lazy_layers: Vec::new(),
        max_rank: Vec::new(),
        start,
        matched: false,
    };
    RoundResult { round: 1, result }
}

#[test]
fn a_control_repeats_the_schedules_of_the_rounds_that_count() {
    let mut state = TrainState::new([String::new(), String::new()]);
    state.rounds = vec![
        round(100, Start::Inherit),
        round(30, Start::Restart),
        round(20, Start::Keep),
    ];
    let steps: Vec<u64> = state.recipe_rounds().iter().map(|r| r.1).collect();
    assert_eq!(steps, [30, 20]);
    state.phase = Phase::from("control-random");
    for (step, wanted) in [(0, 0), (29, 29), (30, 0), (49, 19), (70, 40)] {
        state.phase_step = step;
        assert_eq!(state.schedule_place().1, wanted);
    }
    state.phase = Phase::Round(3);
    assert_eq!(state.schedule_place(), (3, 70));
}

#[test]
fn a_control_follows_the_rates_that_the_operator_set() {
    let mut state = TrainState::new([String::new(), String::new()]);
    state.phase = Phase::Round(1);
    state.phase_step = 4;
    state.scale_rate(0.5);
    assert_eq!(state.rate_scale(), 0.5);
    state.rounds = vec![round(10, Start::Inherit)];
    state.phase = Phase::Round(2);
    state.phase_step = 6;
    assert_eq!(state.rate_scale(), 1.0, "another round");
    state.phase = Phase::from("control-random");
    for (step, wanted) in [(3, 1.0), (4, 0.5), (9, 0.5)] {
        state.phase_step = step;
        assert_eq!(state.rate_scale(), wanted);
    }
}

#[test]
fn a_phase_that_is_over_keeps_its_evaluations() {
    let mut state = TrainState::new([String::new(), String::new()]);
    let eval = |phase_step| AtStep {
        phase_step,
        measured: Evaluation {
            val_loss: Some(2.5),
            windows: 4,
            ..Evaluation::default()
        },
    };
    state.evals = vec![eval(0), eval(5)];
    state.end_phase();
    state.begin_phase(Phase::Round(1), Start::Inherit, vec![0], 9);
    assert!(state.evals.is_empty());
    let text = serde_json::to_string(&state).unwrap();
    let back: TrainState = serde_json::from_str(&text).unwrap();
    assert_eq!(back.finished[0].phase, Phase::Reference);
    assert_eq!(back.finished[0].evals, [eval(0), eval(5)]);
}

#[test]
fn states_of_earlier_versions_are_read() {
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs/old");
    let (mut states, mut evals, mut probes) = (0, 0, 0);
    for run in std::fs::read_dir(old).unwrap() {
        for checkpoint in std::fs::read_dir(run.unwrap().path().join("checkpoints")).unwrap() {
            let Ok(text) = std::fs::read_to_string(checkpoint.unwrap().path().join("state.json"))
            else {
                continue;
            };
            let file: serde_json::Value = serde_json::from_str(&text).unwrap();
            let state: TrainState = serde_json::from_value(file["state"].clone()).unwrap();
            states += 1;
            evals += state.evals.len();
            probes += usize::from(state.probe.is_some());
            let written = &file["state"]["evals"][0];
            let first = state.evals[0];
            assert_eq!(first.val_loss, written["val_loss"].as_f64());
            assert_eq!(first.phase_step, written["phase_step"]);
            assert_eq!(first.windows, 0, "it is not told");
        }
    }
    assert!(states >= 12 && evals > states && probes == states);
}

#[test]
fn numbers_that_are_not_finite_read_back() {
    let mut state = TrainState::new([String::new(), String::new()]);
    state.evals.push(AtStep {
        phase_step: 5,
        measured: Evaluation {
            gap: Some(f64::NAN),
            seconds: f64::NAN,
            ..Evaluation::default()
        },
    });
    state.benchmark = Some(Benchmark {
        losses: vec![1.0, f64::NAN],
        val_loss: f64::NAN,
        layers: 2,
        lazy_layers: Vec::new(),
    });
    state.rounds = vec![round(3, Start::Inherit)];
    let text = serde_json::to_string(&state).unwrap();
    let back: TrainState = serde_json::from_str(&text).unwrap();
    assert!(back.evals[0].val_loss().is_nan() && back.evals[0].gap.is_none());
    assert!(back.evals[0].seconds.is_nan());
    assert!(back.benchmark.unwrap().losses[1].is_nan());
}
