//! Ends of phases, ages of evidence, and results of controls.

use super::*;
use crate::run::command::{By, Command};
use crate::run::event::{Answer, CommandGiven, Decision, PhaseEvent};
use crate::run::event::{DecisionReason, DecisionStatus, Evidence, Plateau, Suggestion};

impl Run {
    fn asked(&mut self, command: Command, applied: bool) {
        let id = self.seq + 1;
        self.emit(Body::Command(CommandGiven {
            id,
            by: By::Control,
            command,
            pid: None,
        }));
        // Another command's answer does not count.
        self.emit(Body::Answer(Answer {
            id: id + 1000,
            applied: true,
            message: "done".into(),
            change: None,
        }));
        self.emit(Body::Answer(Answer {
            id,
            applied,
            message: "done".into(),
            change: None,
        }));
    }

    fn due(&self) -> u64 {
        self.state.core.phase.as_ref().unwrap().due
    }
}

fn train_on(steps: u64) -> Command {
    Command::TrainOn {
        steps,
        decision: None,
    }
}

#[test]
fn the_end_of_a_phase_follows_extend_and_train_on() {
    let mut run = Run::begun();
    assert_eq!(run.due(), 1000);
    run.train(20);
    run.asked(Command::Extend { steps: 10 }, true);
    assert_eq!(
        run.due(),
        1010,
        "as the trainer answers: put off by so many"
    );
    run.asked(Command::Extend { steps: 10 }, false);
    run.asked(train_on(7), false);
    assert_eq!(run.due(), 1010, "refused");
    let checkpoint = run.checkpoint();
    run.train(5);
    run.asked(train_on(100), true);
    assert_eq!(run.due(), 125, "from the step where it was said");
    run.train(110);
    run.asked(Command::Extend { steps: 10 }, true);
    assert_eq!(run.due(), 145, "from a step past the end");
    run.roll_back(checkpoint, 20);
    assert_eq!(run.due(), 1010, "as it was at the checkpoint");
    run.asked(train_on(u64::MAX), true);
    assert!(run.due() <= 1 << 53);
}

/// Evidence of a round.
fn evidence() -> Evidence {
    Evidence {
        round: 1,
        layers: 2,
        val_loss: 2.0,
        stderr: 0.1,
        benchmark: 1.9,
        reference_layers: 4,
        gap: 0.1,
        gap_stderr: 0.01,
        tolerance: 0.0,
        matched: false,
        slope_per_1k: None,
        slope_stderr: None,
        plateau: Plateau::InsufficientData,
        forecast: None,
        forecast_grown: None,
        forecasts: Vec::new(),
        lazy_layers: Vec::new(),
        reference_lazy_layers: Vec::new(),
        growth: None,
        costs: Vec::new(),
        rules: Vec::new(),
        suggestion: Suggestion::Grow,
        why: "2 layers are behind".into(),
    }
}

fn decision(evidence_step: Option<u64>, open: bool) -> Body {
    Body::Decision(Decision {
        id: 1,
        status: if open {
            DecisionStatus::Open
        } else {
            DecisionStatus::Resolved
        },
        reason: DecisionReason::EndOfSteps,
        evidence: open.then(|| Box::new(evidence())),
        evidence_step,
        choice: (!open).then(|| "grow by 1 (keep)".into()),
        by: None,
    })
}

#[test]
fn evidence_tells_its_age_wherever_it_is_shown_later() {
    let mut run = Run::begun();
    run.train(30);
    // A journal of an earlier version, whose evidence belongs to the event's step.
    run.emit(decision(None, true));
    let words = |run: &Run| {
        let open = run.state.core.decision.as_ref().unwrap();
        open.evidence_words(run.state.core.step)
    };
    assert_eq!(words(&run), "evidence of step 30");
    run.train(1);
    assert_eq!(words(&run), "evidence of step 30, 1 step old");
    run.emit(decision(Some(10), true));
    assert_eq!(words(&run), "evidence of step 10, 21 steps old");
    let note = |run: &Run| run.state.notes.back().unwrap().text.clone();
    assert_eq!(
        note(&run),
        "decision (evidence of step 10, 21 steps old): 2 layers are behind"
    );
    assert_eq!(run.state.core.decision.as_ref().unwrap().phase_step, 10);
    run.emit(decision(Some(10), false));
    assert_eq!(
        note(&run),
        "decided: grow by 1 (keep) (on evidence of step 10, 21 steps old)"
    );
    assert!(run.state.core.decision.is_none());
}

#[test]
fn controls_that_end_again_and_again_stay_bounded() {
    let mut run = Run::begun();
    let result = crate::run::table::tests::result(2, Some(0.1), Start::Random);
    let mut end = |phase: Phase| {
        run.seq += 1;
        run.state.apply(&Event {
            v: FORMAT_VERSION,
            seq: run.seq,
            t: 0,
            elapsed: 0.0,
            step: 1,
            phase,
            phase_step: 1,
            branch: 0,
            body: Body::Phase(PhaseEvent {
                layers: 2,
                parameters: 10,
                steps: 9,
                start: Start::Random,
                source_layers: Vec::new(),
                result: Some(result.clone()),
                schedule: None,
                planned: Vec::new(),
            }),
        });
    };
    for i in 0..1000 {
        end(Phase::from("control-random"));
        end(Phase::from("control-reference"));
        end(Phase::Other(format!("other-{i}")));
    }
    let controls = &run.state.core.controls;
    assert_eq!(controls.len(), 64);
    let count = |name: &str| controls.iter().filter(|c| c.name == name).count();
    assert_eq!((count("random"), count("reference_continued")), (1, 1));
}
