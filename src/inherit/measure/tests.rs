//! The measures agree with transformers and numpy on small models (`tests/fixtures/make_layer_choice_fixture.py`).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::Device;
use serde::Deserialize;

use super::*;
use crate::corpus::{Tokens, even_starts};
use crate::model::{self, Decoder, Mode, Workspace};

#[derive(Deserialize)]
struct Fixture {
    windows: usize,
    window_length: usize,
    models: BTreeMap<String, Want>,
}

#[derive(Deserialize)]
struct Want {
    tokens: Vec<u16>,
    starts: Vec<usize>,
    influence: Vec<f64>,
    /// Distances by the number of dropped layers, from 1 on.
    angular: Vec<Vec<f64>>,
    loss: Losses,
}

#[derive(Deserialize)]
struct Losses {
    whole: f64,
    rounds: Vec<WantedRound>,
}

#[derive(Deserialize)]
struct WantedRound {
    without: Vec<(usize, f64)>,
    dropped: usize,
    loss: f64,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn fixture() -> Fixture {
    let text = std::fs::read_to_string(fixtures().join("layer_choice.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A model of the fixture, and its windows `batch` at a time.
struct Here {
    model: Decoder,
    workspace: Workspace,
    tokens: Tokens,
    starts: Vec<usize>,
}

impl Here {
    fn new(name: &str, batch: usize) -> Self {
        let fixture = fixture();
        let want = &fixture.models[name];
        let model = model::load(&fixtures().join("layer_choice").join(name), &Device::Cpu).unwrap();
        let time = fixture.window_length;
        let workspace = Workspace::new(&model.config, batch, time, Mode::Forward, &Device::Cpu);
        let starts = even_starts(want.tokens.len(), time, fixture.windows);
        assert_eq!(starts, want.starts);
        Self {
            model,
            workspace: workspace.unwrap(),
            tokens: Tokens::owned(want.tokens.clone()),
            starts,
        }
    }

    fn measure(&self, which: Measure, keep: usize) -> Result<Option<Measured>, InheritError> {
        self.watched(which, keep, &mut |_| ControlFlow::Continue(()))
    }

    fn found(&self, which: Measure, keep: usize) -> Measured {
        self.measure(which, keep).unwrap().unwrap()
    }

    fn watched(
        &self,
        which: Measure,
        keep: usize,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Measured>, InheritError> {
        let subject = Subject {
            model: &self.model,
            workspace: &self.workspace,
            tokens: &self.tokens,
            starts: &self.starts,
            vocab: self.model.config.vocab,
        };
        measure(which, keep, subject, watch)
    }
}

#[track_caller]
fn close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < 2e-6, "{got}, expected {want}");
    }
}

/// Returns the indices of the `n` largest values, ascending.
fn largest(values: &[f64], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].partial_cmp(&values[a]).unwrap());
    order.truncate(n);
    order.sort_unstable();
    order
}

#[test]
fn influence_keeps_the_layers_that_change_their_input_most() {
    for (name, want) in &fixture().models {
        let here = Here::new(name, 3);
        for keep in 1..=6 {
            let found = here.found(Measure::Influence, keep);
            close(&found.values, &want.influence);
            assert_eq!(found.kept, largest(&want.influence, keep), "{name}");
            let mut all = [found.kept, found.dropped.clone()].concat();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3, 4, 5]);
            let ascending = found.dropped.is_sorted_by_key(|&l| want.influence[l]);
            assert!(ascending, "the least first: {:?}", found.dropped);
        }
    }
}

#[test]
fn angular_drops_the_block_that_turns_its_input_least() {
    for (name, want) in &fixture().models {
        let here = Here::new(name, 3);
        for (distances, k) in want.angular.iter().zip(1..) {
            let found = here.found(Measure::Angular, 6 - k);
            close(&found.values, distances);
            let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
            let first = distances.iter().position(|&d| d == least).unwrap();
            let block: Vec<usize> = (first..first + k).collect();
            assert_eq!(found.dropped, block, "{name}");
            let kept: Vec<usize> = (0..6).filter(|l| !block.contains(l)).collect();
            assert_eq!(found.kept, kept);
        }
    }
}

#[test]
fn loss_drops_one_layer_at_a_time() {
    for (name, want) in &fixture().models {
        let here = Here::new(name, 3);
        let found = here.found(Measure::Loss, 1);
        close(&[found.whole.unwrap()], &[want.loss.whole]);
        assert_eq!(found.rounds.len(), want.loss.rounds.len());
        for (got, want) in found.rounds.iter().zip(&want.loss.rounds) {
            let layers = |list: &[(usize, f64)]| list.iter().map(|l| l.0).collect::<Vec<_>>();
            let losses = |list: &[(usize, f64)]| list.iter().map(|l| l.1).collect::<Vec<_>>();
            assert_eq!(layers(&got.without), layers(&want.without), "{name}");
            close(&losses(&got.without), &losses(&want.without));
            assert_eq!(got.dropped.0, want.dropped, "{name}");
            close(&[got.dropped.1], &[want.loss]);
        }
        let dropped: Vec<usize> = want.loss.rounds.iter().map(|r| r.dropped).collect();
        assert_eq!(found.dropped, dropped);
        // With fewer rounds, they are the first of these.
        let some = here.found(Measure::Loss, 4);
        assert_eq!(some.dropped, dropped[..2]);
        assert_eq!(some.values, found.values[..2]);
    }
}

#[test]
fn nothing_is_dropped_where_all_layers_are_kept() {
    let here = Here::new("choice-gpt2", 7);
    for which in Measure::ALL {
        let found = here.found(which, 6);
        assert_eq!(found.kept, [0, 1, 2, 3, 4, 5]);
        assert!(found.dropped.is_empty() && found.rounds.is_empty());
    }
    let error = here.measure(Measure::Loss, 7).unwrap_err().to_string();
    assert_eq!(error, "cannot keep 7 of the model's 6 layers");
    assert!(matches!(
        here.measure(Measure::Loss, 0),
        Err(InheritError::Nothing)
    ));
}

#[test]
fn figures_do_not_depend_on_the_windows_of_a_pass() {
    let all = Here::new("choice-llama", 7);
    for which in Measure::ALL {
        let want = all.found(which, 2);
        for batch in [1, 4] {
            let got = Here::new("choice-llama", batch).found(which, 2);
            assert_eq!(got.kept, want.kept);
            close(&got.values, &want.values);
        }
    }
}

#[test]
fn a_measure_reports_how_far_it_is_and_can_be_stopped() {
    let here = Here::new("choice-gpt2", 3);
    for which in Measure::ALL {
        let mut shares = Vec::new();
        let mut dropped = Vec::new();
        here.watched(which, 3, &mut |progress| {
            shares.push(progress.share);
            dropped.extend(progress.dropped);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert!(shares.is_sorted(), "{shares:?}");
        let last = shares[shares.len() - 1];
        assert!((last - 1.0).abs() < 1e-9, "{which:?} ends at {last}");
        assert_eq!(dropped.len(), if which == Measure::Loss { 3 } else { 0 });
        let mut calls = 0;
        let stopped = here.watched(which, 3, &mut |_| {
            calls += 1;
            match calls {
                2 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        assert_eq!((stopped.unwrap(), calls), (None, 2), "{which:?}");
    }
}

#[test]
fn figures_that_are_not_finite_choose_nothing() {
    let here = Here::new("choice-gpt2", 3);
    let last = here.model.params.iter().position(|p| p.layer == Some(5));
    let len = here.model.params[last.unwrap()].len();
    let nan = vec![f32::NAN; len];
    here.model.weights.write(last.unwrap(), &nan).unwrap();
    for which in [Measure::Influence, Measure::Angular] {
        let error = here.measure(which, 3).unwrap_err().to_string();
        assert!(error.contains("is not finite"), "{error}");
    }
    // Without the damaged layer the loss is finite.
    assert_eq!(here.found(Measure::Loss, 5).dropped, [5]);
    let embedding = here.model.params[0].len();
    let nan = vec![f32::NAN; embedding];
    here.model.weights.write(0, &nan).unwrap();
    let error = here.measure(Measure::Loss, 3).unwrap_err().to_string();
    assert!(
        error.contains("loss on these windows is not finite"),
        "{error}"
    );
}
