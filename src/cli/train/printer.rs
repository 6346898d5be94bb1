//! Prints a run's events to stdout on a thread of its own, so that the trainer does not wait for a pipe.

use std::io::Write;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Result;

use super::args::Show;
use crate::cli::prompt::Terminal;
use crate::dashboard::plain::{self, Answers, Lines, Printed};
use crate::run::event::{Body, Done, Event};
use crate::run::queue;
use crate::run::shared::{SharedRun, Sink};
use crate::run::state::RunState;
use crate::run::table;
use crate::text;
use crate::threads;

/// The thread of a started printer.
pub(super) struct Printing(JoinHandle<()>);

impl Printing {
    /// Starts to print the events of `run`, as plain lines or as JSON. Returns the sink that feeds the printer. `terminal` knows how
    /// a decision can be answered.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(
        show: Show,
        terminal: &Arc<Terminal>,
        run: &Arc<SharedRun>,
    ) -> Result<(Sink, Self)> {
        let (sender, events) = queue::bounded();
        let (printed, run) = (Arc::clone(terminal), Arc::clone(run));
        let thread = threads::spawn("printer", move || {
            let lines = printed.lines();
            while let Some((event, text)) = events.recv_with() {
                let asks = text.is_some() && plain::is_question(&event);
                print(show, &lines, &event, text);
                if asks {
                    print_answers(&lines, &printed, &run, &event);
                }
                printed.shown(event.seq);
            }
        })?;
        let lines = terminal.lines();
        // The line's text is made here, while the state is that of its event; the pipe may take it much later.
        let sink = move |state: &RunState, event: &Event| match show {
            Show::Json => sender.send(event),
            _ => sender.send_with(event, text_of(&lines, state, event)),
        };
        Ok((Box::new(sink), Self(thread)))
    }

    /// Waits until everything is printed. The sink must have been dropped.
    pub(super) fn finish(self) {
        // A panic of the printer was already reported on stderr.
        let _ = self.0.join();
    }
}

/// Returns the lines for the event that `state` has folded last, without the last newline; the run's end has the table. The
/// possible answers are [printed](print_answers) later, because they need the disk and the state is locked here.
fn text_of(lines: &Lines, state: &RunState, event: &Event) -> Option<String> {
    let printed = lines.of_event(state, event, Answers::No);
    match event.body {
        Body::Done(Done { failed: false, .. }) => {
            let line = printed.text.map(|line| line + "\n").unwrap_or_default();
            let table = table::text(state);
            Some(format!("{line}\n{}", table.trim_end_matches('\n')))
        }
        _ => printed.text,
    }
}

/// Prints the possible answers to an event, unless it has been answered already.
fn print_answers(lines: &Lines, terminal: &Terminal, run: &SharedRun, event: &Event) {
    let state = run.with(RunState::clone);
    let Printed { text, offered } = lines.of_answers(&state, event, terminal.answers());
    if let Some(offered) = offered {
        terminal.offer(event.seq, offered);
    }
    if let Some(text) = text {
        let mut out = std::io::stdout().lock();
        // A reader that has gone must not stop the training.
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}

fn print(show: Show, lines: &Lines, event: &Event, text: Option<String>) {
    let line = match (show, &event.body) {
        (Show::Json, _) => Some(text::json(&event.to_line()).into_owned()),
        // A gap in the printer's own queue; its line needs no state.
        (_, Body::Gap(_)) => {
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
