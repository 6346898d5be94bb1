//! A run as plain lines, for pipes, logs and screen readers: no escape codes, one fact a line.

use crate::run::event::{Body, Event};
use crate::run::state::RunState;
use crate::text::sanitize;

/// Returns the line for `event`, which `state` has folded last; `None` for an event that needs no line.
pub fn line(state: &RunState, event: &Event) -> Option<String> {
    let phase = event.phase.to_string();
    let phase = sanitize(&phase);
    let at = format!("{phase:<17} step {:>6}", event.step);
    match &event.body {
        Body::Train {
            loss,
            lr,
            tokens_per_second,
            ..
        } => {
            let loss = loss.map_or("not finite".into(), |l| format!("{l:.4}"));
            Some(format!(
                "{at}  loss {loss}  lr {lr:.2e}  {tokens_per_second:.0} tok/s"
            ))
        }
        Body::Gap { dropped } => {
            let events = if *dropped == 1 { "event" } else { "events" };
            Some(format!(
                "{at}  gap: {dropped} {events} missing here, a queue was full"
            ))
        }
        // Every other kind that is worth a line makes a note.
        _ => {
            let note = state.note_of_last_event()?;
            Some(format!("{at}  {}", sanitize(&note.text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::{Phase, PhaseResult, Start};

    /// The lines that these events print, all at the same step and in the same millisecond.
    fn lines(bodies: impl IntoIterator<Item = Body>) -> Vec<String> {
        let mut state = RunState::default();
        let events = bodies.into_iter().zip(1..).map(|(body, seq)| Event {
            step: 7,
            phase: Phase::Round(1),
            ..Event::numbered(seq, body)
        });
        let print = |event: Event| {
            state.apply(&event);
            line(&state, &event)
        };
        events.filter_map(print).collect()
    }

    fn checkpointing() -> Body {
        Body::Checkpointing {
            name: "b0-s00000007-round-1".into(),
            reason: "steps".into(),
        }
    }

    #[test]
    fn a_note_is_printed_with_its_own_event_and_no_other() {
        let result = PhaseResult {
            layers: 1,
            parameters: 10,
            steps: 7,
            tokens: 70,
            val_loss: 2.0,
            stderr: 0.1,
            gap: Some(-0.1517),
            gap_stderr: Some(0.01),
            tokens_per_second: 1.0,
            tokens_per_second_wall: 1.0,
            lazy_layers: Vec::new(),
            max_rank: Vec::new(),
            start: Start::Inherit,
            matched: true,
        };
        let ended = Body::Phase {
            layers: 1,
            parameters: 10,
            steps: 7,
            start: Start::Inherit,
            source_layers: vec![0],
            result: Some(result),
        };
        let message = || "the same words".to_string();
        let printed = lines([
            ended,
            checkpointing(),
            Body::Log { message: message() },
            checkpointing(),
            Body::Log { message: message() },
        ]);
        assert_eq!(
            printed,
            [
                "round-1           step      7  round 1 finished: gap -0.1517",
                "round-1           step      7  the same words",
                "round-1           step      7  the same words",
            ]
        );
    }

    #[test]
    fn a_gap_says_how_many_events_are_missing() {
        let printed = lines([Body::Gap { dropped: 1 }, Body::Gap { dropped: 5123 }]);
        assert_eq!(
            printed,
            [
                "round-1           step      7  gap: 1 event missing here, a queue was full",
                "round-1           step      7  gap: 5123 events missing here, a queue was full",
            ]
        );
    }

    #[test]
    fn a_warning_about_the_journal_is_no_note_of_an_event() {
        let mut state = RunState::default();
        let event = Event::numbered(1, checkpointing());
        state.apply(&event);
        state.warn("events.jsonl:2: skipped a line".into());
        assert_eq!(line(&state, &event), None);
    }
}
