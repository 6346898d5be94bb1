//! The leave prompt: detach, stop after a checkpoint, or stay.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::layer::{Layer, Opening, Room, Row, Step, moved};
use super::scroll::wrap;
use crate::dashboard::keys::Differs;
use crate::dashboard::message::{Act, Effect};
use crate::dashboard::panels::menu::{framed, listed};
use crate::dashboard::scene::Scene;
use crate::dashboard::session::{Facts, is_over};
use crate::dashboard::ui::Context;
use crate::run::command::Command;
use crate::run::state::{RunState, Status};

pub const ROW: Row = Row {
    id: "leave",
    keys: &["q", "Ctrl-C"],
    footer: "quit",
    help: "leave; a run of this process: detach it, or stop it",
    control: false,
    passes: false,
    differs: Differs::Ends,
    open,
};

/// The notice of a run that is about to stop.
pub const STOPPING: &str = "stopping after the checkpoint ...";

/// Entries of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Detach,
    StopAfterCheckpoint,
    Stay,
}

#[derive(Debug)]
struct Leave {
    /// The entries that this screen may use: without control it cannot stop the run.
    entries: Vec<Entry>,
    selected: usize,
}

impl Leave {
    fn new(facts: &Facts) -> Self {
        let mut entries = vec![Entry::Detach, Entry::StopAfterCheckpoint, Entry::Stay];
        entries.retain(|e| *e != Entry::StopAfterCheckpoint || facts.controller.is_none());
        Self {
            entries,
            selected: 0,
        }
    }
}

/// Closes a view of another process's run, or of a run that is over; otherwise asks.
fn open(context: &mut Context<'_>) -> Opening {
    let over = context.facts.ended || is_over(context.run.core.status);
    if !context.facts.owner || over {
        return Opening::Effects(vec![Effect::Close]);
    }
    if context.ui.quitting {
        return Opening::refused(context, STOPPING);
    }
    Opening::of(Leave::new(context.facts))
}

impl Layer for Leave {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn act(&mut self, act: Act, _: bool, context: &mut Context<'_>) -> Step {
        if let Some(selected) = moved(self.selected, self.entries.len(), act) {
            self.selected = selected;
            return Step::Stay;
        }
        match (act, self.entries[self.selected]) {
            (Act::Back, _) | (Act::Accept, Entry::Stay) => Step::Close,
            (Act::Accept, Entry::Detach) => Step::Do(vec![Effect::Detach]),
            (Act::Accept, Entry::StopAfterCheckpoint) => {
                if context.facts.controller.is_some() {
                    context.ui.notice = context.facts.locked(context.run);
                    return Step::Close;
                }
                context.ui.quitting = true;
                context.ui.notice = Some(STOPPING.into());
                Step::Do(vec![Effect::Send(Command::Quit)])
            }
            _ => Step::Stay,
        }
    }

    fn opened(&self) -> Vec<Effect> {
        // The prompt shows the config's time limit of a question.
        vec![Effect::LookAround]
    }

    fn is_moot(&self, facts: &Facts, run: &RunState) -> bool {
        facts.ended || facts.stopping || is_over(run.core.status)
    }

    fn room(&self) -> Room {
        Room::Bottom(8)
    }

    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, _: bool) {
        let block = scene.panel(" leave ".into()).border_style(scene.theme.key);
        let inside = framed(frame, block, area);
        let width = usize::from(inside.width);
        let training = Training::of(scene);
        let entries = self.entries.iter().map(|e| words(scene, *e, training).0);
        let mut lines = listed(scene, entries, self.selected);
        let note = words(scene, self.entries[self.selected], training).1;
        let note = Line::styled(scene.text(&note), scene.theme.plain);
        lines.extend(wrap(note, width, 0));
        frame.render_widget(Paragraph::new(lines), inside);
    }
}

/// The state of the training while the prompt is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Training {
    Runs,
    /// Paused until a command resumes it.
    Paused,
    /// Waiting for an answer to a decision, or about trouble.
    Waits,
}

impl Training {
    fn of(scene: &Scene<'_>) -> Self {
        let core = &scene.run.core;
        match core.status {
            // A pause with a reason is one in which the trainer itself waits.
            Status::Paused if core.decision.is_some() || core.pause.is_some() => Self::Waits,
            Status::Paused => Self::Paused,
            _ => Self::Runs,
        }
    }
}

/// Returns an entry's text, and its consequence.
fn words(scene: &Scene<'_>, entry: Entry, training: Training) -> (String, String) {
    let run = &scene.facts.argument;
    let attach = format!("heirloom attach {run}");
    let minutes = scene.facts.nearby.config.iter();
    let mut minutes = minutes.filter(|(key, _)| *key == "policy.unattended_minutes");
    let minutes = minutes.next().map_or("some", |(_, minutes)| minutes);
    let (entry, note) = match (entry, training) {
        (Entry::Detach, Training::Runs) => (
            "detach - training continues in the background",
            format!("This terminal returns to the shell; {attach} shows this screen again."),
        ),
        (Entry::Detach, Training::Paused) => (
            "detach - stays paused in the background",
            format!("It stays in memory until you resume it: {attach}, then p."),
        ),
        (Entry::Detach, Training::Waits) => (
            "detach - waits for your answer in the background",
            format!(
                "To answer: {attach}. After {minutes} minutes without an answer it writes a checkpoint and ends; to continue then: heirloom train --resume {run}."
            ),
        ),
        (Entry::StopAfterCheckpoint, _) => (
            "stop after a checkpoint - the process ends",
            format!("Nothing is lost: heirloom train --resume {run} continues from there."),
        ),
        (Entry::Stay, _) => ("stay", String::new()),
    };
    (entry.into(), note)
}
