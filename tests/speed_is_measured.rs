//! `heirloom bench train` measures the trainer's steps, and refuses shapes that do not fit before it allocates memory.

mod common;

use common::{Place, texts};
use serde_json::Value;

const SMALL: [&str; 16] = [
    "bench",
    "train",
    "--layers",
    "2",
    "--heads",
    "2",
    "--width",
    "32",
    "--context",
    "40",
    "--batch",
    "2",
    "--vocab",
    "100",
    "--steps",
    "3",
];

#[test]
fn a_measurement_tells_speed_memory_and_where_the_time_went() {
    let place = Place::new();
    for extra in [
        &["--dtype", "f32"][..],
        &["--dtype", "bf16"],
        &["--dtype", "bf16", "--forward"],
        &["--family", "llama", "--kv-heads", "1", "--inner", "48"],
    ] {
        let out = place.expect(0, &[&SMALL[..], extra, &["--json"]].concat());
        let json: Value = serde_json::from_str(&out).unwrap();
        let losses = json["losses"].as_array().unwrap();
        assert_eq!(losses.len(), 5, "two steps come first");
        let loss = |i: usize| losses[i].as_f64().unwrap();
        assert!((loss(0) - 100f64.ln()).abs() < 0.1, "{losses:?}");
        match extra.contains(&"--forward") {
            true => assert_eq!(loss(0), loss(4), "nothing is trained"),
            false => assert!(loss(4) < loss(0), "{losses:?}"),
        }
        let seconds = json["step_seconds"].as_array().unwrap();
        assert_eq!(seconds.len(), 3);
        let total: f64 = seconds.iter().map(|s| s.as_f64().unwrap()).sum();
        let parts = json["parts_of_steps"].as_object().unwrap();
        let by_part = parts.values().flat_map(|p| p.as_array().unwrap());
        let by_part: f64 = by_part.map(|s| s.as_f64().unwrap()).sum();
        assert!(
            (by_part - total).abs() < 0.01 * total,
            "{by_part} of {total}"
        );
        assert!(json["tokens_per_second"].as_f64().unwrap() > 0.0);
        assert!(json["peak_memory_bytes"].as_u64().unwrap() > 1 << 20);
    }
    let text = place.expect(0, &SMALL);
    for word in ["tokens/s", "GFLOP/s", "memory", "attention", "optimizer"] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
}

/// The activations of twelve layers take 94 MB here; with recomputation, those of one layer and twelve inputs take 14 MB.
#[test]
fn recomputation_takes_less_memory_and_changes_nothing() {
    let place = Place::new();
    let shape = "--layers 12 --heads 2 --width 64 --context 512 --batch 4 --vocab 100 --steps 2";
    let mut args: Vec<&str> = ["bench", "train", "--json"].into();
    args.extend(shape.split(' '));
    let measured = |args: &[&str]| -> (Value, u64) {
        let json: Value = serde_json::from_str(&place.expect(0, args)).unwrap();
        let memory = json["peak_memory_bytes"].as_u64().unwrap();
        (json["losses"].clone(), memory)
    };
    let (losses, memory) = measured(&args);
    args.push("--recompute");
    let (again, less) = measured(&args);
    assert_eq!(losses, again);
    assert!(less + (60 << 20) < memory, "{less} bytes, {memory} without");
}

#[test]
fn what_it_begins_with_can_be_given_to_another_program() {
    let place = Place::new();
    let dir = place.path().join("start");
    let dir = dir.to_str().unwrap();
    place.expect(0, &[&SMALL[..], &["--write", dir]].concat());
    let tokens = std::fs::read_to_string(place.path().join("start/tokens.json")).unwrap();
    let tokens: Value = serde_json::from_str(&tokens).unwrap();
    assert_eq!(tokens["shape"], serde_json::json!([2, 40]));
    assert_eq!(tokens["inputs"].as_array().unwrap().len(), 80);
    // The written model can be read, and measuring it again gives the same losses.
    let info = place.expect(0, &["info", dir, "--json"]);
    let info: Value = serde_json::from_str(&info).unwrap();
    let again = [
        "bench",
        "train",
        "--model",
        dir,
        "--context",
        "40",
        "--batch",
        "2",
        "--json",
    ];
    let again: Value = serde_json::from_str(&place.expect(0, &again)).unwrap();
    let first = place.expect(0, &[&SMALL[..], &["--json"]].concat());
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(again["losses"][0], first["losses"][0]);
    assert_eq!(again["parameters"], info["parameters"]);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let place = Place::new();
    for (args, what) in [
        (
            &["--width", "100", "--heads", "3"][..],
            "--width 100 is not divisible by --heads 3",
        ),
        (&["--layers", "0"], "--layers must be between 1 and"),
        (&["--batch", "0"], "--batch must be between 1 and"),
        (&["--steps", "0"], "--steps must be between 1 and"),
        (
            &["--family", "llama", "--heads", "6", "--kv-heads", "4"],
            "--heads 6 is not divisible by --kv-heads 4",
        ),
        (&["--kv-heads", "3"], "use --family llama"),
        (
            &["--family", "llama", "--width", "18", "--heads", "6"],
            "heads of 3 channels have no pairs",
        ),
        (&["--dtype", "f16"], "f16"),
        (&["--model", "nowhere"], "nowhere is not a model"),
        (
            &["--batch", "1000", "--context", "100000"],
            "of memory are free",
        ),
        (
            &["--batch", "16777216", "--context", "16777216"],
            "windows of 16777216 tokens at a time, needs some",
        ),
        (&["--layers", "16777216"], "GB of memory"),
        (&["--width", "16777212"], "GB of memory"),
    ] {
        let out = place.run(&[&["bench", "train"], args].concat());
        let (_, err) = texts(&out);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {err}");
        assert!(err.contains(what), "{args:?}: {err}");
    }
}

#[test]
fn a_gpu_feature_that_does_not_exist_is_named() {
    let place = Place::new();
    let mut command = place.heirloom(&SMALL);
    let out = command.env("HEIRLOOM_GPU", "warp-drive").output().unwrap();
    let (_, err) = texts(&out);
    assert_eq!(out.status.code(), Some(2), "{err}");
    assert!(err.contains("HEIRLOOM_GPU names \"warp-drive\""), "{err}");
    assert!(err.contains("write-gradients"), "{err}");
}

#[test]
fn a_unit_that_this_machine_lacks_is_named() {
    let place = Place::new();
    let out = place
        .heirloom(&SMALL)
        .env("HEIRLOOM_UNIT", "abacus")
        .output()
        .unwrap();
    let (_, err) = texts(&out);
    assert_eq!(out.status.code(), Some(2), "{err}");
    assert!(
        err.contains("HEIRLOOM_UNIT is \"abacus\", this machine has"),
        "{err}"
    );
    assert!(err.contains("portable"), "{err}");
    let out = place
        .heirloom(&[&SMALL[..], &["--dtype", "bf16", "--json"]].concat())
        .env("HEIRLOOM_UNIT", "portable")
        .output()
        .unwrap();
    let json: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(json["unit"], "portable");
}
