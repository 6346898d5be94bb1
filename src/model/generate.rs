//! Generates text from a model, token by token, with a cache of keys and values.

use candle_core::{Device, Result, Tensor, bail};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::config::{DecoderConfig, Positions};
use super::decoder::{Decoder, linear};
use super::format::Mode;
use super::workspace::Workspace;
use crate::ops;

/// Most tokens of a prompt that are read at once.
const PIECE: usize = 256;

/// Settings for sampling the next token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this; 0 takes the likeliest token.
    pub temperature: f64,
    /// Number of likeliest tokens to choose from; 0: all.
    pub top_k: usize,
    /// Choose from the likeliest tokens that together reach this probability (nucleus sampling, arXiv 1904.09751); 1: all.
    pub top_p: f64,
    pub seed: u64,
}

/// Returns the bytes of the keys and values of a text of up to `room` tokens.
pub fn cache_bytes(config: &DecoderConfig, room: usize) -> u64 {
    let kept = (2 * config.n_layer * config.n_kv_head * config.head_size) as u64;
    4 * kept * room as u64
}

/// A text in progress.
pub struct Generator<'m> {
    model: &'m Decoder,
    sampling: Sampling,
    rng: ChaCha8Rng,
    /// `[K, room, D]` for each layer.
    keys: Vec<Tensor>,
    values: Vec<Tensor>,
    /// Cosines and sines of all positions.
    rope: Option<Tensor>,
    /// Number of positions read.
    past: usize,
    room: usize,
    one: Workspace,
    device: Device,
}

impl<'m> Generator<'m> {
    /// Makes an empty text with memory for `room` tokens.
    ///
    /// # Errors
    /// When the model's context is shorter than that.
    pub fn new(
        model: &'m Decoder,
        room: usize,
        sampling: Sampling,
        device: &Device,
    ) -> Result<Self> {
        let c = &model.config;
        if room == 0 || room > c.context_length {
            bail!(
                "a text of {room} tokens does not fit the model's context of {}",
                c.context_length
            );
        }
        let cache = || -> Result<Vec<Tensor>> {
            let shape = (c.n_kv_head, room, c.head_size);
            (0..c.n_layer).map(|_| ops::zeros(shape, device)).collect()
        };
        let rope = match &c.positions {
            Positions::Learned => None,
            Positions::Rotary(rope) => {
                let table = rope.table(c.head_size, room);
                Some(Tensor::from_vec(table, (room, c.head_size), device)?)
            }
        };
        Ok(Self {
            model,
            sampling,
            rng: ChaCha8Rng::seed_from_u64(sampling.seed),
            keys: cache()?,
            values: cache()?,
            rope,
            past: 0,
            room,
            one: Workspace::new(c, 1, 1, Mode::Forward, device)?,
            device: device.clone(),
        })
    }

    /// Returns the number of tokens that still fit.
    pub fn left(&self) -> usize {
        self.room - self.past
    }

    /// Reads `ids` and returns the logits `[V]` of the next token.
    ///
    /// # Errors
    /// When `ids` is empty, or does not fit the remaining positions or the vocabulary.
    pub fn read(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        if ids.is_empty() {
            bail!("a text needs at least one token to continue from");
        }
        let mut logits = Vec::new();
        let pieces = ids.chunks(PIECE).count();
        for (i, piece) in ids.chunks(PIECE).enumerate() {
            if piece.len() == 1 {
                self.step(&self.one, piece)?;
                logits = self.logits(&self.one)?;
            } else {
                let c = &self.model.config;
                let ws = Workspace::new(c, 1, piece.len(), Mode::Forward, &self.device)?;
                self.step(&ws, piece)?;
                if i + 1 == pieces {
                    logits = self.logits(&ws)?;
                }
            }
            self.past += piece.len();
        }
        Ok(logits)
    }

    /// Samples a token.
    pub fn draw(&mut self, logits: &[f32]) -> u32 {
        draw(logits, self.sampling, &mut self.rng)
    }

    /// Runs `ids` through all blocks, after those read before.
    fn step(&self, ws: &Workspace, ids: &[u32]) -> Result<()> {
        let (model, past, time) = (self.model, self.past, ws.time);
        if past + time > self.room {
            bail!(
                "the text has reached the {} tokens that were planned for it: use a shorter prompt or generate fewer tokens",
                self.room
            );
        }
        ops::write(&ws.inputs, ids)?;
        let here = |table: &Option<Tensor>| -> Result<Option<Tensor>> {
            table.as_ref().map(|t| t.narrow(0, past, time)).transpose()
        };
        let (wpe, rope) = (here(&model.w.wpe)?, here(&self.rope)?);
        ops::embedding(ws.x(0), &ws.inputs, &model.w.wte, wpe.as_ref())?;
        for (layer, w) in model.w.blocks.iter().enumerate() {
            let (x, out, b) = (ws.x(layer), ws.x(layer + 1), ws.layer(layer));
            let shape = model.shape_of(layer, 1, time);
            model.norm(&w.norm_1, &b.norm_1, &b.stats_1, x)?;
            linear(ws.compute, (&w.qkv, &w.qkv), &b.qkv, &b.norm_1, None)?;
            if let Some(table) = &rope {
                ops::rope(&b.qkv, table, shape)?;
            }
            let (keys, values) = (&self.keys[layer], &self.values[layer]);
            ops::attention_cached(&b.att, keys, values, &b.qkv, past, shape)?;
            linear(
                ws.compute,
                (&w.attention_out, &w.attention_out),
                &b.x_mid,
                &b.att,
                Some(x),
            )?;
            model.norm(&w.norm_2, &b.norm_2, &b.stats_2, &b.x_mid)?;
            linear(ws.compute, (&w.fc, &w.fc), &b.fc, &b.norm_2, None)?;
            model.activation(&b.act, &b.fc)?;
            linear(
                ws.compute,
                (&w.fc_out, &w.fc_out),
                out,
                &b.act,
                Some(&b.x_mid),
            )?;
        }
        let last = ws.x(model.config.n_layer);
        model.norm(&model.w.norm_final, &ws.x_final, &ws.stats_final, last)
    }

    /// Returns the logits of the workspace's last position.
    fn logits(&self, ws: &Workspace) -> Result<Vec<f32>> {
        let logits = ops::zeros((1, self.model.config.vocab), &self.device)?;
        let last = ws.x_final.narrow(0, ws.time - 1, 1)?;
        ops::head_logits(ws.compute, &logits, &last, &self.model.w.head)?;
        ops::read(&logits)
    }
}

/// Samples from logits; ties go to the lower id.
fn draw(logits: &[f32], s: Sampling, rng: &mut impl Rng) -> u32 {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let logit = |id: u32| logits[id as usize];
    let likelier = |a: &u32, b: &u32| logit(*b).total_cmp(&logit(*a)).then(a.cmp(b));
    if s.temperature <= 0.0 {
        return order.into_iter().min_by(likelier).unwrap_or(0);
    }
    order.sort_unstable_by(likelier);
    if s.top_k > 0 {
        order.truncate(s.top_k);
    }
    let most = f64::from(logit(order[0]));
    let weight = |id: u32| ((f64::from(logit(id)) - most) / s.temperature).exp();
    let weights: Vec<f64> = order.iter().map(|&id| weight(id)).collect();
    let total: f64 = weights.iter().sum();
    let mut kept = 0.0;
    let mut n = 0;
    while n < weights.len() && (n == 0 || kept < s.top_p * total) {
        kept += weights[n];
        n += 1;
    }
    let mut at = rng.random::<f64>() * kept;
    for (id, weight) in order[..n].iter().zip(&weights) {
        at -= weight;
        if at < 0.0 {
            return *id;
        }
    }
    order[n - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sizes;

    const SIZES: Sizes = Sizes {
        n_layer: 3,
        n_head: 4,
        n_embd: 32,
        context_length: 300,
        vocab: 40,
    };
    const GREEDY: Sampling = Sampling {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        seed: 0,
    };

    #[test]
    fn kept_keys_and_values_give_the_logits_of_the_whole_text() {
        let llama = DecoderConfig {
            n_kv_head: 2,
            ..DecoderConfig::llama(SIZES)
        };
        for config in [DecoderConfig::gpt2(SIZES, true), llama] {
            let model = Decoder::random(config, 5, &Device::Cpu).unwrap();
            let ids: Vec<u32> = (0..270).map(|i| (i * 7 + i / 5) % 40).collect();
            let ws = Workspace::new(&model.config, 1, 270, Mode::Forward, &Device::Cpu).unwrap();
            ops::write(&ws.inputs, &ids).unwrap();
            let whole = ops::read(&model.logits(&ws).unwrap()).unwrap();
            let mut text = Generator::new(&model, 270, GREEDY, &Device::Cpu).unwrap();
            let mut read = 0;
            // Reads a long prompt in pieces, single tokens, and a short piece.
            for n in [260, 1, 1, 8] {
                let logits = text.read(&ids[read..read + n]).unwrap();
                read += n;
                let want = &whole[(read - 1) * 40..read * 40];
                for (g, w) in logits.iter().zip(want) {
                    assert!((g - w).abs() < 1e-5, "after {read}: {g}, not {w}");
                }
            }
            assert_eq!(text.left(), 0);
            let error = text.read(&[1]).unwrap_err().to_string();
            assert!(error.contains("reached the 270 tokens"), "{error}");
        }
    }

    #[test]
    fn draws_follow_the_probabilities_that_are_let_in() {
        let logits = [0.0f32, 3f32.ln(), f32::NEG_INFINITY, 6f32.ln()];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(draw(&logits, GREEDY, &mut rng), 3);
        let mut count = |s: Sampling| {
            let mut n = [0; 4];
            for _ in 0..10_000 {
                n[draw(&logits, s, &mut rng) as usize] += 1;
            }
            n
        };
        let all = Sampling {
            temperature: 1.0,
            ..GREEDY
        };
        let n = count(all);
        assert!(
            (900..1100).contains(&n[0]) && n[2] == 0 && (5800..6200).contains(&n[3]),
            "{n:?}"
        );
        let n = count(Sampling { top_k: 2, ..all });
        assert!(n[0] == 0 && (3100..3600).contains(&n[1]), "{n:?}");
        let n = count(Sampling { top_p: 0.6, ..all });
        assert_eq!(n, [0, 0, 0, 10_000]);
        // Half the temperature squares the odds: 36 to 9 to 1.
        let n = count(Sampling {
            temperature: 0.5,
            ..all
        });
        assert!((7600..8000).contains(&n[3]), "{n:?}");
    }
}
