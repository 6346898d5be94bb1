//! The output of `show`.

use super::status as status_text;
use super::*;
use crate::run::event::{Event, RunStatus};
use crate::run::table::tests::finished;

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn the_json_has_the_promised_fields() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = RunDir::create(tmp.path(), "tiny", Some("a")).unwrap();
    let value = json(&finished(), &dir);
    assert_eq!(value["state"], "done");
    assert_eq!(value["outcome"], "matched");
    for field in [
        "layers",
        "parameters",
        "val_loss",
        "stderr",
        "tokens_per_second",
        "lazy_layers",
        "max_rank",
    ] {
        assert!(!value["reference"][field].is_null(), "{field}");
    }
    assert!(value["reference"].get("gap").is_none());
    let row = [
        "layers",
        "parameters",
        "steps",
        "tokens",
        "val_loss",
        "stderr",
        "gap",
        "gap_stderr",
        "tokens_per_second",
        "tokens_per_second_wall",
        "lazy_layers",
        "max_rank",
        "start",
        "matched",
    ];
    assert_eq!(keys(&value["rounds"][1]), [&["round"][..], &row].concat());
    assert_eq!(keys(&value["controls"][0]), [&["name"][..], &row].concat());
    assert_eq!(value["rounds"][0]["start"], "inherit");
    assert_eq!(value["rounds"][1]["matched"], true);
    assert_eq!(value["controls"][1]["name"], "reference_continued");
}

#[test]
fn a_run_without_events_is_interrupted_and_has_empty_lists() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = RunDir::create(tmp.path(), "tiny", Some("a")).unwrap();
    let value = json(&RunState::default(), &dir);
    assert_eq!(value["state"], "interrupted");
    assert!(value["outcome"].is_null() && value["reference"].is_null());
    assert_eq!(value["rounds"], json!([]));
    let lock = RunLock::acquire(dir.path()).unwrap();
    assert_eq!(json(&RunState::default(), &dir)["state"], "running");
    drop(lock);
}

#[test]
fn the_text_says_how_to_go_on() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = RunDir::create(tmp.path(), "tiny", Some("a")).unwrap();
    let mut state = finished();
    state.core.status = Status::Interrupted;
    state.seq = 1;
    state.core.outcome = None;
    state.checkpoints = vec![crate::run::state::CheckpointNote {
        t: 0,
        bytes: 1,
        reason: "schedule".into(),
        seq: 1,
        name: "b0-s00000050".into(),
        step: 50,
        val_loss: Some(1.7),
    }];
    std::fs::create_dir(dir.checkpoints().join("b0-s00000050")).unwrap();
    let text = text(&state, &dir);
    assert!(text.contains("status     stopped\n"), "{text}");
    assert!(
        text.contains("b0-s00000050  step 50  val loss 1.7000"),
        "{text}"
    );
    assert!(text.contains("resume: heirloom train --resume "), "{text}");
}

#[test]
fn a_run_that_was_stopped_is_not_one_that_crashed() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = RunDir::create(tmp.path(), "tiny", Some("a")).unwrap();
    let mut state = RunState::default();
    let tell = |state: &mut RunState, status| {
        let body = crate::run::event::Body::Run(crate::run::event::RunEvent {
            status,
            info: None,
            message: None,
        });
        state.apply(&Event::numbered(state.seq + 1, body));
        state.settle(false);
        (state_word(state, &dir), state_text(state, &dir))
    };
    let crashed = tell(&mut state, RunStatus::Running);
    assert_eq!(crashed, ("interrupted", "crashed"));
    let stopped = tell(&mut state, RunStatus::Interrupted);
    assert_eq!(stopped, ("interrupted", "stopped"));
    let crashed = tell(&mut state, RunStatus::Paused);
    assert_eq!(crashed, ("interrupted", "crashed"));
}

#[test]
fn the_reason_of_a_pause_is_told_while_it_lasts() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = RunDir::create(tmp.path(), "tiny", Some("a")).unwrap();
    let mut state = finished();
    let mut tell = |status, message: Option<&str>| {
        let body = crate::run::event::Body::Run(crate::run::event::RunEvent {
            status,
            info: None,
            message: message.map(String::from),
        });
        state.apply(&Event::numbered(state.seq + 1, body));
        let told = json(&state, &dir)["pause"].clone();
        (status_text(&state, &dir), text(&state, &dir), told)
    };
    let (status, text, told) = tell(RunStatus::Paused, Some("the disk is full"));
    assert!(
        status.contains("\npaused because: the disk is full"),
        "{status}"
    );
    assert!(text.contains("paused     the disk is full\n"), "{text}");
    assert_eq!(told, "the disk is full");
    let (status, text, told) = tell(RunStatus::Running, Some("it is written"));
    assert!(!status.contains("because") && !text.contains("paused "));
    assert!(told.is_null());
}
