//! Log-likelihoods of continuations: requests become token ids ([`Encoder`]), token ids passes ([`Prepared`]), passes
//! scores ([`Scorer`]).

mod encode;
mod pack;
mod pass;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anyhow::{Result, ensure};
use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::model::{Decoder, DecoderConfig, Format, Mode, RaggedSpace, workspace_bytes};
use crate::ops::Precision;

pub use encode::{Encoder, Ids, Sequence};
pub use pack::{Packing, Prepared, default_tokens};

/// A model's score of one request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// log p(continuation | context) in nats, summed over its tokens.
    pub log_likelihood: f64,
    /// Whether every token of the continuation was the likeliest one. False if that was not asked for.
    pub greedy: bool,
    /// Tokens of the continuation.
    pub tokens: usize,
    /// Whether tokens were cut off on the left, because the request is longer than the model's context.
    pub truncated: bool,
}

/// Documents that were scored together, and the progress of all.
#[derive(Debug)]
pub struct Finished<'a> {
    /// Each document's number, and the scores of its requests.
    pub scores: &'a [(usize, Vec<Score>)],
    /// Rows computed (or known before), of [`Prepared::rows`].
    pub rows: usize,
}

/// Scores of documents by their number.
pub type Known = BTreeMap<usize, Vec<Score>>;

/// Scores prepared documents with models of one shape.
#[derive(Debug)]
pub struct Scorer {
    space: RaggedSpace,
}

impl Scorer {
    /// Allocates memory for passes of up to `rows` tokens ([`Prepared::longest_pass`]), with products in `compute` and a
    /// softmax over the first `vocab` rows of the vocabulary.
    ///
    /// # Errors
    /// When memory is refused.
    pub fn new(
        config: &DecoderConfig,
        rows: usize,
        compute: Precision,
        vocab: usize,
        device: &Device,
    ) -> Result<Self> {
        let space = RaggedSpace::new(config, rows, compute, vocab, device)?;
        Ok(Self { space })
    }

    /// Returns the bytes that [`Self::new`] allocates.
    pub fn bytes(config: &DecoderConfig, rows: usize, format: Format) -> u64 {
        workspace_bytes(config, (1, 1), Mode::Forward, format, rows)
    }

    /// Returns the scores of all documents, in their order. Documents in `known` are not computed again. `each` is called
    /// with every group of documents that is finished, in an order that depends on the documents alone; where it breaks,
    /// the result is `None`.
    ///
    /// # Errors
    /// When a pass does not fit the memory, an id is outside the vocabulary, or an operation fails.
    pub fn score(
        &self,
        model: &Decoder,
        prepared: &Prepared,
        known: &Known,
        each: &mut dyn FnMut(Finished<'_>) -> ControlFlow<()>,
    ) -> Result<Option<Vec<Vec<Score>>>> {
        let longest = prepared.longest_pass();
        ensure!(
            longest <= self.space.rows(),
            "a pass of {longest} tokens does not fit memory for {}",
            self.space.rows()
        );
        let fits = |i: &usize| known.get(i).map(Vec::len) == Some(prepared.requests[*i]);
        let mut all: Vec<Vec<Score>> = vec![Vec::new(); prepared.documents()];
        let mut rows = 0;
        for group in &prepared.groups {
            rows += group.rows();
            if group.documents.iter().all(fits) {
                for &i in &group.documents {
                    all[i].clone_from(&known[&i]);
                }
                continue;
            }
            let scores = self.group(model, prepared, group)?;
            let finished = Finished {
                scores: &scores,
                rows,
            };
            let go_on = each(finished);
            for (i, scores) in scores {
                all[i] = scores;
            }
            if go_on.is_break() {
                return Ok(None);
            }
        }
        Ok(Some(all))
    }

    /// Returns the scores of one of [`Prepared::groups`], with each document's number; empty past the last group.
    ///
    /// # Errors
    /// As [`Self::score`].
    pub fn score_group(
        &self,
        model: &Decoder,
        prepared: &Prepared,
        group: usize,
    ) -> Result<Vec<(usize, Vec<Score>)>> {
        let group = prepared.groups.get(group);
        group.map_or(Ok(Vec::new()), |group| self.group(model, prepared, group))
    }

    fn group(
        &self,
        model: &Decoder,
        prepared: &Prepared,
        group: &pack::Group,
    ) -> Result<Vec<(usize, Vec<Score>)>> {
        let empty = |i: usize| {
            let score = |&(tokens, truncated): &(usize, bool)| Score {
                log_likelihood: 0.0,
                greedy: group.greedy,
                tokens,
                truncated,
            };
            (i, prepared.facts[i].iter().map(score).collect())
        };
        let mut scores: Vec<(usize, Vec<Score>)> =
            group.documents.iter().map(|&i| empty(i)).collect();
        let places = group.documents.iter().enumerate();
        let place: BTreeMap<usize, usize> = places.map(|(place, &i)| (i, place)).collect();
        for pass in &group.passes {
            let (tokens, branches, asked) = (&pass.tokens, &pass.branches, &pass.asked);
            let answers: Vec<(f64, bool)> = match group.greedy {
                true => self.space.greedy(model, tokens, branches, asked)?,
                false => {
                    let found = self.space.log_likelihoods(model, tokens, branches, asked)?;
                    found.into_iter().map(|l| (l, false)).collect()
                }
            };
            for (answer, owner) in &pass.owners {
                let (log_likelihood, likeliest) = answers[*answer];
                let score = &mut scores[place[&owner.document]].1[owner.request];
                score.log_likelihood += log_likelihood;
                score.greedy &= likeliest;
            }
        }
        Ok(scores)
    }
}
