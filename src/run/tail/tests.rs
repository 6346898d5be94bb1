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
fn a_torn_last_line_is_read_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(dir.path().join("events.jsonl")).unwrap();
    let mut tail = Tail::open(dir.path());
    let (a, b) = (line(1), line(2));
    write!(file, "{a}{}", &b[..30]).unwrap();
    assert_eq!(steps(&tail.poll().unwrap()), [1]);
    assert!(tail.caught_up());
    assert_eq!(tail.poll().unwrap(), []);
    write!(file, "{}", &b[30..]).unwrap();
    assert_eq!(steps(&tail.poll().unwrap()), [2]);
}

#[test]
fn a_torn_line_that_the_writer_cuts_off_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    std::fs::write(&path, line(1) + "{\"v\":1,\"seq\":2,").unwrap();
    let mut tail = Tail::open(dir.path());
    assert_eq!(steps(&tail.poll().unwrap()), [1]);
    let (mut journal, _) = Journal::open(dir.path()).unwrap();
    journal.emit(at(2), train(2));
    journal.emit(at(3), train(3));
    journal.flush();
    let items = tail.poll().unwrap();
    assert_eq!(items.len(), 2, "{items:?}");
    assert_eq!(steps(&items), [2, 3]);
}

#[test]
fn a_torn_line_in_the_middle_is_reported_and_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = line(1) + &line(2)[..40] + "\n";
    text += &line(3);
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(b"\xff\xfe\n\n");
    bytes.extend_from_slice(line(4).as_bytes());
    std::fs::write(dir.path().join("events.jsonl"), bytes).unwrap();
    let items = Tail::open(dir.path()).poll().unwrap();
    assert_eq!(steps(&items), [1, 3, 4]);
    let skipped: Vec<u64> = items
        .iter()
        .filter_map(|i| match i {
            TailItem::Skipped { line, .. } => Some(*line),
            _ => None,
        })
        .collect();
    assert_eq!(skipped, [2, 4]);
    let state = load(dir.path()).unwrap();
    assert!(
        state
            .notes
            .iter()
            .any(|n| n.text.contains("events.jsonl:2: skipped a line"))
    );
}

#[test]
fn a_cut_or_replaced_journal_is_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    std::fs::write(&path, line(1) + &line(2)).unwrap();
    let mut tail = Tail::open(dir.path());
    assert_eq!(steps(&tail.poll().unwrap()), [1, 2]);
    std::fs::write(&path, line(7)).unwrap();
    let items = tail.poll().unwrap();
    assert_eq!(items[0], TailItem::Restarted);
    assert_eq!(steps(&items), [7]);
    // Longer than what was read, and perhaps with the same inode.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(tail.poll().unwrap(), []);
    std::fs::write(&path, line(8) + &line(9) + &line(10)).unwrap();
    let items = tail.poll().unwrap();
    assert_eq!(items[0], TailItem::Restarted);
    assert_eq!(steps(&items), [8, 9, 10]);
    let mut state = RunState::default();
    state.apply(&Event::from_line(line(1).trim()).unwrap());
    for item in &items {
        item.apply_to(&mut state);
    }
    assert_eq!(state.live().train.points(), 3);
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

fn drained(tail: &mut Tail) -> Vec<TailItem> {
    let mut all = tail.poll().unwrap();
    while !tail.caught_up() {
        all.extend(tail.poll().unwrap());
    }
    all
}

#[test]
fn a_line_without_end_is_told_once_and_reading_goes_on_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(dir.path().join("events.jsonl")).unwrap();
    let endless = vec![b'x'; 2 * LONGEST_LINE as usize + 77];
    file.write_all(line(1).as_bytes()).unwrap();
    file.write_all(&endless).unwrap();
    let mut tail = Tail::open(dir.path());
    let items = drained(&mut tail);
    assert_eq!(items.len(), 2, "{items:?}");
    assert_eq!(steps(&items), [1]);
    assert_eq!(
        items[1].skipped().unwrap(),
        "events.jsonl:2: skipped a line: it is longer than 4 MiB"
    );
    file.write_all(&endless).unwrap();
    assert_eq!(drained(&mut tail), []);
    write!(file, "x\n{}rubbish\n{}", line(2), line(3)).unwrap();
    let items = drained(&mut tail);
    assert_eq!(steps(&items), [2, 3]);
    let skipped = items[1].skipped().unwrap();
    assert!(
        skipped.starts_with("events.jsonl:4: skipped a line: "),
        "{skipped}"
    );
}

#[test]
fn rubbish_is_told_of_in_few_words() {
    let dir = tempfile::tempdir().unwrap();
    let quoted = format!("\"\u{1b}[2J{}\"\n", "y".repeat(1000));
    let rubbish = quoted + &"x\n".repeat(1_000_000);
    std::fs::write(dir.path().join("events.jsonl"), rubbish + &line(1)).unwrap();
    let items = drained(&mut Tail::open(dir.path()));
    assert!(items.len() < 10, "{}", items.len());
    let told: u64 = items
        .iter()
        .map(|item| match item {
            TailItem::Skipped { lines, .. } => *lines,
            _ => 0,
        })
        .sum();
    assert_eq!(told, 1_000_001);
    let first = items[0].skipped().unwrap();
    assert!(first.len() < 300 && !first.contains('\u{1b}'), "{first}");
    assert_eq!(steps(&items), [1]);
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

/// What a fold knows, without what tells the two runs apart: numbers, times, notes and resume marks.
fn essence(state: &RunState) -> String {
    let live = state.live();
    let stretches = live.train.stretches().iter().zip(live.train.column(0));
    let train: Vec<_> = stretches
        .map(|(s, loss)| (s.last.step, s.last.tokens, loss))
        .collect();
    let evals: Vec<_> = live
        .evals
        .iter()
        .map(|p| (p.step, p.tokens, p.val_loss))
        .collect();
    let marks: Vec<_> = live
        .marks
        .iter()
        .filter(|m| m.kind != MarkKind::Resumed)
        .map(|m| (m.step, &m.kind))
        .collect();
    let core = Core {
        eval: None,
        ..state.core.clone()
    };
    format!("{:?}\n{train:?}\n{evals:?}\n{marks:?}", core)
}

fn work(journal: &mut Journal, steps: std::ops::RangeInclusive<u64>) {
    for step in steps {
        journal.emit(at(step), train(step));
        if step % 10 == 0 {
            journal.emit(at(step), eval(step));
        }
        if step % 25 == 0 {
            journal.emit(at(step), checkpoint(step));
        }
    }
}

#[test]
fn a_resumed_run_folds_to_the_same_state_as_one_never_interrupted() {
    let whole = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(whole.path()).unwrap();
    journal.emit(at(0), status(RunStatus::Started));
    journal.emit(at(0), phase(None));
    work(&mut journal, 1..=100);
    journal.emit(at(100), phase(Some(result())));
    journal.emit(at(100), done());
    drop(journal);

    let broken = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(broken.path()).unwrap();
    journal.emit(at(0), status(RunStatus::Started));
    journal.emit(at(0), phase(None));
    work(&mut journal, 1..=50);
    let from_seq = journal.next_seq() - 1;
    work(&mut journal, 51..=63);
    journal.emit(at(63), status(RunStatus::Interrupted));
    drop(journal);
    let (mut journal, _) = Journal::open(broken.path()).unwrap();
    let checkpoint = "b0-s00000050".into();
    journal.emit(
        at(50),
        Body::Resumed(Resumed {
            from_seq,
            checkpoint,
            overruled: Vec::new(),
        }),
    );
    work(&mut journal, 51..=100);
    journal.emit(at(100), phase(Some(result())));
    journal.emit(at(100), done());
    drop(journal);

    let (whole, broken) = (load(whole.path()).unwrap(), load(broken.path()).unwrap());
    assert_eq!(essence(&whole), essence(&broken));
    assert_eq!(whole.live().train.points(), 100);
}

#[test]
fn a_running_journal_without_a_holder_is_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path()).unwrap();
    journal.emit(at(0), status(RunStatus::Started));
    journal.emit(at(1), status(RunStatus::Paused));
    journal.flush();
    let mut state = load(dir.path()).unwrap();
    assert_eq!(state.core.status, Status::Interrupted);
    let lock = RunLock::acquire(dir.path()).unwrap();
    settle(&mut state, dir.path());
    assert_eq!(
        state.core.status,
        Status::Paused,
        "a live process works on it after all"
    );
    drop(lock);
    settle(&mut state, dir.path());
    assert_eq!(state.core.status, Status::Interrupted);
    // A later event folds into what the journal says, not into the verdict.
    let event = journal.emit(at(2), train(2));
    state.apply(&event);
    assert_eq!(state.core.status, Status::Paused);
    state.apply(&journal.emit(at(2), done()));
    settle(&mut state, dir.path());
    assert_eq!(state.core.status, Status::Done);
}

/// Writes a journal of one event and then `rest`.
fn journal_and(rest: impl FnOnce(&std::fs::File)) -> (tempfile::TempDir, u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let mut journal = Journal::create(dir.path()).unwrap();
    journal.emit(at(1), train(1));
    drop(journal);
    let whole = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::OpenOptions::new().append(true).open(&path);
    rest(&file.unwrap());
    (dir, whole)
}

#[test]
fn a_hole_is_not_read() {
    let began = Instant::now();
    let (dir, whole) = journal_and(|file| file.set_len(1 << 40).unwrap());
    let state = load(dir.path()).unwrap();
    assert_eq!(state.core.step, 1);
    let index = crate::run::index::JournalIndex::open(dir.path()).unwrap();
    assert_eq!(index.entries().len(), 1);
    assert_eq!(crate::run::decisions::of_run(dir.path()).unwrap(), []);
    // A resume cuts the torn line off.
    let (journal, warning) = Journal::open(dir.path()).unwrap();
    assert!(warning.unwrap().contains("too long to be kept"));
    assert_eq!(journal.next_seq(), 2);
    let len = std::fs::metadata(dir.path().join("events.jsonl"))
        .unwrap()
        .len();
    assert_eq!(len, whole);

    // The line after a hole is one of the journal's.
    let (dir, _) = journal_and(|mut file| {
        file.set_len(1 << 40).unwrap();
        file.write_all(b"\n").unwrap();
    });
    let mut journal = Journal::open(dir.path()).unwrap().0;
    journal.emit(at(7), train(7));
    drop(journal);
    let state = load(dir.path()).unwrap();
    assert_eq!(state.core.step, 7);
    let index = crate::run::index::JournalIndex::open(dir.path()).unwrap();
    let steps: Vec<u64> = index.entries().iter().map(|e| e.step).collect();
    assert_eq!(steps, [1, 1, 7]);
    assert!(matches!(
        index.read(2, 3).unwrap()[..],
        [Some(TailItem::Event(_))]
    ));
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_line_without_an_end_is_given_up() {
    let (dir, whole) = journal_and(|mut file| {
        for _ in 0..70 {
            file.write_all(&[b'x'; 1 << 20]).unwrap();
        }
    });
    let mut tail = Tail::open(dir.path());
    let error = loop {
        match tail.poll() {
            Ok(_) => assert!(!tail.caught_up()),
            Err(error) => break error,
        }
    };
    assert!(
        error.to_string().contains("line 2 is longer than 64 MiB"),
        "{error}"
    );
    let error = tail.poll().unwrap_err();
    assert!(error.to_string().contains("line 2 is longer"), "{error}");
    for error in [
        load(dir.path()).unwrap_err(),
        crate::run::index::JournalIndex::open(dir.path())
            .err()
            .unwrap(),
        crate::run::decisions::of_run(dir.path()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("line 2 is longer"), "{error}");
    }
    let error = Journal::open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("64 MiB without a line break"), "{error}");
    // The file is as it was, and read again once it is a journal.
    let path = dir.path().join("events.jsonl");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), whole + (70 << 20));
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(whole)
        .unwrap();
    let items = tail.poll().unwrap();
    assert_eq!(items[0], TailItem::Restarted);
    assert_eq!(items.len(), 2);
}
