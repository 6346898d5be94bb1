//! A batch in parts: one window at a time adds up to the gradients of all.

use candle_core::{Device, Result, Tensor};

use super::super::{Case, SelfTest};
use super::models::{BATCH, TIME, of_name, workspace};
use crate::model::{DecoderConfig, Mode, Workspace};
use crate::ops;

impl SelfTest<'_> {
    /// Checks accumulated gradients of models of both families.
    pub(super) fn micro_batches(&mut self) {
        for name in ["gpt2", "llama", "olmo"] {
            let config = of_name(name);
            let config = DecoderConfig {
                head_size: self.fit(config.head_size),
                n_inner: self.fit(config.n_inner),
                ..config
            };
            for case in self.cases() {
                let what = format!("micro-batches of {name}, {}", case.name());
                self.check_shares(&what, |t| t.accumulated(&config, case));
            }
        }
    }

    /// One window at a time adds up to the gradients of all, within rounding.
    fn accumulated(&mut self, config: &DecoderConfig, case: Case) -> Result<Vec<f64>> {
        let model = self.shaken(config, self.device)?;
        let ids = [
            self.ids(&[BATCH, TIME], config.vocab)?,
            self.ids(&[BATCH, TIME], config.vocab)?,
        ];
        let scale = 1.0 / (BATCH * TIME) as f32;
        let all = workspace(config, case.compute, self.device, [&ids[0], &ids[1]])?;
        ops::zero(&model.grads.flat)?;
        model.forward_backward(&all, scale)?;
        let want = (ops::read(&all.losses)?, ops::read(&model.grads.flat)?);
        let one = (case.compute, self.device);
        let one = Workspace::computing(config, 1, TIME, Mode::Train, one.0, one.1)?;
        ops::zero(&model.grads.flat)?;
        let mut losses = Vec::new();
        for window in 0..BATCH {
            for (into, ids) in [&one.inputs, &one.targets].into_iter().zip(&ids) {
                let ids = ids.cpu.narrow(0, window, 1)?;
                ops::write(into, &ids.flatten_all()?.to_vec1::<u32>()?)?;
            }
            model.forward_backward(&one, scale)?;
            losses.extend(ops::read(&one.losses)?);
        }
        let got = (losses, ops::read(&model.grads.flat)?);
        let mut shares = Vec::new();
        for (want, got, most) in [
            (&want.0, &got.0, case.one_of(1e-5, 1e-3, 1e-2)),
            (&want.1, &got.1, case.one_of(1e-5, 1e-3, 2e-2)),
        ] {
            let exact = want.iter().map(|&v| f64::from(v)).collect();
            let exact = Tensor::from_vec(exact, want.len(), &Device::Cpu)?;
            let got = self.put(got, &[got.len()], candle_core::DType::F32)?;
            shares.push(self.agree_in_norm(&got, &exact, most.0)?);
        }
        Ok(shares)
    }
}
