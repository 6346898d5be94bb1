//! Sums of gradients over ranks, in parts that are started while the backward pass still computes others.

use std::env::VarError;

use candle_core::{Device, Error, Result, Tensor};

use crate::dist::{DistError, Ranks};

/// Returns the bytes of a bucket: large enough that starting an exchange costs little, and small enough that the first exchange
/// begins soon. On GPUs it is the size that PyTorch's DistributedDataParallel uses (`bucket_cap_mb`); on CPUs smaller buckets hide
/// more of the exchange (docs/scale.md, "Checked by measurements"). A bucket consists of complete layers and may be larger.
pub fn bucket_bytes(device: &Device) -> usize {
    match device.is_cuda() {
        true => 25 << 20,
        false => 4 << 20,
    }
}

/// The variable with the size of buckets in MiB, or `off`: gradients are summed at once after the backward pass, to measure what the
/// overlap gains.
const SIZE: &str = "HEIRLOOM_BUCKETS";

/// Returns the smallest number of elements in a bucket; `None` if the environment switches buckets off.
///
/// # Errors
/// When the size in the environment is neither `off` nor a whole number of at least 1.
pub fn bucket_elements(device: &Device) -> Result<Option<usize>> {
    let bytes = match std::env::var(SIZE).as_deref() {
        Err(VarError::NotPresent) => bucket_bytes(device),
        Err(VarError::NotUnicode(size)) => {
            candle_core::bail!("{SIZE}={} is not a number", size.display())
        }
        Ok("off") => return Ok(None),
        Ok(size) => match size.parse::<u32>() {
            Ok(size @ 1..) => (size as usize) << 20,
            _ => candle_core::bail!(
                "{SIZE}={size} is neither \"off\" nor a whole number of MiB from 1 on"
            ),
        },
    };
    Ok(Some(bytes / size_of::<f32>()))
}

/// The gradients of a step, whose sums are started from the arena's end to its beginning.
pub(super) struct Buckets<'a> {
    ranks: &'a dyn Ranks,
    grads: &'a Tensor,
    least: usize,
    /// Sums of the elements from this one on have been started.
    started: usize,
    /// The reason why an exchange could not be started, which ends the backward pass.
    failed: Option<DistError>,
}

impl<'a> Buckets<'a> {
    /// Makes buckets of at least `least` elements each for a flat arena; with `None`, one bucket of all elements.
    pub(super) fn new(ranks: &'a dyn Ranks, grads: &'a Tensor, least: Option<usize>) -> Self {
        Self {
            ranks,
            grads,
            least: least.unwrap_or(usize::MAX),
            started: grads.elem_count(),
            failed: None,
        }
    }

    /// Starts the sum of a bucket if enough gradients are finished: those `from` this element on.
    ///
    /// # Errors
    /// When the exchange cannot be started; [`Self::failure`] returns why.
    pub(super) fn finish(&mut self, from: usize) -> Result<()> {
        if self.started.saturating_sub(from) < self.least {
            return Ok(());
        }
        self.start(from).map_err(|error| {
            let words = error.to_string();
            self.failed = Some(error);
            Error::Msg(words)
        })
    }

    /// Returns why a bucket could not be started.
    pub(super) fn failure(&mut self) -> Option<DistError> {
        self.failed.take()
    }

    /// Starts the sums of the remaining elements.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub(super) fn rest(mut self) -> std::result::Result<(), DistError> {
        match self.started {
            0 => Ok(()),
            _ => self.start(0),
        }
    }

    fn start(&mut self, from: usize) -> std::result::Result<(), DistError> {
        let part = self.grads.narrow(0, from, self.started - from)?;
        self.started = from;
        self.ranks.start_sum(&part)
    }
}
