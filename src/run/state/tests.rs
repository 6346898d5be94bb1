//! Rollbacks and resumes in the fold.

use super::*;
use crate::run::command::{By, Command};
use crate::run::event::{
    Body, CheckpointBegun, CheckpointWritten, CommandGiven, Event, FORMAT_VERSION, Phase,
    PhaseEvent, PhaseResult, Resumed, Rollback, RunEvent, RunStatus, Start, TrainMetrics,
};

mod changes;
mod due;
mod evals;
mod ranks;

/// Events as a trainer emits them.
#[derive(Default)]
struct Run {
    state: RunState,
    seq: u64,
    step: u64,
    branch: u32,
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
            phase: Phase::Reference,
            phase_step: self.step,
            branch: self.branch,
            body,
        });
        self.seq
    }

    /// A running reference phase.
    fn begun() -> Self {
        let mut run = Self::default();
        run.emit(status(RunStatus::Started));
        run.emit(Body::Phase(PhaseEvent {
            layers: 2,
            parameters: 10,
            steps: 1000,
            start: Start::Random,
            source_layers: Vec::new(),
            result: None,
            schedule: None,
            planned: Vec::new(),
        }));
        run
    }

    fn train(&mut self, steps: u64) {
        for _ in 0..steps {
            self.step += 1;
            self.emit(Body::Train(TrainMetrics {
                loss: Some(self.step as f64 + 1000.0 * f64::from(self.branch)),
                nonfinite: None,
                lr: 1e-3,
                grad_norm: Some(1.0),
                tokens: 10 * self.step,
                tokens_per_second: 1.0,
                ..Default::default()
            }));
        }
    }

    /// Copies the state; returns the event's number.
    fn begin_checkpoint(&mut self) -> u64 {
        let name = format!("b{}-s{}", self.branch, self.step);
        let reason = "schedule".into();
        self.emit(Body::Checkpointing(CheckpointBegun { name, reason }))
    }

    /// The background write ends, some steps after its beginning.
    fn end_checkpoint(&mut self, begun: u64, of_step: u64) {
        self.emit(Body::Checkpoint(CheckpointWritten {
            name: format!("b{}-s{of_step}", self.branch),
            bytes: 1,
            seconds: 1.0,
            val_loss: None,
            reason: "schedule".into(),
            verified: false,
            begun: Some(begun),
            of_step: Some(of_step),
            milestone: None,
        }));
    }

    fn checkpoint(&mut self) -> u64 {
        let begun = self.begin_checkpoint();
        self.end_checkpoint(begun, self.step);
        begun
    }

    fn roll_back(&mut self, from_seq: u64, step: u64) {
        self.branch += 1;
        self.step = step;
        self.emit(Body::Rollback(Rollback {
            checkpoint: format!("s{step}"),
            from_seq,
            why: "asked".into(),
            overruled: Vec::new(),
        }));
    }

    fn resume(&mut self, from_seq: u64, step: u64, branch: u32) {
        (self.step, self.branch) = (step, branch);
        let checkpoint = format!("s{step}");
        self.emit(Body::Resumed(Resumed {
            from_seq,
            checkpoint,
            overruled: Vec::new(),
        }));
    }

    fn steps(&self) -> Vec<u64> {
        steps(self.state.live())
    }

    /// Steps of every abandoned branch.
    fn left(&self) -> Vec<Vec<u64>> {
        let left = self.state.history.abandoned.iter();
        left.map(|a| steps(&a.branch)).collect()
    }

    fn losses(&self) -> Vec<f64> {
        let spans = self.state.live().train.column(LOSS);
        spans.iter().map(|s| s.value()).collect()
    }

    fn marks(&self) -> Vec<(u64, MarkKind)> {
        let marks = self.state.live().marks.iter();
        marks.map(|m| (m.step, m.kind.clone())).collect()
    }
}

fn steps(branch: &Branch) -> Vec<u64> {
    let stretches = branch.train.stretches().iter();
    stretches.map(|s| s.last.step).collect()
}

fn status(status: RunStatus) -> Body {
    Body::Run(RunEvent {
        status,
        info: None,
        message: None,
    })
}

fn through(from: u64, to: u64) -> Vec<u64> {
    (from..=to).collect()
}

#[test]
fn a_rollback_restores_the_core_and_keeps_what_it_left_in_sight() {
    let mut run = Run::begun();
    run.train(5);
    let a = run.checkpoint();
    let core = run.state.core.clone();
    run.train(4);
    run.emit(Body::Phase(PhaseEvent {
        layers: 2,
        parameters: 10,
        steps: 9,
        start: Start::Random,
        source_layers: Vec::new(),
        result: Some(PhaseResult {
            layers: 2,
            parameters: 10,
            steps: 9,
            tokens: 90,
            val_loss: 1.0,
            stderr: 0.1,
            gap: None,
            gap_stderr: None,
            tokens_per_second: 1.0,
            tokens_per_second_wall: 1.0,
            lazy_layers: Vec::new(),
            max_rank: Vec::new(),
            start: Start::Random,
            matched: false,
        }),
        schedule: None,
        planned: Vec::new(),
    }));
    run.emit(status(RunStatus::Paused));
    assert!(run.state.core.reference.is_some());
    run.roll_back(a, 5);
    assert_eq!(run.state.core.status, Status::Paused, "it stays as it was");
    assert_eq!(
        Core {
            status: Status::Running,
            ..run.state.core.clone()
        },
        core
    );
    run.train(2);
    assert_eq!(run.steps(), through(1, 7), "sorted by step");
    assert_eq!(run.losses()[4..], [5.0, 1006.0, 1007.0]);
    assert_eq!(run.left(), [through(6, 9)]);
    assert!(run.marks().contains(&(5, MarkKind::Rollback)));
    let note = run.state.notes.back().unwrap();
    assert_eq!(note.text, "rollback to s5 at step 5: asked");
    assert_eq!(note.level, Level::Warning);
}

#[test]
fn a_resume_from_before_a_rollback_makes_the_abandoned_part_live_again() {
    let mut run = Run::begun();
    run.train(5);
    let a = run.checkpoint();
    run.train(3);
    let b = run.checkpoint();
    run.train(2);
    run.roll_back(a, 5);
    run.train(4);
    assert_eq!(run.left(), [through(6, 10)]);
    run.resume(b, 8, 0);
    assert_eq!(run.steps(), through(1, 8));
    assert_eq!(run.losses()[7], 8.0, "the first branch's");
    assert_eq!(run.left(), [[0u64; 0]; 0]);
    assert!(!run.marks().iter().any(|m| m.1 == MarkKind::Rollback));
    assert_eq!(run.state.core.tokens, 80);
    run.train(2);
    assert_eq!(run.steps(), through(1, 10));
}

#[test]
fn a_resume_on_the_new_branch_keeps_what_the_rollback_left() {
    let mut run = Run::begun();
    run.train(5);
    let a = run.checkpoint();
    run.train(3);
    run.roll_back(a, 5);
    run.train(1);
    let c = run.checkpoint();
    run.train(6);
    run.resume(c, 6, 1);
    assert_eq!(run.steps(), through(1, 6));
    assert_eq!(run.left(), [through(6, 8)]);
    // A rollback to a point before it undoes the first one.
    run.resume(a, 5, 0);
    assert_eq!(run.steps(), through(1, 5));
    assert!(run.left().is_empty());
}

#[test]
fn a_run_can_go_back_to_a_checkpoint_on_an_abandoned_branch() {
    let mut run = Run::begun();
    run.train(3);
    let a = run.checkpoint();
    run.train(3);
    let b = run.checkpoint();
    run.train(3);
    run.roll_back(a, 3);
    run.train(4);
    run.roll_back(b, 6);
    assert_eq!(run.steps(), through(1, 6));
    assert_eq!(run.losses()[5], 6.0);
    assert_eq!(run.left(), [through(4, 7), through(7, 9)]);
    assert_eq!(run.state.core.tokens, 60, "the core of that checkpoint");
    run.train(1);
    // Back to before everything: the abandoned branches now fork from one another.
    run.roll_back(0, 0);
    assert!(run.steps().is_empty());
    run.roll_back(b, 6);
    assert_eq!(run.steps(), through(1, 6));
}

#[test]
fn a_checkpoint_begun_before_the_cut_survives_a_resume_although_it_was_told_later() {
    let mut run = Run::begun();
    run.train(5);
    let begun = run.begin_checkpoint();
    run.train(3);
    run.end_checkpoint(begun, 5);
    run.train(2);
    let unwritten = run.begin_checkpoint();
    run.train(1);
    run.resume(begun, 5, 0);
    assert_eq!(run.steps(), through(1, 5));
    let kept: Vec<u64> = run.state.checkpoints.iter().map(|c| c.step).collect();
    assert_eq!(kept, [5]);
    assert!(run.marks().contains(&(5, MarkKind::Checkpoint)));
    assert_eq!(run.state.core.tokens, 50);
    run.resume(unwritten, 10, 0);
    assert_eq!(run.state.core.tokens, 50, "a superseded one is not known");
}

#[test]
fn a_checkpoint_written_while_the_run_went_back_is_not_marked_on_the_new_branch() {
    let mut run = Run::begun();
    run.train(2);
    let a = run.checkpoint();
    run.train(3);
    let begun = run.begin_checkpoint();
    run.train(1);
    run.roll_back(a, 2);
    run.end_checkpoint(begun, 5);
    assert!(!run.marks().contains(&(5, MarkKind::Checkpoint)));
    assert_eq!(run.state.checkpoints.last().unwrap().step, 5);
    run.roll_back(begun, 5);
    assert_eq!(run.steps(), through(1, 5));
}

#[test]
fn a_rollback_to_an_unknown_checkpoint_shows_what_is_known() {
    let mut run = Run::begun();
    run.train(3);
    run.checkpoint();
    run.train(3);
    // The run's seventh event was not a checkpoint.
    run.roll_back(7, 4);
    assert_eq!(run.state.core.step, 4);
    assert_eq!(run.state.core.tokens, 30, "as of the last one before");
    assert_eq!(run.state.core.status, Status::Running);
    run.resume(u64::MAX, 4, 1);
    assert_eq!(run.state.core.step, 4);
}

#[test]
fn endless_rollbacks_stay_bounded() {
    let mut run = Run::begun();
    run.train(2);
    let a = run.checkpoint();
    for _ in 0..100 {
        run.train(3000);
        run.roll_back(a, 2);
    }
    assert_eq!(run.steps(), through(1, 2));
    let left = &run.state.history.abandoned;
    assert_eq!(left.len(), 16);
    assert!(left.iter().all(|l| l.branch.train.len() < 1024));
    assert_eq!(left[15].branch.train.points(), 3000);
}

#[test]
fn marks_and_checkpoints_stay_bounded_and_phases_are_the_last_to_go() {
    let mut run = Run::begun();
    for _ in 0..40_000 {
        run.checkpoint();
    }
    assert!(run.state.live().marks.len() <= 16_384);
    assert_eq!(run.state.phase_starts().len(), 1);
    assert!(run.state.checkpoints.len() <= CHECKPOINTS_KEPT);
}

#[test]
fn a_remark_is_marked_and_outlives_a_rollback() {
    let mut run = Run::begun();
    run.train(5);
    let a = run.checkpoint();
    run.train(2);
    run.emit(Body::Command(CommandGiven {
        id: 1,
        by: By::Keyboard,
        command: Command::Note {
            text: "the loss jumps here, as it did in May".into(),
        },
        pid: None,
    }));
    let mark = MarkKind::Note("the loss jumps here, as ".into());
    assert!(run.marks().contains(&(7, mark)));
    run.roll_back(a, 5);
    assert_eq!(run.state.remarks.len(), 1);
    let remark = &run.state.remarks[0];
    assert_eq!(
        (remark.step, remark.text.as_str()),
        (7, "the loss jumps here, as it did in May")
    );
}
