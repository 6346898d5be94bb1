//! Compares every arm with a start that PyTorch makes from the same files, and with 20 steps of PyTorch's AdamW.
//!
//! The fixtures are made by `tests/fixtures/make_baseline_fixtures.py`.

use std::collections::HashSet;
use std::path::PathBuf;

use candle_core::Device;
use serde_json::Value;

use super::tests::save;
use super::{Sources, Start};
use crate::config::INHERITABLE;
use crate::corpus::Batch;
use crate::model::{Files, Part};
use crate::tensors::Source;
use crate::train::{Hyperparameters, Learner, Objective, Passes};

/// Differences between losses of the two programs stay below this, in nats.
const TOLERANCE: f64 = 1e-5;

/// The script's output for a family.
struct Fixture {
    reference: Files,
    /// `ARM/TENSOR`.
    random: Source,
    expected: Value,
}

impl Fixture {
    fn of(family: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/baselines");
        let dir = dir.join(family);
        let text = std::fs::read_to_string(dir.join("expected.json")).unwrap();
        Self {
            reference: Files::open(&dir).unwrap(),
            random: Source::open(&dir.join("random.safetensors")).unwrap(),
            expected: serde_json::from_str(&text).unwrap(),
        }
    }

    fn number(&self, key: &str) -> f64 {
        self.expected[key].as_f64().unwrap()
    }

    fn size(&self, key: &str) -> usize {
        self.expected[key].as_u64().unwrap() as usize
    }

    fn sources(&self) -> Sources<'_> {
        Sources {
            reference: Some(&self.reference),
            own: None,
        }
    }

    fn learner(&self) -> Learner {
        let passes = Passes::usual(self.size("batch"), self.size("context"));
        Learner::new(self.reference.config.clone(), passes, 100, &Device::Cpu)
    }

    fn batches(&self) -> Vec<Batch> {
        let steps: Vec<Vec<u32>> = serde_json::from_value(self.expected["tokens"].clone()).unwrap();
        let batch = |tokens: &Vec<u32>| {
            let windows = tokens.chunks_exact(self.size("context") + 1);
            Batch {
                inputs: windows
                    .clone()
                    .flat_map(|w| w[..w.len() - 1].to_vec())
                    .collect(),
                targets: windows.flat_map(|w| w[1..].to_vec()).collect(),
            }
        };
        steps.iter().map(batch).collect()
    }

    /// Sets random tensors to the values that PyTorch began with.
    fn overwrite(&self, learner: &Learner, arm: &str) -> HashSet<String> {
        let model = learner.model().unwrap();
        let mut random = HashSet::new();
        for (i, p) in model.params.iter().enumerate() {
            let name = format!("{arm}/{}", p.name);
            if self.random.info(&name).is_some() {
                let mut values = vec![0.0; p.len()];
                self.random.read_into(&name, &mut values).unwrap();
                model.weights.write(i, &values).unwrap();
                random.insert(p.name.clone());
            }
        }
        random
    }

    fn train(&self, learner: &mut Learner) -> Vec<f64> {
        let values = Hyperparameters {
            lr: self.number("lr"),
            betas: [0.9, 0.95],
            weight_decay: self.number("weight_decay"),
            clip: self.number("clip"),
            frozen: &[],
            muon: None,
        };
        let mut step = |batch| {
            learner
                .train_step(batch, Objective::default(), &values)
                .unwrap()
        };
        self.batches()
            .iter()
            .map(|batch| step(batch).loss)
            .collect()
    }

    fn check_losses(&self, arm: &str, losses: &[f64]) {
        let wanted = self.expected["arms"][arm]["losses"].clone();
        let wanted: Vec<f64> = serde_json::from_value(wanted).unwrap();
        assert_eq!(losses.len(), wanted.len());
        for (i, (got, want)) in losses.iter().zip(&wanted).enumerate() {
            let far = (got - want).abs();
            assert!(
                far < TOLERANCE,
                "{arm}, step {i}: {got}, PyTorch has {want}"
            );
        }
    }

    /// Checks an arm of one phase: its initial bits and its losses.
    fn check(&self, arm: &str, start: &Start) {
        let mut learner = self.learner();
        start.apply(&mut learner, self.sources(), true).unwrap();
        let digests = |learner: &Learner| -> Vec<(String, String)> {
            let model = learner.model().unwrap();
            let digest = |i: usize| digest(&model.weights.read(i).unwrap());
            let params = model.params.iter().enumerate();
            params.map(|(i, p)| (p.name.clone(), digest(i))).collect()
        };
        let first = digests(&learner);
        let random = self.overwrite(&learner, arm);
        let taken: HashSet<String> = self.digests_of_reference();
        for (name, digest) in first {
            assert_eq!(
                random.contains(&name),
                !taken.contains(&digest),
                "{arm}: {name}"
            )
        }
        let wanted = self.expected["arms"][arm]["start"].as_object().unwrap();
        let got = digests(&learner);
        assert_eq!(got.len(), wanted.len(), "{arm}");
        for (name, digest) in got {
            assert_eq!(wanted[&name], digest, "{arm}: {name}");
        }
        self.check_losses(arm, &self.train(&mut learner));
    }

    fn digests_of_reference(&self) -> HashSet<String> {
        let params = self.reference.params().iter().enumerate();
        let read = |(i, p): (usize, &crate::model::Param)| {
            let mut values = vec![0.0; p.len()];
            self.reference.read(i, &mut values).unwrap();
            digest(&values)
        };
        params.map(read).collect()
    }

    /// Checks the arms with layers of the reference's width.
    fn check_arms_of_full_width(&self, n_layer: usize) {
        let layers = |layers: &[usize], what: &[Part]| Start::layers(layers, what, 1).unwrap();
        let half = n_layer / 2;
        let few: Vec<usize> = (0..=half).collect();
        self.check("inherit", &Start::inherit(&few, &INHERITABLE, 1));
        self.check("hybrid", &Start::hybrid(n_layer).unwrap());
        let some = [0, 2, half + 1, half + 1];
        self.check("distilbert", &layers(&some, &INHERITABLE));
        let attention = [Part::Attention, Part::AttentionNorm];
        self.check("attention", &layers(&few, &attention));
        self.check("mlp", &layers(&few, &[Part::Mlp, Part::MlpNorm]));
        self.check(
            "without-norms",
            &layers(&few, &[Part::Attention, Part::Mlp]),
        );
        self.check("random", &Start::random_baseline(n_layer - 1, 1));
        self.check("full", &Start::full(self.reference.config.n_layer, 1));
    }

    fn check_narrower(&self, arm: &str, n_head: Option<usize>) {
        let start = Start::half_width(&self.reference.config, n_head).unwrap();
        let mut learner = self.learner();
        start.apply(&mut learner, self.sources(), true).unwrap();
        let model = learner.model().unwrap();
        let wanted = self.expected["arms"][arm]["start"].as_object().unwrap();
        assert_eq!(model.params.len(), wanted.len(), "{arm}");
        for (i, p) in model.params.iter().enumerate() {
            let values = model.weights.read(i).unwrap();
            assert_eq!(wanted[&p.name], digest(&values), "{arm}: {}", p.name);
        }
        self.check_losses(arm, &self.train(&mut learner));
    }

    fn check_stack(&self, n_layer: usize) {
        let half = Start::stack_height(n_layer).unwrap();
        let mut learner = self.learner();
        let start = Start::random_baseline(half, 1);
        start.apply(&mut learner, self.sources(), true).unwrap();
        let random = self.overwrite(&learner, "stack-half");
        assert_eq!(random.len(), learner.model().unwrap().params.len());
        let mut losses = self.train(&mut learner);
        let tmp = tempfile::tempdir().unwrap();
        let own = save(&tmp.path().join("half"), learner.model().unwrap(), 20);
        let sources = Sources {
            reference: None,
            own: Some(&own),
        };
        let start = Start::stacked(half).unwrap();
        start.apply(&mut learner, sources, true).unwrap();
        let optimizer = learner.optimizer().unwrap().unwrap();
        assert!(optimizer.steps.iter().all(|&steps| steps == 0));
        losses.extend(self.train(&mut learner));
        self.check_losses("stack", &losses);
    }
}

/// FNV-1a (64 bits) of the values' bytes.
fn digest(values: &[f32]) -> String {
    let bytes = values.iter().flat_map(|x| x.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, byte| {
        (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[test]
fn arms_of_gpt2_agree_with_pytorch() {
    let fixture = Fixture::of("gpt2");
    fixture.check_arms_of_full_width(4);
    fixture.check_narrower("half-width", None);
    fixture.check_narrower("three-heads", Some(3));
    fixture.check_stack(4);
}

#[test]
fn arms_of_llama_agree_with_pytorch() {
    let fixture = Fixture::of("llama");
    fixture.check_arms_of_full_width(4);
    fixture.check_narrower("half-width", None);
    let why = Start::half_width(&fixture.reference.config, Some(3)).unwrap_err();
    assert!(why.to_string().contains("2 key and value heads"), "{why}");
    fixture.check_stack(4);
}
