//! A model's weights and, on a GPU, their bf16 copy. All writes of weights go through this module, which keeps the copy up to date.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Device, Result, Tensor};

use super::arena::{Arena, Param};
use crate::ops;

/// The weights of one model, f32.
#[derive(Debug)]
pub struct WeightArena {
    arena: Arena,
    rounded: Option<Rounded>,
}

/// A copy of the weights, rounded to bf16.
#[derive(Debug)]
struct Rounded {
    arena: Arena,
    /// Whether weights were written since the copy was made.
    stale: AtomicBool,
}

impl WeightArena {
    /// Makes weights of zero; with `rounded`, there is memory for a copy in bf16.
    pub(super) fn zeros(params: &[Param], rounded: bool, device: &Device) -> Result<Self> {
        let room = || {
            Ok::<_, candle_core::Error>(Rounded {
                arena: Arena::rounded(params, device)?,
                stale: AtomicBool::new(true),
            })
        };
        Ok(Self {
            arena: Arena::zeros(params, device)?,
            rounded: rounded.then(room).transpose()?,
        })
    }

    /// Returns the arena of the weights.
    pub(super) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Returns the bf16 copy, if there is one. It is up to date after [`Self::refresh`].
    pub(super) fn rounded(&self) -> Option<&Arena> {
        self.rounded.as_ref().map(|rounded| &rounded.arena)
    }

    /// Updates the bf16 copy if weights were written since.
    pub(super) fn refresh(&self) -> Result<()> {
        let Some(rounded) = &self.rounded else {
            return Ok(());
        };
        if rounded.stale.load(Ordering::Relaxed) {
            ops::round(&rounded.arena.flat, &self.arena.flat)?;
            rounded.stale.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    fn mark_stale(&self) {
        if let Some(rounded) = &self.rounded {
            rounded.stale.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the device of the weights.
    pub fn device(&self) -> &Device {
        self.arena.flat.device()
    }

    /// Returns the number of elements of all tensors.
    pub fn elements(&self) -> usize {
        self.arena.flat.elem_count()
    }

    /// Copies out the values of tensor `index`.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn read(&self, index: usize) -> Result<Vec<f32>> {
        ops::read(&self.arena.views[index])
    }

    /// Copies out the values of all tensors.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn read_all(&self) -> Result<Vec<f32>> {
        ops::read(&self.arena.flat)
    }

    /// Returns the sum of the squares of `len` elements from `offset` on.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn sum_of_squares(&self, offset: usize, len: usize) -> Result<f64> {
        ops::sum_of_squares(&self.arena.flat.narrow(0, offset, len)?)
    }

    /// Returns the weights for a reader that outlives this borrow. They may change while it holds them.
    pub fn share(&self) -> ReadOnly {
        ReadOnly::of(&self.arena.flat)
    }

    /// Overwrites tensor `index`.
    ///
    /// # Errors
    /// When the number of values differs, or the device fails.
    pub fn write(&self, index: usize, values: &[f32]) -> Result<()> {
        self.mark_stale();
        ops::write(&self.arena.views[index], values)
    }

    /// Overwrites all tensors.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_all(&self, values: &[f32]) -> Result<()> {
        self.mark_stale();
        ops::write(&self.arena.flat, values)
    }

    /// Lends the memory of tensor `index` to `f`, which fills it. The outer error is candle's, the inner one `f`'s.
    ///
    /// # Errors
    /// When the device fails.
    pub fn fill<E>(
        &self,
        index: usize,
        f: impl FnOnce(&mut [f32]) -> std::result::Result<(), E>,
    ) -> Result<std::result::Result<(), E>> {
        self.mark_stale();
        ops::fill(&self.arena.views[index], f)
    }

    /// Lends all weights to `f`, which overwrites them; their bf16 copy is updated later.
    pub fn overwrite<R>(&self, f: impl FnOnce(&Tensor) -> R) -> R {
        self.mark_stale();
        f(&self.arena.flat)
    }

    /// Lends all weights to `f`, which changes them and, if it exists, their copy in bf16 in the same way.
    ///
    /// # Errors
    /// When `f` fails; the copy is made again then.
    pub fn update(&self, f: impl FnOnce(&Tensor, Option<&Tensor>) -> Result<()>) -> Result<()> {
        let rounded = self.rounded.as_ref().map(|rounded| &rounded.arena.flat);
        f(&self.arena.flat, rounded).inspect_err(|_| self.mark_stale())
    }
}

/// Values of a flat tensor that can only be read.
#[derive(Debug)]
pub struct ReadOnly(Tensor);

impl ReadOnly {
    /// Makes a reader of a flat tensor.
    pub fn of(flat: &Tensor) -> Self {
        Self(flat.clone())
    }

    /// Copies the values out.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn read(&self) -> Result<Vec<f32>> {
        ops::read(&self.0)
    }

    /// Lends the values to `f`. On the CPU they are not copied; from a GPU they are read.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn lend<R>(&self, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
        ops::lend(&self.0, f)
    }
}
