//! `heirloom loss` gives the same number for a run and for its export: both leave out rows that only pad the vocabulary.

mod common;

use std::path::{Path, PathBuf};

use candle_core::Device;
use common::Place;
use heirloom::file::Dir;
use heirloom::model::{self, Decoder, DecoderConfig};
use serde_json::Value;

const RUN: &str = r#"
[model]
n_layer = 2
n_head = 2
n_embd = 16
context_length = 32

[data]
train = "builtin:tinyshakespeare"
val = "val.txt"

[reference.train]
steps = 6
lr = 1e-2

[inherit]
layers = 1

[train]
steps = 4
batch_tokens = 64
dtype = "f32"
lr = 1e-3

[eval]
every = 4
windows = 8

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

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn loss(place: &Place, model: &str, more: &[&str]) -> Value {
    let args = [
        &[
            "loss",
            model,
            "--windows",
            "8",
            "--window-length",
            "32",
            "--json",
        ][..],
        more,
    ]
    .concat();
    serde_json::from_str(&place.expect(0, &args)).unwrap()
}

#[test]
fn a_run_and_its_exports_have_the_same_loss() {
    let place = Place::new();
    let val = std::fs::read(fixture("texts/val-3000.txt")).unwrap();
    std::fs::write(place.path().join("val.txt"), val).unwrap();
    std::fs::write(place.path().join("run.toml"), RUN).unwrap();
    let mut cases = 0;
    for (tokenizer, ids, rows) in [("byte", 257, 320), ("gpt2", 50257, 50304)] {
        for (family, tied) in [("gpt2", true), ("llama", true), ("llama", false)] {
            let name = format!("{tokenizer}-{family}-{tied}");
            let sets = [
                format!("data.tokenizer={tokenizer}"),
                format!("model.family={family}"),
                format!("model.tie_word_embeddings={tied}"),
            ];
            let mut args = vec!["train", "run.toml", "--name", &name];
            for set in &sets {
                args.extend(["--set", set]);
            }
            place.expect(0, &args);
            let text = ["--text", "val.txt"];
            let run = loss(&place, &name, &text);
            assert_eq!(
                (&run["vocab"], &run["padding_rows"]),
                (&ids.into(), &(rows - ids).into())
            );
            let said = place.expect(0, &["loss", &name, "--text", "val.txt"]);
            let wanted = format!(
                "vocabulary  {ids} rows; the other {} only pad it",
                rows - ids
            );
            assert!(said.contains(&wanted), "{said}");
            for (format, out) in [
                ("hf", format!("{name}-out")),
                ("gguf", format!("{name}.gguf")),
            ] {
                place.expect(
                    0,
                    &[
                        "export", &name, "--format", format, "--dtype", "f32", "--out", &out,
                    ],
                );
                let exported = loss(&place, &out, &text);
                let value = |told: &Value| told["loss"].as_f64().unwrap();
                let off = (value(&run) - value(&exported)).abs();
                assert!(off < 1e-5, "{name} as {format}: {off}");
                assert_eq!(
                    (&exported["vocab"], &exported["padding_rows"]),
                    (&ids.into(), &0.into())
                );
                cases += 1;
            }
            // Evaluations inside the run include the padding rows, which have a share of the probability.
            let show = place.show(&name);
            let inside = show["rounds"][0]["val_loss"].as_f64().unwrap();
            let share = inside - run["loss"].as_f64().unwrap();
            assert!(share > 0.0, "{name}: {share}");
            if tokenizer == "byte" {
                assert!(share > 0.01, "{name}: {share}");
            }
        }
    }
    assert_eq!(cases, 12);
}

/// Pads the 96 rows of the fixture's model to 128 as training does: the loss is that of transformers with 96 rows.
#[test]
fn the_loss_of_a_padded_model_is_that_of_transformers_without_padding() {
    let place = Place::new();
    for name in ["gpt2", "llama-gqa"] {
        let from = fixture(&format!("models/{name}"));
        let text = std::fs::read_to_string(from.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        let tokens: Vec<Vec<u16>> = serde_json::from_value(expected["tokens"].clone()).unwrap();
        let bytes: Vec<u8> = tokens
            .concat()
            .iter()
            .flat_map(|t| t.to_le_bytes())
            .collect();
        std::fs::write(place.path().join("tokens.bin"), bytes).unwrap();

        let plain = model::load(&from, &Device::Cpu).unwrap();
        let config = DecoderConfig {
            vocab: 128,
            ..plain.config.clone()
        };
        let padded = Decoder::random(config, 3, &Device::Cpu).unwrap();
        for i in 0..plain.params.len() {
            let values = plain.weights.read(i).unwrap();
            let mut all = padded.weights.read(i).unwrap();
            // Makes the padding rows likely, so that they would change the loss.
            for row in &mut all {
                *row *= 50.0;
            }
            all[..values.len()].copy_from_slice(&values);
            padded.weights.write(i, &all).unwrap();
        }
        let dir = place.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        let weights = padded.weights.read_all().unwrap();
        model::save(
            &padded.config,
            &padded.params,
            &weights,
            None,
            &Dir::open(&dir).unwrap(),
        )
        .unwrap();
        let measure = || -> Value {
            let args = [
                "loss",
                name,
                "--tokens",
                "tokens.bin",
                "--windows",
                "2",
                "--window-length",
                "48",
                "--json",
            ];
            serde_json::from_str(&place.expect(0, &args)).unwrap()
        };
        // Without a tokenizer, the padding rows cannot be recognised.
        let over_all = measure()["loss"].as_f64().unwrap();
        std::fs::write(dir.join("tokenizer.json"), tokenizer_json(96)).unwrap();
        let told = measure();
        let (loss, wanted) = (
            told["loss"].as_f64().unwrap(),
            expected["mean_loss"].as_f64().unwrap(),
        );
        assert!(
            (loss - wanted).abs() < 1e-5,
            "{name}: {loss}, expected {wanted}"
        );
        assert!(over_all > loss + 0.01, "{name}: {over_all} {loss}");
        assert_eq!(
            (&told["vocab"], &told["padding_rows"]),
            (&96.into(), &32.into())
        );
    }
}

/// Returns a byte-level BPE without merges.
fn tokenizer_json(ids: u32) -> String {
    let letters = ('!'..='~').chain(['Ġ', 'Ċ']).zip(0..ids);
    let vocab: serde_json::Map<String, Value> =
        letters.map(|(c, id)| (c.to_string(), id.into())).collect();
    let level = serde_json::json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false
    });
    serde_json::json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": level, "post_processor": level, "decoder": level,
        "model": {"type": "BPE", "vocab": vocab, "merges": []}
    })
    .to_string()
}
