//! `heirloom rank` agrees with transformers' attention and numpy's decomposition (`fixtures/make_survey_fixture.py`), and reports
//! errors in its arguments.

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

/// Expected k* and m*, as `[layer][head][window]`.
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

/// Writes the tokens as a file in nanoGPT's format.
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
    // The picture has a cell for each head, and a description.
    let svg = place.path().join("ranks.svg");
    let with: Vec<&str> = [&asked[..], &["--out", svg.to_str().unwrap()]].concat();
    assert!(place.run(&with).status.success());
    let picture = std::fs::read_to_string(&svg).unwrap();
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
    for what in ["MaxRank", "AvgMass", "crossed out below 2 (0 of 12)"] {
        assert!(picture.contains(what), "{what}");
    }
    assert!(picture.matches("<rect").count() >= 2 * 12);
    // Random starts depend on the seed, and differ from even ones.
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
    // An average over the windows is a single matrix.
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
            "ranks.txt: the result is written as .json, .csv, .svg or .png",
        ),
        (
            &["--window-length", "8", "--out", "nowhere/ranks.png"],
            "nowhere/ranks.png cannot be written: there is no directory nowhere",
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

/// Copies a fixture's model, which a test may damage.
fn copy(place: &Place, name: &str) -> PathBuf {
    let to = place.path().join(name);
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(fixtures().join("models").join(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to
}

#[test]
fn attention_that_is_no_number_is_named_by_layer_and_head() {
    let place = Place::new();
    let ids = token_file(&place, &fixture().models["gpt2"].tokens);
    let model = copy(&place, "gpt2");
    // Sets a query and a key weight of the last layer's second head, so that their product overflows.
    let file = model.join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(model.join("config.json")).unwrap()).unwrap();
    let (layer, heads) = (
        config["n_layer"].as_u64().unwrap() - 1,
        config["n_head"].as_u64().unwrap(),
    );
    let width = config["n_embd"].as_u64().unwrap();
    let name = format!("transformer.h.{layer}.attn.c_attn.weight");
    let info = metadata.info(&name).unwrap();
    assert_eq!(info.dtype, safetensors::Dtype::F32);
    let mut spoilt = bytes.clone();
    for column in [width / heads, width + width / heads] {
        let at = 8 + header + info.data_offsets.0 + 4 * column as usize;
        spoilt[at..at + 4].copy_from_slice(&3e38f32.to_le_bytes());
    }
    std::fs::write(&file, spoilt).unwrap();
    let out = place.run(&[
        "rank",
        model.to_str().unwrap(),
        "--tokens",
        &ids,
        "--window-length",
        "20",
    ]);
    let (_, err) = texts(&out);
    assert_eq!(out.status.code(), Some(2), "{err}");
    let what =
        format!("layer {layer}, head 1: the attention matrix holds a number that is not finite");
    assert!(err.contains(&what), "{err}");
}

#[test]
fn a_model_of_another_kind_is_refused() {
    let place = Place::new();
    let ids = token_file(&place, &fixture().models["gpt2"].tokens);
    let model = copy(&place, "gpt2");
    let config = r#"{"architectures": ["MambaForCausalLM"], "model_type": "mamba", "hidden_size": 8, "num_hidden_layers": 2}"#;
    std::fs::write(model.join("config.json"), config).unwrap();
    let out = place.run(&["rank", model.to_str().unwrap(), "--tokens", &ids]);
    let (_, err) = texts(&out);
    assert_eq!(out.status.code(), Some(2), "{err}");
    assert!(
        err.contains("mamba") && err.contains("config.json"),
        "{err}"
    );
}

/// Compares a model with the one that it was made from, over the same windows, and shows the attention of two heads.
#[test]
fn a_model_stands_beside_another_and_heads_show_their_attention() {
    let place = Place::new();
    let ids = token_file(&place, &fixture().models["gpt2"].tokens);
    let model = fixtures().join("models/gpt2");
    let model = model.to_str().unwrap();
    let small = place.path().join("small");
    let small = small.to_str().unwrap();
    place.expect(
        0,
        &["inherit", "--from", model, "--layers", "1", "--out", small],
    );
    let (json, svg, png) = ("both.json", "both.svg", "both.png");
    let args = [
        "rank",
        small,
        "--tokens",
        &ids,
        "--windows",
        "4",
        "--window-length",
        "12",
        "--against",
        model,
        "--map",
        "0.1",
        "--map",
        "0.0",
        "--out",
        json,
        "--out",
        svg,
        "--out",
        png,
    ];
    let text = place.expect(0, &args);
    assert!(text.contains("AvgRank"), "{text}");
    let read = |name: &str| std::fs::read(place.path().join(name)).unwrap();
    let found: Value = serde_json::from_slice(&read(json)).unwrap();
    // The first layers of both models are equal.
    assert_eq!(found["max_rank"][0], found["against"]["max_rank"][0]);
    assert!(found["against"]["max_rank"].as_array().unwrap().len() > 1);
    // Rows of attention sum to one, and are zero for later tokens.
    for (map, head) in found["maps"].as_array().unwrap().iter().zip([1, 0]) {
        assert_eq!((&map["layer"], &map["head"]), (&0.into(), &head.into()));
        let rows: Vec<Vec<f64>> = serde_json::from_value(map["mean"].clone()).unwrap();
        assert_eq!(rows.len(), 12);
        for (i, row) in rows.iter().enumerate() {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-5);
            assert!(row[i + 1..].iter().all(|a| *a == 0.0));
        }
    }
    let picture = String::from_utf8(read(svg)).unwrap();
    for what in ["squares, dashed", "layer 0, head 1: k*", "attended to"] {
        assert!(picture.contains(what), "{what}");
    }
    // The picture's pixels are neither all white nor all black.
    let decoder = png::Decoder::new(std::io::Cursor::new(read(png)));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.width, 1800);
    let dark = pixels.iter().filter(|x| **x < 128).count();
    assert!(
        (pixels.len() / 200..pixels.len() / 2).contains(&dark),
        "{dark} of {}",
        pixels.len()
    );
    let refused = |args: &[&str], what: &str| {
        let out = place.run(
            &[
                &["rank", small, "--tokens", &ids, "--window-length", "12"],
                args,
            ]
            .concat(),
        );
        let (_, err) = texts(&out);
        assert_eq!(out.status.code(), Some(2), "{err}");
        assert!(err.contains(what), "{err}");
    };
    refused(
        &["--map", "1.0", "--json"],
        "--map 1.0: the model has layers 0 to 0",
    );
    refused(&["--map", "3", "--json"], "give a layer and a head");
    refused(&["--map", "0.0"], "--map is for a picture or JSON");
    // The other model must have the same vocabulary.
    let words = "bench train --layers 1 --heads 2 --width 8 --context 16 --batch 1 --vocab 100 --steps 1 --write other";
    place.expect(0, &words.split(' ').collect::<Vec<_>>());
    refused(&["--against", "./other"], "vocabulary of 100");
}

/// `bench ranks --write` writes matrices with the ranks that other programs find.
#[test]
fn matrices_are_written_with_their_counts() {
    let fixture = fixture();
    let want = &fixture.models["gpt2"];
    let place = Place::new();
    let ids = token_file(&place, &want.tokens);
    let model = fixtures().join("models/gpt2");
    let (n, t) = (fixture.windows, fixture.window_length);
    let (windows, length) = (n.to_string(), t.to_string());
    let mut args = vec!["bench", "ranks", model.to_str().unwrap(), "--tokens", &ids];
    args.extend(["--windows", &windows, "--window-length", &length]);
    args.extend(["--write", "matrices"]);
    let text = place.expect(0, &args);
    assert!(
        text.contains("on one core") && text.contains("us per matrix"),
        "{text}"
    );
    for (layer, heads) in want.k.iter().enumerate() {
        let file = place
            .path()
            .join(format!("matrices/layer-{layer:02}.safetensors"));
        let bytes = std::fs::read(file).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let attention = tensors.tensor("attention").unwrap();
        assert_eq!(attention.shape(), [n, heads.len(), t, t]);
        let counts = |name: &str| -> Vec<f64> {
            let tensor = tensors.tensor(name).unwrap();
            assert_eq!(tensor.shape(), [n, heads.len()]);
            let each = tensor.data().chunks_exact(4);
            each.map(|b| f64::from(i32::from_le_bytes(b.try_into().unwrap())))
                .collect()
        };
        let (k, m) = (counts("k"), counts("m"));
        for window in 0..n {
            for head in 0..heads.len() {
                let i = window * heads.len() + head;
                assert_eq!(
                    k[i], want.k[layer][head][window],
                    "layer {layer}, head {head}"
                );
                assert_eq!(
                    m[i], want.m[layer][head][window],
                    "layer {layer}, head {head}"
                );
            }
        }
    }
}
