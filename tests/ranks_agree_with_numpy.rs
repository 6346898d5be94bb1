//! `heirloom rank` finds in a model what transformers' attention and numpy's decomposition find
//! (`fixtures/make_survey_fixture.py`), and says what is wrong with a question that has no answer.

mod common;

use std::path::{Path, PathBuf};

use common::{Place, texts};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Fixture {
    windows: usize,
    window_length: usize,
    models: std::collections::BTreeMap<String, Want>,
}

/// `[layer][head][window]` of k* and m*.
#[derive(Deserialize)]
struct Want {
    tokens: Vec<u16>,
    starts: Vec<u64>,
    k: Vec<Vec<Vec<f64>>>,
    m: Vec<Vec<Vec<f64>>>,
    block_influence: Vec<f64>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn fixture() -> Fixture {
    serde_json::from_str(&std::fs::read_to_string(fixtures().join("survey.json")).unwrap()).unwrap()
}

/// The tokens as a file of nanoGPT's kind.
fn token_file(place: &Place, tokens: &[u16]) -> String {
    let path = place.path().join("ids.bin");
    let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().into()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

#[track_caller]
fn close(what: &str, got: &Value, want: f64, tolerance: f64) {
    let got = got.as_f64().unwrap();
    assert!(
        (got - want).abs() <= tolerance,
        "{what}: {got}, expected {want}"
    );
}

#[test]
fn every_rank_and_mass_is_numpys() {
    let fixture = fixture();
    let (n, t) = (
        fixture.windows.to_string(),
        fixture.window_length.to_string(),
    );
    for (name, want) in &fixture.models {
        let place = Place::new();
        let ids = token_file(&place, &want.tokens);
        let model = fixtures().join("models").join(name);
        let csv = place.path().join("out.csv");
        let out = place.run(&[
            "rank",
            model.to_str().unwrap(),
            "--tokens",
            &ids,
            "--windows",
            &n,
            "--window-length",
            &t,
            "--json",
            "--sweep",
            "--out",
            csv.to_str().unwrap(),
        ]);
        let (text, err) = texts(&out);
        assert!(out.status.success(), "{name}: {err}");
        let got: Value = serde_json::from_str(&text).unwrap();
        let starts: Vec<u64> = serde_json::from_value(got["starts"].clone()).unwrap();
        assert_eq!(starts, want.starts, "{name}");
        for (key, spread, want) in [("rank", "rank_std", &want.k), ("mass", "mass_std", &want.m)] {
            assert_eq!(got[key].as_array().unwrap().len(), want.len());
            for (layer, heads) in want.iter().enumerate() {
                for (head, windows) in heads.iter().enumerate() {
                    let what = format!("{name}: {key} of layer {layer}, head {head}");
                    close(&what, &got[key][layer][head], mean(windows), 1e-9);
                    close(&what, &got[spread][layer][head], deviation(windows), 1e-9);
                }
            }
        }
        for (layer, heads) in want.k.iter().enumerate() {
            let most = heads.iter().map(|w| mean(w)).fold(0.0, f64::max);
            close(name, &got["max_rank"][layer], most, 1e-9);
            close(
                name,
                &got["max_rank_by_tau"][2]["max_rank"][layer],
                most,
                1e-9,
            );
            close(
                name,
                &got["block_influence"][layer],
                want.block_influence[layer],
                1e-5,
            );
        }
        let lines = std::fs::read_to_string(csv).unwrap();
        assert_eq!(lines.lines().count(), 1 + want.k.len() * want.k[0].len());
    }
}

#[test]
fn the_table_names_layers_heads_and_what_to_inherit() {
    let fixture = fixture();
    let place = Place::new();
    let ids = token_file(&place, &fixture.models["gpt2-inverse-scale"].tokens);
    let model = fixtures().join("models/gpt2-inverse-scale");
    let asked = [
        "rank",
        model.to_str().unwrap(),
        "--tokens",
        &ids,
        "--windows",
        "3",
        "--window-length",
        "20",
    ];
    let out = place.run(&asked);
    let (text, err) = texts(&out);
    assert!(out.status.success(), "{err}");
    for what in [
        "layer  MaxRank",
        "AvgMass",
        "influence",
        "0 of 12 with a rank below 2",
        "inherit 1 of 3 layers",
    ] {
        assert!(text.contains(what), "{what}: {text}");
    }
    // The picture has a cell for each head and says what it shows.
    let svg = place.path().join("ranks.svg");
    let with: Vec<&str> = [&asked[..], &["--out", svg.to_str().unwrap()]].concat();
    assert!(place.run(&with).status.success());
    let picture = std::fs::read_to_string(&svg).unwrap();
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
    for what in ["MaxRank", "AvgMass", "crossed out below 2 (0 of 12)"] {
        assert!(picture.contains(what), "{what}");
    }
    assert!(picture.matches("<rect").count() >= 2 * 12);
    // Random starts are the seed's, and other ones than even.
    let starts = |extra: &[&str]| -> String {
        let args: Vec<&str> = asked
            .iter()
            .copied()
            .chain(["--json"])
            .chain(extra.iter().copied())
            .collect();
        let out = place.run(&args);
        let json: Value = serde_json::from_str(&texts(&out).0).unwrap();
        json["starts"].to_string()
    };
    let random = starts(&["--sample", "random", "--seed", "5"]);
    assert_eq!(random, starts(&["--sample", "random", "--seed", "5"]));
    assert_ne!(random, starts(&["--sample", "random", "--seed", "6"]));
    assert_ne!(random, starts(&[]));
    // An average over the windows is one matrix.
    let args: Vec<&str> = asked
        .iter()
        .copied()
        .chain(["--json", "--batch-mean"])
        .collect();
    let json: Value = serde_json::from_str(&texts(&place.run(&args)).0).unwrap();
    assert_eq!(json["batch_mean"], true);
    assert_eq!(json["rank_std"][0][0], 0.0);
}

#[test]
fn a_question_without_an_answer_is_refused() {
    let fixture = fixture();
    let place = Place::new();
    let ids = token_file(&place, &fixture.models["gpt2"].tokens[..40]);
    let model = fixtures().join("models/gpt2");
    for (extra, what) in [
        (
            &["--window-length", "49"][..],
            "between 1 and the model's context of 48, is 49",
        ),
        (
            &["--window-length", "41"],
            "has 40 tokens; windows of 41 need 41",
        ),
        (
            &["--window-length", "0"],
            "between 1 and the model's context",
        ),
        (
            &["--window-length", "8", "--tau", "0"],
            "--tau must lie in (0, 1], is 0",
        ),
        (
            &["--window-length", "8", "--eta", "1.5"],
            "--eta must lie in (0, 1], is 1.5",
        ),
        (
            &["--window-length", "8", "--windows", "0"],
            "--windows must be between 1 and",
        ),
        (
            &["--window-length", "8", "--out", "ranks.txt"],
            "ranks.txt: the result is written as .json, .csv or .svg",
        ),
    ] {
        let mut args = vec!["rank", model.to_str().unwrap(), "--tokens", &ids];
        args.extend(extra);
        let out = place.run(&args);
        let (_, err) = texts(&out);
        assert_eq!(out.status.code(), Some(2), "{extra:?}: {err}");
        assert!(err.contains(what), "{extra:?}: {err}");
    }
}
