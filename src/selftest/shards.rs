//! Compares an optimizer whose moments are divided among ranks with an undivided one.

use std::sync::Arc;

use candle_core::{DType, Result, bail};

use super::SelfTest;
use crate::config::TrainConfig;
use crate::dist::Solo;
use crate::model::{Decoder, DecoderConfig, Sizes};
use crate::ops;
use crate::train::optimizer::Share;
use crate::train::{Hyperparameters, Optimizer};

const WORLD: usize = 3;
const STEPS: usize = 3;
const LR: f64 = 1e-2;

impl SelfTest<'_> {
    /// Checks that the shares of several ranks, one after the other, update a model as one process does.
    pub(super) fn shards(&mut self) {
        for optimizer in ["adamw", "muon"] {
            self.check(
                &format!("{optimizer} in {WORLD} shards: the same bits"),
                |t| t.shards_of(optimizer),
            );
        }
    }

    fn shards_of(&mut self, optimizer: &str) -> Result<String> {
        let device = self.device;
        let sizes = Sizes {
            n_layer: 2,
            n_head: 1,
            n_embd: 64,
            context_length: 8,
            vocab: 101,
        };
        let config = DecoderConfig::gpt2(sizes, true);
        let train: TrainConfig = serde_json::from_value(serde_json::json!({
            "steps": STEPS, "batch_tokens": 8, "lr": LR, "optimizer": optimizer,
        }))
        .map_err(candle_core::Error::wrap)?;
        let [whole, shared] = [(); 2].map(|()| Decoder::random(config.clone(), 5, device));
        let (whole, shared) = (whole?, shared?);
        let mut one = Optimizer::new(&whole, device)?;
        let share = |rank| Share::of(&shared.params, (rank, WORLD), true, optimizer == "muon");
        let of_rank = |rank| Optimizer::of_share(&shared, share(rank), Arc::new(Solo), device);
        let mut each = (0..WORLD).map(of_rank).collect::<Result<Vec<_>>>()?;
        let n = whole.weights.elements();
        for step in 1..=STEPS {
            let gradients = ops::read(&self.normal_there(&[n], DType::F32, 1.0)?)?;
            for model in [&whole, &shared] {
                ops::write(&model.grads.flat, &gradients)?;
            }
            let norm = Optimizer::grad_norm(&whole, &[])?;
            let values = Hyperparameters::of(&train, LR);
            one.step(&whole, norm, &values)?;
            for optimizer in &mut each {
                optimizer.step(&shared, norm, &values)?;
            }
            let (a, b) = (whole.weights.read_all()?, shared.weights.read_all()?);
            let mut pairs = a.iter().zip(&b);
            if let Some(at) = pairs.position(|(a, b)| a.to_bits() != b.to_bits()) {
                bail!(
                    "step {step}, weight {at}: {} and in shards {}",
                    a[at],
                    b[at]
                );
            }
        }
        Ok(format!("{STEPS} updates of {n} weights"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_passes() {
        let mut told = |passed: bool, name: &str, found: &str| {
            assert!(passed, "{name}: {found}");
        };
        let mut test = SelfTest::new(&candle_core::Device::Cpu, 1, &mut told);
        test.shards();
        assert_eq!(test.counts(), (2, 0));
    }
}
