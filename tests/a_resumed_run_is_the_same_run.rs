//! Whatever ends a run, resuming it gives the model and the numbers of a run that was never disturbed, bit for bit.

mod common;

use std::time::Duration;

use common::{Place, signal, wait};
use heirloom::run::dir::RunDir;
use heirloom::train::checkpoint::Checkpoints;
use nix::sys::signal::Signal;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// Returns everything that must not depend on interruptions: weights, moments and the table without its times.
fn outcome(place: &Place, name: &str) -> (Vec<u8>, Vec<u8>, Vec<u8>, Value) {
    let checkpoints = place.run_dir(name).join("checkpoints");
    let file = |path: &str| std::fs::read(checkpoints.join(path)).unwrap();
    let mut show = place.show(name);
    for field in ["rounds", "controls"] {
        show[field]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(timeless);
    }
    timeless(&mut show["reference"]);
    timeless(&mut show);
    // A checkpoint that was written twice has another name the second time.
    for rollback in show["rollbacks"].as_array_mut().unwrap() {
        rollback.as_object_mut().unwrap().shift_remove("checkpoint");
    }
    (
        file("latest/model.safetensors"),
        file("latest/optimizer.safetensors"),
        file("best/model.safetensors"),
        show,
    )
}

fn timeless(object: &mut Value) {
    for field in ["tokens_per_second", "tokens_per_second_wall", "name"] {
        // Controls are distinguished by their order.
        object.as_object_mut().unwrap().shift_remove(field);
    }
}

/// Trains `name` to its end, with kills after random times. Checks that the files on disk are intact after each kill. Returns the
/// number of kills.
fn through_kills(place: &Place, name: &str, start: &[&str], fault: &str, seed: u64) -> u32 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut args = vec!["train", "--name", name, "--json"];
    args.extend(start);
    let mut kills = 0;
    loop {
        let out = std::fs::File::create(place.path().join("printed.txt")).unwrap();
        let mut command = place.heirloom(&args);
        let err = out.try_clone().unwrap();
        command.stdout(out).stderr(err).env("HEIRLOOM_FAULT", fault);
        let mut child = command.spawn().unwrap();
        // The time increases, so that the run also finishes on a busy machine.
        let most = 500 + 10 * u64::from(kills);
        let patience = Duration::from_millis(rng.random_range(60..most));
        std::thread::sleep(patience);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "attempt {kills}: {}", place.printed());
            return kills;
        }
        signal(child.id(), Signal::SIGKILL);
        child.wait().unwrap();
        kills += 1;
        // A run that was killed before it had a directory is started again.
        if place.run_dir(name).join("events.jsonl").exists() {
            args = vec!["train", "--resume", name, "--json"];
            numbers_have_no_gap(place, name);
            no_checkpoint_is_corrupt(place, name);
            // Killed after its last event and before the process ended.
            if place
                .events(name)
                .last()
                .is_some_and(|e| e["kind"] == "done")
            {
                return kills;
            }
        } else {
            let _ = std::fs::remove_dir_all(place.run_dir(name));
        }
        let printed = place.printed();
        assert!(
            kills < 100,
            "{name}: no progress through {kills} kills:\n{printed}"
        );
    }
}

/// Runs the recipe repeatedly until there were `kills`, and compares each result with that of an undisturbed run.
fn survives_kills(place: &Place, start: &[&str], fault: &str, kills: u32, seed: u64) -> u32 {
    let mut args = vec!["train", "--name", "whole"];
    args.extend(start);
    place.expect(0, &args);
    let whole = outcome(place, "whole");
    let (mut killed, mut seed) = (0, seed);
    while killed < kills {
        let name = format!("killed-{seed}");
        killed += through_kills(place, &name, start, fault, seed);
        let (got, name) = (outcome(place, &name), name.as_str());
        assert_eq!(got.3, whole.3, "{name}: the table");
        assert!(got.0 == whole.0, "{name}: the last model's weights");
        assert!(got.1 == whole.1, "{name}: the moments");
        assert!(got.2 == whole.2, "{name}: the best model's weights");
        numbers_have_no_gap(place, name);
        std::fs::remove_dir_all(place.run_dir(name)).unwrap();
        seed += 1;
    }
    killed
}

/// Checks that the journal contains every event number: only those of an unwritten tail are assigned again.
fn numbers_have_no_gap(place: &Place, name: &str) {
    let events = place.events(name);
    for (event, wanted) in events.iter().zip(1u64..) {
        assert_eq!(event["seq"], wanted, "{name}: {event}");
    }
}

fn no_checkpoint_is_corrupt(place: &Place, name: &str) {
    let checkpoints = Checkpoints::at(&RunDir::at(&place.run_dir(name)));
    for checkpoint in checkpoints.names() {
        checkpoints.verify(&checkpoint).unwrap();
    }
}

const ACCUMULATION: [&str; 3] = ["mini.toml", "--set", "train.micro_batch=4"];
const KEEP: [&str; 5] = [
    "mini.toml",
    "--set",
    "grow.mode=\"keep\"",
    "--set",
    "checkpoint.every=5",
];

/// Makes a run with growths and rollbacks, to be repeated.
fn told(place: &Place) {
    let settings = ["--set", "train.steps=1000000", "--set", "grow.mode=keep"];
    let mut args = vec!["train", "-d", "mini.toml", "--name", "told"];
    args.extend(settings);
    place.expect(0, &args);
    let ctl = |words: &[&str]| {
        let mut args = vec!["ctl", "told"];
        args.extend(words);
        place.expect(0, &args);
    };
    let in_round = |n: u32| {
        place.wait_event("told", "the round", |e| {
            e["phase"] == format!("round-{n}") && e["kind"] == "train"
        });
    };
    in_round(1);
    ctl(&["checkpoint"]);
    ctl(&["grow", "1"]);
    in_round(2);
    ctl(&["set", "lr", "3e-5"]);
    ctl(&["rollback", "pre-grow-1"]);
    ctl(&["grow", "2", "restart"]);
    in_round(2);
    ctl(&["stop"]);
    wait("the end", || {
        (place.show("told")["state"] == "done").then_some(())
    });
}

#[test]
fn kills_at_any_moment_with_restart_growth_and_accumulation() {
    survives_kills(&Place::new(), &ACCUMULATION, "", 6, 0);
}

#[test]
fn kills_at_any_moment_with_keep_growth() {
    survives_kills(&Place::new(), &KEEP, "", 6, 10);
}

#[test]
fn kills_at_any_moment_with_rollbacks_and_slow_checkpoints() {
    let place = Place::new();
    told(&place);
    survives_kills(&place, &["--decisions", "told"], "rename:15", 6, 20);
}

/// Run with `cargo test --test a_resumed_run_is_the_same_run -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes"]
fn two_hundred_kills_lose_nothing() {
    let mut kills = 0;
    kills += survives_kills(&Place::new(), &ACCUMULATION, "rename:15", 70, 100);
    kills += survives_kills(&Place::new(), &KEEP, "", 70, 200);
    let place = Place::new();
    told(&place);
    kills += survives_kills(&place, &["--decisions", "told"], "rename:15", 70, 300);
    println!(
        "{kills} kills, every run resumed to the bit, no checkpoint corrupt, no number missing"
    );
}

#[test]
fn a_stop_by_signal_is_resumed_exactly() {
    let place = Place::new();
    place.expect(0, &["train", "mini.toml", "--name", "whole"]);
    let mut child = place.start(&["train", "mini.toml", "--name", "stopped"]);
    place.wait_event("stopped", "round 2", |e| {
        e["phase"] == "round-2" && e["kind"] == "train"
    });
    signal(child.id(), Signal::SIGTERM);
    let code = wait("the end", || child.try_wait().unwrap()).code();
    assert_eq!(code, Some(75), "preempted");
    assert_eq!(place.show("stopped")["state"], "interrupted");
    place.expect(0, &["train", "--resume", "stopped"]);
    assert!(outcome(&place, "stopped") == outcome(&place, "whole"));
}

#[test]
fn a_run_with_muon_is_resumed_exactly() {
    let place = Place::new();
    let muon = [
        "mini.toml",
        "--set",
        "train.optimizer=muon",
        // Every step is reported, regardless of its speed.
        "--set",
        "train.log_every=1",
        "--set",
        "grow.mode=keep",
    ];
    let train = |name| [&["train", "--name", name], &muon[..]].concat();
    place.expect(0, &train("whole"));
    let mut child = place.start(&train("stopped"));
    for phase in ["reference", "round-1", "round-2"] {
        place.wait_event("stopped", phase, |e| {
            e["phase"] == phase && e["kind"] == "train"
        });
        signal(child.id(), Signal::SIGTERM);
        let code = wait("the end", || child.try_wait().unwrap()).code();
        assert_eq!(code, Some(75), "{phase}: preempted");
        child = place.start(&["train", "--resume", "stopped"]);
    }
    let code = wait("the end", || child.try_wait().unwrap()).code();
    assert_eq!(code, Some(0));
    assert!(outcome(&place, "stopped") == outcome(&place, "whole"));
    // Both runs report the same values for each step, except times.
    let reported = |name: &str| -> Vec<Value> {
        let events = place.events(name).into_iter();
        let fields = [
            "step",
            "loss",
            "lr",
            "grad_norm",
            "param_norm",
            "momentum_norm",
            "clip_rate",
        ];
        let train = events.filter(|e| e["kind"] == "train");
        train
            .map(|e| fields.map(|field| e[field].clone()).into())
            .collect()
    };
    let (stopped, whole) = (reported("stopped"), reported("whole"));
    assert!(whole.len() > 100, "{}", whole.len());
    assert_eq!(stopped, whole);
    for event in &whole {
        let numbers: Vec<f64> = event
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect();
        // The config clips at 1.
        let clipped = f64::from(u8::from(numbers[3] > 1.0));
        assert_eq!(numbers[6], clipped, "{event}");
    }
}

#[test]
fn an_older_checkpoint_can_be_named() {
    let place = Place::new();
    place.expect(0, &["train", "mini.toml", "--name", "whole"]);
    let whole = outcome(&place, "whole");
    // A run that is done cannot be resumed.
    let output = place.run(&["train", "--resume", "whole"]);
    assert_eq!(output.status.code(), Some(2));
    // A run that is not done can continue from any kept checkpoint, even one before a growth.
    let mut child = place.start(&["train", "mini.toml", "--name", "part"]);
    place.wait_event("part", "controls", |e| {
        e["phase"] == "control-random" && e["kind"] == "train"
    });
    signal(child.id(), Signal::SIGKILL);
    child.wait().unwrap();
    place.expect(0, &["train", "--resume", "part@pre-grow-1"]);
    let part = outcome(&place, "part");
    assert_eq!(part.3, whole.3);
    assert!(part.0 == whole.0 && part.1 == whole.1 && part.2 == whole.2);
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let place = Place::new();
    let mut command = place.heirloom(&["train", "mini.toml", "--name", "mine"]);
    // The first checkpoint takes a minute, so that the signals come while it is written.
    command.args(["--set", "train.steps=1000000"]);
    command.env("HEIRLOOM_FAULT", "rename:60000");
    command.args([
        "--set",
        "checkpoint.every=0",
        "--set",
        "reference.train.steps=1000000",
    ]);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    place.wait_event("mine", "training", |e| e["kind"] == "train");
    signal(child.id(), Signal::SIGTERM);
    place.wait_event("mine", "the checkpoint's beginning", |e| {
        e["kind"] == "checkpointing"
    });
    std::thread::sleep(Duration::from_millis(700));
    assert!(
        child.try_wait().unwrap().is_none(),
        "it writes its checkpoint"
    );
    signal(child.id(), Signal::SIGTERM);
    let code = wait("the end", || child.try_wait().unwrap()).code();
    assert_eq!(code, Some(130));
}

#[test]
fn a_hangup_without_a_terminal_changes_nothing() {
    let place = Place::new();
    let long = ["--set", "reference.train.steps=1000000"];
    let mut args = vec!["train", "mini.toml", "--name", "mine"];
    args.extend(long);
    let mut child = place.start(&args);
    let training = |after: u64| {
        place.wait_event("mine", "training", |e| {
            e["kind"] == "train" && e["step"].as_u64() > Some(after)
        })["step"]
            .as_u64()
            .unwrap()
    };
    let before = training(0);
    signal(child.id(), Signal::SIGHUP);
    training(before + 100);
    assert!(child.try_wait().unwrap().is_none());
    signal(child.id(), Signal::SIGTERM);
    let code = wait("the end", || child.try_wait().unwrap()).code();
    assert_eq!(code, Some(75));
}
