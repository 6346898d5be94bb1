//! Computes the memory of a model and its passes from shapes: the same bytes that [`super::Workspace`] and the arenas allocate.

use super::config::{DecoderConfig, Positions};
use super::format::{Format, Mode};

/// Bytes of an f32.
const WHOLE: u64 = 4;
/// Bytes of a bf16.
const HALF: u64 = 2;

/// Returns the bytes of a model's weights and, for training, of their gradients and AdamW's two moments. On a GPU the weights have
/// a bf16 copy.
pub fn arena_bytes(config: &DecoderConfig, trained: bool, format: Format) -> u64 {
    let copies = if trained { 4 } else { 1 };
    let rounded = if format.gpu { HALF } else { 0 };
    (WHOLE * copies + rounded) * config.parameters()
}

/// Returns the bytes of a [`super::Workspace`] for `batch` windows of `time` tokens, with memory for forward passes of up to `rows`
/// rows (B T).
pub fn workspace_bytes(
    config: &DecoderConfig,
    (batch, time): (usize, usize),
    mode: Mode,
    format: Format,
    rows: usize,
) -> u64 {
    let m = batch * time;
    let rows = rows.max(m);
    let c = config.n_embd as u64;
    let act = format.activation().size_in_bytes() as u64;
    let (layers, xs) = mode.kept(config.n_layer);
    let (att, qkv) = (config.attention_width() as u64, config.qkv_width() as u64);
    let (fc, inner) = (config.fc_width() as u64, config.n_inner as u64);
    // A row of one layer: norms, qkv, attention and MLP; the stream between them, statistics and log-sum-exps.
    let layer = act * (2 * c + qkv + att + fc + inner) + WHOLE * (c + 4 + config.n_head as u64);
    // A row outside the layers: the final norm and its statistics, losses, token ids.
    let outside = act * c + WHOLE * 5;
    let stream = WHOLE * c;
    let all = layers as u64 * layer + xs as u64 * stream + outside;
    // The first layer and the two streams that a forward pass of more rows needs.
    let first = layer + 2 * stream + outside;
    let mut bytes = m as u64 * all + (rows - m) as u64 * first;
    let (chunk, stride) = mode.chunk(format, rows, config.vocab);
    bytes += WHOLE * (chunk * stride) as u64;
    if mode.trains() {
        let d_att = if att == c { 0 } else { att };
        let d_act = if fc == inner { 0 } else { inner };
        let rounded = if format.rounds_stream_gradient() {
            c
        } else {
            0
        };
        let dx = format.stream_gradient().size_in_bytes() as u64;
        bytes += m as u64 * (dx * c + act * (c + qkv + fc + d_att + d_act + rounded));
    }
    if let Positions::Rotary(_) = config.positions {
        bytes += WHOLE * (time * config.head_size) as u64;
    }
    bytes
}

/// Returns the bytes of a pass: parameters, activations, the head's scratch memory, and for training gradients of both and two
/// moments.
pub fn memory_bytes(
    config: &DecoderConfig,
    batch: usize,
    time: usize,
    mode: Mode,
    format: Format,
) -> u64 {
    arena_bytes(config, mode.trains(), format)
        + workspace_bytes(config, (batch, time), mode, format, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sizes;
    use crate::ops::Precision;

    /// The most that an H200 had allocated in `heirloom bench train --device cuda --preset gpt2-124m --batch 32 --dtype
    /// bf16` (docs/gpu.md), cuBLASLt's workspace and partial sums included.
    #[test]
    fn memory_on_a_gpu_is_what_was_measured() {
        const MEASURED: f64 = 14.96e9;
        let config = DecoderConfig::gpt2(
            Sizes {
                n_layer: 12,
                n_head: 12,
                n_embd: 768,
                context_length: 1024,
                vocab: 50304,
            },
            true,
        );
        let format = Format {
            compute: Precision::Bf16,
            gpu: true,
        };
        let bytes = memory_bytes(&config, 32, 1024, Mode::Train, format) as f64;
        assert!((0.98..1.0).contains(&(bytes / MEASURED)), "{bytes:.3e}");
        // On the CPU everything is f32.
        let cpu = memory_bytes(&config, 32, 1024, Mode::Train, Format::PLAIN) as f64;
        assert!(cpu > 1.5 * bytes);
        let again = memory_bytes(&config, 32, 1024, Mode::Recompute, format) as f64;
        assert!(again < 0.6 * bytes);
    }
}
