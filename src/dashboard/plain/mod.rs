//! Formats a run as plain lines, for pipes, logs and screen readers: no escape codes, one fact per line, each with date, time, phase
//! and step. [`offer`] lists possible answers, [`console`] reads typed lines.

mod console;
mod offer;
mod place;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::dashboard::when;
use crate::run::dir::RunDir;
use crate::run::event::{
    self, Body, DecisionStatus, Event, Gap, RunEvent, RunStatus, TrainMetrics,
};
use crate::run::hints;
use crate::run::since;
use crate::run::state::{RunState, Status};
use crate::text::sanitize;

pub use crate::dashboard::layers::decision::Decision;
pub use console::{Console, Move, Role};
use offer::Desk;
pub use place::Answers;
use place::{place, present_place};

/// Columns of phase and step, so that most texts begin in the same column.
const PLACE: usize = 24;

/// The lines of one event.
#[derive(Debug, Default)]
pub struct Printed {
    /// The text without the last newline; `None` for an event without a line.
    pub text: Option<String>,
    /// The decision whose numbered choices are in the lines.
    pub offered: Option<Decision>,
}

/// Writes the lines of one run, in the times of one zone.
#[derive(Debug)]
pub struct Lines {
    zone: TimeZone,
    dir: RunDir,
}

impl Lines {
    /// Makes a formatter for the run in `dir`, with this machine's local time.
    pub fn local(dir: &RunDir) -> Self {
        Self::of_zone(dir, TimeZone::system())
    }

    /// Makes a formatter for the run in `dir`, with times in `zone`.
    pub fn of_zone(dir: &RunDir, zone: TimeZone) -> Self {
        let dir = dir.clone();
        Self { zone, dir }
    }

    /// Returns `text` with the present time in front.
    pub fn now(&self, text: &str) -> String {
        let now = Timestamp::now().as_millisecond();
        format!("{}  {}", self.stamp(now), sanitize(text))
    }

    /// Formats a Unix time in milliseconds: `2026-11-29 12:35:18`.
    fn stamp(&self, t: i64) -> String {
        match Timestamp::from_millisecond(t) {
            Ok(t) => {
                let local = t.to_zoned_datetime(self.zone.clone());
                local.strftime("%Y-%m-%d %H:%M:%S").to_string()
            }
            // A foreign journal may contain any number.
            Err(_) => "time unknown       ".into(),
        }
    }

    /// Returns the lines for `event`, which `state` has folded last.
    pub fn of_event(&self, state: &RunState, event: &Event, answers: Answers<'_>) -> Printed {
        let Some(text) = words(state, event) else {
            return Printed::default();
        };
        let mut all = self.head(state, event) + &text;
        let Printed { text, offered } = self.of_answers(state, event, answers);
        if let Some(more) = text {
            all.push('\n');
            all.push_str(&more);
        }
        Printed {
            text: Some(all),
            offered,
        }
    }

    /// Returns the lines that follow those of `event`: the possible answers in `state`, which may be later than the event. Empty if it
    /// cannot be answered any more. Reads the disk.
    pub fn of_answers(&self, state: &RunState, event: &Event, answers: Answers<'_>) -> Printed {
        let open = state.core.decision.as_ref();
        let is_open = match &event.body {
            Body::Decision(event::Decision { id, .. }) => open.is_some_and(|open| open.id == *id),
            _ => state.core.status == Status::Paused,
        };
        if !is_question(event) || !is_open {
            return Printed::default();
        }
        let head = match answers {
            Answers::Typed => String::new(),
            _ => self.head(state, event),
        };
        let (more, offered) = self.more(state, event, answers);
        let more: Vec<String> = more
            .iter()
            .map(|line| format!("{head}{}", sanitize(line)))
            .collect();
        Printed {
            text: (!more.is_empty()).then(|| more.join("\n")),
            offered,
        }
    }

    /// Returns the beginning of the line of `event`: time and place.
    fn head(&self, state: &RunState, event: &Event) -> String {
        let place = place(state, &event.phase, event.phase_step);
        format!("{}  {place:<PLACE$}  ", self.stamp(event.t))
    }

    /// Returns the possible answers to the open decision or the present pause of a run in progress; empty without either.
    pub fn of_present(&self, state: &RunState, answers: Answers<'_>) -> Printed {
        let (desk, core) = (self.desk(state, answers), &state.core);
        let place = present_place(state);
        let head = format!("{}  {place:<PLACE$}  ", self.stamp(state.t));
        let (mut lines, mut offered) = (Vec::new(), None);
        if let Some(open) = &core.decision {
            let choices;
            (choices, offered) = desk.of_decision(open);
            if offered.is_some() {
                lines.push(format!("{head}{}", offer::headline(open, core.step)));
            }
            lines.extend(choices);
        }
        if core.status == Status::Paused {
            lines.extend(desk.of_pause(core.pause.as_deref()));
        }
        let begin = match answers {
            Answers::Typed => "",
            _ => &head,
        };
        let lines: Vec<String> = lines
            .iter()
            .map(|line| format!("{begin}{}", sanitize(line)))
            .collect();
        Printed {
            text: (!lines.is_empty()).then(|| lines.join("\n")),
            offered,
        }
    }

    /// Returns the lines of the events since the operator's last visit; `None` without such events.
    pub fn of_past(&self, state: &RunState) -> Option<String> {
        let since = since::of(state)?;
        let ago = when::ago((Timestamp::now().as_millisecond() - since.left.t) as f64 / 1000.0);
        let summary = format!("since you last looked, {ago}: {}", since.summary.join("; "));
        let notes = since.notes.iter().map(|note| {
            let place = format!("step {}", note.step);
            let text = hints::without_keys(&note.text);
            format!("{}  {place:<PLACE$}  {text}", self.stamp(note.t))
        });
        let lines = std::iter::once(summary).chain(notes);
        let lines: Vec<String> = lines.map(|line| sanitize(&line).into_owned()).collect();
        Some(lines.join("\n"))
    }

    /// Returns the questions that can be answered in a state.
    fn desk<'a>(&'a self, state: &'a RunState, answers: Answers<'a>) -> Desk<'a> {
        Desk {
            state,
            dir: &self.dir,
            answers,
        }
    }

    /// Returns the lines that follow an event's line: the possible answers, and the decision whose choices are numbered.
    fn more(
        &self,
        state: &RunState,
        event: &Event,
        answers: Answers<'_>,
    ) -> (Vec<String>, Option<Decision>) {
        let desk = self.desk(state, answers);
        match (&event.body, &state.core.decision) {
            (
                Body::Decision(event::Decision {
                    status: DecisionStatus::Open,
                    ..
                }),
                Some(open),
            ) if !offer::is_decided_at_once(state, open) => desk.of_decision(open),
            (
                Body::Run(RunEvent {
                    status: RunStatus::Paused,
                    message,
                    ..
                }),
                open,
            ) => {
                let mut lines = desk.of_pause(message.as_deref());
                // The policy could not decide.
                let left = open
                    .as_ref()
                    .filter(|open| offer::is_decided_at_once(state, open));
                let (choices, offered) =
                    left.map_or_else(Default::default, |open| desk.of_decision(open));
                lines.splice(0..0, choices);
                (lines, offered)
            }
            _ => (Vec::new(), None),
        }
    }
}

/// Returns whether an event's line is followed by [possible answers](Lines::of_answers).
pub fn is_question(event: &Event) -> bool {
    matches!(
        event.body,
        Body::Decision(event::Decision {
            status: DecisionStatus::Open,
            ..
        }) | Body::Run(RunEvent {
            status: RunStatus::Paused,
            ..
        })
    )
}

/// Returns the text of an event's line; `None` for an event that needs no line.
fn words(state: &RunState, event: &Event) -> Option<String> {
    match &event.body {
        Body::Train(TrainMetrics {
            loss,
            lr,
            tokens_per_second,
            ..
        }) => {
            let loss = loss.map_or("not finite".into(), |l| format!("{l:.4}"));
            let ranks = state.rank_times().map_or(String::new(), |times| {
                let wait = 100.0 * times.wait_share();
                let slowest = times.slowest_words().unwrap_or_default();
                format!("  {} ranks wait {wait:.0} %, {slowest}", times.world)
            });
            Some(format!(
                "loss {loss}  lr {lr:.2e}  {tokens_per_second:.0} tok/s{ranks}"
            ))
        }
        Body::Gap(Gap { dropped }) => {
            let events = if *dropped == 1 { "event" } else { "events" };
            Some(format!(
                "gap: {dropped} {events} missing here, a queue was full"
            ))
        }
        Body::Decision(event::Decision {
            status: DecisionStatus::Open,
            ..
        }) if state.core.decision.is_some() => {
            let open = state.core.decision.as_ref()?;
            Some(sanitize(&offer::headline(open, event.step)).into_owned())
        }
        Body::Decision(event::Decision {
            status: DecisionStatus::Resolved,
            choice,
            by,
            evidence_step,
            ..
        }) => {
            let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
            let choice = sanitize(choice.as_deref().unwrap_or("closed"));
            let age = evidence_step.map_or(0, |step| event.step.saturating_sub(step));
            Some(format!("decided{by}: {choice}{}", offer::age_words(age)))
        }
        // All other kinds with a line make a note.
        _ => {
            let note = state.note_of_last_event()?;
            Some(sanitize(hints::without_keys(&note.text)).into_owned())
        }
    }
}
