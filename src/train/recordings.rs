//! Recordings of a step's passes, which a GPU replays.

use crate::ops::{Accumulation, Recording};

/// Recorded passes over one model and its buffers, for one scale of the losses: the first of a step and the others.
#[derive(Debug, Default)]
pub struct Recordings {
    /// The scale's bits.
    scale: u32,
    first: Recording,
    later: Recording,
}

impl Recordings {
    /// Returns the recording of passes whose gradients are written or added, of losses times `scale`.
    pub fn of(&mut self, how: Accumulation, scale: f32) -> &mut Recording {
        if self.scale != scale.to_bits() {
            *self = Self {
                scale: scale.to_bits(),
                ..Self::default()
            };
        }
        match how {
            Accumulation::Write => &mut self.first,
            Accumulation::Add => &mut self.later,
        }
    }
}
