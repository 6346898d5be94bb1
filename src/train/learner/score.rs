//! Scores of downstream documents, which ranks share.

use std::ops::ControlFlow;

use anyhow::{Result, anyhow};

use super::Learner;
use crate::eval::score::{Finished, Known, Prepared, Score, Scorer};
use crate::train::instruction::Instruction;

/// Scores of documents with their numbers, or why a rank has none.
type Scored = std::result::Result<Vec<(usize, Vec<Score>)>, String>;

impl Learner {
    /// Returns the scores of all documents, with a softmax over the first `vocab` rows of the vocabulary. `each` gets the number of rows
    /// computed so far, of [`Prepared::rows`]; if it breaks, the result is `None`. Memory for the passes is allocated, on every rank, and
    /// freed again.
    ///
    /// # Errors
    /// When memory is not available, or an operation fails, on any rank.
    pub fn score(
        &self,
        prepared: &Prepared,
        vocab: usize,
        each: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Option<Vec<Vec<Score>>>> {
        if !self.peers.are_there() {
            let scorer = self.scorer(prepared, vocab)?;
            let each = &mut |f: Finished<'_>| each(f.rows);
            return scorer.score(self.model()?, prepared, &Known::new(), each);
        }
        self.peers.announce(|| Instruction::Score { vocab })?;
        self.peers.hand_out(prepared)?;
        let scores = self.score_together(prepared, vocab, each)?;
        self.peers.done();
        scores
    }

    /// On other ranks than 0, scores its part of the documents that rank 0 hands out.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn help_score(&self, vocab: usize) -> Result<()> {
        let prepared: Prepared = self.peers.receive()?;
        let go_on = &mut |_| ControlFlow::Continue(());
        let scored = self.score_together(&prepared, vocab, go_on)?;
        self.peers.done();
        scored.map(|_| ())
    }

    fn scorer(&self, prepared: &Prepared, vocab: usize) -> Result<Scorer> {
        let (compute, rows) = (self.passes.format.compute, prepared.longest_pass());
        Scorer::new(&self.shape, rows, compute, vocab, &self.device)
    }

    /// Scores groups of documents in rounds of one for each rank, so that rank 0 can end it soon. The outer error is the
    /// exchange's; the inner one is known to all ranks.
    fn score_together(
        &self,
        prepared: &Prepared,
        vocab: usize,
        each: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Result<Option<Vec<Vec<Score>>>>> {
        let scorer = match self.peers.agree(self.scorer(prepared, vocab))? {
            Ok(scorer) => scorer,
            Err(why) => return Ok(Err(why)),
        };
        let (rank, world) = self.peers.place();
        let mut all: Vec<Vec<Score>> = vec![Vec::new(); prepared.documents()];
        let mut rows = 0;
        for first in (0..prepared.groups()).step_by(world) {
            let own = self
                .model()
                .and_then(|model| scorer.score_group(model, prepared, first + rank));
            let own: Scored = own.map_err(|error| format!("{error:#}"));
            let mut refused = None;
            for (rank, scored) in self.peers.collect(own)?.into_iter().enumerate() {
                match scored {
                    Ok(scored) => scored.into_iter().for_each(|(i, scores)| all[i] = scores),
                    Err(why) => {
                        refused.get_or_insert(format!("rank {rank}: {why}"));
                    }
                }
            }
            rows += (first..first + world)
                .map(|i| prepared.group_rows(i))
                .sum::<usize>();
            // Rank 0 decides after it has seen all scores; other ranks follow.
            let ends = match self.peers.leads() {
                true => refused.is_some() || each(rows).is_break(),
                false => false,
            };
            let (ends, refused) = self.peers.share((ends, refused))?;
            if let Some(why) = refused {
                return Ok(Err(anyhow!(why)));
            }
            if ends {
                return Ok(Ok(None));
            }
        }
        Ok(Ok(Some(all)))
    }
}
