//! A published model computes here what transformers computes with it: every family, from Hugging Face directories and
//! GGUF files; and what is no model, or one of another kind, is refused in words.
//!
//! The fixtures are made by `tests/fixtures/make_model_fixtures.py` and `make_gguf_fixtures.py`.

use std::path::{Path, PathBuf};

use candle_core::{Device, Result, Tensor};
use heirloom::model::{self, Decoder, Files, Mode, RopeScaling, Workspace};
use heirloom::ops;
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

/// Logits within 1e-4, losses within 1e-5, gradients within 1e-3 of a tensor's largest.
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
