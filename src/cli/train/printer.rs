//! Prints a run's events to stdout on a thread of its own: the trainer does not wait for a pipe.

use std::io::Write;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Result;

use super::Show;
use crate::cli::prompt::Terminal;
use crate::dashboard::plain::{Answers, Lines};
use crate::run::event::{Body, Event};
use crate::run::queue;
use crate::run::shared::Sink;
use crate::run::state::RunState;
use crate::run::table;
use crate::text;
use crate::threads;

/// A printer at work.
pub(super) struct Printing(JoinHandle<()>);

impl Printing {
    /// Prints plain lines, or the events themselves, from now on. Returns the sink that feeds the printer. `terminal` knows
    /// how a decision can be answered.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(show: Show, terminal: Arc<Terminal>) -> Result<(Sink, Self)> {
        let (sender, events) = queue::bounded();
        let printed = Arc::clone(&terminal);
        let thread = threads::spawn("printer", move || {
            let lines = printed.lines();
            while let Some((event, text)) = events.recv_with() {
                print(show, &lines, &event, text);
                printed.shown(event.seq);
            }
        })?;
        let lines = terminal.lines();
        // The text of a line is made where the state is that of its event; the pipe may take it much later.
        let sink = move |state: &RunState, event: &Event| match show {
            Show::Json => sender.send(event),
            _ => sender.send_with(event, text_of(&lines, &terminal, state, event)),
        };
        Ok((Box::new(sink), Self(thread)))
    }

    /// Waits until everything is printed, once the sink is gone.
    pub(super) fn finish(self) {
        // A printer that has panicked has said so on stderr.
        let _ = self.0.join();
    }
}

/// The lines for an event that `state` has folded last, without the last newline; the end has the table.
fn text_of(lines: &Lines, terminal: &Terminal, state: &RunState, event: &Event) -> Option<String> {
    let printed = lines.of_event(state, event, terminal.answers());
    if let Some(offered) = printed.offered {
        terminal.offer(event.seq, offered);
    }
    match event.body {
        Body::Done { failed: false, .. } => {
            let line = printed.text.map(|line| line + "\n").unwrap_or_default();
            let table = table::text(state);
            Some(format!("{line}\n{}", table.trim_end_matches('\n')))
        }
        _ => printed.text,
    }
}

fn print(show: Show, lines: &Lines, event: &Event, text: Option<String>) {
    let line = match (show, &event.body) {
        (Show::Json, _) => Some(text::json(&event.to_line()).into_owned()),
        // A gap of the printer's own queue, whose line needs no state.
        (_, Body::Gap { .. }) => {
            lines
                .of_event(&RunState::default(), event, Answers::No)
                .text
        }
        _ => text,
    };
    let mut out = std::io::stdout().lock();
    // A reader that has gone must not stop the training.
    if let Some(line) = line {
        let _ = writeln!(out, "{line}");
    }
    let _ = out.flush();
}
