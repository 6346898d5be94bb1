use super::*;
use crate::run::command::{By, Command, GrowMode};

fn event(body: Body) -> Event {
    Event {
        v: FORMAT_VERSION,
        seq: 7,
        t: 1_700_000_000_000,
        elapsed: 1.5,
        step: 42,
        phase: Phase::Round(2),
        phase_step: 2,
        branch: 0,
        body,
    }
}

#[test]
fn a_line_reads_back_as_the_same_event() {
    let (loss, nonfinite) = finite(f64::NAN);
    for body in [
        Body::Train(TrainMetrics {
            loss,
            nonfinite,
            lr: 1e-3,
            grad_norm: Some(0.5),
            tokens: 4096,
            tokens_per_second: 10.0,
            ..Default::default()
        }),
        Body::Command(CommandGiven {
            id: 3,
            by: By::Keyboard,
            command: Command::Grow {
                layers: 2,
                mode: Some(GrowMode::Keep),
                decision: Some(9),
            },
            pid: Some(7),
        }),
        Body::Done(Done {
            outcome: Some(Outcome::LimitLayers),
            failed: false,
            message: "over".into(),
        }),
    ] {
        let e = event(body);
        assert_eq!(Event::from_line(&e.to_line()).unwrap(), e);
    }
}

#[test]
fn a_nan_loss_is_null_and_named() {
    let (loss, nonfinite) = finite(f64::NEG_INFINITY);
    let line = event(Body::Train(TrainMetrics {
        loss,
        nonfinite,
        lr: 0.0,
        grad_norm: None,
        tokens: 0,
        tokens_per_second: 0.0,
        ..Default::default()
    }))
    .to_line();
    assert!(line.contains(r#""loss":null"#), "{line}");
    assert!(line.contains(r#""nonfinite":"-inf""#), "{line}");
}

#[test]
fn numbers_that_are_not_finite_do_not_make_an_event_unknown() {
    let line = event(Body::Train(TrainMetrics {
        loss: Some(1.0),
        nonfinite: None,
        lr: 0.0,
        grad_norm: None,
        tokens: 0,
        tokens_per_second: f64::INFINITY,
        ..Default::default()
    }))
    .to_line();
    let Body::Train(TrainMetrics {
        tokens_per_second, ..
    }) = Event::from_line(&line).unwrap().body
    else {
        panic!("{line}")
    };
    assert!(tokens_per_second.is_nan());
}

#[test]
fn an_unknown_kind_is_kept_word_for_word() {
    let line = r#"{"v":9,"seq":1,"t":5,"elapsed":0.0,"step":0,"phase":"distil","phase_step":0,"branch":0,"kind":"hologram","colour":"blue"}"#;
    let e = Event::from_line(line).unwrap();
    let Body::Unknown(rest) = &e.body else {
        panic!("{e:?}")
    };
    assert_eq!(rest["kind"], "hologram");
    assert_eq!(rest["colour"], "blue");
    assert_eq!(Event::from_line(&e.to_line()).unwrap(), e);
}

#[test]
fn journals_of_earlier_versions_are_printed_as_they_were_written() {
    let old = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs/old");
    let mut kinds = std::collections::BTreeSet::new();
    for run in std::fs::read_dir(old).unwrap() {
        let journal = std::fs::read_to_string(run.unwrap().path().join("events.jsonl")).unwrap();
        for line in journal.lines() {
            let event = Event::from_line(line).unwrap();
            assert_eq!(event.to_line(), line);
            kinds.insert(kind(&event));
        }
    }
    assert!(kinds.len() >= 12, "{kinds:?}");
    assert!(!kinds.contains("unknown"), "{kinds:?}");
}

fn kind(event: &Event) -> String {
    match &event.body {
        Body::Unknown(_) => "unknown".into(),
        body => serde_json::to_value(body).unwrap()["kind"].to_string(),
    }
}
