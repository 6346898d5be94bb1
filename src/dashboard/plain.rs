//! A run as plain lines, for pipes, logs and screen readers: no escape codes, one fact a line.

use crate::run::event::{Body, Event};
use crate::run::state::RunState;
use crate::text::sanitize;

/// Turns events into lines.
#[derive(Debug, Default)]
pub struct PlainPrinter {
    notes: usize,
}

impl PlainPrinter {
    /// The line for `event`, which `state` has taken in already; `None` for what needs no line.
    pub fn line(&mut self, state: &RunState, event: &Event) -> Option<String> {
        let phase = event.phase.to_string();
        let phase = sanitize(&phase);
        let at = format!("{phase:<17} step {:>6}", event.step);
        if let Body::Train {
            loss,
            lr,
            tokens_per_second,
            ..
        } = &event.body
        {
            let loss = loss.map_or("not finite".into(), |l| format!("{l:.4}"));
            return Some(format!(
                "{at}  loss {loss}  lr {lr:.2e}  {tokens_per_second:.0} tok/s"
            ));
        }
        // Everything else has a note in the event strip.
        let note = state
            .notes
            .back()
            .filter(|n| n.t == event.t && n.step == event.step)?;
        self.notes += 1;
        Some(format!("{at}  {}", sanitize(&note.text)))
    }
}
