//! Writes events at the present step, and answers, into the journal.

use super::outcome::Promise;
use super::state::TrainState;
use crate::run::command::Answered;
use crate::run::event::{Answer, Body, Change, Event, Warning};
use crate::run::journal::{Journal, Stamp};

/// Journals an event at the step of `state`.
pub(super) fn emit(journal: &mut Journal, state: &TrainState, body: Body) -> Event {
    let stamp = Stamp {
        step: state.step,
        phase: state.phase.clone(),
        phase_step: state.phase_step,
        branch: state.branch,
    };
    journal.emit(stamp, body)
}

/// Journals a warning at the step of `state`.
pub(super) fn warn(journal: &mut Journal, state: &TrainState, message: String) {
    emit(journal, state, Body::Warning(Warning { message }));
}

/// Answers a command, in the journal and to its sender. `change` is what it has set.
pub(super) fn answer(
    journal: &mut Journal,
    state: &TrainState,
    promise: Promise,
    answer: Result<String, String>,
    change: Option<Change>,
) {
    let (applied, message) = match answer {
        Ok(message) => (true, message),
        Err(message) => (false, message),
    };
    let seconds = promise.began.elapsed().as_secs_f64();
    let message = if seconds > 1.0 {
        format!("{message} ({seconds:.1} s)")
    } else {
        message
    };
    let id = promise.id;
    let body = Body::Answer(Answer {
        id,
        applied,
        message: message.clone(),
        change,
    });
    emit(journal, state, body);
    journal.flush();
    if let Some(reply) = promise.reply {
        // The sender may have left.
        let _ = reply.send(Answered {
            id,
            applied,
            message,
        });
    }
}
