//! Evaluations of finished phases in the fold.

use super::*;
use crate::run::event::Evaluation;

impl Run {
    fn phase(&mut self) {
        self.emit(Body::Phase(PhaseEvent {
            layers: 2,
            parameters: 10,
            steps: 1000,
            start: Start::Inherit,
            source_layers: Vec::new(),
            result: None,
            schedule: None,
            planned: Vec::new(),
        }));
    }

    fn evaluate(&mut self, times: u64) {
        for _ in 0..times {
            self.step += 1;
            self.emit(Body::Eval(Evaluation {
                val_loss: Some(self.step as f64),
                ..Evaluation::default()
            }));
        }
    }

    fn evaluated(&self) -> Vec<(u64, u64, usize)> {
        let phases = self.state.live().evals_by_phase();
        let ends = |(_, evals): (&Phase, &[EvalPoint])| {
            let (first, last) = (evals.first().unwrap(), evals.last().unwrap());
            (first.step, last.step, evals.len())
        };
        phases.into_iter().map(ends).collect()
    }
}

#[test]
fn every_phase_keeps_its_evaluations() {
    let mut run = Run::begun();
    run.evaluate(30);
    run.phase();
    run.evaluate(40);
    let seq = run.checkpoint();
    run.evaluate(5);
    assert_eq!(run.evaluated(), [(1, 30, 30), (31, 75, 45)]);
    run.roll_back(seq, 70);
    run.phase();
    run.evaluate(1);
    assert_eq!(run.evaluated(), [(1, 30, 30), (31, 70, 40), (71, 71, 1)]);
}

#[test]
fn a_run_of_very_many_evaluations_keeps_some_of_every_phase() {
    let mut run = Run::begun();
    run.evaluate(5000);
    for _ in 0..5 {
        run.phase();
        run.evaluate(5000);
    }
    assert!(run.state.live().evals.len() <= 4096);
    let phases = run.evaluated();
    assert_eq!(phases.len(), 6);
    for (i, (first, last, n)) in phases.into_iter().enumerate() {
        let began = 5000 * i as u64;
        assert!(first > began && first <= began + 100, "{i}: {first}");
        assert!(last == began + 5000 && n > 80, "{i}: {last}, {n}");
    }
    assert_eq!(run.state.evals_of_phase().last().unwrap().step, 30_000);
}
