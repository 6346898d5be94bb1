//! Forward passes in parts: embedding, chosen layers, head. They measure a model without some of its layers, without building such a
//! model.

use candle_core::{Result, Tensor, bail};

use super::decoder::Decoder;
use super::workspace::Workspace;
use crate::ops;

impl Decoder {
    /// Embeds the windows in `ws`: the residual stream `ws.x(0)`, (B T, C).
    ///
    /// # Errors
    /// When a token is not in the vocabulary.
    pub fn embed(&self, ws: &Workspace) -> Result<()> {
        let wpe = match (&self.w.wpe, &ws.ragged) {
            (Some(wpe), Some(ragged)) => {
                let rows = (ragged.positions.len(), self.config.n_embd);
                let rows = ops::zeros(rows, wpe.device())?;
                ops::gather_rows(&rows, wpe, &ragged.positions)?;
                Some(rows)
            }
            (wpe, _) => wpe.clone(),
        };
        ops::embedding(ws.x(0), &ws.inputs, &self.w.wte, wpe.as_ref())
    }

    /// Runs the residual stream in `ws.x(0)` through these layers, in this order. `each` gets a layer's place in the list,
    /// and the stream (B T, C) before and after it. Returns the stream after the last one.
    ///
    /// # Errors
    /// When the model lacks a layer, there are more layers than the workspace has streams for (one for forward passes has
    /// two, used alternately), or an operation or `each` fails.
    pub fn through<'w>(
        &self,
        ws: &'w Workspace,
        layers: &[usize],
        each: &mut dyn FnMut(usize, &Tensor, &Tensor) -> Result<()>,
    ) -> Result<&'w Tensor> {
        let n_layer = self.config.n_layer;
        if layers.iter().any(|&layer| layer >= n_layer) || layers.len() > n_layer {
            bail!("cannot run layers {layers:?}: the model has {n_layer}, numbered from 0");
        }
        for (place, &layer) in layers.iter().enumerate() {
            let (before, after) = (ws.x(place), ws.x(place + 1));
            self.block(layer, before, after, ws.layer(place), ws)?;
            each(place, before, after)?;
        }
        Ok(ws.x(layers.len()))
    }

    /// Computes the loss of every token from the residual stream `x` after the last layer: `ws.losses[B T]` in nats, with a
    /// softmax over the first `vocab` rows of the head.
    ///
    /// # Errors
    /// When the head has fewer rows, or a target is not among them.
    pub fn losses_from(&self, ws: &Workspace, x: &Tensor, vocab: usize) -> Result<()> {
        self.norm(&self.w.norm_final, &ws.x_final, &ws.stats_final, x)?;
        self.losses(ws, vocab)
    }

    /// Computes [`Self::losses_from`] from `ws.x_final`.
    pub(super) fn losses(&self, ws: &Workspace, vocab: usize) -> Result<()> {
        let head = self.operands(ws.compute)?.head.narrow(0, 0, vocab)?;
        ops::head_cross_entropy(
            ws.compute,
            &ws.losses,
            None,
            &ws.chunk,
            &ws.x_final,
            &head,
            &ws.targets,
            1.0,
        )
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::model::{DecoderConfig, Mode, Sizes};

    fn model(n_layer: usize) -> Decoder {
        let sizes = Sizes {
            n_layer,
            n_head: 2,
            n_embd: 8,
            context_length: 6,
            vocab: 11,
        };
        Decoder::random(DecoderConfig::gpt2(sizes, true), 5, &Device::Cpu).unwrap()
    }

    fn workspace(model: &Decoder) -> Workspace {
        let ws = Workspace::new(&model.config, 2, 6, Mode::Forward, &Device::Cpu).unwrap();
        let ids: Vec<u32> = (0..12).map(|i| (i * i + 3) % 11).collect();
        ops::write(&ws.inputs, &ids).unwrap();
        ops::write(&ws.targets, &ids).unwrap();
        ws
    }

    fn losses(model: &Decoder, layers: &[usize]) -> Vec<f32> {
        let ws = workspace(model);
        model.embed(&ws).unwrap();
        let x = model.through(&ws, layers, &mut |_, _, _| Ok(())).unwrap();
        model.losses_from(&ws, x, 11).unwrap();
        ops::read(&ws.losses).unwrap().to_vec()
    }

    #[test]
    fn a_pass_in_parts_is_a_forward_pass() {
        let model = model(3);
        let ws = workspace(&model);
        model.forward(&ws).unwrap();
        let whole = ops::read(&ws.losses).unwrap().to_vec();
        assert_eq!(losses(&model, &[0, 1, 2]), whole);
        assert_ne!(losses(&model, &[0, 2]), whole);
    }

    #[test]
    fn a_pass_through_some_layers_is_that_of_a_model_of_these_layers() {
        let all = model(4);
        for layers in [vec![0, 2, 3], vec![3, 1], vec![2], vec![]] {
            let few = model(layers.len().max(1));
            for (i, p) in few.params.iter().enumerate() {
                let layer = p.layer.map(|l| layers.get(l).copied().unwrap_or(0));
                let of = |q: &&crate::model::Param| q.stem == p.stem && q.layer == layer;
                let j = all.params.iter().position(|q| of(&q)).unwrap();
                let values = all.weights.read(j).unwrap();
                few.weights.write(i, &values).unwrap();
            }
            let there: Vec<usize> = (0..layers.len()).collect();
            assert_eq!(losses(&all, &layers), losses(&few, &there), "{layers:?}");
        }
        let ws = workspace(&all);
        assert!(all.through(&ws, &[4], &mut |_, _, _| Ok(())).is_err());
    }
}
