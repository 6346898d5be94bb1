//! Properties of a kind of event that the journal, its readers and its slow readers need.

use serde_json::{Map, Value};

/// The order in which events are dropped for a reader that does not keep up.
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
    /// The order in which a slow reader loses it; the kinds that are dropped first are metrics.
    const DROPPED: DropOrder = DropOrder::Never;
    /// Whether the journal must be on disk before the trainer continues.
    const DURABLE: bool = false;

    /// Truncates texts that are too long for a screen, in an event that was read.
    fn shorten(&mut self) {}

    /// Rejects numbers outside the limits of a run, in an event that was read: later code adds, multiplies and loops over them.
    ///
    /// # Errors
    /// Describes the first such number.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A kind that this program does not know: no code relies on its contents.
impl Kind for Map<String, Value> {}
