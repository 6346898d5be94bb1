//! Published models of every family, from Hugging Face directories and GGUF files, compute the same as with transformers. Files that
//! are not models, or models of another kind, are refused with a message.
//!
//! The fixtures are made by `tests/fixtures/make_model_fixtures.py` and `make_gguf_fixtures.py`.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::{Device, Result, Tensor};
use heirloom::model::{self, Decoder, Files, Mode, RopeScaling, Workspace};
use heirloom::ops;
use heirloom::tensors::{DType, Source, Spec, gguf};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    tokens: Vec<Vec<u32>>,
    logit_positions: Vec<usize>,
    logits: Vec<Vec<f64>>,
    losses: Vec<Vec<f64>>,
    mean_loss: f64,
    #[serde(default)]
    gradients: Vec<Gradient>,
}

#[derive(Deserialize)]
struct Gradient {
    name: String,
    norm: f64,
    first: Vec<f64>,
    indices: Vec<usize>,
    values: Vec<f64>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn expected(path: &Path) -> Expected {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn floats(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(ops::read(tensor)?.iter().map(|&x| f64::from(x)).collect())
}

#[track_caller]
fn assert_close(what: &str, got: f64, want: f64, tolerance: f64) {
    assert!(
        (got - want).abs() <= tolerance,
        "{what}: {got}, expected {want}"
    );
}

/// Checks that logits agree within 1e-4, losses within 1e-5, and gradients within 1e-3 of a tensor's largest value.
fn agrees(what: &str, model: &Decoder, want: &Expected) -> Result<()> {
    let (batch, time) = (want.tokens.len(), want.tokens[0].len() - 1);
    let ws = Workspace::new(&model.config, batch, time, Mode::Train, &Device::Cpu)?;
    let part = |from: usize| -> Vec<u32> {
        let windows = want.tokens.iter();
        windows
            .flat_map(|w| w[from..from + time].to_vec())
            .collect()
    };
    ops::write(&ws.inputs, &part(0))?;
    ops::write(&ws.targets, &part(1))?;
    let logits = floats(&model.logits(&ws)?)?;
    let vocab = model.config.vocab;
    for (row, &position) in want.logits.iter().zip(&want.logit_positions) {
        for (i, (got, want)) in logits[position * vocab..].iter().zip(row).enumerate() {
            assert_close(
                &format!("{what}: logit {i} at {position}"),
                *got,
                *want,
                1e-4,
            );
        }
    }
    model.forward_backward(&ws, 1.0 / (batch * time) as f32)?;
    let losses = floats(&ws.losses)?;
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    assert_close(&format!("{what}: loss"), mean, want.mean_loss, 1e-5);
    for (i, (got, want)) in losses.iter().zip(want.losses.iter().flatten()).enumerate() {
        assert_close(&format!("{what}: loss of token {i}"), *got, *want, 1e-4);
    }
    for g in &want.gradients {
        let of = |p: &model::Param| p.name == g.name || p.name.ends_with(&format!(".{}", g.name));
        let index = model.params.iter().position(of);
        let index = index.unwrap_or_else(|| panic!("{what}: no {}", g.name));
        let got = floats(&model.grads.views[index])?;
        let norm = got.iter().map(|x| x * x).sum::<f64>().sqrt();
        let name = format!("{what}: gradient of {}", g.name);
        assert_close(&name, norm, g.norm, 1e-3 * g.norm);
        let largest = got.iter().fold(0f64, |a, x| a.max(x.abs()));
        let places = (0..g.first.len()).chain(g.indices.iter().copied());
        for (i, want) in places.zip(g.first.iter().chain(&g.values)) {
            assert_close(&format!("{name}[{i}]"), got[i], *want, 1e-3 * largest);
        }
    }
    Ok(())
}

#[test]
fn every_family_computes_what_transformers_computes() -> Result<()> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(fixtures().join("models"))? {
        let dir = entry?.path();
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        let want = expected(&dir.join("expected.json"));
        assert!(want.gradients.len() >= 6, "{name}");
        agrees(&name, &model::load(&dir, &Device::Cpu).unwrap(), &want)?;
        names.push(name);
    }
    assert!(names.len() >= 13, "{names:?}");
    Ok(())
}

#[test]
fn gguf_files_compute_the_same() -> Result<()> {
    let dir = fixtures().join("gguf");
    for (name, of) in [
        ("gpt2", "models/gpt2/expected.json"),
        ("qwen2", "models/qwen2/expected.json"),
        ("llama-gqa", "models/llama-gqa/expected.json"),
        ("llama3-rope", "models/llama3-rope/expected.json"),
        ("llama-gqa-f16", "gguf/llama-gqa-f16.json"),
        ("llama-gqa-q8_0", "gguf/llama-gqa-q8_0.json"),
    ] {
        let model = model::load(&dir.join(format!("{name}.gguf")), &Device::Cpu).unwrap();
        agrees(name, &model, &expected(&fixtures().join(of)))?;
    }
    Ok(())
}

/// The keys have llama.cpp's meanings (`llama_model::load_hparams`, and `llama_context`, where the type "none" resets the factor):
/// a missing type means "linear", the older `scale_linear` applies if `scaling.factor` is missing, and 0 means 1.
#[test]
fn rotary_scaling_of_gguf_files_is_llama_cpps() {
    use gguf::Value::{F32, Str};
    let factor = |by| ("scaling.factor", F32(by));
    let older = |by| ("scale_linear", F32(by));
    let word = |word: &str| ("scaling.type", Str(word.into()));
    let linear = |by| Ok(RopeScaling::Linear(by));
    let none = || Ok(RopeScaling::None);
    let factors = |by| Ok(RopeScaling::Factors(vec![by; 8]));
    let cases = [
        ("llama-gqa", vec![], None, none()),
        ("llama-gqa", vec![factor(4.0)], None, linear(4.0)),
        ("llama-gqa", vec![older(4.0)], None, linear(4.0)),
        (
            "llama-gqa",
            vec![factor(2.0), older(4.0)],
            None,
            linear(2.0),
        ),
        ("llama-gqa", vec![factor(0.0), older(4.0)], None, none()),
        (
            "llama-gqa",
            vec![word("linear"), factor(3.0)],
            None,
            linear(3.0),
        ),
        (
            "llama-gqa",
            vec![word("linear"), older(4.0)],
            None,
            linear(4.0),
        ),
        (
            "llama-gqa",
            vec![word("linear"), factor(2.0), older(4.0)],
            None,
            linear(2.0),
        ),
        ("llama-gqa", vec![word("linear")], None, none()),
        ("llama-gqa", vec![word("none"), factor(4.0)], None, none()),
        ("llama-gqa", vec![word("none"), older(4.0)], None, none()),
        (
            "llama-gqa",
            vec![factor(-1.0)],
            None,
            Err("rope.scaling.factor is -1; it must be above 0"),
        ),
        (
            "llama-gqa",
            vec![word("yarn"), factor(4.0)],
            None,
            Err("rope.scaling.type is yarn"),
        ),
        ("llama-gqa", vec![], Some(4.0), factors(4.0)),
        (
            "llama-gqa",
            vec![word("linear"), factor(2.0)],
            Some(4.0),
            factors(8.0),
        ),
        ("llama-gqa", vec![older(0.5)], Some(4.0), factors(2.0)),
        (
            "llama-gqa",
            vec![word("none"), factor(2.0)],
            Some(4.0),
            factors(4.0),
        ),
        (
            "llama-gqa",
            vec![word("yarn"), factor(2.0)],
            Some(4.0),
            Err("rope.scaling.type is yarn"),
        ),
        ("qwen2", vec![factor(4.0)], None, linear(4.0)),
        ("qwen2", vec![older(4.0), word("none")], None, none()),
        (
            "qwen2",
            vec![],
            Some(4.0),
            Err("rope_freqs.weight has no place in the qwen2 architecture"),
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (n, (model, keys, table, wanted)) in cases.into_iter().enumerate() {
        let source = Source::open(&fixtures().join(format!("gguf/{model}.gguf"))).unwrap();
        let had = source.gguf().unwrap().iter();
        let mut metadata: Vec<_> = had.map(|(k, v)| (k.to_string(), v.clone())).collect();
        let architecture = source.gguf().unwrap().str("general.architecture").unwrap();
        let new = keys
            .iter()
            .map(|(k, v)| (format!("{architecture}.rope.{k}"), v.clone()));
        metadata.extend(new);
        let mut specs = common::specs(&source);
        let half = if model == "qwen2" { 4 } else { 8 };
        if table.is_some() {
            specs.push(Spec {
                name: "rope_freqs.weight".into(),
                shape: vec![half],
                dtype: DType::F32,
            });
        }
        let path = dir.path().join(format!("{n}.gguf"));
        let file = std::fs::File::create(&path).unwrap();
        gguf::save(
            &file,
            &path,
            &metadata,
            &specs,
            |spec: &Spec, out: &mut [f32]| match table {
                Some(by) if spec.name == "rope_freqs.weight" => {
                    out.fill(by);
                    Ok(())
                }
                _ => source.read_into(&spec.name, out),
            },
        )
        .unwrap();
        let case = format!("{model}, {keys:?}, {table:?}");
        match (Files::open(&path), wanted) {
            (Ok(files), Ok(wanted)) => {
                let model::Positions::Rotary(rope) = &files.config.positions else {
                    panic!("{case}: no rotary positions")
                };
                assert_eq!(rope.scaling, wanted, "{case}");
            }
            (Err(error), Err(wanted)) => {
                assert!(error.to_string().contains(wanted), "{case}: {error}");
            }
            (got, wanted) => panic!("{case}: {:?}, expected {wanted:?}", got.map(|f| f.config)),
        }
    }
}

#[test]
fn rotary_scaling_is_read_in_its_older_form_too() -> Result<()> {
    let from = fixtures().join("models/llama3-rope");
    let dir = tempfile::tempdir()?;
    std::fs::copy(from.join("config-old.json"), dir.path().join("config.json"))?;
    let weights = "model.safetensors";
    std::fs::copy(from.join(weights), dir.path().join(weights))?;
    let old = Files::open(dir.path()).unwrap();
    assert_eq!(old.config, Files::open(&from).unwrap().config);
    let model::Positions::Rotary(rope) = &old.config.positions else {
        panic!("no rotary positions")
    };
    assert!(matches!(rope.scaling, RopeScaling::Llama3 { .. }));
    agrees(
        "config-old.json",
        &old.load(&Device::Cpu).unwrap(),
        &expected(&from.join("expected.json")),
    )
}

/// A copy of a fixture, which a test may damage.
struct Copy(tempfile::TempDir);

impl Copy {
    fn of(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(fixtures().join("models").join(name)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        Self(dir)
    }

    fn configure(self, key: &str, value: serde_json::Value) -> Self {
        let path = self.0.path().join("config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json[key] = value;
        std::fs::write(&path, json.to_string()).unwrap();
        self
    }

    /// Renames a tensor in the header; the new name must be as long as the old one.
    fn rename(self, old: &str, new: &str) -> Self {
        assert_eq!(old.len(), new.len());
        let path = self.0.path().join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(old.len()).position(|w| w == old.as_bytes());
        bytes[at.unwrap()..][..old.len()].copy_from_slice(new.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        self
    }

    fn refused(&self) -> String {
        match model::load(self.0.path(), &Device::Cpu) {
            Ok(_) => panic!("it was read"),
            Err(error) => error.to_string(),
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let said = |copy: Copy, parts: &[&str]| {
        let error = copy.refused();
        for part in parts {
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    };
    let gpt2 = || Copy::of("gpt2");
    let llama = || Copy::of("llama-gqa");
    said(
        gpt2().configure("model_type", "mamba".into()),
        &[
            "config.json",
            "\"mamba\"",
            "gpt2, llama, mistral, qwen2, olmo",
        ],
    );
    said(
        gpt2().configure("n_embd", 48.into()),
        &["transformer.wte.weight has shape [96, 32], expected [96, 48]"],
    );
    said(
        gpt2().configure("n_layer", 5.into()),
        &["tensor transformer.h.2.ln_1.weight is missing"],
    );
    said(
        gpt2().configure("n_layer", 1.into()),
        &["tensor transformer.h.1.", "more have no place"],
    );
    said(
        gpt2().configure("n_layer", 9_999.into()),
        &["too few for the 9999 layers"],
    );
    said(
        gpt2().configure("n_layer", 1_000_000_000.into()),
        &["n_layer is 1000000000; it must be a number between 1 and 10000"],
    );
    said(
        gpt2().configure("n_head", 5.into()),
        &["n_head 5 does not divide n_embd 32"],
    );
    said(
        gpt2().configure("activation_function", "relu".into()),
        &["activation_function is relu"],
    );
    said(
        gpt2().configure("vocab_size", (-3).into()),
        &["vocab_size is -3"],
    );
    said(
        gpt2().rename("transformer.ln_f.bias", "transformer.ln_x.bias"),
        &["tensor transformer.ln_f.bias is missing"],
    );
    said(
        llama().configure("num_key_value_heads", 3.into()),
        &["4 heads cannot share 3 key and value heads evenly"],
    );
    said(
        llama().configure("tie_word_embeddings", true.into()),
        &["lm_head.weight differs from the token embedding"],
    );
    said(
        llama().configure(
            "rope_parameters",
            serde_json::json!({"rope_type": "yarn", "rope_theta": 1e4}),
        ),
        &["rope_parameters: the type is yarn"],
    );
    said(
        llama().configure("hidden_act", "gelu".into()),
        &["hidden_act is gelu"],
    );
}

/// Returns a safetensors file's tensors by name, each with its header entry and its bytes.
fn tensors_of(path: &Path) -> BTreeMap<String, (serde_json::Value, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&bytes[8..data]).unwrap();
    let tensors = header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__");
    let tensors = tensors.map(|(name, entry)| {
        let at = |i: usize| data + entry["data_offsets"][i].as_u64().unwrap() as usize;
        let own = bytes[at(0)..at(1)].to_vec();
        (name, (entry, own))
    });
    tensors.collect()
}

fn write_tensors(path: &Path, tensors: BTreeMap<String, (serde_json::Value, Vec<u8>)>) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, (mut entry, own)) in tensors {
        entry["data_offsets"] = serde_json::json!([data.len(), data.len() + own.len()]);
        header.insert(name, entry);
        data.extend(own);
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    std::fs::write(path, bytes).unwrap();
}

/// Makes a copy of a model with the changes that `make` in `make_names_fixture.py` makes.
fn renamed(case: &serde_json::Value) -> Copy {
    const INDEX: &str = "model.safetensors.index.json";
    let copy = Copy::of(case["model"].as_str().unwrap());
    let dir = copy.0.path();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_string();
    let list = |key: &str| case[key].as_array().cloned().unwrap_or_default();
    let object = |key: &str| case[key].as_object().cloned().unwrap_or_default();
    let path = dir.join("model.safetensors");
    if path.exists() {
        let begins = |mut name: String| {
            for pair in list("rename") {
                if let Some(rest) = name.strip_prefix(&text(&pair[0])) {
                    name = text(&pair[1]) + rest;
                }
            }
            name
        };
        let tensors = tensors_of(&path).into_iter();
        let mut tensors: BTreeMap<_, _> = tensors.map(|(name, t)| (begins(name), t)).collect();
        for (new, old) in object("copy") {
            tensors.insert(new, tensors[&text(&old)].clone());
        }
        write_tensors(&path, tensors);
        return copy;
    }
    let index = std::fs::read_to_string(dir.join(INDEX)).unwrap();
    let mut index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let map = index["weight_map"].as_object_mut().unwrap();
    let shards: BTreeSet<String> = map.values().map(text).collect();
    for name in list("unlist") {
        map.remove(&text(&name));
    }
    map.extend(object("list"));
    if let Some(folder) = case["folder"].as_str() {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
        for shard in &shards {
            std::fs::rename(dir.join(shard), dir.join(folder).join(shard)).unwrap();
        }
    }
    if let Some(folder) = case["folder"].as_str().or(case["index"].as_str()) {
        for shard in map.values_mut() {
            *shard = format!("{folder}/{}", text(shard)).into();
        }
    }
    std::fs::write(dir.join(INDEX), index.to_string()).unwrap();
    copy
}

/// The table holds transformers' result for each case: it reads most tensors, and initialises those with an unknown prefix at
/// random.
#[test]
fn tensors_are_found_under_other_names_and_in_other_files() {
    let table = std::fs::read_to_string(fixtures().join("names.json")).unwrap();
    let table: Vec<serde_json::Value> = serde_json::from_str(&table).unwrap();
    assert!(table.len() > 40);
    for case in &table {
        let copy = renamed(case);
        let what = case.to_string();
        match case["heirloom"].as_str().unwrap().strip_prefix("refused: ") {
            None => {
                let mut want = expected(&copy.0.path().join("expected.json"));
                if let Some(theirs) = case["transformers"].as_f64() {
                    assert_close(&what, theirs, want.mean_loss, 1e-5);
                }
                want.gradients.clear();
                let model = model::load(copy.0.path(), &Device::Cpu);
                let model = model.unwrap_or_else(|e| panic!("{what}: {e}"));
                agrees(&what, &model, &want).unwrap();
            }
            Some(words) => {
                let error = copy.refused();
                assert!(error.contains(words), "{what}: {error}");
            }
        }
    }
}

#[test]
fn a_weight_that_is_no_number_is_named_with_its_place() {
    let copy = Copy::of("gpt2");
    let path = copy.0.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = copy.refused();
    assert!(error.contains("is NaN at index"), "{error}");
}

#[test]
fn a_cut_off_model_is_refused_wherever_it_ends() {
    let copy = Copy::of("llama-gqa");
    let path = copy.0.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(whole.len() / 97) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = copy.refused();
        assert!(error.contains("model.safetensors"), "{length}: {error}");
    }
}

/// Compares the loss on book text, and greedy text, with transformers on the same file. Needs Python with torch, transformers,
/// accelerate, gguf and sentencepiece, the model of `scripts/fetch-smollm2.sh` and the books.
#[test]
#[ignore = "HEIRLOOM_PYTHON=venv/bin/python HEIRLOOM_DATA=DIR cargo test --test published_models_are_read -- --ignored"]
fn smollm2_computes_what_transformers_computes_with_the_same_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let set = |key: &str| std::env::var(key).unwrap_or_else(|_| panic!("{key} is not set"));
    let model = std::env::var("HEIRLOOM_GGUF").map_or_else(
        |_| root.join("models/SmolLM2-135M-Instruct.Q4_1.gguf"),
        PathBuf::from,
    );
    let text = Path::new(&set("HEIRLOOM_DATA")).join("books/val.txt");
    let status = std::process::Command::new(set("HEIRLOOM_PYTHON"))
        .arg(root.join("scripts/compare_with_transformers.py"))
        .arg(model)
        .arg("--text")
        .arg(text)
        .args(["--windows", "8", "--window-length", "256"])
        .args(["--prompt", "The old house"])
        .args(["--prompt", "Once upon a time, there was"])
        .args(["--heirloom", env!("CARGO_BIN_EXE_heirloom")])
        .status()
        .unwrap();
    assert!(status.success());
}
