//! An exported model computes the same as the original, in files that other programs read: directories with the keys that
//! transformers writes, and GGUF files with the keys and tensors that llama.cpp's converter writes.
//!
//! The ignored tests run those programs:
//!
//!     HEIRLOOM_PYTHON=venv/bin/python cargo test --test exported_models_load_elsewhere -- --ignored transformers
//!     HEIRLOOM_LLAMA_PYTHON=venv-llama/bin/python cargo test --test exported_models_load_elsewhere -- --ignored llama_cpp

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::Device;
use candle_core::quantized::gguf_file::Content;
use common::Place;
use heirloom::corpus::Tokenizer;
use heirloom::export::{self, ExportError, Form, Job, Subject, Written};
use heirloom::file::Dir;
use heirloom::locate;
use heirloom::model::{self, Biases, Decoder, DecoderConfig, Files, Mode, Sizes, Workspace};
use heirloom::ops;
use heirloom::tensors::{DType, Source, Spec, gguf};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Token ids that lie in the vocabulary of every test model.
const TOKENS: [u32; 24] = [
    5, 17, 3, 80, 41, 2, 2, 63, 77, 9, 12, 30, 31, 32, 8, 90, 1, 64, 50, 49, 48, 7, 6, 5,
];
/// Ids of the tokenizer of [`moved`].
const IDS: usize = 97;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Returns a byte-level BPE without merges: 96 characters and an end of text.
fn tokenizer_json() -> Value {
    let letters = ('!'..='~').chain(['Ġ', 'Ċ']).zip(0..);
    let vocab: serde_json::Map<String, Value> =
        letters.map(|(c, id)| (c.to_string(), id.into())).collect();
    let level = |words: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": words});
    json!({
        "version": "1.0",
        "added_tokens": [{
            "id": 96, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true
        }],
        "pre_tokenizer": level(false), "post_processor": level(false), "decoder": level(false),
        "model": {"type": "BPE", "vocab": vocab, "merges": []}
    })
}

/// Writes a checkpoint as training does: GPT-2 without biases, with a padded vocabulary, and layers from other places with their
/// own attention scales.
fn moved(dir: &Path) -> PathBuf {
    let sizes = Sizes {
        n_layer: 3,
        n_head: 4,
        n_embd: 32,
        context_length: 48,
        vocab: 128,
    };
    let config = DecoderConfig {
        attention_scales: vec![1.0 / 3.0, 1.0, 0.5],
        ..DecoderConfig::gpt2(sizes, false)
    };
    write_checkpoint(&dir.join("moved"), config)
}

/// Writes such a checkpoint of a Llama with grouped queries.
fn padded_llama(dir: &Path) -> PathBuf {
    let sizes = Sizes {
        n_layer: 2,
        n_head: 4,
        n_embd: 64,
        context_length: 48,
        vocab: 128,
    };
    let config = DecoderConfig {
        n_kv_head: 2,
        attention_scales: vec![0.25, 1.5],
        ..DecoderConfig::llama(sizes)
    };
    write_checkpoint(&dir.join("padded-llama"), config)
}

fn write_checkpoint(dir: &Path, config: DecoderConfig) -> PathBuf {
    std::fs::create_dir(dir).unwrap();
    let model = Decoder::random(config, 7, &Device::Cpu).unwrap();
    for i in 0..model.params.len() {
        // Larger than initial weights, so that every part affects the logits.
        let values: Vec<f32> = model
            .weights
            .read(i)
            .unwrap()
            .iter()
            .map(|v| 5.0 * v)
            .collect();
        model.weights.write(i, &values).unwrap();
    }
    let weights = model.weights.read_all().unwrap();
    model::save(
        &model.config,
        &model.params,
        &weights,
        None,
        &Dir::open(dir).unwrap(),
    )
    .unwrap();
    std::fs::write(dir.join("tokenizer.json"), tokenizer_json().to_string()).unwrap();
    dir.into()
}

/// Returns the logits of [`TOKENS`], a row for each.
fn logits(path: &Path) -> Vec<Vec<f32>> {
    let model = model::load(path, &Device::Cpu).unwrap();
    let ws = Workspace::new(&model.config, 1, TOKENS.len(), Mode::Forward, &Device::Cpu).unwrap();
    ops::write(&ws.inputs, &TOKENS).unwrap();
    let all = ops::read(&model.logits(&ws).unwrap()).unwrap();
    all.chunks(model.config.vocab)
        .map(<[f32]>::to_vec)
        .collect()
}

/// Returns the largest difference over the ids that `exported` has.
fn difference(original: &[Vec<f32>], exported: &[Vec<f32>]) -> f32 {
    assert_eq!(original.len(), exported.len());
    let rows = original.iter().zip(exported);
    let pairs = rows.flat_map(|(a, b)| {
        let (was, is) = (a.len(), b.len());
        assert!(was >= is && is >= 96, "{was} {is}");
        a.iter().zip(b)
    });
    pairs.fold(0.0, |most, (a, b)| {
        assert!(a.is_finite() && b.is_finite());
        most.max((a - b).abs())
    })
}

/// Returns the largest difference as a share of the largest logit.
fn relative(original: &[Vec<f32>], exported: &[Vec<f32>]) -> f32 {
    let all = original.iter().flatten();
    let largest = all.fold(0f32, |most, logit| most.max(logit.abs()));
    assert!(largest > 1.0, "{largest}");
    difference(original, exported) / largest
}

fn opened(model: &Path) -> Result<Subject, ExportError> {
    let (name, runs) = (model.to_str().unwrap(), Path::new("no-runs"));
    Subject::open(name, &locate::find(name, runs).unwrap(), runs)
}

fn export(model: &Path, form: Form, dtype: DType, to: &Path) -> Result<Written, ExportError> {
    let subject = opened(model)?;
    export::export(
        &subject,
        Job {
            form,
            dtype,
            shard_bytes: 5_000_000_000,
            target: to.into(),
            replace: false,
            progress: &mut |_| true,
        },
    )
}

fn hugging_face(model: &Path, to: &Path) -> Written {
    export(model, Form::HuggingFace, DType::F32, to).unwrap()
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

/// Returns every fixture directory and the two checkpoints.
fn models(tmp: &TempDir) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(fixtures().join("models")).unwrap();
    let mut all: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    assert!(all.len() >= 13);
    all.sort();
    all.push(fixtures().join("gguf/llama3-rope.gguf"));
    all.push(moved(tmp.path()));
    all.push(padded_llama(tmp.path()));
    all
}

fn name_of(model: &Path) -> String {
    model.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_directory_computes_what_its_original_computes() {
    let tmp = tempfile::tempdir().unwrap();
    for model in models(&tmp) {
        let name = name_of(&model);
        let to = tmp.path().join(format!("{name}-out"));
        hugging_face(&model, &to);
        let most = relative(&logits(&model), &logits(&to));
        assert!(most < 1e-5, "{name}: {most}");
    }
}

#[test]
fn config_json_has_transformers_own_keys_and_values() {
    // Keys with transformers' default values, and keys that it derives from others.
    let left_out = [
        "add_cross_attention",
        "initializer_range",
        "layer_types",
        "max_window_layers",
        "pretraining_tp",
        "reorder_and_upcast_attn",
        "rope_parameters",
        "sliding_window",
        "summary_activation",
        "summary_first_dropout",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
        "transformers_version",
    ];
    let tmp = tempfile::tempdir().unwrap();
    for name in [
        "gpt2",
        "gpt2-inverse-scale",
        "llama-gqa",
        "llama-bias",
        "llama3-rope",
        "qwen2",
        "olmo",
    ] {
        let model = fixtures().join("models").join(name);
        let to = tmp.path().join(name);
        hugging_face(&model, &to);
        let (theirs, ours) = (
            json_of(&model.join("config.json")),
            json_of(&to.join("config.json")),
        );
        for (key, value) in theirs.as_object().unwrap() {
            if !left_out.contains(&key.as_str()) {
                assert_eq!(&ours[key], value, "{name}: {key}");
            }
        }
        assert!(ours.get("heirloom").is_none(), "{name}");
        if let Some(rope) = theirs["rope_parameters"].as_object() {
            assert_eq!(ours["rope_theta"], rope["rope_theta"], "{name}");
            for (key, value) in rope
                .iter()
                .filter(|(k, _)| k.contains('f') && *k != "rope_theta")
            {
                assert_eq!(ours["rope_scaling"][key], *value, "{name}: {key}");
            }
        }
    }
}

#[test]
fn a_checkpoint_becomes_plain_and_the_card_says_how() {
    let tmp = tempfile::tempdir().unwrap();
    let model = moved(tmp.path());
    let to = tmp.path().join("plain");
    let written = hugging_face(&model, &to);
    let files = [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names(&to), files.map(String::from).into());
    let config = json_of(&to.join("config.json"));
    assert_eq!(config["model_type"], "gpt2");
    assert_eq!(config["vocab_size"], IDS);
    assert_eq!(config["eos_token_id"], 96);
    assert_eq!(config["scale_attn_by_inverse_layer_idx"], false);
    let exported = Files::open(&to).unwrap().config;
    assert_eq!(exported.attention_scales, [1.0; 3]);
    assert!(exported.biases.norms && exported.biases.mlp);
    assert_eq!(written.parameters, exported.parameters());
    let card = std::fs::read_to_string(to.join("README.md")).unwrap();
    assert_eq!(written.changes.len(), 3, "{:?}", written.changes);
    for wanted in written.changes.iter().map(String::as_str).chain([
        "128 rows became the tokenizer's 97",
        "of layers 0, 2 is multiplied into",
        "Biases of zero are added to norms;",
        "# plain\n",
        "AutoTokenizer.from_pretrained(\"plain\")",
    ]) {
        assert!(card.contains(wanted), "{wanted}\n{card}");
    }
    let tokenizer = json_of(&to.join("tokenizer_config.json"));
    assert_eq!(tokenizer["eos_token"], "<|endoftext|>");
    // An export is not a checkpoint of this program, so padding is not removed a second time.
    let again = tmp.path().join("again");
    assert!(hugging_face(&to, &again).changes.is_empty());
}

#[test]
fn shards_and_short_types_read_back() {
    let tmp = tempfile::tempdir().unwrap();
    let model = fixtures().join("models/llama-gqa");
    let subject = opened(&model).unwrap();
    let to = tmp.path().join("shards");
    let mut told = Vec::new();
    let job = Job {
        form: Form::HuggingFace,
        dtype: DType::F32,
        shard_bytes: 20_000,
        target: to.clone(),
        replace: false,
        progress: &mut |n| {
            told.push(n);
            true
        },
    };
    let written = export::export(&subject, job).unwrap();
    assert!(
        names(&to)
            .iter()
            .filter(|n| n.starts_with("model-000"))
            .count()
            > 2
    );
    assert!(told.is_sorted() && told.last() == Some(&written.parameters));
    assert_eq!(difference(&logits(&model), &logits(&to)), 0.0);

    // Rounding to 11 and to 8 bits, over two layers.
    for (dtype, tolerance) in [(DType::F16, 4e-3), (DType::Bf16, 3e-2)] {
        let to = tmp.path().join(dtype.name());
        let written = export(&model, Form::HuggingFace, dtype, &to).unwrap();
        assert!(written.changes[0].starts_with("The weights are rounded"));
        let most = relative(&logits(&model), &logits(&to));
        assert!(most > 0.0 && most < tolerance, "{dtype}: {most}");
    }
}

/// Returns the models that can be written as GGUF.
fn gguf_models(tmp: &TempDir) -> Vec<PathBuf> {
    let names = [
        "gpt2",
        "gpt2-inverse-scale",
        "llama-gqa",
        "llama-bias",
        "llama3-rope",
        "llama-linear-rope",
        "qwen2",
        "mistral",
    ];
    let mut all: Vec<PathBuf> = names
        .iter()
        .map(|n| fixtures().join("models").join(n))
        .collect();
    all.push(fixtures().join("gguf/llama3-rope.gguf"));
    all.push(moved(tmp.path()));
    all.push(padded_llama(tmp.path()));
    all
}

#[test]
fn a_gguf_file_computes_what_its_original_computes() {
    let tmp = tempfile::tempdir().unwrap();
    for model in gguf_models(&tmp) {
        let name = name_of(&model);
        let original = logits(&model);
        // Blocks of 8 bits: a rounding of 1/254 of a block's largest value.
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F16, 1e-2), (DType::Q8_0, 0.1)] {
            let to = tmp.path().join(format!("{name}-{dtype}.gguf"));
            export(&model, Form::Gguf, dtype, &to).unwrap();
            let most = relative(&original, &logits(&to));
            assert!(most < tolerance, "{name} in {dtype}: {most}");
            // candle reads the header, and every tensor.
            let mut file = std::fs::File::open(&to).unwrap();
            let content = Content::read(&mut file).unwrap();
            for tensor in content.tensor_infos.keys() {
                let read = content.tensor(&mut file, tensor, &Device::Cpu).unwrap();
                read.dequantize(&Device::Cpu).unwrap();
            }
        }
    }
}

#[test]
fn gguf_files_have_the_converters_keys_and_tensors() {
    let tmp = tempfile::tempdir().unwrap();
    for name in ["gpt2", "llama-gqa", "llama3-rope", "qwen2"] {
        let to = tmp.path().join(format!("{name}.gguf"));
        export(
            &fixtures().join("models").join(name),
            Form::Gguf,
            DType::F32,
            &to,
        )
        .unwrap();
        let theirs = Files::open(&fixtures().join(format!("gguf/{name}.gguf"))).unwrap();
        let ours = Files::open(&to).unwrap();
        for (key, value) in theirs.source.gguf().unwrap().iter() {
            let other = ["general.quantization_version", "general.name"].contains(&key);
            if !other && !key.starts_with("tokenizer.") {
                assert_eq!(
                    ours.source.gguf().unwrap().get(key),
                    Some(value),
                    "{name}: {key}"
                );
            }
        }
        let tensors: BTreeSet<&str> = theirs.source.names().collect();
        assert_eq!(
            ours.source.names().collect::<BTreeSet<_>>(),
            tensors,
            "{name}"
        );
        for tensor in tensors {
            let info = theirs.source.info(tensor).unwrap();
            assert_eq!(ours.source.info(tensor), Some(info), "{name}: {tensor}");
            let (mut a, mut b) = (vec![0.0; info.len()], vec![0.0; info.len()]);
            theirs.source.read_into(tensor, &mut a).unwrap();
            ours.source.read_into(tensor, &mut b).unwrap();
            let near = a
                .iter()
                .zip(&b)
                .all(|(a, b)| (a - b).abs() <= 1e-6 * a.abs());
            assert!(near, "{name}: {tensor}");
        }
    }
}

/// Returns the loss of a text with a model and its own tokenizer, in nats per token, and the text's ids.
fn text_loss(model: &Path, text: &str) -> (f64, Vec<u32>) {
    let ids = locate::tokenizer(model).unwrap().encode(text).unwrap();
    (loss_of(model, &ids), ids)
}

fn loss_of(path: &Path, ids: &[u32]) -> f64 {
    let model = model::load(path, &Device::Cpu).unwrap();
    let n = ids.len() - 1;
    let ws = Workspace::new(&model.config, 1, n, Mode::Forward, &Device::Cpu).unwrap();
    ops::write(&ws.inputs, &ids[..n]).unwrap();
    let logits = ops::read(&model.logits(&ws).unwrap()).unwrap();
    let rows = logits.chunks(model.config.vocab).zip(&ids[1..]);
    let losses = rows.map(|(row, &id)| {
        let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
        let top = row.iter().copied().fold(f64::MIN, f64::max);
        row.iter().map(|x| (x - top).exp()).sum::<f64>().ln() + top - row[id as usize]
    });
    losses.sum::<f64>() / n as f64
}

/// Makes a model directory with one of the tokenizers of `tests/fixtures/tokenizers`, `byte` or none. The model has five rows more
/// than the tokenizer has ids.
fn model_with(tokenizer: &str, family: &str, dir: &Path) -> PathBuf {
    let json = match tokenizer {
        "none" => None,
        "byte" => Some(Tokenizer::byte().tokenizer_json().to_vec()),
        // The name that a row after the ids gets without a token.
        "pad-names" => {
            let mut json = json_of(&fixtures().join("tokenizers/smollm-like.json"));
            let added = json["added_tokens"].as_array_mut().unwrap();
            let mut token = added[0].clone();
            (token["id"], token["content"]) = (702.into(), "[PAD703]".into());
            added.push(token);
            Some(json.to_string().into_bytes())
        }
        name => Some(std::fs::read(fixtures().join(format!("tokenizers/{name}.json"))).unwrap()),
    };
    std::fs::create_dir(dir).unwrap();
    let mut ids = 300;
    if let Some(json) = json {
        std::fs::write(dir.join("tokenizer.json"), json).unwrap();
        ids = Tokenizer::from_dir(dir).unwrap().size();
    }
    let sizes = Sizes {
        n_layer: 2,
        n_head: 4,
        n_embd: 32,
        context_length: 512,
        vocab: ids + 5,
    };
    let llama = DecoderConfig {
        n_kv_head: 2,
        ..DecoderConfig::llama(sizes)
    };
    let qkv = Biases {
        qkv: true,
        ..Biases::default()
    };
    let config = match family {
        "gpt2" => DecoderConfig::gpt2(sizes, true),
        "qwen2" => DecoderConfig {
            biases: qkv,
            tied_head: true,
            ..llama
        },
        _ => llama,
    };
    let model = Decoder::random(config, 11, &Device::Cpu).unwrap();
    for i in 0..model.params.len() {
        let values: Vec<f32> = model
            .weights
            .read(i)
            .unwrap()
            .iter()
            .map(|v| 5.0 * v)
            .collect();
        model.weights.write(i, &values).unwrap();
    }
    let weights = model.weights.read_all().unwrap();
    let to = Dir::open(dir).unwrap();
    model::save(&model.config, &model.params, &weights, None, &to).unwrap();
    dir.into()
}

/// Exports every kind of tokenizer in every form and type and reads it back: texts have the same ids, and the loss is the same
/// (with rounding, that of the rounded weights).
#[test]
fn what_is_exported_is_read_again_with_the_same_loss() {
    const TEXT: &str = "The KING  and the king's 1234 looms, naïve café e\u{301}: they'll weave!\n\n\tif x<|im_end|>he \
        said  <|endoftext|>thethe king </s><s>\u{1f600} 東京 [PAD7] [PAD703] <|im_start|>user ABC";
    let place = Place::new();
    let greedy = |model: &str, has_tokenizer: bool| {
        let tokenizer: &[&str] = if has_tokenizer {
            &[]
        } else {
            &["--tokenizer", "byte"]
        };
        let words = [
            "generate",
            model,
            "--prompt",
            "The king",
            "-n",
            "4",
            "--temperature",
            "0",
        ];
        place.expect(0, &[&words, tokenizer].concat())
    };
    let (mut exports, mut gguf_refused) = (0, Vec::new());
    for (tokenizer, family) in [
        ("byte", "llama"),
        ("gpt2-like", "gpt2"),
        ("smollm-like", "llama"),
        ("llama3-like", "qwen2"),
        ("qwen2-like", "qwen2"),
        ("added-tokens", "gpt2"),
        ("fewer-bytes", "llama"),
        ("prefix-space", "gpt2"),
        ("stripping-tokens", "llama"),
        ("llama2-like", "llama"),
        ("unigram", "llama"),
        ("pad-names", "llama"),
        ("none", "gpt2"),
    ] {
        let model = model_with(tokenizer, family, &place.path().join(tokenizer));
        let has_tokenizer = tokenizer != "none";
        let (loss, ids) = match has_tokenizer {
            true => text_loss(&model, TEXT),
            false => (loss_of(&model, &TOKENS), TOKENS.to_vec()),
        };
        let text = greedy(tokenizer, has_tokenizer);
        // Returns the loss of an export, whose tokenizer must give the same ids.
        let again = |to: &Path| {
            if !has_tokenizer {
                assert!(locate::tokenizer(to).is_err(), "{}", to.display());
                return loss_of(to, &ids);
            }
            let (loss, got) = text_loss(to, TEXT);
            assert_eq!(got, ids, "{}", to.display());
            loss
        };
        for (form, other, types) in [
            (
                Form::HuggingFace,
                Form::Gguf,
                [DType::F32, DType::F16, DType::Bf16],
            ),
            (
                Form::Gguf,
                Form::HuggingFace,
                [DType::F32, DType::F16, DType::Q8_0],
            ),
        ] {
            for dtype in types {
                let name = format!("{tokenizer}-{form:?}-{dtype}");
                let to = place.path().join(&name);
                if tokenizer == "unigram" && form == Form::Gguf {
                    gguf_refused.push(export(&model, form, dtype, &to).unwrap_err().to_string());
                    continue;
                }
                export(&model, form, dtype, &to).unwrap();
                exports += 1;
                let got = again(&to);
                if dtype == DType::F32 {
                    assert!((got - loss).abs() < 1e-5, "{name}: {got}, was {loss}");
                    assert_eq!(greedy(&name, has_tokenizer), text, "{name}");
                    continue;
                }
                // A rounded export is read as it was rounded: writing it in f32 in the other form changes nothing.
                let back = place.path().join(format!("{name}-back"));
                let form = if tokenizer == "unigram" { form } else { other };
                export(&to, form, DType::F32, &back).unwrap();
                let off = (again(&back) - got).abs();
                assert!(off < 1e-5, "{name} and back: {off}");
            }
        }
    }
    assert_eq!((exports, gguf_refused.len()), (13 * 6 - 3, 3));
    for told in gguf_refused {
        assert!(
            told.contains("llama.cpp has no tokenizer of its kind") && told.contains("--format hf"),
            "{told}"
        );
    }
}

const RUN: &str = r#"
[data]
train = "val.txt"
val = "val.txt"

[reference]
path = "chat"

[inherit]
layers = 1

[train]
steps = 4
batch_tokens = 64
dtype = "f32"
context_length = 32
lr = 1e-3

[probe]
windows = 2
length = 16
"#;

#[test]
fn the_files_next_to_a_tokenizer_end_documents_and_texts() {
    let place = Place::new();
    let model = model_with("smollm-like", "llama", &place.path().join("chat"));
    let put = |name: &str, json: Value| std::fs::write(model.join(name), json.to_string()).unwrap();
    let token = |content: &str| json!({"content": content, "special": true, "normalized": false});
    // 700 and 701 are in tokenizer.json, 702 is not.
    put(
        "tokenizer_config.json",
        json!({"eos_token": "<|eot|>", "added_tokens_decoder": {"701": token("<|im_end|>"), "702": token("<|eot|>")}}),
    );
    std::fs::write(
        place.path().join("in.jsonl"),
        "{\"text\": \"he<|eot|>\"}\n{\"text\": \"he\"}\n",
    )
    .unwrap();
    let prepare = [
        "data",
        "prepare",
        "in.jsonl",
        "--tokenizer",
        "chat",
        "--out",
        "o.bin",
    ];
    place.expect(0, &prepare);
    let bytes = std::fs::read(place.path().join("o.bin")).unwrap();
    let ids: Vec<u16> = bytes
        .chunks(2)
        .map(|b| u16::from_le_bytes([b[0], b[1]]))
        .collect();
    let he = Tokenizer::from_dir(&model).unwrap().encode("he").unwrap();
    let he: Vec<u16> = he.iter().map(|&id| id as u16).collect();
    let documents = [&he[..], &[702, 702], &he, &[702]].concat();
    assert_eq!(ids[ids.len() - documents.len()..], documents);

    // Generation ends with any of the ids of generation_config.json, and only with these.
    let generate = |stops: Value| {
        put("generation_config.json", json!({"eos_token_id": stops}));
        let words = [
            "generate",
            "chat",
            "--prompt",
            "he",
            "-n",
            "5",
            "--temperature",
            "0",
        ];
        let output = place.run(&words);
        let (out, err) = common::texts(&output);
        assert!(output.status.success(), "{out}\n{err}");
        err
    };
    let every: Vec<u32> = (0..703).collect();
    assert!(
        generate(json!(every)).contains("1 tokens"),
        "{}",
        generate(json!(every))
    );
    assert!(generate(json!(every)).contains("the model ended the text"));
    assert!(!generate(json!([700])).contains("ended the text"));

    // 707 rows are enough for 703 ids, not for 708.
    let more: serde_json::Map<String, Value> = (0..6)
        .map(|i| (format!("<more{i}>"), (702 + i).into()))
        .collect();
    std::fs::remove_file(model.join("tokenizer_config.json")).unwrap();
    let texts = "he she they ".repeat(200);
    std::fs::write(place.path().join("val.txt"), &texts).unwrap();
    std::fs::write(place.path().join("more.txt"), texts + "<more5>").unwrap();
    std::fs::write(place.path().join("run.toml"), RUN).unwrap();
    let loss = [
        "loss",
        "chat",
        "--text",
        "val.txt",
        "--windows",
        "2",
        "--json",
    ];
    let without = place.expect(0, &loss);
    put("added_tokens.json", Value::Object(more));
    // Tokens without a row in the model, such as padding, are accepted while they do not occur in a text.
    assert_eq!(place.expect(0, &loss), without);
    let generate = [
        "generate",
        "chat",
        "--temperature",
        "0",
        "-n",
        "5",
        "--prompt",
    ];
    let train = ["train", "run.toml", "--dry-run"];
    place.expect(0, &[&generate[..], &["he"]].concat());
    place.expect(0, &train);
    for (words, wanted) in [
        (
            &["loss", "chat", "--text", "more.txt"][..],
            "more.txt: token",
        ),
        (
            &[&generate[..], &["<more5>"]].concat(),
            "the prompt: token 0",
        ),
        (
            &[&train[..], &["--set", "data.val=more.txt"]].concat(),
            "more.txt (validation): token",
        ),
        (
            &[&train[..], &["--set", "data.train=more.txt"]].concat(),
            "more.txt: token",
        ),
        (
            &["export", "chat", "--format", "gguf", "--out", "o.gguf"],
            "has 708 ids, its vocabulary 707 rows",
        ),
    ] {
        let output = place.run(words);
        let (_, err) = common::texts(&output);
        let code = if words[0] == "train" { 1 } else { 2 };
        assert_eq!(output.status.code(), Some(code), "{words:?}: {err}");
        assert!(err.contains(wanted), "{words:?}: {err}");
        let outside = err.contains("is 707, outside the vocabulary of 707");
        assert!(outside || words[0] == "export", "{words:?}: {err}");
    }
    let told = hugging_face(&model, &place.path().join("hf")).changes;
    assert!(
        told.iter()
            .any(|t| t.contains("has 708 ids, the model 707 rows")),
        "{told:?}"
    );
}

/// Qwen2's biases with Llama 3's scaling: llama.cpp's qwen2 architecture cannot hold the scaling, its llama can hold both.
#[test]
fn biases_and_llama3s_scaling_are_written_as_llama() {
    let tmp = tempfile::tempdir().unwrap();
    let model = tmp.path().join("model");
    std::fs::create_dir(&model).unwrap();
    let from = fixtures().join("models/qwen2");
    let mut config = json_of(&from.join("config.json"));
    config["rope_parameters"] = json!({
        "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32
    });
    std::fs::write(model.join("config.json"), config.to_string()).unwrap();
    let weights = "model.safetensors";
    std::fs::copy(from.join(weights), model.join(weights)).unwrap();
    let to = tmp.path().join("out.gguf");
    export(&model, Form::Gguf, DType::F32, &to).unwrap();
    let files = Files::open(&to).unwrap();
    let architecture = files.source.gguf().unwrap().str("general.architecture");
    assert_eq!(architecture.unwrap(), "llama");
    assert!(relative(&logits(&model), &logits(&to)) < 1e-5);
    assert!(
        relative(&logits(&from), &logits(&to)) > 1e-3,
        "the scaling counts"
    );
}

#[derive(serde::Deserialize)]
struct AbsentBiases {
    model: String,
    architecture: String,
    absent: Vec<String>,
    mean_loss: f64,
}

/// The order of the rows of queries and keys depends only on the architecture, and each bias may be absent. The losses are those of
/// transformers with zeros for the missing biases (tests/fixtures/make_absent_biases_fixture.py).
#[test]
fn biases_that_a_gguf_file_leaves_out_are_zero() {
    let tmp = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(fixtures().join("absent_biases.json")).unwrap();
    let cases: Vec<AbsentBiases> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() >= 10);
    for (n, case) in cases.iter().enumerate() {
        let model = fixtures().join("models").join(&case.model);
        let whole = tmp.path().join(format!("{n}-whole.gguf"));
        export(&model, Form::Gguf, DType::F32, &whole).unwrap();
        let source = Source::open(&whole).unwrap();
        let metadata = source.gguf().unwrap();
        assert_eq!(
            metadata.str("general.architecture").unwrap(),
            case.architecture
        );
        let metadata: Vec<_> = metadata
            .iter()
            .map(|(k, v)| (k.to_string(), v.clone()))
            .collect();
        let mut specs = common::specs(&source);
        specs.retain(|spec| !case.absent.contains(&spec.name));
        assert_eq!(specs.len() + case.absent.len(), source.names().count());
        let path = tmp.path().join(format!("{n}.gguf"));
        let file = std::fs::File::create(&path).unwrap();
        let fill = |spec: &Spec, out: &mut [f32]| source.read_into(&spec.name, out);
        gguf::save(&file, &path, &metadata, &specs, fill).unwrap();
        // The file itself, and copies that this program writes as GGUF and as a directory.
        let mut all = vec![path.clone()];
        for (form, name) in [(Form::Gguf, "again.gguf"), (Form::HuggingFace, "again")] {
            let to = tmp.path().join(format!("{n}-{name}"));
            export(&path, form, DType::F32, &to).unwrap();
            all.push(to);
        }
        let expected = json_of(&model.join("expected.json"));
        let windows: Vec<Vec<u32>> = serde_json::from_value(expected["tokens"].clone()).unwrap();
        for path in all {
            let losses = windows.iter().map(|ids| loss_of(&path, ids));
            let loss = losses.sum::<f64>() / windows.len() as f64;
            let (off, name) = ((loss - case.mean_loss).abs(), path.display());
            assert!(
                off < 1e-5,
                "{name} without {:?}: {loss}, expected {}",
                case.absent,
                case.mean_loss
            );
        }
    }
}

#[test]
fn a_gguf_files_own_tokenizer_goes_along() {
    let tmp = tempfile::tempdir().unwrap();
    for name in ["llama-gqa", "gpt2"] {
        let from = fixtures().join(format!("gguf/{name}.gguf"));
        let to = tmp.path().join("copy.gguf");
        export(&from, Form::Gguf, DType::F32, &to).unwrap();
        let (theirs, ours) = (Files::open(&from).unwrap(), Files::open(&to).unwrap());
        let metadata = theirs.source.gguf().unwrap();
        let keys: Vec<&str> = metadata
            .iter()
            .map(|(k, _)| k)
            .filter(|k| k.starts_with("tokenizer."))
            .collect();
        assert!(keys.len() > 5);
        for key in keys {
            assert_eq!(
                ours.source.gguf().unwrap().get(key),
                metadata.get(key),
                "{key}"
            );
        }
        std::fs::remove_file(&to).unwrap();
    }
}

#[test]
fn what_a_form_cannot_hold_is_refused_with_the_way_out() {
    let tmp = tempfile::tempdir().unwrap();
    for (name, wanted) in [
        ("olmo", "norms have no weights"),
        ("gpt2-erf", "tanh approximation"),
    ] {
        let model = fixtures().join("models").join(name);
        let to = tmp.path().join("out.gguf");
        let told = export(&model, Form::Gguf, DType::F32, &to)
            .unwrap_err()
            .to_string();
        assert!(
            told.contains(wanted) && told.ends_with("use --format hf"),
            "{told}"
        );
    }
    assert!(names(tmp.path()).is_empty());
}

#[test]
fn an_interrupted_or_refused_export_leaves_nothing_and_changes_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let model = fixtures().join("models/llama-gqa");
    let subject = opened(&model).unwrap();
    let (old, out) = (tmp.path().join("old"), tmp.path().join("out"));
    hugging_face(&model, &old);
    for (form, target, replace) in [
        (Form::HuggingFace, &out, false),
        (Form::Gguf, &out, false),
        (Form::HuggingFace, &old, true),
    ] {
        let mut tensors = 0;
        let job = Job {
            form,
            dtype: DType::F32,
            shard_bytes: u64::MAX,
            target: target.clone(),
            replace,
            progress: &mut |_| {
                tensors += 1;
                tensors < 5
            },
        };
        let told = export::export(&subject, job).unwrap_err();
        assert!(matches!(told, ExportError::Interrupted), "{told}");
        assert_eq!(names(tmp.path()), ["old".to_string()].into());
    }
    assert_eq!(difference(&logits(&model), &logits(&old)), 0.0);
    let onto_itself = opened(&old).unwrap();
    let job = Job {
        form: Form::HuggingFace,
        dtype: DType::F32,
        shard_bytes: u64::MAX,
        target: old.clone(),
        replace: true,
        progress: &mut |_| true,
    };
    let told = export::export(&onto_itself, job).unwrap_err().to_string();
    assert!(told.contains("is the model itself"), "{told}");
}

#[test]
fn a_run_is_exported_by_its_name() {
    let place = Place::new();
    place.expect(0, &["train", "mini.toml", "--name", "first"]);
    let export = |model: &str, out: &str, more: &[&str]| {
        let args = ["export", model, "--format", "hf", "--out", out];
        place.run(&[&args[..], more].concat())
    };
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let made = export("first", "model", &[]);
    assert_eq!(made.status.code(), Some(0), "{}", said(&made));
    assert!(
        said(&made).contains("is the last checkpoint of its last round (round 3,"),
        "{}",
        said(&made)
    );
    let config = json_of(&place.path().join("model/config.json"));
    assert_eq!(
        (&config["vocab_size"], &config["model_type"]),
        (&257.into(), &"gpt2".into())
    );
    assert_eq!(config["n_layer"], 3);
    let card = std::fs::read_to_string(place.path().join("model/README.md")).unwrap();
    for wanted in [
        "inherits layers of a reference of 4 layers (trained in the same run)",
        "its layers are the reference's 0, 1, 2",
        "| reference | 4 |",
        "| round 1 | 1 |",
        "| round 3 | 3 |",
        "| control: random | 3 |",
        "Trained on builtin:tinyshakespeare",
        "tokenizer: byte",
        "; matrix products in f32.",
        "320 rows became the tokenizer's 257",
    ] {
        assert!(card.contains(wanted), "{wanted}\n{card}");
    }
    assert!(!card.contains(&*place.path().to_string_lossy()));

    // The target exists.
    let refused = export("first@reference", "model", &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        said(&refused).contains("choose another --out, or replace it with --force"),
        "{}",
        said(&refused)
    );
    let replaced = export("first@reference", "model", &["--force", "--dtype", "bf16"]);
    assert_eq!(replaced.status.code(), Some(0), "{}", said(&replaced));
    assert_eq!(
        json_of(&place.path().join("model/config.json"))["n_layer"],
        4
    );

    // By path, and as GGUF with the tokenizer.
    let latest = "runs/first/checkpoints/latest";
    place.expect(
        0,
        &[
            "export", latest, "--format", "gguf", "--out", "m.gguf", "--dtype", "f16",
        ],
    );
    let files = Files::open(&place.path().join("m.gguf")).unwrap();
    let metadata = files.source.gguf().unwrap();
    assert_eq!(metadata.strs("tokenizer.ggml.tokens").unwrap().len(), 257);
    assert_eq!(metadata.str("tokenizer.ggml.model").unwrap(), "gpt2");

    let absent = export("first@nothing", "other", &[]);
    assert_eq!(absent.status.code(), Some(2));
    assert!(
        said(&absent).contains("no checkpoint nothing"),
        "{}",
        said(&absent)
    );
    let wrong = export("first", "other", &["--dtype", "q8_0"]);
    assert!(
        said(&wrong).contains("takes f32, f16 or bf16"),
        "{}",
        said(&wrong)
    );

    // Changes one byte of the weights.
    let weights = place
        .run_dir("first")
        .join("checkpoints/reference/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let damaged = export("first@reference", "other", &[]);
    assert_eq!(damaged.status.code(), Some(2));
    assert!(
        said(&damaged).contains("does not match its checksum"),
        "{}",
        said(&damaged)
    );
    assert!(!place.path().join("other").exists() && !place.path().join(".other.writing").exists());
}

/// Runs a script, and returns the JSON that it prints.
fn python(variable: &str, script: &str, args: &[&str]) -> Value {
    let python = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} names a Python"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scripts")
        .join(script);
    let output = Command::new(python)
        .arg(script)
        .args(args)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}\n{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn their_logits(answer: &Value) -> Vec<Vec<f32>> {
    serde_json::from_value(answer["logits"].clone()).unwrap()
}

fn tokens_argument() -> String {
    TOKENS.map(|t| t.to_string()).join(",")
}

#[test]
#[ignore = "needs HEIRLOOM_PYTHON with torch and transformers"]
fn transformers_computes_the_same() {
    let tmp = tempfile::tempdir().unwrap();
    for model in models(&tmp) {
        let name = name_of(&model);
        let to = tmp.path().join(format!("{name}-out"));
        hugging_face(&model, &to);
        let args = [to.to_str().unwrap(), "--tokens", &tokens_argument()];
        let answer = python("HEIRLOOM_PYTHON", "logits.py", &args);
        assert_eq!(
            (&answer["missing"], &answer["unexpected"]),
            (&json!([]), &json!([])),
            "{name}"
        );
        let most = difference(&logits(&model), &their_logits(&answer));
        println!("{name:24} {most:.1e}");
        assert!(most < 1e-4, "{name}: {most}");
    }
    // The tokenizers of a GGUF file and of a checkpoint become tokenizers that load without the model.
    let to = tmp.path().join("from-gguf");
    hugging_face(&fixtures().join("gguf/llama3-rope.gguf"), &to);
    let recorded = json_of(&fixtures().join("gguf/tokenizers.json"));
    let recorded = &recorded["llama3-rope.gguf"];
    let text = recorded["text"].as_str().unwrap();
    let args = [to.to_str().unwrap(), "--text", text];
    let answer = python("HEIRLOOM_PYTHON", "logits.py", &args);
    assert_eq!(answer["tokens"], recorded["ids"]);
    let to = tmp.path().join("moved-out");
    let args = [to.to_str().unwrap(), "--text", "a loom<|endoftext|>"];
    let answer = python("HEIRLOOM_PYTHON", "logits.py", &args);
    assert_eq!(answer["tokens"], json!([64, 94, 75, 78, 78, 76, 96]));
}

#[test]
#[ignore = "needs HEIRLOOM_PYTHON with torch, transformers and gguf"]
fn transformers_reads_the_gguf_files() {
    let tmp = tempfile::tempdir().unwrap();
    // llama.cpp reads these, transformers does not: it uses GPT-2's vocabulary for a gpt2 file without a tokenizer, it ignores
    // the biases of a llama file, and it does not know the architecture of a llama file that is called mistral.
    let passed_over = ["gpt2", "gpt2-inverse-scale", "llama-bias", "mistral"];
    let mut models = gguf_models(&tmp);
    models.retain(|model| !passed_over.contains(&name_of(model).as_str()));
    models.push(fixtures().join("gguf/gpt2.gguf"));
    for model in models {
        let name = name_of(&model);
        let to = tmp.path().join(format!("{name}-out.gguf"));
        export(&model, Form::Gguf, DType::F32, &to).unwrap();
        let args = [
            "--gguf",
            to.to_str().unwrap(),
            "--tokens",
            &tokens_argument(),
        ];
        let answer = python("HEIRLOOM_PYTHON", "logits.py", &args);
        let most = difference(&logits(&model), &their_logits(&answer));
        println!("{name:24} {most:.1e}");
        assert!(most < 1e-4, "{name}: {most}");
    }
}

#[test]
#[ignore = "needs HEIRLOOM_LLAMA_PYTHON with llama-cpp-python"]
fn llama_cpp_computes_the_same() {
    let tmp = tempfile::tempdir().unwrap();
    for model in gguf_models(&tmp) {
        let name = name_of(&model);
        let original = logits(&model);
        // llama.cpp takes GELU from a table of 16 bits, and rounds activations that it multiplies with 16-bit weights.
        let gelu = name.starts_with("gpt2") || name == "moved";
        let f32_tolerance = if gelu { 4e-3 } else { 1e-5 };
        for (dtype, tolerance) in [
            (DType::F32, f32_tolerance),
            (DType::F16, 1e-2),
            (DType::Q8_0, 0.1),
        ] {
            let to = tmp.path().join(format!("{name}-{dtype}-out.gguf"));
            export(&model, Form::Gguf, dtype, &to).unwrap();
            let args = [to.to_str().unwrap(), "--tokens", &tokens_argument()];
            let answer = python(
                "HEIRLOOM_LLAMA_PYTHON",
                "check_gguf_with_llama_cpp.py",
                &args,
            );
            let most = relative(&original, &their_logits(&answer));
            println!("llama.cpp {name:24} {dtype:5} {most:.1e}");
            assert!(most < tolerance, "{name} in {dtype}: {most}");
        }
    }
}
