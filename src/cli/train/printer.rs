//! Prints a run's events to stdout on a thread of its own: the trainer does not wait for a pipe.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result};

use super::Show;
use crate::dashboard;
use crate::run::event::{Body, Event};
use crate::run::journal::Observer;
use crate::run::queue::{self, EventReceiver};
use crate::run::state::RunState;
use crate::run::table;
use crate::text;

/// After a stop by a signal a reader has so long to take what is still to be printed: the batch system that sent it waits
/// about half a minute before it kills.
const FAREWELL: Duration = Duration::from_secs(5);

/// A printer at work.
pub(super) struct Printing {
    /// Ends with the printer.
    ended: Receiver<()>,
}

impl Printing {
    /// Prints plain lines, or the events themselves, from now on. Returns the observer that feeds the printer; `past` is
    /// what is known of the run before.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(show: Show, past: RunState) -> Result<(Observer, Self)> {
        let (sender, events) = queue::bounded();
        let (alive, ended) = channel();
        std::thread::Builder::new()
            .name("printer".into())
            .spawn(move || print_all(&events, show, past, alive))
            .context("cannot start the printer's thread")?;
        let observer = move |event: &Event| sender.send(event);
        Ok((Box::new(observer), Self { ended }))
    }

    /// Waits until everything is printed, once the observer is gone; in a `hurry` only as long as a reader that still
    /// reads needs.
    pub(super) fn finish(self, hurry: bool) {
        // Either way there is nothing more to do: the printer has ended, or the process does.
        if hurry {
            let _ = self.ended.recv_timeout(FAREWELL);
        } else {
            let _ = self.ended.recv();
        }
    }
}

fn print_all(events: &EventReceiver, show: Show, past: RunState, alive: Sender<()>) {
    let mut state = past;
    while let Some(event) = events.recv() {
        print(show, &mut state, &event);
    }
    drop(alive);
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
