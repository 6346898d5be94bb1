//! Tests evidence: standard errors are taken over windows without shared tokens, nothing is decided on values that are not finite,
//! and the age of every figure is correct.

mod common;

use std::path::{Path, PathBuf};

use common::{Place, copy, texts};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A small model on windows of 128 tokens, validated on a text of 3,000.
const SMALL: &str = r#"
[model]
n_layer = 3
n_head = 2
n_embd = 16
context_length = 128

[data]
train = "builtin:tinyshakespeare"
val = "val.txt"

[reference.train]
steps = 40

[inherit]
layers = 1

[train]
steps = 40
batch_tokens = 256
dtype = "f32"
lr = 1e-3

[eval]
every = 20

[probe]
windows = 2
length = 16

[grow]
step = 1
max_layers = 1

[control]
random = false
reference_continued = false

[policy]
mode = "auto"
"#;

fn small(place: &Place, val: &[u8]) {
    std::fs::write(place.path().join("small.toml"), SMALL).unwrap();
    std::fs::write(place.path().join("val.txt"), val).unwrap();
}

fn of_kind<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|e| e["kind"] == kind).collect()
}

#[test]
fn more_windows_of_the_same_text_do_not_make_the_error_smaller() {
    let place = Place::new();
    small(
        &place,
        &std::fs::read(fixture("texts/val-3000.txt")).unwrap(),
    );
    let mut errors = Vec::new();
    for windows in ["22", "256", "4000"] {
        let name = format!("w{windows}");
        let set = format!("eval.windows={windows}");
        let train = ["train", "small.toml", "--name", &name, "--set", &set];
        let dry = place.expect(0, &[&train[..], &["--dry-run"]].concat());
        let table = place.expect(0, &train);
        let events = place.events(&name);
        let capped = windows != "22";
        let evaluated = if capped { 23 } else { 22 };
        for eval in of_kind(&events, "eval") {
            assert_eq!(eval["windows"], evaluated);
            assert!(eval.get("blocks").is_none(), "{eval}");
        }
        let said =
            format!("23 validation windows of 128 tokens, not the {windows} of eval.windows");
        let logs = of_kind(&events, "log");
        let logged = logs
            .iter()
            .any(|e| e["message"].as_str().unwrap().starts_with(&said));
        let evaluated_on = format!("evaluated on 23 windows ({windows} asked)");
        assert_eq!(
            [dry.contains(&said), logged, table.contains(&evaluated_on)],
            [capped; 3],
            "{dry}{table}"
        );
        assert_eq!(
            place.expect(0, &["show", &name]).contains(&evaluated_on),
            capped
        );
        let info = &events[0]["info"]["eval_windows"];
        assert_eq!(
            (&info["windows"], &info["disjoint"]),
            (&evaluated.into(), &23.into())
        );
        errors.push(
            place.show(&name)["rounds"][0]["gap_stderr"]
                .as_f64()
                .unwrap(),
        );
    }
    for error in &errors {
        assert!((0.75..1.33).contains(&(error / errors[0])), "{errors:?}");
    }
    // `loss` has the same windows, and the error over the blocks.
    let loss = |windows: &str| -> Value {
        let args = [
            "loss",
            "w22",
            "--text",
            "val.txt",
            "--windows",
            windows,
            "--window-length",
            "128",
        ];
        let text = place.expect(0, &args);
        assert_eq!(
            text.contains("over the 23 disjoint blocks"),
            windows != "22",
            "{text}"
        );
        serde_json::from_str(&place.expect(0, &[&args[..], &["--json"]].concat())).unwrap()
    };
    let all = ["22", "256", "4000"].map(loss);
    for (told, windows) in all.iter().zip([22, 256, 4000]) {
        assert_eq!(told["losses"].as_array().unwrap().len(), windows);
        let blocks = (windows > 23).then_some(23);
        assert_eq!(told["blocks"], serde_json::json!(blocks));
        let ratio = told["stderr"].as_f64().unwrap() / all[0]["stderr"].as_f64().unwrap();
        assert!((0.75..1.33).contains(&ratio), "{ratio}");
    }
}

#[test]
fn a_run_with_overlapping_windows_keeps_them_and_takes_its_error_over_blocks() {
    let place = Place::new();
    let run = place.run_dir("old");
    copy(&fixture("runs/overlapping"), &run);
    // Results of the version that began the run (tests/fixtures/runs/README.md).
    let (val_loss, gap, as_if_independent) = (4.488194074598141, -0.1312387054786086, 0.0017735597);
    let said = "the 256 validation windows of 16 tokens overlap: errors are taken over the 69 disjoint blocks of the text; errors that this run journaled before are 1.9 times too small";
    let before = place.events("old").len();
    let show = place.expect(0, &["show", "old"]);
    let wanted = "errors take 256 overlapping windows as independent: 1.9 times too small";
    assert!(show.contains(wanted), "{show}");
    let out = place.expect(0, &["train", "--resume", "old"]);
    let events = &place.events("old")[before..];
    for eval in of_kind(events, "eval") {
        assert_eq!(
            (&eval["windows"], &eval["blocks"]),
            (&256.into(), &69.into())
        );
    }
    let round = &place.show("old")["rounds"][0];
    let near = |value: &Value, wanted: f64| {
        let off = (value.as_f64().unwrap() - wanted).abs();
        assert!(off < 1e-5, "{value} {wanted}");
    };
    near(&round["val_loss"], val_loss);
    near(&round["gap"], gap);
    near(
        &round["gap_stderr"],
        as_if_independent * (255f64 / 68.0).sqrt(),
    );
    let logs = of_kind(events, "log");
    let times = logs.iter().filter(|e| e["message"] == said).count();
    assert_eq!(times, 1);
    assert!(
        out.contains("evaluated on 256 windows, errors over 69 blocks"),
        "{out}"
    );
    // Another number of windows is refused, with advice.
    copy(&fixture("runs/overlapping"), &place.run_dir("other"));
    let output = place.run(&["train", "--resume", "other", "--set", "eval.windows=16"]);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("eval.windows"), "{err}");
}

#[test]
fn one_window_has_no_error_and_nothing_matches() {
    let place = Place::new();
    small(
        &place,
        &std::fs::read(fixture("texts/val-3000.txt")).unwrap()[..200],
    );
    // With this tolerance every finite gap would match.
    let train = [
        "train",
        "small.toml",
        "--name",
        "one",
        "--set",
        "match.tolerance=100",
    ];
    let dry = place.run(&[&train[..], &["--dry-run"]].concat());
    let (_, err) = texts(&dry);
    assert_eq!(dry.status.code(), Some(0), "{err}");
    let warning = "the validation text holds one window of 128 tokens: gaps have no standard error, and no round can match";
    assert!(err.contains(warning), "{err}");
    let out = place.expect(0, &train);
    let events = place.events("one");
    let at = |fits: &dyn Fn(&Value) -> bool| events.iter().position(fits).unwrap();
    let warned =
        at(&|e| e["kind"] == "warning" && e["message"].as_str().unwrap().starts_with(warning));
    assert!(
        warned < at(&|e| e["kind"] == "phase"),
        "before anything is trained"
    );
    let evals = of_kind(&events, "eval");
    assert!(evals.iter().any(|e| e["gap"].is_f64()));
    for eval in evals {
        assert_eq!(eval["windows"], 1);
        assert!(
            eval["stderr"].is_null() && eval["gap_stderr"].is_null(),
            "{eval}"
        );
        assert_eq!(eval["matched"], false);
    }
    let decisions = of_kind(&events, "decision");
    assert_eq!(decisions[0]["evidence"]["suggestion"], "insufficient_data");
    assert!(decisions[0]["evidence"]["gap_stderr"].is_null());
    let show = place.show("one");
    assert_eq!(show["outcome"], "limit_layers");
    let round = &show["rounds"][0];
    assert!(round["gap"].is_f64() && round["gap_stderr"].is_null() && round["stderr"].is_null());
    assert_eq!(round["matched"], false);
    assert!(
        out.contains("gaps have no error, nothing can match"),
        "{out}"
    );
    assert!(!out.contains("NaN"), "{out}");
}

#[test]
fn an_evaluation_that_is_not_finite_is_no_match_and_no_reason_to_grow() {
    let place = Place::new();
    let mut command = place.heirloom(&["train", "mini.toml", "--name", "nan"]);
    // The evaluation at the end of round 1.
    let output = command
        .env("HEIRLOOM_FAULT", "eval-nan:80")
        .output()
        .unwrap();
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    let events = place.events("nan");
    assert!(of_kind(&events, "grow").is_empty());
    let decisions = of_kind(&events, "decision");
    assert_eq!(decisions.len(), 1, "it stays open");
    let evidence = &decisions[0]["evidence"];
    assert_eq!(evidence["suggestion"], "insufficient_data");
    assert_eq!(evidence["plateau"], "insufficient_data");
    assert_eq!(evidence["matched"], false);
    assert!(
        evidence["forecast"].is_null()
            && evidence["gap"].is_null()
            && evidence["slope_per_1k"].is_null()
    );
    let warnings = of_kind(&events, "warning");
    let warned = |e: &&&Value| {
        e["message"]
            .as_str()
            .unwrap()
            .contains("step 20 of round 1 is not finite")
    };
    assert_eq!(warnings.iter().filter(warned).count(), 1, "{warnings:?}");
    let last = events.last().unwrap();
    assert_eq!(
        (&last["kind"], &last["failed"]),
        (&"done".into(), &true.into())
    );
    assert!(
        last["message"]
            .as_str()
            .unwrap()
            .contains("no decision was taken: insufficient data"),
        "{last}"
    );
    // Without the fault, the run continues.
    place.expect(0, &["train", "--resume", "nan"]);
    assert_eq!(place.show("nan")["state"], "done");
}

#[test]
fn evidence_is_gathered_when_the_run_pauses_for_it_and_tells_its_age() {
    let place = Place::new();
    let ask = [
        "--set",
        "policy.mode=ask",
        "--set",
        "policy.max_overrun_steps=2000000",
    ];
    let _trainer = place.in_background("aged", &ask, "");
    place.wait_event("aged", "the decision", |e| e["kind"] == "decision");
    place.wait_event("aged", "newer figures", |e| {
        e["kind"] == "eval" && e["step"].as_u64() > Some(80)
    });
    let (code, out, err) = place.ctl("aged", &["pause"]);
    assert_eq!(code, 0, "{out}{err}");
    let now = place.show("aged")["step"].as_u64().unwrap();
    let aged = format!("evidence of step 80, {} steps old", now - 80);
    let (_, status, _) = place.ctl("aged", &["status"]);
    assert!(
        status.contains(&format!("decision open (end of steps, {aged})")),
        "{status}"
    );
    assert!(
        place
            .expect(0, &["show", "aged"])
            .contains(&format!("decision   open, {aged}: "))
    );
    // Evidence that is asked for again is fresh.
    place.ctl("aged", &["decide"]);
    let (_, status, _) = place.ctl("aged", &["status"]);
    assert!(
        status.contains(&format!("evidence of step {now})")),
        "{status}"
    );
    let (code, out, err) = place.ctl("aged", &["stop"]);
    assert_eq!(code, 0, "{out}{err}");
    let resolved = place.wait_event("aged", "the answer", |e| {
        e["kind"] == "decision" && e["status"] == "resolved"
    });
    assert_eq!(resolved["evidence_step"], now);
}

#[test]
fn a_pause_past_the_overrun_limit_has_evidence_of_that_step_after_a_resume_too() {
    let place = Place::new();
    let ask = [
        "--set",
        "policy.mode=ask",
        "--set",
        "policy.max_overrun_steps=13",
    ];
    let decisions = |name: &str| -> Vec<(u64, u64)> {
        let events = place.events(name);
        let open = events
            .iter()
            .filter(|e| e["kind"] == "decision" && e["status"] == "open");
        open.map(|e| {
            (
                e["step"].as_u64().unwrap(),
                e["evidence_step"].as_u64().unwrap(),
            )
        })
        .collect()
    };
    let paused = |e: &Value| e["status"] == "paused";
    let trainer = place.in_background("limit", &ask, "");
    let event = place.wait_event("limit", "the pause", paused);
    assert_eq!(event["step"], 93);
    assert_eq!(decisions("limit"), [(80, 80), (93, 93)]);
    drop(trainer);
    // A run that is interrupted between decision and limit also pauses with new evidence.
    let trainer = place.in_background("early", &ask[..2], "");
    place.wait_event("early", "the decision", |e| e["kind"] == "decision");
    place.ctl("early", &["quit"]);
    drop(trainer);
    let before = place.events("early").len();
    let args = [
        "train",
        "-d",
        "--resume",
        "early",
        "--set",
        "policy.mode=pause",
    ];
    place.expect(0, &args);
    let trainer = common::Background(place.lock("early")["pid"].as_u64().unwrap() as u32);
    common::wait("the pause", || {
        place.events("early")[before..]
            .iter()
            .find(|e| paused(e))
            .cloned()
    });
    let (step, of) = *decisions("early").last().unwrap();
    let now = place.show("early")["step"].as_u64().unwrap();
    assert!(now > 80 || step == 80);
    assert_eq!((step, of), (now, now));
    drop(trainer);
}
