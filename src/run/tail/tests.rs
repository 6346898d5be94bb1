mod damaged;
mod folded;

use super::*;
use crate::run::event::{
    Body, CheckpointWritten, Done, Evaluation, Log, Outcome, Phase, PhaseEvent, PhaseResult,
    Resumed, RunEvent, RunStatus, Start, TrainMetrics,
};
use crate::run::journal::{Journal, Stamp};
use crate::run::state::{Core, MarkKind, Status};
use std::io::Write;
use std::time::Instant;

fn at(step: u64) -> Stamp {
    Stamp {
        step,
        phase: Phase::Reference,
        phase_step: step,
        branch: 0,
    }
}

fn train(step: u64) -> Body {
    Body::Train(TrainMetrics {
        loss: Some(5.0 - step as f64 / 100.0),
        nonfinite: None,
        lr: 1e-3,
        grad_norm: Some(1.0),
        tokens: step * 1024,
        tokens_per_second: 100.0,
        ..Default::default()
    })
}

fn eval(step: u64) -> Body {
    Body::Eval(Evaluation {
        val_loss: Some(5.0 - step as f64 / 100.0),
        nonfinite: None,
        stderr: Some(0.01),
        windows: 8,
        blocks: None,
        gap: None,
        gap_stderr: None,
        matched: false,
        seconds: 0.1,
    })
}

fn checkpoint(step: u64) -> Body {
    Body::Checkpoint(CheckpointWritten {
        name: format!("b0-s{step:08}"),
        bytes: 10,
        seconds: 0.1,
        val_loss: Some(2.0),
        reason: "every".into(),
        verified: true,
        begun: None,
        of_step: None,
        milestone: None,
    })
}

fn status(status: RunStatus) -> Body {
    Body::Run(RunEvent {
        status,
        info: None,
        message: None,
    })
}

fn phase(result: Option<PhaseResult>) -> Body {
    Body::Phase(PhaseEvent {
        layers: 8,
        parameters: 1000,
        steps: 100,
        start: Start::Random,
        source_layers: vec![],
        result,
        schedule: None,
        planned: Vec::new(),
    })
}

fn result() -> PhaseResult {
    PhaseResult {
        layers: 8,
        parameters: 1000,
        steps: 100,
        tokens: 102_400,
        val_loss: 4.0,
        stderr: 0.01,
        gap: None,
        gap_stderr: None,
        tokens_per_second: 100.0,
        tokens_per_second_wall: 90.0,
        lazy_layers: vec![],
        max_rank: vec![3.0; 8],
        start: Start::Random,
        matched: false,
    }
}

fn done() -> Body {
    Body::Done(Done {
        outcome: Some(Outcome::Matched),
        failed: false,
        message: "over".into(),
    })
}

fn line(step: u64) -> String {
    let event = Journal::over(Box::new(Nowhere)).emit(at(step), train(step));
    event.to_line() + "\n"
}

struct Nowhere;
impl crate::run::journal::Sink for Nowhere {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn size(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn rewrite(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

fn steps(items: &[TailItem]) -> Vec<u64> {
    let step = |item: &TailItem| match item {
        TailItem::Event(e) => Some(e.step),
        _ => None,
    };
    items.iter().filter_map(step).collect()
}

#[test]
fn a_journal_and_its_tail_can_live_on_any_thread() {
    fn sendable<T: Send>() {}
    sendable::<Tail>();
    sendable::<Journal>();
    sendable::<RunLock>();
}

#[test]
fn a_round_that_ended_without_a_number_is_still_a_row() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path()).unwrap();
    let mut broken = result();
    broken.val_loss = f64::NAN;
    journal.emit(at(1), phase(Some(broken)));
    drop(journal);
    let state = load(dir.path()).unwrap();
    assert!(state.core.reference.unwrap().val_loss.is_nan());
}

#[test]
fn a_run_without_a_journal_is_empty_and_fills_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut tail = Tail::open(dir.path());
    assert_eq!(tail.poll().unwrap(), []);
    assert!(tail.caught_up());
    std::fs::write(dir.path().join("events.jsonl"), line(1)).unwrap();
    assert_eq!(steps(&tail.poll().unwrap()), [1]);
    assert_eq!(tail.poll().unwrap(), []);
}

#[test]
fn a_long_journal_comes_in_bounded_parts() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path()).unwrap();
    let message = "x".repeat(3 << 20);
    journal.emit(at(0), Body::Log(Log { message }));
    for step in 1..=20_000 {
        journal.emit(at(step), train(step));
    }
    drop(journal);
    let mut tail = Tail::open(dir.path());
    let mut polls = Vec::new();
    loop {
        polls.push(tail.poll().unwrap().len());
        if tail.caught_up() {
            break;
        }
    }
    assert_eq!(polls.iter().sum::<usize>(), 20_001);
    assert!(polls.len() >= 3, "{polls:?}");
}

#[test]
fn waiting_ends_soon_after_a_write_and_not_by_our_own_reading() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    std::fs::write(&path, line(1)).unwrap();
    let mut tail = Tail::open(dir.path());
    tail.wait(Duration::from_secs(5));
    tail.poll().unwrap();
    let began = Instant::now();
    tail.wait(Duration::from_millis(300));
    assert!(
        began.elapsed() >= Duration::from_millis(250),
        "{:?}",
        began.elapsed()
    );
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        let mut file = File::options().append(true).open(path).unwrap();
        file.write_all(line(2).as_bytes()).unwrap();
    });
    let began = Instant::now();
    while steps(&tail.poll().unwrap()) != [2] {
        tail.wait(Duration::from_secs(5));
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    writer.join().unwrap();
}
