//! What the journal, its readers and its slow readers need to know of a kind of event.

use serde_json::{Map, Value};

/// In which order events are dropped for a reader that does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropOrder {
    First,
    Second,
    Never,
    /// Stands for dropped events; never dropped.
    Gap,
}

/// Implemented by what each kind of event carries.
pub trait Kind {
    /// When a slow reader loses it; the kinds that are dropped first are metrics.
    const DROPPED: DropOrder = DropOrder::Never;
    /// Whether the journal must be on disk before the trainer continues.
    const DURABLE: bool = false;

    /// Cuts texts that would crowd a screen, of an event that was read.
    fn shorten(&mut self) {}

    /// Refuses numbers that no run has, in an event that was read: code behind this adds, multiplies and loops over
    /// them.
    ///
    /// # Errors
    /// The first such number, in words.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A kind that this program does not know: no code relies on its contents.
impl Kind for Map<String, Value> {}
