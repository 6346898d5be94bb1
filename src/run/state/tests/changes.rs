//! Values that operators have set, in the fold.

use super::*;
use crate::run::event::{Answer, Change};

impl Run {
    fn set(&mut self, what: &str, old: &str, new: &str) {
        let change = Some(Change {
            what: what.into(),
            old: old.into(),
            new: new.into(),
        });
        self.emit(Body::Answer(Answer {
            id: 1,
            applied: true,
            message: "done".into(),
            change,
        }));
    }

    fn set_values(&self) -> String {
        crate::run::show::changes(&self.state).unwrap_or_default()
    }

    fn enter(&mut self, phase: Phase) {
        let body = Body::Phase(PhaseEvent {
            layers: 2,
            parameters: 10,
            steps: 1000,
            start: Start::Keep,
            source_layers: Vec::new(),
            result: None,
            schedule: None,
            planned: Vec::new(),
        });
        self.seq += 1;
        let mut event = Event::numbered(self.seq, body);
        event.phase = phase;
        self.state.apply(&event);
    }
}

#[test]
fn the_latest_value_of_each_is_kept_with_the_first_one() {
    let mut run = Run::begun();
    run.set("clip", "1", "0.5");
    run.set("beta2", "0.95", "0.9");
    run.set("clip", "0.5", "0.2");
    assert_eq!(run.set_values(), "beta2 0.9 (was 0.95), clip 0.2 (was 1)");
    run.set("clip", "0.2", "1");
    assert_eq!(run.set_values(), "beta2 0.9 (was 0.95)");
    for n in 0..100 {
        run.set(&format!("mixture {n}"), "1", &"9".repeat(1000));
    }
    let kept = &run.state.core.changes;
    assert_eq!(
        (kept.len(), kept[0].what.as_str(), kept[0].new.len()),
        (64, "mixture 36", 100)
    );
}

#[test]
fn a_rollback_and_a_resume_return_to_what_was_set_at_the_checkpoint() {
    let mut run = Run::begun();
    run.set("clip", "1", "0.5");
    let at = run.checkpoint();
    let step = run.step;
    run.set("clip", "0.5", "0.2");
    run.set("beta2", "0.95", "0.9");
    run.roll_back(at, step);
    assert_eq!(run.set_values(), "clip 0.5 (was 1)");
    run.set("beta2", "0.95", "0.9");
    run.resume(at, step, 0);
    assert_eq!(run.set_values(), "clip 0.5 (was 1)");
    // The config has another value since.
    let overruled = vec!["clip".into()];
    run.emit(Body::Resumed(Resumed {
        from_seq: at,
        checkpoint: "s0".into(),
        overruled,
    }));
    assert_eq!(run.set_values(), "");
}

#[test]
fn rates_end_with_their_phase_and_only_growths_keep_frozen_layers() {
    let mut run = Run::begun();
    let all = |run: &mut Run| {
        run.set("lr", "1e-3", "2e-3");
        run.set("cooldown", "2e-3", "1e-4");
        run.set("clip", "1", "0.5");
        run.set("frozen layers", "none", "0..2");
    };
    all(&mut run);
    run.enter(Phase::Round(1));
    assert_eq!(run.set_values(), "clip 0.5 (was 1)");
    all(&mut run);
    run.enter(Phase::Round(2));
    assert_eq!(
        run.set_values(),
        "clip 0.5 (was 1), frozen layers 0..2 (was none)"
    );
    run.enter(Phase::from("control-random"));
    assert_eq!(run.set_values(), "clip 0.5 (was 1)");
}
