//! Exchanges between the optimizers of a run's ranks: updated weights, and moments that come from a checkpoint or go into one.
//!
//! Moments travel in pieces of at most [`PIECE`] elements, so that neither rank 0 nor any other rank needs memory for another rank's part.

use std::ops::Range;

use super::share::common;
use super::{Moment, Optimizer};
use crate::dist::DistError;
use crate::model::{Decoder, DecoderConfig, ReadOnly};
use crate::ops;

/// Most elements of a moment that are sent at once: 16 MiB.
pub const PIECE: usize = 4 << 20;

/// The first byte of a message names the moment that it has a piece of; this value ends the messages.
const END: u8 = 2;

/// Bytes before a piece's values: the moment, and the first element.
const HEADER: usize = 1 + size_of::<u64>();

impl Optimizer {
    /// Returns the bytes of one piece of a moment on its way between ranks, for a model of this shape: values read, the
    /// messages, and values received.
    pub fn exchange_bytes(shape: &DecoderConfig, world: usize) -> u64 {
        match world {
            0 | 1 => 0,
            _ => 3 * size_of::<f32>() as u64 * shape.parameters().min(PIECE as u64),
        }
    }

    /// Fetches the weights that other ranks have updated, if the optimizer is sharded. Every rank calls this after
    /// [`Self::step`].
    ///
    /// # Errors
    /// When the exchange fails.
    pub fn complete(&self, model: &Decoder) -> Result<(), DistError> {
        if !self.share.is_sharded() {
            return Ok(());
        }
        let parts = self.share.parts();
        model
            .weights
            .overwrite(|flat| self.ranks.all_gather(flat, parts))
    }

    /// Fills a moment of tensor `index` on the rank that leads, and sends it to the ranks that hold it, which are in
    /// [`Self::receive`]. `read` fills in some of the tensor's rows, a row being everything behind the first dimension; it
    /// is called for all of them, in order. `rows` is their number.
    ///
    /// # Errors
    /// When `read` or an exchange fails.
    pub fn fill<E: From<DistError>>(
        &mut self,
        moment: Moment,
        index: usize,
        rows: usize,
        mut read: impl FnMut(Range<usize>, &mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let tensor = self.tensor(index);
        if self.ranks.world() == 1 {
            let view = self.moment(moment, &tensor).map_err(DistError::from)?;
            return ops::fill(&view, |out| read(0..rows, out)).map_err(DistError::from)?;
        }
        let row = tensor.len() / rows.max(1);
        let at_once = (PIECE / row.max(1)).max(1);
        let mut values = Vec::new();
        for first in (0..rows).step_by(at_once) {
            let some = first..rows.min(first + at_once);
            values.resize(some.len() * row, 0f32);
            read(some, &mut values)?;
            let at = tensor.start + first * row;
            self.store(moment, at, &values)?;
            let mut message = Vec::with_capacity(HEADER + size_of_val(values.as_slice()));
            message.push(moment as u8);
            message.extend((at as u64).to_le_bytes());
            message.extend_from_slice(bytemuck::cast_slice(&values));
            self.ranks.announce(&mut message)?;
        }
        Ok(())
    }

    /// Ends the messages of [`Self::fill`] in a run of several ranks: the other ranks leave [`Self::receive`] with the step counts of this
    /// one.
    ///
    /// # Errors
    /// When the exchange fails.
    pub fn end_filling(&self) -> Result<(), DistError> {
        if self.ranks.world() == 1 {
            return Ok(());
        }
        let mut message = vec![END];
        message.extend(self.steps.iter().flat_map(|steps| steps.to_le_bytes()));
        self.ranks.announce(&mut message)
    }

    /// Receives this rank's part of the moments that the leading rank [fills](Self::fill), until it [ends](Self::end_filling).
    ///
    /// # Errors
    /// When the exchange fails, or the leading rank has another model.
    pub fn receive(&mut self) -> Result<(), DistError> {
        let mut message = Vec::new();
        loop {
            self.ranks.announce(&mut message)?;
            let moment = match message.first() {
                Some(0) => Moment::First,
                Some(1) => Moment::Second,
                Some(&END) => return self.take_steps(&message[1..]),
                _ => return Err(self.misunderstood("neither moments nor step counts")),
            };
            let Some((at, values)) = message[1..].split_first_chunk() else {
                return Err(self.misunderstood("a piece of moments without its place"));
            };
            let at = usize::try_from(u64::from_le_bytes(*at)).unwrap_or(usize::MAX);
            let values = floats(values);
            if at.saturating_add(values.len()) > self.elements() {
                return Err(self.misunderstood("moments of a larger model"));
            }
            self.store(moment, at, &values)?;
        }
    }

    fn take_steps(&mut self, bytes: &[u8]) -> Result<(), DistError> {
        let (counts, _) = bytes.as_chunks();
        if counts.len() != self.steps.len() {
            return Err(self.misunderstood("step counts of another number of tensors"));
        }
        let counts = counts.iter().map(|count| u32::from_le_bytes(*count));
        self.steps = counts.collect();
        Ok(())
    }

    fn misunderstood(&self, what: &str) -> DistError {
        DistError::Differs {
            rank: self.ranks.rank(),
            what: format!(
                "it waited for the optimizer's state and received {what}: start every rank with the same program"
            ),
        }
    }

    /// Keeps this rank's part of `values`, the elements of a moment from `at` on.
    fn store(&self, moment: Moment, at: usize, values: &[f32]) -> Result<(), DistError> {
        let own = common(&(at..at + values.len()), &self.share.held());
        if own.is_empty() {
            return Ok(());
        }
        let view = self.moment(moment, &own)?;
        Ok(ops::write(&view, &values[own.start - at..own.end - at])?)
    }

    /// Lends a moment of all elements to a reader that outlives this borrow; `None` if other ranks hold a part of it.
    pub fn lend(&self, moment: Moment) -> Option<ReadOnly> {
        let all = &self.moments[moment as usize];
        (!self.share.is_sharded()).then(|| ReadOnly::of(all))
    }

    /// Brings elements `range` of a moment to the rank that leads; other ranks, which call it with the same range, get none.
    ///
    /// # Errors
    /// When the device cannot be read, or an exchange fails.
    pub fn gather(&self, moment: Moment, range: Range<usize>) -> Result<Vec<f32>, DistError> {
        let leads = self.ranks.leads();
        if !self.share.is_sharded() {
            return match leads {
                true => Ok(ops::read(&self.moment(moment, &range)?)?),
                false => Ok(Vec::new()),
            };
        }
        let mut all = Vec::with_capacity(if leads { range.len() } else { 0 });
        for start in range.clone().step_by(PIECE) {
            let piece = start..range.end.min(start + PIECE);
            let own = common(&piece, &self.share.held());
            let values = match own.is_empty() {
                true => Vec::new(),
                false => ops::read(&self.moment(moment, &own)?)?,
            };
            for (rank, bytes) in (0..).zip(self.ranks.gather(bytemuck::cast_slice(&values))?) {
                let wanted = common(&piece, &self.share.parts()[rank]).len();
                let values = floats(&bytes);
                if values.len() != wanted {
                    let what = format!("it sent {} of {wanted} moments", values.len());
                    return Err(DistError::Differs { rank, what });
                }
                all.extend(values);
            }
        }
        Ok(all)
    }

    /// Elements of the flat arena.
    pub fn elements(&self) -> usize {
        self.offsets.last().copied().unwrap_or(0)
    }
}

/// The numbers of a message, which need not be aligned.
fn floats(bytes: &[u8]) -> Vec<f32> {
    let (floats, _) = bytes.as_chunks();
    floats
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}
