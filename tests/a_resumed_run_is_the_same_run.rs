//! Whatever ends a run, resuming it gives the model and the numbers of a run that was never disturbed, to the bit.

mod common;

use std::time::Duration;

use common::{Place, signal, wait};
use nix::sys::signal::Signal;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// What must not depend on interruptions: weights, moments and the table, but for its times.
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
    (
        file("latest/model.safetensors"),
        file("latest/optimizer.safetensors"),
        file("best/model.safetensors"),
        show,
    )
}

fn timeless(object: &mut Value) {
    for field in ["tokens_per_second", "tokens_per_second_wall", "name"] {
        // Controls are told apart by their order.
        object.as_object_mut().unwrap().shift_remove(field);
    }
}

/// Trains `name` to its end through kills after random times, and returns how many there were.
fn through_kills(place: &Place, name: &str, settings: &[&str], seed: u64) -> u32 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut args = vec!["train", "mini.toml", "--name", name, "--json"];
    args.extend(settings);
    let mut kills = 0;
    loop {
        let mut child = place.start(&args);
        let patience = Duration::from_millis(rng.random_range(60..500));
        std::thread::sleep(patience);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "attempt {kills}: {}", place.printed());
            return kills;
        }
        signal(child.id(), Signal::SIGKILL);
        child.wait().unwrap();
        kills += 1;
        // Killed before it had a directory, it begins anew.
        if place.run_dir(name).join("events.jsonl").exists() {
            args = vec!["train", "--resume", name, "--json"];
        } else {
            let _ = std::fs::remove_dir_all(place.run_dir(name));
        }
        assert!(kills < 100, "no progress through {kills} kills");
    }
}

fn survives_kills(settings: &[&str], seeds: std::ops::Range<u64>) {
    let place = Place::new();
    let mut args = vec!["train", "mini.toml", "--name", "whole"];
    args.extend(settings);
    place.expect(0, &args);
    let whole = outcome(&place, "whole");
    let mut kills = 0;
    for seed in seeds {
        let name = format!("killed-{seed}");
        kills += through_kills(&place, &name, settings, seed);
        let killed = outcome(&place, &name);
        assert_eq!(killed.3, whole.3, "{name}: the table");
        assert!(killed.0 == whole.0, "{name}: the last model's weights");
        assert!(killed.1 == whole.1, "{name}: the moments");
        assert!(killed.2 == whole.2, "{name}: the best model's weights");
        numbers_never_repeat(&place, &name);
    }
    assert!(kills > 0, "nothing was killed");
}

fn numbers_never_repeat(place: &Place, name: &str) {
    let seqs: Vec<u64> = place
        .events(name)
        .iter()
        .map(|e| e["seq"].as_u64().unwrap())
        .collect();
    assert!(
        seqs.windows(2).all(|pair| pair[0] < pair[1]),
        "{name}: {seqs:?}"
    );
}

#[test]
fn kills_at_any_moment_with_restart_growth_and_accumulation() {
    survives_kills(&["--set", "train.micro_batch=4"], 0..3);
}

#[test]
fn kills_at_any_moment_with_keep_growth() {
    survives_kills(&["--set", "grow.mode=\"keep\""], 10..13);
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
fn an_older_checkpoint_can_be_named() {
    let place = Place::new();
    place.expect(0, &["train", "mini.toml", "--name", "whole"]);
    let whole = outcome(&place, "whole");
    // Done is done.
    let output = place.run(&["train", "--resume", "whole"]);
    assert_eq!(output.status.code(), Some(2));
    // Of a run that is not, any kept checkpoint is a place to go on from, growths after it included.
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
