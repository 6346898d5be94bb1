//! A probe: attention ranks of the model in training, a few windows and one layer at a time.

use anyhow::Result;
use candle_core::{Error, Tensor};
use serde::{Deserialize, Serialize};

use super::passes::Passes;
use super::peers::Peers;
use crate::corpus::{Tokens, even_starts_rank};
use crate::model::{Decoder, DecoderConfig, Format, Mode, Workspace, similarity};
use crate::ops::{self, Precision};
use crate::rank::{Count, ETA, LayerStats, ProbeAccumulator, ProbeResult};

/// Ranks and what is measured with them; the error describes attention that is not finite.
pub type Ranks = std::result::Result<(ProbeResult, LayerStats), String>;

/// Buffers of a probe's passes.
#[derive(Debug)]
pub struct Buffers {
    workspace: Workspace,
    /// Attention matrices of one layer, `[B, H, T, T]`.
    probs: Tensor,
}

impl Buffers {
    /// Buffers in the memory of `shared`, where its type allows that.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new(shared: &Workspace, shape: &DecoderConfig, passes: &Passes) -> Result<Self> {
        let device = shared.losses.device();
        let (batch, time) = (passes.probe_batch(shape), passes.probe_length);
        let workspace = match passes.probe_shares_memory() {
            true => shared.forward_view(shape, batch, time, Precision::F32)?,
            false => {
                let format = Format {
                    compute: Precision::F32,
                    ..passes.format
                };
                Workspace::with_room(shape, (batch, time), Mode::Trunk, format, 0, device)?
            }
        };
        let probs = ops::zeros((batch, shape.n_head, time, time), device)?;
        Ok(Self { workspace, probs })
    }
}

/// A process's counts in its windows of a probe; the error describes attention that is not finite.
pub type Found = std::result::Result<Counts, String>;

/// Counts of some windows of a probe, in their order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// The counts of each layer, window by window and head by head.
    heads: Vec<Vec<Count>>,
    /// Similarity of each layer's input and output, window by window.
    similar: Vec<Vec<f64>>,
}

/// Counts the attention of this process's part of the probe's windows.
///
/// # Errors
/// When an operation fails, or another rank is lost meanwhile.
pub fn count(
    model: &Decoder,
    buffers: &Buffers,
    val: &Tokens,
    tau: f64,
    passes: &Passes,
    peers: &Peers,
) -> Result<Found> {
    let (shape, ws, probs) = (&model.config, &buffers.workspace, &buffers.probs);
    let (length, c) = (passes.probe_length, shape.n_embd);
    let starts = even_starts_rank(val.len(), length, passes.probe_windows);
    let ranks = ProbeAccumulator::new(shape.n_layer, shape.n_head, (tau, ETA), length)?;
    let mut ids = vec![0u32; ws.batch * length];
    let mut counts = Counts {
        heads: vec![Vec::new(); shape.n_layer],
        similar: vec![Vec::new(); shape.n_layer],
    };
    // Whole passes, whose bits do not depend on which process computes them.
    let own = peers.part(starts.len().div_ceil(ws.batch));
    for starts in starts.chunks(ws.batch).skip(own.start).take(own.len()) {
        for (row, &start) in ids
            .chunks_exact_mut(length)
            .zip(starts.iter().chain(std::iter::repeat(&starts[0])))
        {
            val.copy_to(start, row)?;
        }
        ops::write(&ws.inputs, &ids)?;
        let matrices = starts.len() * shape.n_head * length * length;
        let seen = starts.len() * length * c;
        let (mut refused, mut lost) = (None, None);
        let counted = model.attentions(ws, |layer, qkv, s| {
            // Attention ranks of long windows take seconds per layer, so lost ranks are looked for at every layer.
            peers.check().map_err(|why| {
                let words = why.to_string();
                lost = Some(why);
                Error::Msg(words)
            })?;
            ops::attention_probs(probs, qkv, s)?;
            let values = ops::read(probs)?;
            match ranks.count(layer, &values[..matrices]) {
                Ok(found) => counts.heads[layer].extend(found),
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
            drop(values);
            let (before, after) = (ops::read(ws.x(layer))?, ops::read(ws.x(layer + 1))?);
            // Window by window, so that the sum does not depend on how many there are in a pass.
            let windows = before[..seen].chunks(length * c);
            for (before, after) in windows.zip(after[..seen].chunks(length * c)) {
                counts.similar[layer].push(similarity(before, after, c));
            }
            Ok(())
        });
        if let Some(why) = lost {
            return Err(why.into());
        }
        counted?;
        if let Some(error) = refused {
            return Ok(Err(error.to_string()));
        }
    }
    Ok(Ok(counts))
}

/// Ranks and masses over the probe's windows from the counts of all processes, block influence, and gradient norms of W_Q and W_K.
///
/// # Errors
/// When an operation fails.
pub fn ranks(model: &Decoder, found: Vec<Found>, tau: f64, passes: &Passes) -> Result<Ranks> {
    let (shape, length) = (&model.config, passes.probe_length);
    let mut ranks = ProbeAccumulator::new(shape.n_layer, shape.n_head, (tau, ETA), length)?;
    let mut similar = vec![0.0; shape.n_layer];
    for found in found {
        let counts = match found {
            Ok(counts) => counts,
            Err(why) => return Ok(Err(why)),
        };
        for (layer, heads) in counts.heads.iter().enumerate() {
            ranks.add_counts(layer, heads);
        }
        for (sum, windows) in similar.iter_mut().zip(counts.similar) {
            windows.iter().for_each(|x| *sum += x);
        }
    }
    let tokens = (passes.probe_windows * length) as f64;
    let influence: Vec<f64> = similar.iter().map(|s| 1.0 - s / tokens).collect();
    let mut stats = LayerStats::default();
    // Values that are not finite are left out.
    if influence.iter().all(|x| x.is_finite()) {
        stats.block_influence = influence;
    }
    // Before a first step, or the first after a resume, there is no gradient.
    let (q, k) = model.query_key_gradients()?;
    let mut norms = q.iter().chain(&k);
    if norms.clone().all(|norm| norm.is_finite()) && norms.any(|norm| *norm > 0.0) {
        (stats.grad_q, stats.grad_k) = (q, k);
    }
    Ok(Ok((ranks.finish(), stats)))
}
