//! Draws a complete frame: header, view, layers, the latest notes, footer. Depends only on the run, the screen's own state and the
//! area.

mod footer;
mod header;
mod starting;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};

use super::keymap;
use super::layers::Room;
use super::panels::{notes, scrubber, trouble};
use super::scene::{SMALL, Scene, WIDE};
use super::stack::Stack;
use super::views;

/// Most rows of the banner about trouble, and at most a fifth of the screen.
const BANNER: u16 = 4;

/// Draws a frame of any size.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, layers: &Stack) {
    lay_out(frame, scene, layers);
    scene.theme.paint(frame.buffer_mut());
}

fn lay_out(frame: &mut Frame<'_>, scene: &Scene<'_>, layers: &Stack) {
    if let Some(starting) = &scene.facts.starting {
        starting::draw(frame, scene, starting);
        return;
    }
    let area = frame.area();
    if area.width < SMALL.0 || area.height < SMALL.1 {
        small(frame, scene, layers, area);
        return;
    }
    let rows = (area.height / 5).clamp(1, BANNER);
    let banner = trouble::banner(scene, area.width, usize::from(rows));
    let strip = match area.height {
        40.. => 5,
        24.. => 3,
        _ => 1,
    };
    let scrubber = if scene.facts.replay.is_some() { 2 } else { 0 };
    let [head, body, strip, replay, foot] = Layout::vertical([
        Constraint::Length(2 + banner.len() as u16),
        Constraint::Fill(1),
        Constraint::Length(strip),
        Constraint::Length(scrubber),
        Constraint::Length(1),
    ])
    .areas(area);
    header::draw(frame, scene, banner, head);
    notes::strip(frame, scene, strip);
    if let Some(playing) = &scene.facts.replay {
        scrubber::draw(frame, scene, playing, replay);
    }
    let scopes = keymap::scopes(scene.ui, layers, scene.facts);
    footer::draw(frame, scene, &scopes, foot);
    let place = layers.top().map(|layer| layer.room());
    let low = |rows| Layout::vertical([Constraint::Fill(1), Constraint::Length(rows)]).areas(body);
    let [rest, asked] = match place {
        Some(Room::Side { columns, .. }) if area.width >= WIDE => {
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(columns)]).areas(body)
        }
        Some(Room::Side { rows, .. } | Room::Bottom(rows)) => low(rows),
        Some(Room::Over) | None => [body, area],
    };
    if let Some(view) = views::row(scene.ui.view) {
        (view.draw)(frame, scene, rest);
    }
    layers.draw(frame, scene, asked);
}

/// Draws a small screen, which shows either the top layer or the view.
fn small(frame: &mut Frame<'_>, scene: &Scene<'_>, layers: &Stack, area: Rect) {
    let head = u16::from(area.height >= 2);
    let foot = u16::from(area.height >= 5);
    // A replay gets one line if the chart keeps its least height.
    let playing = scene.facts.replay.as_ref().filter(|_| area.height >= 8);
    let banner = match area.height >= 6 {
        true => trouble::banner(scene, area.width, 1 + usize::from(area.height >= 10)),
        false => Vec::new(),
    };
    let [top, wrong, body, replay, bottom] = Layout::vertical([
        Constraint::Length(head),
        Constraint::Length(banner.len() as u16),
        Constraint::Fill(1),
        Constraint::Length(u16::from(playing.is_some())),
        Constraint::Length(foot),
    ])
    .areas(area);
    header::short(frame, scene, top);
    trouble::draw(frame, banner, wrong);
    if let Some(playing) = playing {
        scrubber::draw(frame, scene, playing, replay);
    }
    let scopes = keymap::scopes(scene.ui, layers, scene.facts);
    footer::draw(frame, scene, &scopes, bottom);
    if layers.top().is_some() {
        layers.draw(frame, scene, body);
    } else if let Some(view) = views::row(scene.ui.view) {
        (view.draw_small)(frame, scene, body);
    }
}
