//! Several ranks train and measure as one process does.

use std::ops::ControlFlow;
use std::sync::Arc;

mod ends;
mod lost;
mod recipe;

use super::*;
use crate::config::MuonScale;
use crate::corpus::{Batch, Source, Tokenizer};
use crate::dist::local;
use crate::eval::score::{Packing, Prepared};
use crate::eval::tasks::Document;
use crate::model::{Decoder, DecoderConfig, Sizes, WeightArena};
use crate::ops;
use crate::train::instruction::{Drawn, Order};
use crate::train::optimizer::{Moment, Muon};
use crate::train::{Hyperparameters, Objective, Passes};
use crate::train::{tasks, teacher};

const TIME: usize = 16;
/// Windows of a step: 1, 2, 3 and 4 ranks share them equally.
const WINDOWS: usize = 12;

pub fn dataset() -> Dataset {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("text.txt");
    let words = (0..900).map(|i| format!("{} ", (i * i + 7 * i) % 101));
    std::fs::write(&path, words.collect::<String>()).unwrap();
    let sources = [Source::single(path.to_str().unwrap())];
    let tokenizer = Tokenizer::byte();
    Dataset::open(&sources, None, 0.2, &tokenizer, "text", TIME, &|_| {}).unwrap()
}

fn shape(n_layer: usize) -> DecoderConfig {
    let sizes = Sizes {
        n_layer,
        n_head: 2,
        n_embd: 8,
        context_length: TIME,
        vocab: Tokenizer::byte().padded_vocab(),
    };
    DecoderConfig::gpt2(sizes, true)
}

fn values(frozen: &[usize]) -> Hyperparameters<'_> {
    Hyperparameters {
        lr: 1e-2,
        betas: [0.9, 0.95],
        weight_decay: 0.1,
        clip: 1.0,
        frozen,
        muon: None,
    }
}

/// Has `lead` be rank 0 of `world` ranks, and dismisses the others after it.
fn with_ranks<T>(world: usize, dataset: &Dataset, lead: impl FnOnce(&Arc<Peers>) -> T) -> T {
    let mut ranks = local::ranks(world).into_iter();
    let first = ranks.next().unwrap();
    std::thread::scope(|scope| {
        let follow = |ranks| {
            let setup = FollowSetup {
                dataset: dataset.clone(),
                device: Device::Cpu,
                ranks,
            };
            scope.spawn(move || run(setup))
        };
        let followers: Vec<_> = ranks.map(follow).collect();
        let peers = Arc::new(Peers::new(first));
        let found = lead(&peers);
        peers.dismiss(&Ended::Done);
        drop(peers);
        for follower in followers {
            assert_eq!(follower.join().unwrap().unwrap(), Ended::Done);
        }
        found
    })
}

/// A run of rank 0 without a recipe.
pub struct Run {
    learner: Learner,
    reader: Reader,
    step: u64,
}

impl Run {
    /// A random model, in passes of one window and sums of `bucket` elements.
    pub fn new(peers: &Arc<Peers>, dataset: &Dataset, bucket: Option<usize>) -> Self {
        let passes = Passes {
            batch_tokens: (WINDOWS * TIME) as u64,
            eval_windows: 7,
            eval_batch: 2,
            probe_windows: 5,
            probe_length: 8,
            ..Passes::usual(1, TIME)
        };
        let learner = Learner::new(shape(2), passes, dataset.val.len(), &Device::Cpu);
        let mut run = Self {
            learner: learner.among(peers, bucket).unwrap(),
            reader: Reader::new(dataset.clone(), peers.place()),
            step: 0,
        };
        run.fill(2, 7).unwrap();
        run
    }

    fn fill(&mut self, n_layer: usize, seed: u64) -> Result<()> {
        self.learner.replace(shape(n_layer), true, |model, _| {
            Ok(model.randomise_all(seed)?)
        })
    }

    /// Takes a step and returns its loss and norm.
    fn step(&mut self, objective: Objective, values: &Hyperparameters<'_>) -> (f64, f64) {
        let drawn = Drawn {
            seed: 3,
            stream: 1,
            step: self.step,
            weights: vec![1.0],
            windows: WINDOWS,
            time: TIME,
        };
        self.step += 1;
        let batch: Batch = self.reader.read(&drawn).unwrap();
        let order = Order::new(drawn, objective, values);
        let step = self.learner.lead_step(&batch, &order).unwrap();
        self.reader.give_back(batch);
        (step.loss, step.grad_norm)
    }

    pub fn steps(&mut self, n: usize) -> Vec<(f64, f64)> {
        let values = values(&[]);
        (0..n)
            .map(|_| self.step(Objective::CrossEntropy, &values))
            .collect()
    }

    fn gradients(&self) -> Vec<Vec<f32>> {
        let views = &self.learner.gradients().unwrap().views;
        views.iter().map(|v| ops::read(v).unwrap()).collect()
    }

    fn weights(&self) -> Vec<f32> {
        self.learner.model().unwrap().weights.read_all().unwrap()
    }
}

fn assert_close(losses: &[(f64, f64)], wanted: &[(f64, f64)]) {
    assert_eq!(losses.len(), wanted.len());
    for (i, (a, b)) in losses.iter().zip(wanted).enumerate() {
        assert!((a.0 - b.0).abs() < 2e-5, "step {i}: {} and {}", a.0, b.0);
        assert!(
            (a.1 - b.1).abs() < 1e-4 * b.1,
            "step {i}: {} and {}",
            a.1,
            b.1
        );
    }
}

#[test]
fn the_first_gradient_is_that_of_one_process() {
    let dataset = dataset();
    let gradients = |world, bucket| {
        with_ranks(world, &dataset, |peers| {
            let mut run = Run::new(peers, &dataset, bucket);
            run.steps(1);
            run.gradients()
        })
    };
    let alone = gradients(1, None);
    assert_eq!(alone, gradients(1, Some(1)), "one process has no buckets");
    for world in 2..=4 {
        let whole = gradients(world, None);
        for (i, (a, b)) in whole.iter().zip(&alone).enumerate() {
            let squares = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>();
            let differences = a.iter().zip(b).map(|(a, b)| f64::from(a - b));
            let off = squares(&mut differences.into_iter());
            let norm = squares(&mut b.iter().map(|&b| f64::from(b)));
            assert!(norm > 0.0, "tensor {i}");
            assert!(
                (off / norm).sqrt() < 1e-6,
                "tensor {i} of {world} ranks: {off} {norm}"
            );
        }
        // Each sum is of numbers of the same ranks in the same order, however many are added at once.
        for bucket in [1, 700, 1 << 20] {
            assert!(gradients(world, Some(bucket)) == whole, "{bucket} {world}");
        }
    }
}

#[test]
fn losses_of_steps_are_those_of_one_process_and_repeat_their_bits() {
    let dataset = dataset();
    let train = |world| {
        with_ranks(world, &dataset, |peers| {
            let mut run = Run::new(peers, &dataset, Some(700));
            let mut all = run.steps(12);
            let frozen = [0];
            let values = values(&frozen);
            all.extend((0..8).map(|_| run.step(Objective::CrossEntropy, &values)));
            (all, run.weights())
        })
    };
    let alone = train(1);
    for world in 2..=4 {
        let first = train(world);
        assert_close(&first.0, &alone.0);
        let again = train(world);
        assert!(first == again, "{world} ranks");
    }
}

#[test]
fn shards_of_the_optimizer_give_the_bits_of_a_whole_one() {
    let dataset = dataset();
    let train = |world, sharded, muon| {
        with_ranks(world, &dataset, |peers| {
            let mut run = Run::new(peers, &dataset, Some(700));
            let passes = Passes {
                sharded,
                muon,
                ..*run.learner.passes()
            };
            run.learner.set_passes(passes).unwrap();
            run.fill(2, 7).unwrap();
            let frozen = [1];
            let muon = muon.then_some(Muon {
                lr: 1e-2,
                momentum: 0.95,
                scale: MuonScale::MatchRmsAdamw,
            });
            let mut all = Vec::new();
            for frozen in [&[][..], &frozen] {
                let values = Hyperparameters {
                    muon,
                    ..values(frozen)
                };
                all.extend((0..3).map(|_| run.step(Objective::CrossEntropy, &values)));
            }
            let norms = run.learner.norms(&frozen).unwrap().unwrap();
            let n = run.weights().len();
            let moments = Moment::BOTH.map(|m| run.learner.gather_moments(m, 0..n).unwrap());
            (all, run.weights(), norms, moments)
        })
    };
    for muon in [false, true] {
        let alone = train(1, false, muon);
        for world in [2, 3] {
            let whole = train(world, false, muon);
            assert!(train(world, true, muon) == whole, "{world} {muon}");
            assert_close(&whole.0, &alone.0);
            assert!((whole.2.momentum - alone.2.momentum).abs() < 1e-4 * alone.2.momentum);
        }
    }
}

#[test]
fn measurements_have_the_bits_of_one_process() {
    let dataset = dataset();
    let measure = |world| {
        with_ranks(world, &dataset, |peers| {
            let mut run = Run::new(peers, &dataset, None);
            let losses = run.learner.evaluate(&dataset.val).unwrap();
            let probe = run.learner.probe(&dataset.val, 0.9).unwrap().unwrap();
            // Without gradients, which no step has made yet.
            assert!(probe.1.grad_q.is_empty());
            (losses, probe)
        })
    };
    let alone = measure(1);
    assert_eq!(alone.0.len(), 7);
    for world in 2..=5 {
        // Of more ranks than passes, some have nothing to do.
        assert_eq!(measure(world), alone, "{world} ranks");
    }
}

#[test]
fn attention_that_is_not_finite_is_said_whichever_rank_sees_it() {
    let dataset = dataset();
    let said = |world| {
        with_ranks(world, &dataset, |peers| {
            let mut run = Run::new(peers, &dataset, None);
            let nan =
                |weights: &WeightArena| weights.write_all(&vec![f32::NAN; weights.elements()]);
            let filled = run
                .learner
                .replace(shape(2), true, |model, _| Ok(nan(&model.weights)?));
            filled.unwrap();
            let said = run.learner.probe(&dataset.val, 0.9).unwrap().unwrap_err();
            let step = run.steps(1);
            assert!(step[0].0.is_nan());
            said
        })
    };
    assert_eq!(said(3), said(1));
}

#[test]
fn a_student_learns_as_from_the_teacher_of_one_process() {
    let dataset = dataset();
    let distill = Objective::Distill {
        alpha: 0.5,
        temperature: 2.0,
    };
    let train = |world| {
        with_ranks(world, &dataset, |peers| {
            let mut run = Run::new(peers, &dataset, Some(1));
            let teacher = teacher::blank(shape(3), run.learner.passes(), &Device::Cpu).unwrap();
            let random = Decoder::random(shape(3), 11, &Device::Cpu).unwrap();
            let weights = random.weights.read_all().unwrap();
            teacher.weights().write_all(&weights).unwrap();
            run.learner.set_teacher(Some(teacher)).unwrap();
            let values = values(&[]);
            let mut all: Vec<_> = (0..4).map(|_| run.step(distill, &values)).collect();
            run.learner.set_teacher(None).unwrap();
            all.extend(run.steps(1));
            all
        })
    };
    assert_close(&train(3), &train(1));
}

#[test]
fn a_model_that_cannot_be_filled_leaves_the_ranks_in_step() {
    let dataset = dataset();
    let train = |world, fails: bool| {
        with_ranks(world, &dataset, |peers| {
            let mut run = Run::new(peers, &dataset, None);
            run.steps(2);
            if fails {
                let refused = run
                    .learner
                    .replace(shape(3), true, |_, _| bail!("no such file"));
                let error = refused.unwrap_err();
                assert_eq!(error.to_string(), "no such file");
                assert!(run.learner.model().is_err());
            }
            run.fill(3, 5).unwrap();
            // Passes of another size, and back, free the model everywhere.
            let passes = *run.learner.passes();
            let smaller = Passes { micro: 2, ..passes };
            run.learner.set_passes(smaller).unwrap();
            run.learner.set_passes(passes).unwrap();
            run.fill(3, 5).unwrap();
            run.steps(3)
        })
    };
    let straight = train(2, false);
    assert_eq!(train(2, true), straight);
    assert_close(&straight, &train(1, true));
}

#[test]
fn documents_get_the_scores_of_one_process() {
    let dataset = dataset();
    let document = |i: usize| {
        let context = format!("question {} of many", i * i % 17);
        Document::choices(&context, &["yes", "no", "of course"][..2 + i % 2], 0)
    };
    let documents: Vec<Document> = (0..23).map(document).collect();
    let encoder = tasks::encoder(&Tokenizer::byte(), TIME).unwrap();
    let packing = Packing {
        tokens: 40,
        share: true,
    };
    let prepared = Prepared::new(&encoder, &documents, packing).unwrap();
    assert!(prepared.groups() > 5);
    let score = |world, most: usize| {
        with_ranks(world, &dataset, |peers| {
            let run = Run::new(peers, &dataset, None);
            let mut seen = Vec::new();
            let each = &mut |rows| {
                seen.push(rows);
                match rows > most {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            let scores = run.learner.score(&prepared, 256, each).unwrap();
            (scores, seen)
        })
    };
    let (alone, seen) = score(1, usize::MAX);
    assert_eq!(seen.last(), Some(&prepared.rows()));
    for world in 2..=4 {
        let (scores, seen) = score(world, usize::MAX);
        assert_eq!(scores, alone, "{world} ranks");
        assert_eq!(seen.last(), Some(&prepared.rows()));
    }
    // The ranks are in step after an evaluation that was ended.
    let (ended, seen) = score(2, 1);
    assert_eq!((ended, seen.len()), (None, 1));
}
