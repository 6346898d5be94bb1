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
    help: "leave: detach, or stop after a checkpoint",
    control: false,
    passes: false,
    differs: Differs::Ends,
    open,
};

const STOPPING: &str = "stopping after the checkpoint ...";

/// Entries of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Detach,
    StopAfterCheckpoint,
    Stay,
}

const ENTRIES: [Entry; 3] = [Entry::Detach, Entry::StopAfterCheckpoint, Entry::Stay];

#[derive(Debug, Default)]
struct Leave {
    selected: usize,
}

/// Closes a view that owns nothing or whose run is over; asks otherwise.
fn open(context: &mut Context<'_>) -> Opening {
    let over = context.facts.ended || is_over(context.run.core.status);
    if !context.facts.owner || over {
        return Opening::Effects(vec![Effect::Close]);
    }
    if context.ui.quitting {
        return Opening::refused(context, STOPPING);
    }
    Opening::of(Leave::default())
}

impl Layer for Leave {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn act(&mut self, act: Act, _: bool, context: &mut Context<'_>) -> Step {
        if let Some(selected) = moved(self.selected, ENTRIES.len(), act) {
            self.selected = selected;
            return Step::Stay;
        }
        match (act, ENTRIES[self.selected]) {
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

    fn is_moot(&self, facts: &Facts, run: &RunState) -> bool {
        facts.ended || is_over(run.core.status)
    }

    fn room(&self) -> Room {
        Room::Bottom(7)
    }

    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, _: bool) {
        let paused = scene.run.core.status == Status::Paused;
        let block = scene.panel(" leave ".into()).border_style(scene.theme.key);
        let inside = framed(frame, block, area);
        let width = usize::from(inside.width);
        let entries = ENTRIES.iter().map(|entry| words(*entry, paused).0.into());
        let mut lines = listed(scene, entries, self.selected);
        let note = words(ENTRIES[self.selected], paused).1;
        lines.extend(wrap(Line::styled(note, scene.theme.dim), width, 0));
        frame.render_widget(Paragraph::new(lines), inside);
    }
}

/// An entry, and what follows from it.
fn words(entry: Entry, paused: bool) -> (&'static str, &'static str) {
    match entry {
        Entry::Detach if paused => (
            "detach: training stays paused",
            "Resume it after \"heirloom attach\". A run that waits for an answer ends its process in the end (policy.unattended_minutes).",
        ),
        Entry::Detach => (
            "detach: training continues in the background",
            "The shell is yours again; \"heirloom attach\" shows this screen.",
        ),
        Entry::StopAfterCheckpoint => (
            "stop after a checkpoint",
            "\"heirloom train --resume\" continues from there.",
        ),
        Entry::Stay => ("stay", ""),
    }
}
