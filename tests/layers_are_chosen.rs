//! Layers are chosen by a measure of the reference, on the command line and in a run; models grow by copies of their own layers
//! if the config asks for them.

mod common;

use std::path::{Path, PathBuf};

use common::{Place, signal, texts, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn model(name: &str) -> String {
    fixtures()
        .join("layer_choice")
        .join(name)
        .display()
        .to_string()
}

/// Returns the measures of a model by transformers and numpy, and their windows, from `make_layer_choice_fixture.py`.
fn fixture(place: &Place, name: &str) -> (Value, Vec<String>) {
    let text = std::fs::read_to_string(fixtures().join("layer_choice.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let want = all["models"][name].clone();
    let tokens: Vec<u16> = serde_json::from_value(want["tokens"].clone()).unwrap();
    let path = place.path().join("ids.bin");
    let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
    std::fs::write(&path, bytes).unwrap();
    let options = [
        ("--tokens", path.display().to_string()),
        ("--windows", all["windows"].to_string()),
        ("--window-length", all["window_length"].to_string()),
    ];
    let options = options.into_iter().flat_map(|(a, b)| [a.to_string(), b]);
    (want, options.collect())
}

#[track_caller]
fn explained(place: &Place, model: &str, layers: &str, options: &[String]) -> Value {
    let mut args = vec!["inherit", "--from", model, "--layers", layers];
    args.extend(["--explain", "--json"]);
    args.extend(options.iter().map(String::as_str));
    serde_json::from_str(&place.expect(0, &args)).unwrap()
}

#[track_caller]
fn close(got: &Value, want: &Value) {
    let list = |v: &Value| serde_json::from_value::<Vec<f64>>(v.clone()).unwrap();
    let (got, want) = (list(got), list(want));
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(&want) {
        assert!((got - want).abs() < 1e-5, "{got}, expected {want}");
    }
}

#[test]
fn explanations_are_numpys() {
    for name in ["choice-gpt2", "choice-llama"] {
        let place = Place::new();
        let (want, options) = fixture(&place, name);
        let of = |layers| explained(&place, &model(name), layers, &options);
        let influence = of("influence:3");
        assert_eq!(influence["starts"], want["starts"]);
        assert_eq!(influence["paper"], "arXiv 2403.03853");
        close(&influence["values"], &want["influence"]);
        let angular = of("angular:4");
        close(&angular["values"], &want["angular"][1]);
        let loss = of("loss:3");
        let rounds = want["loss"]["rounds"].as_array().unwrap();
        let dropped: Vec<&Value> = rounds[..3].iter().map(|r| &r["dropped"]).collect();
        assert_eq!(loss["dropped"], json!(dropped));
        let losses: Vec<&Value> = rounds[..3].iter().map(|r| &r["loss"]).collect();
        close(&loss["values"], &json!(losses));
        close(&json!([loss["loss"]]), &json!([want["loss"]["whole"]]));
        for (round, want) in loss["rounds"].as_array().unwrap().iter().zip(rounds) {
            let part = |v: &Value, i: usize| -> Value {
                let pairs = v["without"].as_array().unwrap().iter();
                pairs.map(|pair| pair[i].clone()).collect()
            };
            assert_eq!(part(round, 0), part(want, 0));
            close(&part(round, 1), &part(want, 1));
        }
    }
}

#[test]
fn a_table_says_what_was_measured_and_taken() {
    let place = Place::new();
    let (_, options) = fixture(&place, "choice-gpt2");
    let path = model("choice-gpt2");
    let table = |layers: &str| {
        let mut args = vec!["inherit", "--from", &path, "--layers", layers, "--explain"];
        if layers != "spread:3" {
            args.extend(options.iter().map(String::as_str));
        }
        place.expect(0, &args)
    };
    let loss = table("loss:4");
    for line in [
        "layer  loss without  dropped as  loss then",
        "    0        5.5536           1     5.5536",
        "taken    4 layers of 6: 1, 2, 3, 4",
        "measure  loss: one layer dropped at a time",
        "(arXiv 2402.09025)",
        "loss     5.6380 with all layers, 5.5119 with those taken",
        "windows  7 of 24 tokens, of 331",
    ] {
        assert!(loss.contains(line), "no {line:?} in\n{loss}");
    }
    let angular = table("angular:4");
    assert!(angular.contains("    0              0.0782"), "{angular}");
    assert!(angular.contains("taken    4 layers of 6: 2, 3, 4, 5"));
    let spread = table("spread:3");
    assert!(
        spread.contains("taken    3 layers of 6: 0, 3, 5") && !spread.contains("windows"),
        "{spread}"
    );
}

#[test]
fn the_layers_that_a_measure_speaks_for_are_written() {
    let place = Place::new();
    let (_, options) = fixture(&place, "choice-llama");
    let path = model("choice-llama");
    let of = |layers: &str, out: &str, options: &[String]| {
        let mut args = vec!["inherit", "--from", &path, "--layers", layers, "--out", out];
        args.extend(options.iter().map(String::as_str));
        place.expect(0, &args);
        std::fs::read(place.path().join(out).join("model.safetensors")).unwrap()
    };
    assert!(of("loss:3", "measured", &options) == of("0,1,3", "listed", &[]));
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let place = Place::new();
    let path = model("choice-gpt2");
    for (options, words) in [
        (vec!["--layers", "los:6"], "did you mean loss:6?"),
        (vec!["--layers", "loss:0"], "must keep at least 1 layer"),
        (
            vec!["--layers", "half", "--windows", "3"],
            "--windows needs layers chosen by a measurement",
        ),
        (
            vec!["--layers", "loss:2", "--window-length", "64"],
            "--window-length must be between 1 and the model's context of 32",
        ),
    ] {
        let mut args = vec!["inherit", "--from", &path, "--explain"];
        args.extend(options);
        let output = place.run(&args);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{out}{err}");
        assert!(err.contains(words), "{err:?} does not say {words:?}");
    }
    let args = [
        "inherit",
        "--from",
        &path,
        "--layers",
        "loss:7",
        "--explain",
    ];
    let (_, err) = texts(&place.run(&args));
    assert!(
        err.contains("cannot keep 7 of the model's 6 layers"),
        "{err}"
    );
    // A config without a reference, and one whose reference has too few layers.
    let without = common::MINI
        .replace("[reference.train]\nsteps = 60\nlr = 1e-2\nwarmup = 5\n", "")
        .replace("layers = 1", "layers = \"influence:2\"");
    std::fs::write(place.path().join("none.toml"), without).unwrap();
    let (_, err) = texts(&place.run(&["train", "none.toml"]));
    assert!(err.contains("missing reference"), "{err}");
    let few = common::MINI.replace("layers = 1", "layers = \"influence:4\"");
    std::fs::write(place.path().join("few.toml"), few).unwrap();
    let (_, err) = texts(&place.run(&["train", "few.toml", "--dry-run"]));
    let wanted = "few.toml:19: inherit.layers must be fewer than the reference's 4, is 4";
    assert!(err.contains(wanted), "{err}");
}

fn find<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|e| e["kind"] == kind).collect()
}

#[test]
fn a_run_measures_its_reference_and_grows_by_copies() {
    let place = Place::new();
    let settings = [
        "inherit.layers=loss:2",
        "grow.source=copy-middle",
        "grow.mode=keep",
        "train.steps=4",
        "reference.train.steps=10",
        "match.tolerance=-1",
        "control.random=false",
        "control.reference_continued=false",
    ];
    let mut args = vec!["train", "mini.toml", "--name", "mine"];
    args.extend(settings.iter().flat_map(|set| ["--set", set]));
    let plan = place.expect(0, &[&args[..], &["--dry-run"]].concat());
    assert!(plan.contains("\nround 2 (if needed)       3 "), "{plan}");
    place.expect(0, &args);
    let events = place.events("mine");
    let inherit = find(&events, "inherit")[0];
    let measured = &inherit["measured"];
    assert_eq!(measured["name"], "loss");
    assert_eq!(measured["windows"], 16);
    let dropped: Vec<u64> = serde_json::from_value(measured["dropped"].clone()).unwrap();
    let taken: Vec<u64> = serde_json::from_value(inherit["layers"].clone()).unwrap();
    let mut all = [taken.clone(), dropped.clone()].concat();
    all.sort_unstable();
    assert_eq!((all, taken.len()), (vec![0, 1, 2, 3], 2));
    // The loss with all layers is the reference's benchmark, on the same windows.
    let show = place.show("mine");
    let whole = measured["whole"].as_f64().unwrap();
    let benchmark = show["reference"]["val_loss"].as_f64().unwrap();
    assert!((whole - benchmark).abs() < 1e-6, "{whole}, {benchmark}");
    assert_eq!(&show["layers_chosen_by"], measured);
    // The remaining model starts at the last measured loss.
    let first = events
        .iter()
        .find(|e| e["kind"] == "eval" && e["phase"] == "round-1")
        .unwrap();
    let last = measured["values"][1].as_f64().unwrap();
    let began = first["val_loss"].as_f64().unwrap();
    assert!((last - began).abs() < 1e-6, "{last}, {began}");
    let words = place.expect(0, &["show", "mine"]);
    let line = format!("layers     chosen by loss: dropped {} ", dropped[0]);
    assert!(words.contains(&line), "{words}");
    // One layer is copied right above itself; its loss is finite and it trains.
    let grow = find(&events, "grow");
    let [grow] = grow[..] else { panic!("{grow:?}") };
    assert_eq!(grow["source"], "copy-middle");
    assert_eq!(grow["added"], json!([taken[0]]));
    let round = events
        .iter()
        .find(|e| e["kind"] == "phase" && e["phase"] == "round-2")
        .unwrap();
    let sources = json!([taken[0], taken[0], taken[1]]);
    assert_eq!(round["source_layers"], sources);
    assert_eq!(show["rounds"][1]["layers"], 3);
}

#[test]
fn a_measure_that_a_signal_interrupts_is_taken_again() {
    let place = Place::new();
    let settings = [
        "model.n_layer=6",
        "inherit.layers=loss:2",
        "eval.windows=64",
        "train.steps=2",
        "reference.train.steps=5",
        "grow.max_layers=2",
        "control.random=false",
        "control.reference_continued=false",
    ];
    let start = |name: &'static str| {
        let mut args = vec!["train", "mini.toml", "--name", name];
        args.extend(settings.iter().flat_map(|set| ["--set", set]));
        args
    };
    place.expect(0, &start("whole"));
    let mut child = place.start(&start("cut"));
    place.wait_event("cut", "the measure", |e| {
        let message = e["message"].as_str().unwrap_or_default();
        message.starts_with("choosing 2 of 6 layers by loss")
    });
    signal(child.id(), Signal::SIGTERM);
    let code = wait("the end", || child.try_wait().unwrap()).code();
    assert_eq!(code, Some(75), "{}", place.printed());
    assert!(find(&place.events("cut"), "inherit").is_empty());
    place.expect(0, &["train", "--resume", "cut"]);
    let inherit = |name: &str| {
        let events = place.events(name);
        let found = find(&events, "inherit");
        let [event] = found[..] else {
            panic!("{found:?}")
        };
        (event["layers"].clone(), event["measured"].clone())
    };
    let (layers, measured) = inherit("cut");
    assert_eq!(measured["dropped"].as_array().unwrap().len(), 4);
    assert_eq!((layers, measured), inherit("whole"));
}

#[test]
fn layers_that_were_measured_have_no_next_ones() {
    let place = Place::new();
    let settings = [
        "inherit.layers=spread:2",
        "train.steps=4",
        "reference.train.steps=5",
        "match.tolerance=-1",
        "control.random=false",
        "control.reference_continued=false",
    ];
    let mut args = vec!["train", "mini.toml", "--name", "mine"];
    args.extend(settings.iter().flat_map(|set| ["--set", set]));
    place.expect(0, &args);
    let events = place.events("mine");
    assert_eq!(find(&events, "inherit")[0]["layers"], json!([0, 3]));
    assert_eq!(find(&events, "grow"), Vec::<&Value>::new());
    assert!(find(&events, "inherit")[0].get("measured").is_none());
}
