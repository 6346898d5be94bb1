//! The leave prompt: detach, stop after a checkpoint, or stay.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::Paragraph;

use super::layer::{Layer, Opening, Room, Row, Step, moved};
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
        Room::Bottom(5)
    }

    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, _: bool) {
        let paused = scene.run.core.status == Status::Paused;
        let text = |entry: &Entry| {
            match entry {
                Entry::Detach if paused => {
                    "detach: the pause stays, attach ends it; one that waits for you ends the process"
                }
                Entry::Detach => "detach: training goes on, the shell is yours",
                Entry::StopAfterCheckpoint => "stop after a checkpoint: resume it later",
                Entry::Stay => "stay",
            }
            .to_string()
        };
        let block = scene.panel(" leave ".into()).border_style(scene.theme.key);
        let inside = framed(frame, block, area);
        let lines = listed(scene, ENTRIES.iter().map(text), self.selected);
        frame.render_widget(Paragraph::new(lines), inside);
    }
}
