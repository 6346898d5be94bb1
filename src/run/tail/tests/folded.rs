//! The state that the events of a journal add up to.

use super::*;

/// Describes the state without the values that differ between the two runs: numbers, times, notes and resume marks.
fn essence(state: &RunState) -> String {
    let live = state.live();
    let stretches = live.train.stretches().iter().zip(live.train.column(0));
    let train: Vec<_> = stretches
        .map(|(s, loss)| (s.last.step, s.last.tokens, loss))
        .collect();
    let evals: Vec<_> = live
        .evals
        .iter()
        .map(|p| (p.step, p.tokens, p.val_loss()))
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
    // A later event is folded into the status of the journal, not into the settled one.
    let event = journal.emit(at(2), train(2));
    state.apply(&event);
    assert_eq!(state.core.status, Status::Paused);
    state.apply(&journal.emit(at(2), done()));
    settle(&mut state, dir.path());
    assert_eq!(state.core.status, Status::Done);
}
