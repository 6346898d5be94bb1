use super::*;
use crate::model::Sizes;

const TIME: usize = 8;

fn shape(n_layer: usize, n_embd: usize) -> DecoderConfig {
    let sizes = Sizes {
        n_layer,
        n_head: 2,
        n_embd,
        context_length: TIME,
        vocab: 16,
    };
    DecoderConfig::gpt2(sizes, true)
}

/// A learner with a random model, for steps of two windows at a time.
fn learner(shape: DecoderConfig, val: &Tokens) -> Learner {
    let passes = Passes {
        eval_windows: 4,
        eval_batch: 2,
        probe_windows: 2,
        ..Passes::usual(2, TIME)
    };
    let mut learner = Learner::new(shape.clone(), passes, val.len(), &Device::Cpu);
    fill(&mut learner, shape, true);
    learner
}

fn fill(learner: &mut Learner, shape: DecoderConfig, trainable: bool) {
    learner
        .replace(shape, trainable, |model, _| Ok(model.randomise_all(7)?))
        .unwrap();
}

fn text() -> Tokens {
    Tokens::owned((0..200u16).map(|i| (i * i + 3 * i) % 16).collect())
}

/// `windows` windows of a text, from the window `first` on.
fn batch(first: usize, windows: usize) -> Batch {
    let ids: Vec<u32> = (0..100).map(|i| (i * 7 + i / 5) % 16).collect();
    let of = |shift: usize| {
        let from = first * TIME + shift;
        ids[from..from + windows * TIME].to_vec()
    };
    Batch {
        inputs: of(0),
        targets: of(1),
    }
}

fn values() -> Hyperparameters<'static> {
    Hyperparameters {
        lr: 1e-2,
        betas: [0.9, 0.95],
        weight_decay: 0.1,
        clip: 1.0,
        frozen: &[],
        muon: None,
    }
}

#[test]
fn the_gradients_of_two_halves_add_up_to_the_whole_batchs() {
    let (val, tokens) = (text(), 8 * TIME);
    let gradients = |first, windows| {
        let mut learner = learner(shape(2, 16), &val);
        let part = batch(first, windows);
        let done = learner.accumulate(&part, Objective::CrossEntropy, tokens);
        done.unwrap();
        let sum = learner.sums().unwrap().read().unwrap().losses;
        (ops::read(&learner.gradients().unwrap().flat).unwrap(), sum)
    };
    let (whole, loss) = gradients(0, 8);
    let ((first, first_loss), (second, second_loss)) = (gradients(0, 4), gradients(4, 4));
    assert!(whole.iter().any(|g| g.abs() > 1e-3));
    assert_ne!(first, second);
    for ((a, b), whole) in first.iter().zip(&second).zip(&whole) {
        assert!((a + b - whole).abs() < 1e-6, "{a} + {b} is not {whole}");
    }
    assert!((first_loss + second_loss - loss).abs() < 1e-4);
}

/// Checks that losses, ranks and step equal those of a learner that was made for the shape.
fn assert_as_new(learner: &mut Learner, shape: DecoderConfig, val: &Tokens) {
    let mut new = self::learner(shape, val);
    let step = |learner: &mut Learner| {
        let step = learner
            .train_step(&batch(0, 4), Objective::CrossEntropy, &values())
            .unwrap();
        let ranks = learner.probe(val, 0.9).unwrap().unwrap().0;
        let weights = learner.model().unwrap().weights.read_all().unwrap();
        (
            (step.loss, step.grad_norm),
            learner.evaluate(val).unwrap(),
            ranks.rank,
            weights,
        )
    };
    assert_eq!(step(learner), step(&mut new));
}

#[test]
fn a_model_of_another_width_or_depth_takes_the_place_of_a_model() {
    let val = text();
    let mut learner = learner(shape(2, 16), &val);
    learner.evaluate(&val).unwrap();
    learner.probe(&val, 0.9).unwrap().unwrap();
    for other in [shape(2, 24), shape(2, 8), shape(3, 8), shape(1, 16)] {
        fill(&mut learner, other.clone(), true);
        assert_eq!(learner.shape(), &other);
        assert_as_new(&mut learner, other, &val);
    }
}

#[test]
fn a_model_that_was_only_measured_can_be_trained() {
    let val = text();
    let mut learner = learner(shape(1, 8), &val);
    fill(&mut learner, shape(2, 16), false);
    assert_eq!(learner.holds(), Some(false));
    learner.evaluate(&val).unwrap();
    assert_as_new(&mut learner, shape(2, 16), &val);
}
