use super::*;
use crate::run::event::{
    Body, CheckpointBegun, CheckpointWritten, Evaluation, Event, FORMAT_VERSION, PhaseEvent,
    Rollback, Start,
};

/// Events of a run with rounds.
#[derive(Default)]
struct Run {
    state: RunState,
    seq: u64,
    step: u64,
    began: u64,
    round: u32,
}

impl Run {
    fn emit(&mut self, body: Body) -> u64 {
        self.seq += 1;
        self.state.apply(&Event {
            v: FORMAT_VERSION,
            seq: self.seq,
            t: 0,
            elapsed: self.seq as f64,
            step: self.step,
            phase: match self.round {
                0 => Phase::Reference,
                n => Phase::Round(n),
            },
            phase_step: self.step - self.began,
            branch: 0,
            body,
        });
        self.seq
    }

    fn begin(&mut self, round: u32) {
        (self.round, self.began) = (round, self.step);
        self.emit(Body::Phase(PhaseEvent {
            layers: 2,
            parameters: 10,
            steps: 100,
            start: Start::Inherit,
            source_layers: Vec::new(),
            result: None,
            schedule: None,
            planned: Vec::new(),
        }));
    }

    fn eval(&mut self, step: u64, val_loss: Option<f64>) {
        self.step = step;
        self.emit(Body::Eval(Evaluation {
            val_loss,
            nonfinite: None,
            stderr: Some(0.1),
            windows: 8,
            blocks: None,
            gap: val_loss.filter(|_| self.round > 0).map(|v| v - 2.0),
            gap_stderr: Some(0.01),
            matched: false,
            seconds: 0.1,
        }));
    }

    fn checkpoint(&mut self) -> u64 {
        let name = format!("b0-s{}", self.step);
        let reason = "schedule".into();
        let begun = self.emit(Body::Checkpointing(CheckpointBegun {
            name: name.clone(),
            reason,
        }));
        self.emit(Body::Checkpoint(CheckpointWritten {
            name,
            bytes: 1,
            seconds: 1.0,
            val_loss: None,
            reason: "schedule".into(),
            verified: false,
            begun: Some(begun),
            of_step: Some(self.step),
            milestone: None,
        }));
        begun
    }

    fn roll_back(&mut self, from_seq: u64, step: u64) {
        self.step = step;
        self.emit(Body::Rollback(Rollback {
            checkpoint: format!("b0-s{step}"),
            from_seq,
            why: "asked".into(),
            overruled: Vec::new(),
        }));
    }
}

#[test]
fn a_rollback_shows_that_the_abandoned_branch_was_better() {
    let mut run = Run::default();
    run.begin(0);
    run.eval(50, Some(1.0));
    run.begin(1);
    run.eval(100, Some(2.6));
    let checkpoint = run.checkpoint();
    run.eval(150, Some(2.4333));
    run.eval(200, None);
    run.eval(250, Some(2.5));
    run.roll_back(checkpoint, 100);
    run.eval(150, Some(2.4737));
    let all = of(&run.state);
    assert_eq!(all.len(), 1);
    let one = &all[0];
    assert_eq!(one.checkpoint.as_deref(), Some("b0-s100"));
    assert_eq!((one.to_step, one.from_step), (Some(100), 250));
    let best = |b: &Option<Best>| b.as_ref().map(|b| (b.step, b.val_loss, b.phase.clone()));
    // The reference's evaluation, lower than any, does not count as a round's.
    assert_eq!(best(&one.best), Some((150, 2.4333, "round 1".into())));
    assert_eq!(best(&one.best_since), Some((150, 2.4737, "round 1".into())));
    let wanted = "
rollbacks
  from step 250 to b0-s100 (step 100)
    best of the abandoned branch: val loss 2.4333 at step 150 (round 1), gap +0.4333 +/- 0.0100
    best since then: val loss 2.4737 at step 150 (round 1), gap +0.4737 +/- 0.0100
";
    assert_eq!(text(&run.state), wanted);
}

#[test]
fn a_run_without_rollbacks_shows_none() {
    let mut run = Run::default();
    run.begin(0);
    run.eval(50, Some(1.0));
    assert_eq!(of(&run.state), []);
    assert_eq!(text(&run.state), "");
}
