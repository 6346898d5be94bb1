//! The evaluations of all models: validation against the reference, downstream tasks, and continuations of texts.
//!
//! | module | builds |
//! |---|---|
//! | [`validation`] | a row per phase: loss, gap, and its course |
//! | [`tasks`] | a row per task, a column per model, with errors, chance and trend |
//! | [`samples`] | the reference's, the previous round's and the present model's continuation of each text |

mod panel;
mod samples;
mod tasks;
mod trend;
mod validation;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};

use self::panel::{FRAME, inside, panel, room};
use super::view::Row;
use crate::dashboard::keys::Differs;
use crate::dashboard::scene::Scene;

pub const ROW: Row = Row {
    id: "eval",
    title: "Eval",
    keys: &["5"],
    command: "view eval",
    help: "validation, downstream tasks and samples of every model",
    chart: false,
    differs: Differs::Appears("validation ·"),
    draw,
    draw_small,
    act: |context, act| context.ui.tasks.act(act),
};

/// Least width for samples next to the tables.
const SIDE: u16 = 160;
/// Most rows of samples below the tasks, on a high and on a low view.
const SAMPLES: (u16, u16) = (14, 5);
const LOW: u16 = 20;

/// Draws validation, tasks and samples below each other; on wide screens the samples are on the right.
fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let validation = validation::lines(scene, inside(area.width));
    let has_samples = !scene.run.live().samples.is_empty();
    if area.width >= SIDE && area.height >= 12 {
        let side = if has_samples { area.width / 2 } else { 0 };
        let [left, right] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(side)]).areas(area);
        let rows = validation.len() as u16 + FRAME;
        let [above, below] = Layout::vertical([
            Constraint::Length(rows.min(left.height / 2)),
            Constraint::Fill(1),
        ])
        .areas(left);
        let validation = validation::lines(scene, inside(left.width));
        panel(frame, scene, validation::TITLE, validation, above);
        tasks::draw(frame, scene, below);
        if has_samples {
            samples::wide(frame, scene, right);
        }
        return;
    }
    let most = match area.height < LOW {
        true => SAMPLES.1,
        false => SAMPLES.0,
    };
    let samples = match has_samples {
        true => (samples::least(scene) + FRAME)
            .min(most)
            .min(area.height / 3),
        false => 0,
    };
    let most = area.height.saturating_sub(samples) / 2;
    let rows = (validation.len() as u16 + FRAME).min(most);
    let [above, middle, below] = Layout::vertical([
        Constraint::Length(rows),
        Constraint::Fill(1),
        Constraint::Length(samples),
    ])
    .areas(area);
    panel(frame, scene, validation::TITLE, validation, above);
    tasks::draw(frame, scene, middle);
    if samples > FRAME {
        let (title, lines) = samples::lines(scene, inside(below.width), room(below));
        panel(frame, scene, &title, lines, below);
    }
}

/// Draws the tasks if one was measured, else the validation.
fn draw_small(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let width = inside(area.width);
    if scene.run.live().tasks.is_empty() && scene.run.tasking().is_none() {
        let lines = validation::lines(scene, width);
        panel(frame, scene, validation::TITLE, lines, area);
    } else {
        tasks::draw(frame, scene, area);
    }
}
