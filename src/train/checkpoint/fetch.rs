//! Moments that other ranks hold, on their way into a checkpoint that does not fit into memory.
//!
//! The thread that writes asks for one piece after the other, and the trainer's thread, which waits meanwhile, gets each of
//! them from the ranks: engines such as MPI want all exchanges on one thread.

use std::ops::Range;
use std::sync::mpsc::{Sender, channel};

use anyhow::{Context, Result, bail};

use super::CheckpointError;
use crate::train::optimizer::{Moment, PIECE};

const ENDED: &str = "the trainer has ended";

/// Gets elements of a moment from the ranks that hold them.
pub type Serve<'a> = dyn FnMut(Moment, Range<usize>) -> Result<Vec<f32>> + 'a;

/// A piece of a moment that is waited for.
pub(super) struct Piece {
    moment: Moment,
    range: Range<usize>,
    reply: Sender<Result<Vec<f32>>>,
}

impl Piece {
    /// Gets the piece and sends it to the thread that waits for it.
    pub(super) fn answer(self, serve: &mut Serve<'_>) {
        // If that thread has died, the piece is not needed.
        let _ = self.reply.send(serve(self.moment, self.range));
    }
}

/// Asks the trainer for moments.
pub(super) struct Fetch<'a> {
    /// Passes on what is asked for, if the trainer still listens.
    ask: &'a dyn Fn(Piece) -> bool,
}

impl<'a> Fetch<'a> {
    pub(super) fn by(ask: &'a dyn Fn(Piece) -> bool) -> Self {
        Self { ask }
    }

    /// Gets elements `range` of a moment, in pieces, and hands each of them to `take` with its first element.
    ///
    /// # Errors
    /// When a rank is lost, or `take` fails.
    pub(super) fn each(
        &self,
        moment: Moment,
        range: Range<usize>,
        mut take: impl FnMut(usize, &[f32]) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        for start in range.clone().step_by(PIECE) {
            let range = start..range.end.min(start + PIECE);
            let values = self.get(moment, range).map_err(CheckpointError::Nothing)?;
            take(start, &values)?;
        }
        Ok(())
    }

    fn get(&self, moment: Moment, range: Range<usize>) -> Result<Vec<f32>> {
        let (reply, answer) = channel();
        let piece = Piece {
            moment,
            range,
            reply,
        };
        if !(self.ask)(piece) {
            bail!(ENDED);
        }
        answer.recv().context(ENDED)?
    }
}
