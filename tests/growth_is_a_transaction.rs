//! A growth is either complete or has not happened; a rollback restores a checkpoint exactly; decisions can be repeated.

mod common;

use common::pty::Pty;
use common::{Place, texts, wait};
use serde_json::{Value, json};

fn find<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|e| e["kind"] == kind).collect()
}

/// Checks that a growth that fails by `fault`, without an operator, ends with exit code 1 and leaves the run as it was before.
fn a_growth_fails(place: &Place, fault: &str, wanted: &str) {
    let output = place
        .heirloom(&["train", "mini.toml", "--name", "mine"])
        .env("HEIRLOOM_FAULT", fault)
        .output()
        .unwrap();
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(
        err.contains("the model was not grown") && err.contains("--resume mine"),
        "{err}"
    );
    let events = place.events("mine");
    let rollback = *find(&events, "rollback").last().unwrap();
    assert!(
        rollback["why"].as_str().unwrap().contains(wanted),
        "{rollback}"
    );
    assert_eq!(
        (&rollback["branch"], &rollback["phase"]),
        (&json!(1), &json!("round-1"))
    );
    assert_eq!(
        find(&events, "grow"),
        Vec::<&Value>::new(),
        "no growth was completed"
    );
    let before = find(&events, "checkpoint");
    let before = before
        .iter()
        .find(|c| c["reason"] == "before growth")
        .unwrap();
    assert_eq!(
        (&before["verified"], &rollback["checkpoint"]),
        (&json!(true), &before["name"])
    );
    assert_eq!(place.show("mine")["state"], "failed");
}

/// Checks that the run continues without the fault, and ends like a run that never failed.
fn goes_on(place: &Place) {
    place.expect(0, &["train", "--resume", "mine"]);
    place.expect(0, &["train", "mini.toml", "--name", "whole"]);
    let weights = |run: &str| {
        std::fs::read(
            place
                .run_dir(run)
                .join("checkpoints/best/model.safetensors"),
        )
        .unwrap()
    };
    assert!(weights("mine") == weights("whole"));
    let loss = |run: &str| {
        place.show(run)["rounds"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()["val_loss"]
            .clone()
    };
    assert_eq!(loss("mine"), loss("whole"));
}

#[test]
fn out_of_memory_while_growing_is_rolled_back() {
    let place = Place::new();
    a_growth_fails(&place, "growth:2", "out of memory");
    goes_on(&place);
}

#[test]
fn a_grown_model_that_is_not_a_number_is_rolled_back() {
    let place = Place::new();
    a_growth_fails(&place, "growth-nan:2", "not finite");
    goes_on(&place);
}

#[test]
fn a_growth_that_does_not_recover_is_rolled_back() {
    let place = Place::new();
    // A round that learns much, and a restart that has a single step to reach the same loss.
    let output = place.run(&[
        "train",
        "mini.toml",
        "--name",
        "mine",
        "--set",
        "grow.recover_steps=1",
        "--set",
        "train.lr=1e-2",
        "--set",
        "match.patience=1000",
    ]);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    let events = place.events("mine");
    let rollback = find(&events, "rollback");
    let why = rollback[0]["why"].as_str().unwrap();
    let wanted = ["after 1 steps", "has not come back below"];
    assert!(wanted.iter().all(|w| why.contains(w)), "{why}");
    assert_eq!(
        find(&events, "grow").len(),
        1,
        "it was complete, and undone"
    );
    // With more patience, the same growth is kept.
    place.expect(
        0,
        &["train", "--resume", "mine", "--set", "grow.recover_steps=0"],
    );
    assert_eq!(place.show("mine")["rounds"].as_array().unwrap().len(), 3);
}

#[test]
fn an_operator_is_asked_anew_when_a_growth_fails() {
    let place = Place::new();
    let args = [
        "train",
        "mini.toml",
        "--name",
        "mine",
        "--set",
        "policy.mode=ask",
        "--set",
        "control.random=false",
        "--set",
        "control.reference_continued=false",
    ];
    let mut pty = Pty::start_with(
        &place,
        &args,
        100,
        30,
        &[("HEIRLOOM_FAULT", "growth-nan:2")],
    );
    pty.see("PAUSED");
    pty.press(":grow 1\r");
    pty.see("Grow by 1 layer (restart)?");
    std::thread::sleep(std::time::Duration::from_millis(400));
    pty.press("\r");
    let screen = pty.see("the model was not grown");
    assert!(
        screen.contains("PAUSED") && screen.contains("round 1 · 1 layer"),
        "{screen}"
    );
    // The decision is open again: this time the run stops.
    pty.press(":stop\r");
    pty.see("Stop growing?");
    std::thread::sleep(std::time::Duration::from_millis(400));
    pty.press("\r");
    pty.see("outcome: stopped");
    pty.press("q");
    assert_eq!(pty.exit_code(), 0);
    assert_eq!(place.show("mine")["rounds"].as_array().unwrap().len(), 1);
}

/// After a rollback to any kind of checkpoint, training gives bit for bit the results of a run without a rollback.
#[test]
fn a_rollback_is_exact() {
    let place = Place::new();
    let slow = [
        "--set",
        "train.steps=200",
        "--set",
        "checkpoint.every=50",
        "--set",
        "checkpoint.keep=50",
        "--set",
        "grow.mode=keep",
        "--set",
        "match.patience=100000",
    ];
    let mut whole = vec!["train", "mini.toml", "--name", "whole"];
    whole.extend(slow);
    place.expect(0, &whole);
    let mut args = vec!["train", "mini.toml", "--name", "mine"];
    args.extend(slow);
    let mut child = place.start(&args);
    // From round 2 back into round 1, across a growth.
    place.wait_event("mine", "round 2", |e| {
        e["phase"] == "round-2" && e["kind"] == "train"
    });
    let back = place.events("mine").into_iter().find(|e| {
        e["kind"] == "checkpoint" && e["phase"] == "round-1" && e["reason"] == "schedule"
    });
    let name = back.unwrap()["name"].as_str().unwrap().to_string();
    place.expect(0, &["ctl", "mine", "rollback", &name]);
    let status = wait("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0), "{}", place.printed());

    let events = place.events("mine");
    let rollback = find(&events, "rollback")[0].clone();
    assert_eq!(
        (&rollback["checkpoint"], &rollback["branch"]),
        (&json!(name), &json!(1))
    );
    let (seq, step) = (rollback["seq"].as_u64(), rollback["step"].as_u64());
    assert!(
        events
            .iter()
            .any(|e| e["seq"].as_u64() < seq && e["step"].as_u64() > step),
        "the abandoned branch stays"
    );
    let file = |run: &str, file: &str| {
        std::fs::read(place.run_dir(run).join("checkpoints").join(file)).unwrap()
    };
    for path in [
        "best/model.safetensors",
        "latest/model.safetensors",
        "latest/optimizer.safetensors",
    ] {
        assert!(file("mine", path) == file("whole", path), "{path}");
    }
    let (mut mine, mut whole) = (place.show("mine"), place.show("whole"));
    for show in [&mut mine, &mut whole] {
        for part in ["rounds", "controls"] {
            for row in show[part].as_array_mut().unwrap() {
                let row = row.as_object_mut().unwrap();
                row.retain(|key, _| !key.starts_with("tokens_per_second"));
            }
        }
    }
    assert_eq!(
        (&mine["rounds"], &mine["controls"]),
        (&whole["rounds"], &whole["controls"])
    );

    // The abandoned branch is reported with its last step and its best loss.
    let told = &mine["rollbacks"][0];
    assert_eq!(
        (&told["checkpoint"], &told["to_step"]),
        (&json!(name), &rollback["step"])
    );
    assert!(told["from_step"].as_u64() > step, "{told}");
    let abandoned = events.iter().filter(|e| {
        e["kind"] == "eval"
            && e["branch"] == 0
            && e["step"].as_u64() > step
            && e["phase"].as_str().unwrap().starts_with("round-")
    });
    let losses = abandoned.map(|e| e["val_loss"].as_f64().unwrap());
    assert_eq!(
        told["best"]["val_loss"].as_f64(),
        Some(losses.fold(f64::INFINITY, f64::min))
    );
    assert!(told["best_since"]["val_loss"].is_f64());
    let text = place.expect(0, &["show", "mine"]);
    assert!(
        text.contains("best of the abandoned branch: val loss "),
        "{text}"
    );

    // After a kill, the new branch is resumed, not the abandoned one.
    let names: Vec<&str> = find(&events, "checkpoint")
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert!(
        names.iter().any(|n| n.starts_with("b1-"))
            && names
                .iter()
                .all(|n| n.starts_with("b0-") || n.starts_with("b1-"))
    );
}

#[test]
fn decisions_are_repeated_at_the_same_steps_and_give_the_same_model() {
    let place = Place::new();
    let mut pty = Pty::start(
        &place,
        &[
            "train",
            "mini.toml",
            "--name",
            "mine",
            "--set",
            "policy.mode=ask",
            "--set",
            "train.steps=300",
            "--set",
            "policy.max_overrun_steps=100000",
            "--set",
            "control.random=false",
        ],
        100,
        30,
    );
    let command = |pty: &mut Pty, text: &str, question: Option<&str>, answer: &str| {
        pty.press(&format!(":{text}\r"));
        if let Some(question) = question {
            pty.see(question);
            std::thread::sleep(std::time::Duration::from_millis(400));
            pty.press("\r");
        }
        place.wait_event("mine", answer, |e| {
            e["kind"] == "answer" && e["message"].as_str().unwrap().contains(answer)
        });
    };
    pty.see("round 1");
    command(&mut pty, "lr 1e-3", None, "learning rate 1.000e-3");
    command(&mut pty, "checkpoint", None, "checkpoint b0");
    command(
        &mut pty,
        "grow 1 keep",
        Some("Grow by 1 layer (keep)?"),
        "growing to 2",
    );
    pty.see("round 2");
    command(
        &mut pty,
        "rollback pre-grow-1",
        Some("Roll back to pre-grow-1?"),
        "rolled back",
    );
    command(&mut pty, "extend 50", None, "now ends at its step");
    command(
        &mut pty,
        "grow 2",
        Some("Grow by 2 layers (restart)?"),
        "growing to 3",
    );
    pty.see("round 2 · 3 layers");
    command(&mut pty, "stop", Some("Stop growing?"), "is the result");
    pty.see("outcome: ");
    pty.press("q");
    assert_eq!(pty.exit_code(), 0);

    place.expect(0, &["train", "--decisions", "mine", "--name", "again"]);
    let events = place.events("again");
    let repeated = find(&events, "command");
    assert!(
        repeated.iter().all(|c| c["by"] == "decisions"),
        "{repeated:?}"
    );
    let steps = |events: &[Value]| -> Vec<(Value, Value)> {
        find(events, "command")
            .iter()
            .map(|c| (c["step"].clone(), c["command"]["name"].clone()))
            .collect()
    };
    assert_eq!(steps(&events), steps(&place.events("mine")));
    let file = |run: &str, file: &str| {
        std::fs::read(place.run_dir(run).join("checkpoints").join(file)).unwrap()
    };
    for path in ["best/model.safetensors", "latest/model.safetensors"] {
        assert!(file("mine", path) == file("again", path), "{path}");
    }
}
