//! Distillation agrees with PyTorch. `tests/fixtures/distill` is made by `tests/fixtures/make_distill_fixtures.py`.

use serde::Deserialize;

use super::*;
use crate::config::Distill;
use crate::corpus::{Batch, Tokens};
use crate::model::{Mode, Sizes, Workspace};
use crate::ops;
use crate::train::{Hyperparameters, Learner, Objective};

#[derive(Deserialize)]
struct Expected {
    batch: usize,
    context: usize,
    tokens: Vec<u32>,
    lr: f64,
    betas: [f64; 2],
    weight_decay: f64,
    clip: f64,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    student: String,
    teacher: String,
    alpha: f64,
    temperature: f64,
    losses: Vec<f64>,
    grad_norms: Vec<f64>,
    final_loss: f64,
    final_cross_entropy: f64,
}

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/distill")
}

fn opened(name: &str) -> Files {
    Files::open(&dir().join(name)).unwrap()
}

impl Expected {
    fn read() -> Self {
        let text = std::fs::read_to_string(dir().join("losses.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Returns the batch of a step.
    fn batch(&self, step: usize) -> Batch {
        let windows = self.tokens.chunks_exact(self.context + 1);
        let windows: Vec<&[u32]> = windows.skip(step * self.batch).take(self.batch).collect();
        let part = |w: &&[u32], from| w[from..from + self.context].to_vec();
        let of = |from| windows.iter().flat_map(|w| part(w, from)).collect();
        Batch {
            inputs: of(0),
            targets: of(1),
        }
    }

    fn values(&self) -> Hyperparameters<'static> {
        Hyperparameters {
            lr: self.lr,
            betas: self.betas,
            weight_decay: self.weight_decay,
            clip: self.clip,
            frozen: &[],
            muon: None,
        }
    }

    fn passes(&self, micro: usize) -> Passes {
        Passes {
            eval_windows: 2,
            eval_batch: 1,
            ..Passes::usual(micro, self.context)
        }
    }

    /// Returns a learner with a model of the fixture, with passes of `micro` windows.
    fn learner(&self, student: &str, passes: Passes) -> Learner {
        let files = opened(student);
        let mut learner = Learner::new(files.config.clone(), passes, 100, &Device::Cpu);
        let fill = |model: &Decoder, _: Option<&mut _>| Ok(files.load_into(model)?);
        learner.replace(files.config.clone(), true, fill).unwrap();
        learner
    }

    /// Returns the mean cross-entropy of a batch.
    fn cross_entropy(&self, learner: &Learner, batch: &Batch) -> f64 {
        let model = learner.model().unwrap();
        let (size, device) = ((self.batch, self.context), &Device::Cpu);
        let ws = Workspace::new(&model.config, size.0, size.1, Mode::Forward, device).unwrap();
        ops::write(&ws.inputs, &batch.inputs).unwrap();
        ops::write(&ws.targets, &batch.targets).unwrap();
        model.forward(&ws).unwrap();
        let losses = ops::read(&ws.losses).unwrap();
        losses.iter().map(|&l| f64::from(l)).sum::<f64>() / losses.len() as f64
    }
}

fn taught(learner: &mut Learner, teacher: &str) {
    let (vocab, passes) = (learner.shape().vocab, *learner.passes());
    let teacher = load(
        &opened(teacher),
        vocab,
        &passes,
        &Device::Cpu,
        &Peers::none(),
    );
    let teacher = teacher.unwrap();
    learner.set_teacher(Some(teacher)).unwrap();
}

#[test]
fn twenty_steps_agree_with_torch() {
    let expected = Expected::read();
    assert_eq!(expected.runs.len(), 4);
    for (run, micro) in expected.runs.iter().zip([4, 2, 1, 4]) {
        let mut learner = expected.learner(&run.student, expected.passes(micro));
        taught(&mut learner, &run.teacher);
        let objective = Objective::Distill {
            alpha: run.alpha,
            temperature: run.temperature,
        };
        let name = format!("{} from {}", run.student, run.teacher);
        assert_eq!(run.losses.len(), 20);
        for (i, (loss, norm)) in run.losses.iter().zip(&run.grad_norms).enumerate() {
            let values = expected.values();
            let step = learner.train_step(&expected.batch(i), objective, &values);
            let step = step.unwrap();
            let off = (step.loss - loss).abs();
            assert!(off < 1e-5, "{name}, step {i}: {} is not {loss}", step.loss);
            let off = (step.grad_norm / norm - 1.0).abs();
            assert!(
                off < 1e-4,
                "{name}, step {i}: {} is not {norm}",
                step.grad_norm
            );
        }
        let first = expected.batch(0);
        let tokens = first.inputs.len();
        learner.accumulate(&first, objective, tokens).unwrap();
        let sums = learner.sums().unwrap().read().unwrap();
        let last = sums.losses / tokens as f64;
        let off = (last - run.final_loss).abs();
        assert!(off < 1e-5, "{name}: {last} is not {}", run.final_loss);
        let plain = expected.cross_entropy(&learner, &first);
        let off = (plain - run.final_cross_entropy).abs();
        assert!(
            off < 1e-5,
            "{name}: {plain} is not {}",
            run.final_cross_entropy
        );
    }
}

/// Losses in bf16 stay close to those in f32.
#[test]
fn students_in_bf16_learn_by_pieces_of_rows() {
    let expected = Expected::read();
    let run = &expected.runs[0];
    let mut passes = expected.passes(2);
    passes.format.compute = Precision::Bf16;
    let mut learner = expected.learner(&run.student, passes);
    taught(&mut learner, &run.teacher);
    let objective = Objective::Distill {
        alpha: run.alpha,
        temperature: run.temperature,
    };
    for (i, loss) in run.losses.iter().enumerate() {
        let step = learner.train_step(&expected.batch(i), objective, &expected.values());
        let found = step.unwrap().loss;
        assert!(
            (found - loss).abs() < 3e-2,
            "step {i}: {found} is not {loss}"
        );
    }
}

#[test]
fn cross_entropy_and_evaluations_do_not_see_a_teacher() {
    let expected = Expected::read();
    let val = Tokens::owned((0..100u16).map(|i| i * i % 61).collect());
    let run = |teacher: Option<&str>| {
        let mut learner = expected.learner("gpt2-student", expected.passes(2));
        if let Some(teacher) = teacher {
            taught(&mut learner, teacher);
        }
        let values = expected.values();
        let step = learner.train_step(&expected.batch(0), Objective::CrossEntropy, &values);
        let step = step.unwrap();
        let losses = learner.evaluate(&val).unwrap();
        let weights = learner.model().unwrap().weights.read_all().unwrap();
        (step.loss, step.grad_norm, losses, weights)
    };
    assert_eq!(run(None), run(Some("gpt2-teacher")));
}

#[test]
fn a_model_that_takes_the_students_place_has_no_teacher() {
    let expected = Expected::read();
    let mut learner = expected.learner("gpt2-student", expected.passes(2));
    let objective = Objective::Distill {
        alpha: 0.5,
        temperature: 1.0,
    };
    let step = |learner: &mut Learner| {
        learner.train_step(&expected.batch(0), objective, &expected.values())
    };
    let error = step(&mut learner).unwrap_err().to_string();
    assert_eq!(error, "distillation has no teacher");
    taught(&mut learner, "gpt2-teacher");
    step(&mut learner).unwrap();
    let shape = learner.shape().clone();
    learner.replace(shape, true, |_, _| Ok(())).unwrap();
    assert!(learner.teacher().is_none());
    taught(&mut learner, "llama-teacher");
    step(&mut learner).unwrap();
    learner.release();
    assert!(learner.teacher().is_none());
}

#[test]
fn a_teacher_of_another_vocabulary_or_too_short_a_context_is_refused_by_its_config() {
    let sizes = Sizes {
        n_layer: 2,
        n_head: 2,
        n_embd: 16,
        context_length: 32,
        vocab: 61,
    };
    let reference = DecoderConfig::gpt2(sizes, true);
    let objective = |name: &str| {
        ObjectiveChoice::Distill(Distill {
            teacher: config::Teacher::from(name.to_string()),
            alpha: 0.4,
            temperature: 1.0,
        })
    };
    let paths: TeacherPaths = ["gpt2-teacher", "gone"]
        .map(|name| (name.to_string(), dir().join(name)))
        .into();
    let of = |objective: &ObjectiveChoice, reference: &DecoderConfig, time| {
        shape(objective, &paths, reference, time).map_err(|error| format!("{error:#}"))
    };
    let ce = ObjectiveChoice::CrossEntropy;
    assert_eq!(of(&ce, &reference, 32), Ok(None));
    let own = of(&objective("reference"), &reference, 32);
    assert_eq!(own, Ok(Some(reference.clone())));
    let found = of(&objective("gpt2-teacher"), &reference, 16).unwrap();
    assert_eq!(found.map(|shape| shape.n_layer), Some(3));

    let other = DecoderConfig {
        vocab: 64,
        ..reference.clone()
    };
    assert_eq!(
        of(&objective("gpt2-teacher"), &other, 16).unwrap_err(),
        "gpt2-teacher cannot be the teacher: the teacher has a vocabulary of 61 tokens, and the models that are trained have \
         one of 64: a teacher must have the same vocabulary"
    );
    assert_eq!(
        of(&objective("gpt2-teacher"), &reference, 17).unwrap_err(),
        "gpt2-teacher cannot be the teacher: the teacher has a context of 16 tokens, and the training windows have 17: set \
         train.context_length to at most 16"
    );
    for missing in ["gone", "never named"] {
        let error = of(&objective(missing), &reference, 16).unwrap_err();
        let begins = format!("the teacher {missing} cannot be read");
        assert!(error.starts_with(&begins), "{error}");
    }
    // Loading rejects a different vocabulary as well.
    let passes = Passes::usual(1, 16);
    let (files, alone) = (opened("gpt2-teacher"), Peers::none());
    assert!(load(&files, 62, &passes, &Device::Cpu, &alone).is_err());
}

#[test]
fn a_forward_pass_costs_a_third_of_a_step() {
    let config = opened("gpt2-teacher").config;
    assert_eq!(flops(None, 1000, 16), 0.0);
    let step = config.flops_per_token(16) * 300.0;
    assert!((flops(Some(&config), 900, 16) / step - 1.0).abs() < 1e-12);
}
