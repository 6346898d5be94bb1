//! Checkpoints of several ranks.

use std::ops::Range;
use std::sync::Arc;

use candle_core::Device;

use super::copied::tests::checkpoint;
use super::verify::FILES;
use super::*;
use crate::dist::Ranks;
use crate::dist::local;
use crate::dist::lossy::Lossy;
use crate::model::{self, Decoder, Sizes, Weights};
use crate::train::optimizer::{Hyperparameters, Moment, Optimizer, Share};

const SIZES: Sizes = Sizes {
    n_layer: 3,
    n_head: 2,
    n_embd: 8,
    context_length: 6,
    vocab: 11,
};

fn model() -> Decoder {
    Decoder::random(DecoderConfig::gpt2(SIZES, true), 3, &Device::Cpu).unwrap()
}

fn optimizer(model: &Decoder, ranks: &Arc<dyn Ranks>) -> Optimizer {
    let share = Share::of(&model.params, (ranks.rank(), ranks.world()), true, false);
    Optimizer::of_share(model, share, Arc::clone(ranks), &Device::Cpu).unwrap()
}

/// Takes the steps with the numbers `steps`, each with different gradients.
fn train(model: &Decoder, optimizer: &mut Optimizer, steps: std::ops::Range<usize>) {
    let config = crate::config::load(&crate::config::Source::named("tiny").unwrap(), &[]);
    let values = Hyperparameters::of(&config.unwrap().config.train, 1e-2);
    for step in steps {
        let n = model.weights.elements();
        let grads = (0..n).map(|i| ((i * (step + 2)) as f32 * 0.37).sin());
        crate::ops::write(&model.grads.flat, &grads.collect::<Vec<_>>()).unwrap();
        let norm = Optimizer::grad_norm(model, &[]).unwrap();
        optimizer.step(model, norm, &values).unwrap();
        optimizer.complete(model).unwrap();
    }
}

/// Returns weights, moments and step counts, on rank 0.
fn state(model: &Decoder, optimizer: &Optimizer) -> (Vec<f32>, [Vec<f32>; 2], Vec<u32>) {
    let gather = |moment| optimizer.gather(moment, 0..optimizer.elements()).unwrap();
    (
        model.weights.read_all().unwrap(),
        Moment::BOTH.map(gather),
        optimizer.steps.clone(),
    )
}

/// Writes the tensors that rank 0 gathers as a checkpoint's files.
fn save(dir: &Dir, model: &Decoder, optimizer: &Optimizer) {
    let (weights, [m, v], _) = state(model, optimizer);
    if optimizer.share().part().start == 0 {
        model::save(&model.config, &model.params, &weights, None, dir).unwrap();
        let m = model::named("m.", &model.params, &m);
        let v = model::named("v.", &model.params, &v);
        model::save_tensors(dir, OPTIMIZER, m.chain(v), &[]).unwrap();
    }
}

#[test]
fn what_three_ranks_save_two_ranks_go_on_with() {
    let tmp = tempfile::tempdir().unwrap();
    let path = |name: &str| {
        let path = tmp.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Dir::open(&path).unwrap()
    };
    let (three, one) = (path("three"), path("one"));
    let wanted = local::run(1, |ranks| {
        let model = model();
        let mut optimizer = optimizer(&model, &ranks);
        train(&model, &mut optimizer, 0..3);
        save(&one, &model, &optimizer);
        train(&model, &mut optimizer, 3..6);
        state(&model, &optimizer)
    });
    let steps = local::run(3, |ranks| {
        let model = model();
        let mut optimizer = optimizer(&model, &ranks);
        train(&model, &mut optimizer, 0..3);
        save(&three, &model, &optimizer);
        optimizer.steps
    });
    for file in [model::WEIGHTS, OPTIMIZER] {
        let read = |dir: &Dir| std::fs::read(dir.path_of(file)).unwrap();
        assert!(read(&three) == read(&one), "{file}");
    }
    let found = local::run(2, |ranks| {
        let model = model();
        let mut optimizer = optimizer(&model, &ranks);
        if ranks.leads() {
            let files = Files::open_in(&three).unwrap();
            files.load_into(&model).unwrap();
            let moments = Moments::open(&three).unwrap();
            let filled = moments.load_into(files.params(), &steps[0], &model, &mut optimizer);
            filled.unwrap();
            optimizer.end_filling().unwrap();
        } else {
            optimizer.receive().unwrap();
        }
        model
            .weights
            .overwrite(|flat| ranks.broadcast(flat))
            .unwrap();
        train(&model, &mut optimizer, 3..6);
        state(&model, &optimizer)
    });
    assert!(found[0] == wanted[0]);
    assert!((&found[1].0, &found[1].2) == (&wanted[0].0, &wanted[0].2));
}

#[test]
fn a_checkpoint_of_fetched_moments_is_the_same_file() {
    let tmp = tempfile::tempdir().unwrap();
    let run = RunDir::create(tmp.path(), "tiny", Some("run")).unwrap();
    std::fs::create_dir_all(run.checkpoints()).unwrap();
    let to = Checkpoints::at(&run);
    let model = model();
    let n = model.weights.elements();
    let values = |shift: usize| -> Vec<f32> { (0..n).map(|i| (i + shift) as f32).collect() };
    let moments = [values(1), values(2)];
    let mut writer = Writer::start(to.clone()).unwrap();
    writer.begin(checkpoint("here", &model, Some(moments.clone())));
    let written = writer.wait(&mut |_, _| panic!("all of it is here"), &|| false);
    written.unwrap().unwrap();
    writer.begin(checkpoint("elsewhere", &model, None));
    let mut asked = 0;
    let mut serve = |moment, range: Range<usize>| {
        asked += range.len();
        Ok(moments[moment as usize][range].to_vec())
    };
    let written = writer.wait(&mut serve, &|| false);
    written.unwrap().unwrap();
    // The checkpoint is verified, so that both moments are asked for twice.
    assert_eq!(asked, 4 * n);
    let read = |name: &str| std::fs::read(run.checkpoints().join(name).join(OPTIMIZER)).unwrap();
    assert!(read("here") == read("elsewhere"));
    to.verify("elsewhere").unwrap();
}

#[test]
fn a_checkpoint_whose_moments_do_not_come_leaves_nothing_behind() {
    let tmp = tempfile::tempdir().unwrap();
    let run = RunDir::create(tmp.path(), "tiny", Some("run")).unwrap();
    std::fs::create_dir_all(run.checkpoints()).unwrap();
    let to = Checkpoints::at(&run);
    let mut writer = Writer::start(to.clone()).unwrap();
    writer.begin(checkpoint("elsewhere", &model(), None));
    let error = loop {
        if let Some(written) = writer.poll(&mut |_, _| anyhow::bail!("rank 1 is lost")) {
            break written.unwrap_err();
        }
        std::thread::yield_now();
    };
    assert_eq!(error.to_string(), "rank 1 is lost");
    assert_eq!(std::fs::read_dir(run.checkpoints()).unwrap().count(), 0);
}

#[test]
fn checking_a_checkpoint_ends_when_a_rank_is_lost() {
    let tmp = tempfile::tempdir().unwrap();
    let run = RunDir::create(tmp.path(), "tiny", Some("run")).unwrap();
    std::fs::create_dir_all(run.checkpoints()).unwrap();
    let ranks = Arc::new(Lossy::new());
    let to = Checkpoints::at(&run).among(Arc::clone(&ranks) as _);
    let mut writer = Writer::start(to.clone()).unwrap();
    let zeros = || vec![0.0; model().weights.elements()];
    writer.begin(checkpoint("whole", &model(), Some([zeros(), zeros()])));
    let written = writer.wait(&mut |_, _| panic!("all of it is here"), &|| false);
    written.unwrap().unwrap();
    assert_eq!(to.newest_whole().unwrap(), "whole");
    for files in 0..FILES.len() {
        ranks.lose_after(files);
        let error = to.open_saved("whole").unwrap_err().to_string();
        assert!(error.starts_with("rank 1 is lost"), "{files}: {error}");
        ranks.lose_after(files);
        // The loss is reported, not a damaged checkpoint.
        let error = to.newest_whole().unwrap_err().to_string();
        assert!(error.starts_with("rank 1 is lost"), "{files}: {error}");
    }
}
