//! `train.dtype` is resolved when a run begins, and kept when it is resumed.

use super::*;

/// Runs the program without bf16 units, where bf16 products are plain loops. Returns exit code, stdout and stderr.
fn without_bf16(place: &Place, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = place.heirloom(args);
    let output = command.env("HEIRLOOM_UNIT", "portable").output().unwrap();
    let (out, err) = texts(&output);
    (output.status.code(), out, err)
}

/// Starts run `name` without bf16 units, and stops it with a checkpoint once it trains. Returns its stdout.
fn stopped_without_bf16(place: &Place, name: &str, dtype: &str) -> String {
    let dtype = format!("train.dtype={dtype}");
    let long = ["--set", "reference.train.steps=1000000", "--set", &dtype];
    let args = [&["train", "mini.toml", "--name", name], &long[..]].concat();
    let mut command = place.heirloom(&args);
    let command = command.env("HEIRLOOM_UNIT", "portable");
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    place.wait_event(name, "training", |e| e["kind"] == "train");
    signal(child.id(), Signal::SIGTERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75));
    String::from_utf8(output.stdout).unwrap()
}

fn dtype(place: &Place, name: &str) -> String {
    let config = config(place, name);
    let dtype = value(&config, "train.dtype").unwrap();
    dtype.as_str().unwrap().into()
}

/// Ends a resumed run at its first step.
const AT_ONCE: [&str; 2] = ["--set", "policy.max_tokens=1"];
const NO_PRODUCTS: &str = "f32 (auto: this CPU has no bf16 products)";

#[test]
fn auto_is_resolved_at_the_start_and_kept() {
    let place = Place::new();
    let auto = ["--set", "train.dtype=auto"];
    let dry = [&["train", "mini.toml", "--dry-run"], &auto[..]].concat();
    let (code, out, err) = without_bf16(&place, &dry);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains(&format!("dtype    {NO_PRODUCTS}\n")), "{out}");

    let head = format!("dtype      {NO_PRODUCTS}\n");
    let out = stopped_without_bf16(&place, "r", "auto");
    assert!(out.contains(&head), "{out}");
    assert_eq!(dtype(&place, "r"), "f32");
    let info = &place.events("r")[0]["info"];
    assert_eq!(info["dtype"], "f32");
    assert_eq!(info["dtype_reason"], "auto: this CPU has no bf16 products");
    assert_eq!(place.show("r")["dtype"], "f32");
    let shown = place.expect(0, &["show", "r"]);
    assert!(shown.contains(&head), "{shown}");

    // With the best unit of this machine, the run keeps its dtype and the reason.
    let out = place.expect(0, &[&["train", "--resume", "r"], &AT_ONCE[..]].concat());
    assert!(out.contains(&head), "{out}");
    assert_eq!(dtype(&place, "r"), "f32");
    let best = match heirloom::ops::unit() {
        "portable" => "f32",
        _ => "bf16",
    };
    let new = ["train", "mini.toml", "--name", "best"];
    place.expect(0, &[&new[..], &auto, &AT_ONCE].concat());
    assert_eq!(dtype(&place, "best"), best);
}

#[test]
fn emulated_bf16_is_warned_about_and_not_resumed_unasked() {
    let place = Place::new();
    let out = stopped_without_bf16(&place, "r", "bf16");
    assert!(out.contains("dtype      bf16 (emulated)\n"), "{out}");
    let events = place.events("r");
    let warned = events.iter().filter_map(|e| e["message"].as_str());
    let warned = warned.filter(|message| message.contains(heirloom::ops::EMULATED));
    assert_eq!(warned.count(), 1, "{events:?}");

    let resume = [&["train", "--resume", "r"], &AT_ONCE[..]].concat();
    let (code, _, err) = without_bf16(&place, &resume);
    assert_eq!(code, Some(2), "{err}");
    for words in [
        "run r computes in bf16, and this CPU has no bf16 products",
        heirloom::ops::EMULATED,
        "--set train.dtype=f32",
    ] {
        assert!(err.contains(words), "{words}: {err}");
    }
    assert_eq!(dtype(&place, "r"), "bf16");
    let now = place.events("r").len();
    assert_eq!(now, events.len(), "a refusal leaves the journal alone");
    for name in ["asked", "auto", "f32"] {
        common::copy(&place.run_dir("r"), &place.run_dir(name));
    }

    let resumed = |name: &str, asked: &str| {
        let set = format!("train.dtype={asked}");
        let args = [&["train", "--resume", name, "--set", &set], &AT_ONCE[..]].concat();
        let (code, out, err) = without_bf16(&place, &args);
        assert_eq!(code, Some(0), "{asked}: {out}{err}");
        (out, err, dtype(&place, name))
    };
    let (out, _, kept) = resumed("asked", "bf16");
    assert!(out.contains("dtype      bf16 (emulated)\n"), "{out}");
    assert_eq!(kept, "bf16");
    let changed = "train.dtype = \"f32\" takes effect with the next step";
    let (_, err, kept) = resumed("f32", "f32");
    assert!(err.contains(changed), "{err}");
    assert_eq!(kept, "f32");
    let (out, err, kept) = resumed("auto", "auto");
    let again = format!("train.dtype = \"auto\" is {NO_PRODUCTS} here");
    assert!(err.contains(&again) && err.contains(changed), "{err}");
    assert!(
        out.contains(&format!("dtype      {NO_PRODUCTS}\n")),
        "{out}"
    );
    assert_eq!(kept, "f32");
}

/// Programs without the key computed in f32.
#[test]
fn a_run_without_a_dtype_is_resumed_in_f32() {
    let place = Place::new();
    let long = ["--set", "reference.train.steps=1000000"];
    stopped_in(&place, "r", "reference", &long);
    let path = place.run_dir("r").join("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let old = text.replace("dtype = \"f32\"\n", "");
    assert_ne!(old, text);
    std::fs::write(&path, old).unwrap();
    let output = place.run(&[&["train", "--resume", "r"], &AT_ONCE[..]].concat());
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(out.contains("dtype      f32\n"), "{out}");
    assert!(!err.contains("train.dtype"), "{err}");
    assert_eq!(dtype(&place, "r"), "f32");
}
