//! The journal for the tests of screens is one that the program could have written.

mod common;
#[path = "fixtures/journal/mod.rs"]
mod journal;

use std::time::Instant;

use common::Place;
use heirloom::run::event::{Body, Evaluation, Event, TrainMetrics};
use heirloom::run::lock::RunLock;
use heirloom::run::state::{RunState, Status};
use journal::Moment;
use serde_json::Value;

fn events(moment: Moment) -> Vec<Event> {
    let lines = journal::journal(moment);
    lines
        .lines()
        .map(|l| Event::from_line(l).unwrap())
        .collect()
}

#[test]
fn every_line_is_what_the_program_writes() {
    for moment in Moment::ALL {
        let lines = journal::journal(moment);
        let mut before = (0, i64::MIN, f64::MIN);
        for line in lines.lines() {
            let event = Event::from_line(line).unwrap();
            assert!(!matches!(event.body, Body::Unknown(_)), "{line}");
            let value = |line: &str| serde_json::from_str::<Value>(line).unwrap();
            assert_eq!(value(&event.to_line()), value(line));
            let now = (event.seq, event.t, event.elapsed);
            assert!(
                now.0 == before.0 + 1 && now.1 >= before.1 && now.2 >= before.2,
                "{line}"
            );
            before = now;
        }
    }
}

#[test]
fn it_is_the_same_each_time_and_made_in_two_seconds() {
    let began = Instant::now();
    let lines = journal::journal(Moment::Done);
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} lines, {} bytes in {seconds:.3} s",
        lines.lines().count(),
        lines.len()
    );
    assert!(seconds < 2.0, "{seconds} s");
    assert!(
        lines == journal::journal(Moment::Done),
        "other bytes the second time"
    );
}

#[test]
fn every_moment_is_what_its_name_says() {
    for moment in Moment::ALL {
        let mut run = RunState::default();
        let all = events(moment);
        all.iter().for_each(|e| run.apply(e));
        let core = &run.core;
        let wanted = match moment {
            Moment::Paused | Moment::Nan => Status::Paused,
            Moment::Interrupted => Status::Interrupted,
            Moment::Done => Status::Done,
            _ => Status::Running,
        };
        assert_eq!(core.status, wanted, "{moment:?}");
        let open = matches!(moment, Moment::Deciding | Moment::PastTheEnd);
        assert_eq!(core.decision.is_some(), open, "{moment:?}");
        let due = core.phase.as_ref().unwrap().due;
        let extended = if moment == Moment::Paused {
            120_000
        } else {
            100_000
        };
        assert_eq!(due, extended, "{moment:?}");
        assert_eq!(run.history.abandoned.len(), 1, "the rollback of round 1");
        let last = journal::last_event(&journal::journal(moment));
        assert_eq!(last["seq"], all.len(), "{moment:?}");
    }
}

#[test]
fn the_whole_run_has_all_that_screens_must_show() {
    let all = events(Moment::Done);
    let count = |fits: &dyn Fn(&Body) -> bool| all.iter().filter(|e| fits(&e.body)).count();
    assert_eq!(count(&|b| matches!(b, Body::Rollback(_))), 1);
    assert_eq!(count(&|b| matches!(b, Body::Grow(_))), 2);
    assert_eq!(
        count(&|b| matches!(b, Body::Train(TrainMetrics { loss: None, .. }))),
        1
    );
    let spikes = all.iter().filter(|e| {
        let early = e.step > 20_000 && e.step <= 100_000;
        early && matches!(e.body, Body::Train(TrainMetrics { loss: Some(l), .. }) if l > 4.0)
    });
    assert_eq!(spikes.count(), 1);
    assert!(count(&|b| matches!(b, Body::Gpu(_))) > 3000);
    assert!(count(&|b| matches!(b, Body::Checkpoint(_))) > 70);
    assert!(
        count(&|b| matches!(
            b,
            Body::Eval(Evaluation {
                gap: Some(_),
                gap_stderr: Some(_),
                ..
            })
        )) > 300
    );
    let mut run = RunState::default();
    all.iter().for_each(|e| run.apply(e));
    let rounds: Vec<_> = run
        .core
        .rounds
        .iter()
        .map(|r| (r.result.layers, r.result.matched))
        .collect();
    assert_eq!(rounds, [(12, false), (14, false), (16, true)]);
    let reference = run.core.reference.as_ref().unwrap();
    assert!(
        (2..12).contains(&reference.lazy_layers.len()),
        "{:?}",
        reference.max_rank
    );
    assert!(reference.max_rank[0] > 20.0);
}

#[test]
fn the_program_shows_and_lists_it() {
    let place = Place::new();
    for moment in Moment::ALL {
        let dir = place.run_dir(moment.name());
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("events.jsonl"), journal::journal(moment)).unwrap();
        let lock = moment.is_live().then(|| RunLock::acquire(&dir).unwrap());
        let shown = place.show(moment.name());
        let wanted = match moment {
            Moment::Paused | Moment::Nan => "paused",
            Moment::Interrupted => "interrupted",
            Moment::Done => "done",
            _ => "running",
        };
        assert_eq!(shown["state"], wanted, "{moment:?}");
        assert_eq!(shown["reference"]["val_loss"], 2.8875, "{moment:?}");
        let text = place.expect(0, &["show", moment.name()]);
        assert!(text.contains("reference  24 layers"), "{text}");
        drop(lock);
    }
    let listed = place.expect(0, &["ls"]);
    for moment in Moment::ALL {
        assert!(listed.contains(moment.name()), "{listed}");
    }
    println!("{listed}");
}
