//! Selects a checkpoint to roll back to. Its files are verified before the confirmation.

mod draw;

use ratatui::Frame;
use ratatui::layout::Rect;

use super::layer::{Layer, Opening, Room, Row, Stamp, Step, moved};
use super::scroll::page;
use crate::dashboard::keys::Differs;
use crate::dashboard::message::{Act, Effect};
use crate::dashboard::rollback_points::{self, Point};
use crate::dashboard::scene::Scene;
use crate::dashboard::session::{Facts, is_over};
use crate::dashboard::ui::Context;
use crate::run::command::Command;
use crate::run::state::RunState;

pub const ROW: Row = Row {
    id: "rollback",
    keys: &["R"],
    footer: "",
    help: "pick a checkpoint to roll back to",
    control: true,
    passes: false,
    differs: Differs::Appears(" roll back "),
    open,
};

/// Checkpoints to choose from, newest first.
#[derive(Debug)]
pub struct Picker {
    points: Vec<Point>,
    selected: usize,
}

fn open(context: &mut Context<'_>) -> Opening {
    let points = rollback_points::on_screen(context);
    if points.is_empty() {
        return Opening::refused(context, "no checkpoint has been written yet: c writes one");
    }
    // The checkpoint that the banner about trouble names is selected first.
    let kept = |name: &str| context.facts.nearby.is_kept(name);
    let good = crate::run::trouble::good(context.run, &kept);
    let selected = good.and_then(|g| points.iter().position(|p| p.note.name == g.checkpoint));
    Opening::of(Picker {
        points,
        selected: selected.unwrap_or(0),
    })
}

impl Picker {
    fn name(&self) -> String {
        self.points[self.selected].note.name.clone()
    }

    fn verify(&self) -> Vec<Effect> {
        vec![Effect::Verify(self.name())]
    }
}

impl Layer for Picker {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn act(&mut self, act: Act, confirmed: bool, context: &mut Context<'_>) -> Step {
        let count = self.points.len();
        if let Some(selected) = moved(self.selected, count, act).or(page(self.selected, count, act))
        {
            self.selected = selected;
            return Step::Ask(self.verify());
        }
        let checkpoint = self.name();
        match act {
            Act::Back => Step::Close,
            Act::Copy => {
                context.ui.notice = Some("copied to the terminal's clipboard".into());
                Step::Ask(vec![Effect::Copy(checkpoint)])
            }
            Act::Accept if confirmed => {
                Step::Do(vec![Effect::Send(Command::Rollback { checkpoint })])
            }
            Act::Accept => match context.facts.nearby.verified.get(&checkpoint) {
                Some(Ok(())) => Step::Confirm(Stamp::phase(context.run)),
                Some(Err(why)) => {
                    context.ui.notice = Some(why.clone());
                    Step::Stay
                }
                None => {
                    context.ui.notice = Some(format!("{checkpoint} is being verified ..."));
                    Step::Ask(self.verify())
                }
            },
            _ => Step::Stay,
        }
    }

    fn opened(&self) -> Vec<Effect> {
        self.verify()
    }

    fn is_moot(&self, facts: &Facts, run: &RunState) -> bool {
        facts.ended || is_over(run.core.status)
    }

    fn room(&self) -> Room {
        Room::Bottom(draw::HEIGHT)
    }

    fn draw(&self, frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect, confirming: bool) {
        draw::draw(frame, scene, &self.points, self.selected, area, confirming);
    }
}
