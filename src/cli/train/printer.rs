//! Prints a run's events to stdout on a thread of its own: the trainer does not wait for a pipe.

use std::io::Write;
use std::thread::JoinHandle;

use anyhow::Result;

use super::Show;
use crate::dashboard;
use crate::run::event::{Body, Event};
use crate::run::journal::Observer;
use crate::run::queue;
use crate::run::state::RunState;
use crate::run::table;
use crate::text;
use crate::threads;

/// A printer at work.
pub(super) struct Printing(JoinHandle<()>);

impl Printing {
    /// Prints plain lines, or the events themselves, from now on. Returns the observer that feeds the printer; `past` is
    /// what is known of the run before.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(show: Show, past: RunState) -> Result<(Observer, Self)> {
        let (sender, events) = queue::bounded();
        let thread = threads::spawn("printer", move || {
            let mut state = past;
            while let Some(event) = events.recv() {
                print(show, &mut state, &event);
            }
        })?;
        let observer = move |event: &Event| sender.send(event);
        Ok((Box::new(observer), Self(thread)))
    }

    /// Waits until everything is printed, once the observer is gone.
    pub(super) fn finish(self) {
        // A printer that has panicked has said so on stderr.
        let _ = self.0.join();
    }
}

fn print(show: Show, state: &mut RunState, event: &Event) {
    state.apply(event);
    let line = match show {
        Show::Json => Some(text::json(&event.to_line()).into_owned()),
        _ => dashboard::plain_line(state, event),
    };
    let mut out = std::io::stdout().lock();
    // A reader that has gone must not stop the training.
    if let Some(line) = line {
        let _ = writeln!(out, "{line}");
    }
    let finished = matches!(event.body, Body::Done { failed: false, .. });
    if finished && show == Show::Lines {
        let _ = write!(out, "\n{}", table::text(state));
    }
    let _ = out.flush();
}
