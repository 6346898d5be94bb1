use super::*;
use crate::run::event::{
    Body, CheckpointWritten, Evaluation, Event, PhaseEvent, Resumed, Rollback, RunEvent, RunStatus,
    Start, TrainMetrics, Warning,
};

/// A run of one phase, built event by event.
struct Story {
    run: RunState,
    step: u64,
}

impl Story {
    fn new() -> Self {
        let mut story = Self {
            run: RunState::default(),
            step: 40,
        };
        story.emit(Body::Phase(PhaseEvent {
            layers: 2,
            parameters: 1,
            steps: 100,
            start: Start::Inherit,
            source_layers: vec![0, 1],
            result: None,
            schedule: None,
            planned: Vec::new(),
        }));
        story
    }

    fn emit(&mut self, body: Body) {
        let seq = self.run.seq + 1;
        let event = Event {
            step: self.step,
            phase_step: self.step - 40,
            phase: Phase::Round(1),
            t: 1000 * self.step as i64,
            ..Event::numbered(seq, body)
        };
        // The notes that a reader of the journal gets.
        self.run.apply(&Event::from_line(&event.to_line()).unwrap());
    }

    fn train(&mut self, loss: f64) {
        self.step += 10;
        let (loss, nonfinite) = crate::run::event::finite(loss);
        self.emit(Body::Train(TrainMetrics {
            grad_norm: loss.map(|_| 1.0),
            loss,
            nonfinite,
            lr: 1e-3,
            tokens: self.step,
            tokens_per_second: 1.0,
            ..Default::default()
        }));
        self.emit(Body::Run(RunEvent {
            status: RunStatus::Running,
            info: None,
            message: None,
        }));
    }

    fn eval(&mut self, val: f64) {
        let (val_loss, nonfinite) = crate::run::event::finite(val);
        self.emit(Body::Eval(Evaluation {
            val_loss,
            nonfinite,
            stderr: Some(0.01),
            windows: 8,
            blocks: None,
            gap: None,
            gap_stderr: None,
            matched: false,
            seconds: 0.1,
        }));
    }

    fn checkpoint(&mut self) -> String {
        let name = format!("b0-s{:08}-round-1", self.step);
        self.emit(Body::Checkpoint(CheckpointWritten {
            name: name.clone(),
            bytes: 1,
            seconds: 0.1,
            val_loss: None,
            reason: "schedule".into(),
            verified: true,
            begun: None,
            of_step: None,
            milestone: None,
        }));
        name
    }

    fn pause(&mut self, why: &str) {
        self.emit(Body::Run(RunEvent {
            status: RunStatus::Paused,
            info: None,
            message: Some(why.into()),
        }));
    }

    fn warn(&mut self, message: &str) {
        let message = message.into();
        self.emit(Body::Warning(Warning { message }));
    }

    fn trouble(&self) -> Option<Trouble> {
        Trouble::of(&self.run, None, &|_| true)
    }
}

#[test]
fn a_loss_that_is_not_finite_names_its_step_and_what_helps_until_it_is_over() {
    let mut story = Story::new();
    story.train(2.6);
    story.eval(2.5);
    let name = story.checkpoint();
    assert_eq!(story.trouble(), None);
    story.train(f64::NAN);
    story.pause("loss or gradient is not finite");
    let trouble = story.trouble().unwrap();
    assert_eq!(trouble.kind, Kind::NotFinite);
    assert_eq!(
        trouble.sentence(),
        "loss or gradient not finite at step 20 of round 1: update skipped, paused"
    );
    let good = Good {
        checkpoint: name.clone(),
        val_loss: Some(2.5),
        age: 10,
    };
    let helps = [
        Help::NextBatch,
        Help::RollBack(good.clone()),
        Help::LowerRate(5e-4),
    ];
    assert_eq!(trouble.helps, helps);
    assert_eq!(good.words(), format!("{name} (val 2.5000, 10 steps ago)"));
    let commands = trouble.commands("mine");
    assert_eq!(commands[0], "next batch: heirloom ctl mine resume");
    assert!(commands[1].ends_with(&format!("heirloom ctl mine rollback {name}")));
    assert!(commands[2].ends_with("heirloom ctl mine set lr 5.00e-4"));
    // A checkpoint that was deleted is not offered.
    let gone = Trouble::of(&story.run, None, &|_| false).unwrap();
    assert_eq!(gone.helps, [Help::NextBatch, Help::LowerRate(5e-4)]);
    story.train(2.5);
    assert_eq!(story.trouble(), None);
    story.eval(f64::INFINITY);
    let trouble = story.trouble().unwrap();
    assert_eq!(
        trouble.what,
        "validation loss not finite at step 30 of round 1"
    );
    story.eval(2.4);
    assert_eq!(story.trouble(), None);
}

#[test]
fn a_diverged_run_goes_back_to_a_checkpoint_of_before() {
    let mut story = Story::new();
    story.eval(9.0);
    story.train(3.0);
    story.eval(2.5);
    let good = story.checkpoint();
    for val in [2.4, 2.6, 2.85] {
        story.train(2.6);
        story.eval(val);
        assert_eq!(story.trouble(), None, "{val}");
    }
    story.train(1e9);
    // It has no loss of its own, and the one before does not apply to it.
    story.checkpoint();
    let trouble = story.trouble().unwrap();
    let Some(Help::RollBack(back)) = trouble.helps.first() else {
        panic!("{trouble:?}");
    };
    assert_eq!(back.checkpoint, good);
    assert!(
        trouble
            .what
            .starts_with("diverged: training loss 1.0e9 at step 50"),
        "{trouble:?}"
    );
    story.eval(1.9e11);
    story.checkpoint();
    let trouble = story.trouble().unwrap();
    assert_eq!(trouble.kind, Kind::Diverged);
    assert_eq!(
        trouble.sentence(),
        "diverged: val 1.9e11 at step 50, best val 2.4000 at step 20 of round 1"
    );
    // The newest checkpoint holds the diverged model.
    let Some(Help::RollBack(back)) = trouble.helps.first() else {
        panic!("{trouble:?}");
    };
    assert_eq!((back.checkpoint.as_str(), back.age), (good.as_str(), 40));
    assert!(!trouble.helps.contains(&Help::NextBatch));
}

#[test]
fn a_phase_that_begins_high_has_not_diverged() {
    let mut story = Story::new();
    story.eval(10.8);
    for loss in [10.0, 7.0, 5.0] {
        story.train(loss);
        assert_eq!(story.trouble(), None);
    }
    story.eval(5.2);
    assert_eq!(story.trouble(), None);
}

#[test]
fn what_cannot_be_written_is_trouble_until_it_is() {
    let mut story = Story::new();
    story.train(2.0);
    story.warn("no checkpoint was written: only 3 MB are free at /x; a checkpoint needs 9 MB");
    let trouble = story.trouble().unwrap();
    assert_eq!(
        (trouble.kind, trouble.done),
        (Kind::Disk, "training continues")
    );
    assert!(trouble.what.contains("only 3 MB are free") && trouble.what.contains("at step 10"));
    // A rollback does not free the disk; a process that resumes begins without trouble.
    story.emit(Body::Rollback(Rollback {
        checkpoint: "best".into(),
        from_seq: 1,
        why: "to try again".into(),
        overruled: Vec::new(),
    }));
    assert_eq!(story.trouble().unwrap().kind, Kind::Disk);
    let (from_seq, checkpoint) = (story.run.seq, "best".into());
    story.emit(Body::Resumed(Resumed {
        from_seq,
        checkpoint,
        overruled: Vec::new(),
    }));
    assert_eq!(story.trouble(), None);
    story.warn("no checkpoint was written: only 3 MB are free at /x; a checkpoint needs 9 MB");
    story.checkpoint();
    assert_eq!(story.trouble(), None);
    story.warn("the journal cannot be written: No space left; training continues");
    assert_eq!(story.trouble().unwrap().kind, Kind::Disk);
    story.warn("the journal is written again; no event is missing");
    assert_eq!(story.trouble(), None);
    story.pause(&format!(
        "no room; the state at step 7 {IN_MEMORY}. Another attempt follows"
    ));
    let trouble = story.trouble().unwrap();
    assert_eq!(
        trouble.what,
        "no room; the state at step 7 is in memory only"
    );
    assert_eq!(trouble.helps, [Help::TryNow]);
}

#[test]
fn silence_and_a_process_that_is_gone_are_trouble() {
    let mut story = Story::new();
    for _ in 0..5 {
        story.train(2.0);
    }
    assert_eq!(story.run.silence(story.run.t + 59_000), None);
    let silence = story.run.silence(story.run.t + 200_000);
    assert_eq!(silence, Some(200.0));
    let trouble = Trouble::of(&story.run, silence, &|_| true).unwrap();
    assert_eq!(
        trouble.sentence(),
        "no event for 3m20s, since step 50 of round 1"
    );
    story.run.settle(false);
    let trouble = story.trouble().unwrap();
    assert_eq!(trouble.kind, Kind::Vanished);
    assert_eq!(
        trouble.commands("mine"),
        ["resume: heirloom train --resume mine"]
    );
    story.emit(Body::Run(RunEvent {
        status: RunStatus::Interrupted,
        info: None,
        message: None,
    }));
    story.run.settle(false);
    assert_eq!(story.trouble(), None, "it was stopped in order");
}
