//! Forward passes over the rows of texts of different lengths, packed without padding. A beginning that several texts share is
//! computed once.

use candle_core::{Device, Result, Tensor, bail};
use serde::{Deserialize, Serialize};

use super::config::{DecoderConfig, Positions};
use super::decoder::Decoder;
use super::format::{Format, Mode};
use super::workspace::{Ragged, Workspace};
use crate::ops::{self, Branch, Precision};

/// Most logits that are read at once to find the likeliest token.
const LOGITS: usize = 4 << 20;

/// Memory for ragged passes of up to a number of rows.
#[derive(Debug)]
pub struct RaggedSpace {
    room: Workspace,
    /// Cosines and sines of all positions, `[context, D]`.
    rope: Option<Vec<f32>>,
    compute: Precision,
    /// Rows of the vocabulary that a softmax covers.
    vocab: usize,
    device: Device,
}

/// A token whose probability is requested: the row that it follows, and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub row: u32,
    pub token: u32,
}

impl RaggedSpace {
    /// Allocates memory for passes of up to `rows` rows with products in `compute` and a softmax over the first `vocab`
    /// rows of the vocabulary.
    ///
    /// # Errors
    /// When memory is refused, or the model has fewer rows.
    pub fn new(
        config: &DecoderConfig,
        rows: usize,
        compute: Precision,
        vocab: usize,
        device: &Device,
    ) -> Result<Self> {
        if vocab == 0 || vocab > config.vocab {
            bail!("{vocab} of {} rows of the vocabulary", config.vocab);
        }
        let format = Format::on(device, compute);
        let room =
            Workspace::with_room(config, (1, 1), Mode::Forward, format, rows.max(1), device)?;
        let rope = match &config.positions {
            Positions::Learned => None,
            Positions::Rotary(rope) => Some(rope.table(config.head_size, config.context_length)),
        };
        Ok(Self {
            room,
            rope,
            compute,
            vocab,
            device: device.clone(),
        })
    }

    /// Returns the largest number of rows of a pass.
    pub fn rows(&self) -> usize {
        self.room.rows()
    }

    /// Returns log p of every requested token, in nats, after a pass over `tokens` (M of them). `branches` cover all rows in
    /// order; a branch that continues another one continues its positions.
    ///
    /// # Errors
    /// When the rows do not fit the memory, a text the model's context, or an id the vocabulary.
    pub fn log_likelihoods(
        &self,
        model: &Decoder,
        tokens: &[u32],
        branches: &[Branch],
        asked: &[Asked],
    ) -> Result<Vec<f64>> {
        let (x, head) = self.final_rows(model, tokens, branches, asked)?;
        let targets: Vec<u32> = asked.iter().map(|a| a.token).collect();
        let targets = Tensor::from_vec(targets, asked.len(), &self.device)?;
        let chunk = &self.room.room_chunk()?;
        ops::head_log_likelihoods(self.compute, chunk, &x, &head, &targets)
    }

    /// Returns [`Self::log_likelihoods`] and, for each requested token, whether it is the likeliest one after its row.
    ///
    /// # Errors
    /// As [`Self::log_likelihoods`].
    pub fn greedy(
        &self,
        model: &Decoder,
        tokens: &[u32],
        branches: &[Branch],
        asked: &[Asked],
    ) -> Result<Vec<(f64, bool)>> {
        let log_likelihoods = self.log_likelihoods(model, tokens, branches, asked)?;
        let (x, head) = self.gathered(model, asked)?;
        let mut likeliest = Vec::with_capacity(asked.len());
        let rows = (LOGITS / self.vocab).clamp(1, asked.len());
        for from in (0..asked.len()).step_by(rows) {
            let n = rows.min(asked.len() - from);
            let logits = ops::zeros((n, self.vocab), &self.device)?;
            ops::head_logits(self.compute, &logits, &x.narrow(0, from, n)?, &head)?;
            ops::lend(&logits, |logits| {
                likeliest.extend(logits.chunks(self.vocab).map(first_maximum));
            })?;
        }
        let same = likeliest.iter().zip(asked).map(|(id, a)| *id == a.token);
        Ok(log_likelihoods.into_iter().zip(same).collect())
    }

    /// Runs the blocks. Returns the final rows that the requested tokens follow, and the head's weight.
    fn final_rows(
        &self,
        model: &Decoder,
        tokens: &[u32],
        branches: &[Branch],
        asked: &[Asked],
    ) -> Result<(Tensor, Tensor)> {
        let m = tokens.len();
        let ws = self.view(&model.config, m, branches)?;
        ops::write(&ws.inputs, tokens)?;
        if let Some(outside) = asked.iter().find(|a| a.row as usize >= m) {
            bail!("{outside:?} is not one of {m} rows");
        }
        model.trunk(&ws, &mut |_, _, _| Ok(()))?;
        self.gathered(model, asked)
    }

    /// Returns the rows of the latest pass that the requested tokens follow, `[R, C]`, and the head's weight.
    fn gathered(&self, model: &Decoder, asked: &[Asked]) -> Result<(Tensor, Tensor)> {
        let rows: Vec<u32> = asked.iter().map(|a| a.row).collect();
        let x = self.room.room_final(model.config.n_embd)?;
        let out = ops::zeros_of((rows.len(), model.config.n_embd), x.dtype(), &self.device)?;
        ops::gather_rows(&out, &x, &rows)?;
        let head = &model.operands(self.compute)?.head;
        Ok((out, head.narrow(0, 0, self.vocab)?))
    }

    /// Returns a workspace of `m` rows in this memory.
    fn view(&self, config: &DecoderConfig, m: usize, branches: &[Branch]) -> Result<Workspace> {
        let covered: usize = branches.iter().map(|s| s.len).sum();
        if m == 0 || covered != m {
            bail!("branches of {covered} rows do not cover {m} tokens");
        }
        let mut positions = Vec::with_capacity(m);
        let Some(pasts) = Branch::pasts(branches) else {
            bail!("a branch does not continue an earlier one: {branches:?}");
        };
        for (branch, from) in branches.iter().zip(pasts) {
            let to = from + branch.len;
            if to > config.context_length {
                bail!(
                    "a text of {to} tokens does not fit the model's context of {}",
                    config.context_length
                );
            }
            positions.extend((from..to).map(|p| p as u32));
        }
        let rope = match &self.rope {
            None => None,
            Some(table) => {
                let d = config.head_size;
                let rows = positions
                    .iter()
                    .flat_map(|&p| &table[p as usize * d..][..d]);
                let rows: Vec<f32> = rows.copied().collect();
                Some(Tensor::from_vec(rows, (m, d), &self.device)?)
            }
        };
        let ragged = Ragged {
            branches: branches.to_vec(),
            positions,
        };
        self.room.ragged_view(config, m, rope, ragged)
    }
}

/// Returns the index of the largest value, the first one of equals.
fn first_maximum(row: &[f32]) -> u32 {
    let mut best = 0;
    for (i, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = i;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sizes;

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let sizes = Sizes {
            n_layer: 1,
            n_head: 2,
            n_embd: 16,
            context_length: 8,
            vocab: 32,
        };
        let model = Decoder::random(DecoderConfig::gpt2(sizes, true), 1, &Device::Cpu).unwrap();
        let space =
            |vocab| RaggedSpace::new(&model.config, 12, Precision::F32, vocab, &Device::Cpu);
        assert!(space(33).is_err());
        let space = space(30).unwrap();
        let branch = |start, len, after| Branch { start, len, after };
        let refused = |tokens: &[u32], branches: &[Branch], asked: Asked| {
            let answer = space.log_likelihoods(&model, tokens, branches, &[asked]);
            answer.unwrap_err().to_string()
        };
        let at = |row, token| Asked { row, token };
        let whole = [branch(0, 4, None)];
        assert!(
            space
                .log_likelihoods(&model, &[1; 4], &whole, &[at(3, 29)])
                .is_ok()
        );
        assert!(refused(&[1; 4], &whole, at(4, 1)).contains("not one of 4 rows"));
        assert!(refused(&[1; 4], &whole, at(3, 30)).contains("30"));
        assert!(refused(&[1; 5], &whole, at(3, 1)).contains("do not cover 5"));
        assert!(refused(&[1; 13], &[branch(0, 13, None)], at(0, 1)).contains("context of 8"));
        let overlapping = [branch(0, 4, None), branch(3, 4, None)];
        assert!(refused(&[1; 8], &overlapping, at(0, 1)).contains("do not follow one another"));
        let long = [branch(0, 6, None), branch(6, 3, Some(0))];
        assert!(refused(&[1; 9], &long, at(0, 1)).contains("context of 8"));
        let itself = [branch(0, 6, None), branch(6, 1, Some(1))];
        assert!(refused(&[1; 7], &itself, at(0, 1)).contains("does not continue an earlier one"));
    }
}
