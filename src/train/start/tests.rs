use std::path::Path;

use candle_core::Device;

use super::*;
use crate::file::Dir;
use crate::model::{self, Decoder, Sizes};
use crate::run::command::GrowSource;
use crate::train::checkpoint::Moments;
use crate::train::optimizer::Moment;
use crate::train::passes::Passes;
use crate::train::state::TrainState;

/// Writes a checkpoint to `path` of a random model whose layers have these scales; its moments equal its weights, and each
/// tensor has had `steps` updates.
fn saved(path: &Path, scales: &[f32], seed: u64, steps: u32) -> Saved {
    let sizes = Sizes {
        n_layer: scales.len(),
        n_head: 2,
        n_embd: 8,
        context_length: 8,
        vocab: 11,
    };
    let shape = DecoderConfig::gpt2(sizes, true).with_layers(scales.to_vec());
    let model = Decoder::random(shape, seed, &Device::Cpu).unwrap();
    save(path, &model, steps)
}

/// As [`saved`], with this model.
pub(super) fn save(path: &Path, model: &Decoder, steps: u32) -> Saved {
    let values = model.weights.read_all().unwrap();
    std::fs::create_dir(path).unwrap();
    let dir = Dir::open(path).unwrap();
    model::save(&model.config, &model.params, &values, None, &dir).unwrap();
    let m = model::named("m.", &model.params, &values);
    let v = model::named("v.", &model.params, &values);
    model::save_tensors(&dir, "optimizer.safetensors", m.chain(v), &[]).unwrap();
    Saved {
        files: Files::open_in(&dir).unwrap(),
        moments: Moments::open(&dir).unwrap(),
        state: TrainState {
            optimizer_steps: vec![steps; model.params.len()],
            ..TrainState::new([String::new(), String::new()])
        },
    }
}

#[test]
fn a_growth_that_keeps_adds_layers_of_the_reference_to_what_was_trained() {
    let tmp = tempfile::tempdir().unwrap();
    let reference = saved(
        &tmp.path().join("reference"),
        &[1.0, 0.5, 0.25, 0.125],
        1,
        9,
    );
    let own = saved(&tmp.path().join("own"), &[1.0, 0.5], 2, 7);
    let sources = Sources {
        reference: Some(&reference.files),
        own: Some(&own),
    };
    let shape = own.files.config.clone();
    let mut learner = Learner::new(shape, Passes::usual(2, 8), 100, &Device::Cpu);
    let layers = inherit::grow(GrowSource::Next, &[0, 1], 2, 4);
    let start = Start::grown(GrowMode::Keep, &[0, 1], &layers, &[], 0);
    start.apply(&mut learner, sources, true).unwrap();
    let grown = learner.model().unwrap();
    let optimizer = learner.optimizer().unwrap().unwrap();
    assert_eq!(grown.config.attention_scales, [1.0, 0.5, 0.25, 0.125]);
    for (i, p) in grown.params.iter().enumerate() {
        let (from, steps) = match p.layer {
            Some(2 | 3) => (&reference, 0),
            _ => (&own, 7),
        };
        let mut wanted = vec![0.0; p.len()];
        from.files.parameter(p.stem, p.layer, &mut wanted).unwrap();
        assert_eq!(grown.weights.read(i).unwrap(), wanted, "{}", p.name);
        assert_eq!(optimizer.steps[i], steps, "{}", p.name);
    }
}

#[test]
fn copies_have_the_weights_and_the_moments_of_their_layers() {
    let tmp = tempfile::tempdir().unwrap();
    let own = saved(&tmp.path().join("own"), &[1.0, 0.5, 0.25], 2, 7);
    let sources = Sources {
        reference: None,
        own: Some(&own),
    };
    let present = [0, 3, 7];
    for (source, from) in [
        (GrowSource::CopyMiddle, [0, 1, 0, 1, 2]),
        (GrowSource::CopyTop, [0, 1, 2, 1, 2]),
    ] {
        let shape = own.files.config.clone();
        let mut learner = Learner::new(shape, Passes::usual(2, 8), 100, &Device::Cpu);
        let layers = inherit::grow(source, &present, 2, 8);
        let start = Start::grown(GrowMode::Keep, &present, &layers, &[], 0);
        assert_eq!(start.source_layers(&present), from.map(|l| present[l]));
        start.apply(&mut learner, sources, true).unwrap();
        let grown = learner.model().unwrap();
        let optimizer = learner.optimizer().unwrap().unwrap();
        assert_eq!(grown.config.n_layer, 5);
        for (i, p) in grown.params.iter().enumerate() {
            let layer = p.layer.map(|l| from[l]);
            let mut wanted = vec![0.0; p.len()];
            own.files.parameter(p.stem, layer, &mut wanted).unwrap();
            assert_eq!(grown.weights.read(i).unwrap(), wanted, "{}", p.name);
            // The moments of these checkpoints equal their weights.
            for moment in Moment::BOTH {
                let values = optimizer.gather(moment, optimizer.tensor(i)).unwrap();
                assert_eq!(values, wanted, "{}", p.name);
            }
            assert_eq!(optimizer.steps[i], 7, "{}", p.name);
        }
        let restart = Start::grown(GrowMode::Restart, &present, &layers, &[], 0);
        let from = from.map(|l| Origin::Reference(present[l]));
        assert_eq!(restart.layers, from);
    }
}

#[test]
fn a_growth_keeps_the_trained_layers_or_takes_them_again() {
    let what = [Part::Attention];
    let layers = inherit::grow(GrowSource::Next, &[0, 1], 1, 4);
    let grown = |mode| Start::grown(mode, &[0, 1], &layers, &what, 5);
    let restart = grown(GrowMode::Restart);
    assert_eq!(
        restart.layers,
        [0, 1, 2].map(Origin::Reference),
        "all from the reference"
    );
    assert_eq!((restart.parts.len(), restart.takes_own()), (1, false));
    let keep = grown(GrowMode::Keep);
    assert_eq!(
        keep.layers,
        [Origin::Own(0), Origin::Own(1), Origin::Reference(2)]
    );
    assert!(keep.takes_own() && keep.moments && keep.parts == inherit::all_parts());
    for start in [restart, keep] {
        assert_eq!(start.source_layers(&[0, 1]), [0, 1, 2]);
    }
    let random = Start::random(2, 1);
    assert!(random.source_layers(&[0, 1]).is_empty() && !random.takes_own());
    assert_ne!(random.seed, Start::random_control(2, 1).seed);
}

#[test]
fn a_source_that_is_missing_is_an_error() {
    let inherit = Start::inherit(&[0], &inherit::all_parts(), 1);
    let error = inherit.taken(Sources::default()).err().unwrap();
    assert!(error.to_string().contains("is missing"), "{error}");
}

/// Returns a reference of four layers with different attention scales, and its directory.
fn reference() -> (tempfile::TempDir, Saved) {
    let tmp = tempfile::tempdir().unwrap();
    let scales = [1.0, 0.5, 0.25, 0.125];
    let reference = saved(&tmp.path().join("reference"), &scales, 1, 9);
    (tmp, reference)
}

fn learner(shape: &DecoderConfig) -> Learner {
    Learner::new(shape.clone(), Passes::usual(2, 8), 100, &Device::Cpu)
}

#[test]
fn a_random_baseline_has_the_references_shape_whatever_came_before() {
    let (_tmp, reference) = reference();
    let sources = Sources {
        reference: Some(&reference.files),
        own: None,
    };
    let mut learner = learner(&reference.files.config);
    let narrow = Start::half_width(&reference.files.config, None).unwrap();
    narrow.apply(&mut learner, sources, true).unwrap();
    assert_eq!(learner.shape().n_embd, 4);
    for (start, n) in [(Start::random_baseline(3, 7), 3), (Start::full(4, 7), 4)] {
        assert!(start.takes_reference() && !start.takes_own());
        start.apply(&mut learner, sources, true).unwrap();
        let wanted = Decoder::random(
            reference
                .files
                .config
                .with_layers([1.0, 0.5, 0.25, 0.125][..n].to_vec()),
            start.seed,
            &Device::Cpu,
        );
        let (wanted, model) = (wanted.unwrap(), learner.model().unwrap());
        assert_eq!(model.config, wanted.config);
        let all = |model: &Decoder| model.weights.read_all().unwrap();
        assert_eq!(all(model), all(&wanted));
        assert!(start.source_layers(&[0, 1]).is_empty());
        assert_eq!(start.name(), event::Start::Random);
    }
    let seeds = [
        Start::random(2, 7),
        Start::random_control(2, 7),
        Start::random_baseline(2, 7),
    ];
    let seeds: std::collections::HashSet<u64> = seeds.iter().map(|start| start.seed).collect();
    assert_eq!(seeds.len(), 3);
    let alone = Start::random_baseline(3, 7).apply(&mut learner, Sources::default(), true);
    assert!(alone.unwrap_err().to_string().contains("is missing"));
}

#[test]
fn stacks_repeat_their_layers_and_know_where_these_came_from() {
    let hybrid = Start::hybrid(4).unwrap();
    assert_eq!(hybrid.layers, [0, 1, 0, 1].map(Origin::Reference));
    assert_eq!(hybrid.source_layers(&[]), [0, 1, 0, 1]);
    assert_eq!(hybrid.name(), event::Start::Hybrid);
    let stacked = Start::stacked(2).unwrap();
    assert_eq!(stacked.layers, [0, 1, 0, 1].map(Origin::Own));
    assert!(stacked.takes_own() && !stacked.takes_reference() && !stacked.moments);
    assert!(stacked.source_layers(&[]).is_empty(), "random ones");
    assert_eq!(stacked.source_layers(&[3, 1]), [3, 1, 3, 1]);
    assert_eq!(stacked.name(), event::Start::Stack);
    assert_eq!(Start::stack_height(6).unwrap(), 3);
    let odd = Start::hybrid(5).unwrap_err().to_string();
    assert!(odd.contains("an even number of layers, and has 5"), "{odd}");
    for nothing in [Start::hybrid(0), Start::stacked(0)] {
        assert_eq!(nothing.unwrap_err().to_string(), "no layer is selected");
    }
}

#[test]
fn half_width_and_named_layers_refuse_what_they_cannot_take() {
    let (_tmp, reference) = reference();
    let half = Start::half_width(&reference.files.config, None).unwrap();
    assert_eq!(half.source_layers(&[]), [0, 1, 2, 3]);
    assert_eq!(half.name(), event::Start::HalfWidth);
    assert!(half.takes_reference() && !half.takes_own());
    let wide = Start::half_width(&reference.files.config, Some(2)).unwrap_err();
    assert!(
        wide.to_string()
            .contains("n_head = 2 must be at least 1 and below"),
        "{wide}"
    );
    let norms = [Part::AttentionNorm];
    let some = Start::layers(&[3, 1, 1], &norms, 7).unwrap();
    assert_eq!(some.source_layers(&[]), [3, 1, 1]);
    assert_eq!(some.name(), event::Start::Layers);
    assert_eq!(some.seed, Start::inherit(&[0], &norms, 7).seed);
    let none = Start::layers(&[], &norms, 7).unwrap_err().to_string();
    assert_eq!(none, "no layer is selected");
    let none = Start::layers(&[0], &[], 7).unwrap_err().to_string();
    assert!(none.contains("no part of a layer is selected"), "{none}");
    let sources = Sources {
        reference: Some(&reference.files),
        own: None,
    };
    let far = Start::layers(&[0, 4], &norms, 7).unwrap();
    let error = far.apply(&mut learner(&reference.files.config), sources, true);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("layer 4 of a model of 4"), "{error}");
}
