//! Checks steps of several passes: the gradients of a batch's parts add up to the batch's. A single pass is compared with candle in
//! [`super::models`].

use candle_core::{Result, bail};

use super::super::compare::Twin;
use super::super::{Case, SelfTest};
use super::models::{BATCH, TIME, configs};
use crate::model::{Decoder, DecoderConfig, Mode, Workspace};
use crate::ops::{self, Accumulation, Precision, Sums};
use crate::train::Optimizer;

impl SelfTest<'_> {
    /// Checks that windows one by one give the same losses, gradients and norm as all windows at once.
    pub fn passes(&mut self) {
        for (name, config) in configs() {
            let config = self.fitted(&config);
            for case in self.cases() {
                let what = format!("a batch in parts, {name}, {}", case.name());
                self.check_shares(&what, |t| t.parts_of(&config, case));
            }
        }
    }

    fn parts_of(&mut self, config: &DecoderConfig, case: Case) -> Result<Vec<f64>> {
        let model = self.shaken(config, self.device)?;
        let ids = [
            self.ids(&[BATCH, TIME], config.vocab)?,
            self.ids(&[BATCH, TIME], config.vocab)?,
        ];
        let windows = |batch| {
            Workspace::computing(config, batch, TIME, Mode::Train, case.compute, self.device)
        };
        let (whole, one) = (windows(BATCH)?, windows(1)?);
        let mut sums = Sums::zero(self.device)?;
        fill(&whole, &ids, 0)?;
        ops::zero(&model.grads.flat)?;
        let want = pass(&model, &whole, Accumulation::Add, &mut sums)?;

        // NaN shows elements that the first pass does not write.
        ops::write(&model.grads.flat, &vec![f32::NAN; want.gradients.len()])?;
        sums.clear()?;
        let mut got = None;
        for (window, how) in [Accumulation::Write, Accumulation::Add]
            .into_iter()
            .enumerate()
        {
            fill(&one, &ids, window)?;
            got = Some(pass(&model, &one, how, &mut sums)?);
        }
        let Some(got) = got else {
            bail!("no pass was made")
        };
        // The order of summation differs and, on a GPU, the shapes of products, whose outputs are bf16.
        let allowed = match (case.compute, self.device.is_cuda()) {
            (Precision::F32, _) => 1e-5,
            (Precision::Bf16, false) => 1e-4,
            (Precision::Bf16, true) => 2e-2,
        };
        let mut shares = vec![apart(&want.gradients, &got.gradients)? / allowed];
        shares.push((got.losses / want.losses - 1.0).abs() / allowed);
        Optimizer::add_squares(&model, &[], &mut sums)?;
        let (norm, totals) = (norm(&got.gradients), sums.read()?);
        shares.push((totals.squares.sqrt() / norm - 1.0).abs() / 1e-9);
        shares.push((totals.losses / got.losses - 1.0).abs() / 1e-9);
        if let Some(share) = shares.iter().find(|share| share.is_nan() || **share > 1.0) {
            bail!("{share:.1e} times what is allowed: {shares:.2?}");
        }
        Ok(shares)
    }
}

/// The results of a pass.
struct Left {
    gradients: Vec<f32>,
    /// Sum of the losses since the sums were cleared.
    losses: f64,
}

/// Runs a pass over the windows in `ws`.
fn pass(model: &Decoder, ws: &Workspace, how: Accumulation, sums: &mut Sums) -> Result<Left> {
    let scale = 1.0 / (BATCH * TIME) as f32;
    model.forward_backward_with(ws, how, |head| head.cross_entropy(scale))?;
    sums.add_losses(&ws.losses)?;
    Ok(Left {
        gradients: ops::read(&model.grads.flat)?,
        losses: sums.read()?.losses,
    })
}

/// Copies windows from number `first` on, as many as there is room for.
fn fill(ws: &Workspace, ids: &[Twin; 2], first: usize) -> Result<()> {
    for (to, ids) in [&ws.inputs, &ws.targets].into_iter().zip(ids) {
        let all = ids.cpu.flatten_all()?.to_vec1::<u32>()?;
        ops::write(to, &all[first * TIME..][..to.elem_count()])?;
    }
    Ok(())
}

fn norm(values: &[f32]) -> f64 {
    let squares = values.iter().map(|&v| f64::from(v).powi(2));
    squares.sum::<f64>().sqrt()
}

/// Returns the distance of `got` from `want`, as a share of its norm.
fn apart(want: &[f32], got: &[f32]) -> Result<f64> {
    let off: Vec<f32> = want.iter().zip(got).map(|(a, b)| a - b).collect();
    let share = norm(&off) / norm(want);
    if share.is_nan() {
        let number = got.iter().filter(|v| v.is_nan()).count();
        bail!("{number} gradients are not numbers");
    }
    Ok(share)
}
