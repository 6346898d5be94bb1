//! Drawing: a pure function of the run, the screen's own state and the area. Nothing here changes anything.

mod bars;
mod decision;
mod header;
mod help;
mod overview;
mod palette;
mod prompt;
mod result;
mod scrubber;

use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders};

use super::app::is_over;
use super::curve::Curve;
use super::glyphs::Glyphs;
use super::theme::Theme;
use super::update::{Prompt, Ui};
use super::widgets::thousands;
use crate::run::state::RunState;
use crate::text::sanitize;

/// Below this, one panel.
const SMALL: (u16, u16) = (60, 15);
/// From this width on, panels stand side by side that are stacked below it.
const WIDE: u16 = 120;

/// What a frame shows.
pub struct Scene<'a> {
    pub run: &'a RunState,
    pub ui: &'a Ui,
    pub curve: &'a Curve,
    pub theme: &'a Theme,
    pub glyphs: Glyphs,
    /// The run's name, until an event tells it.
    pub title: &'a str,
    /// For clock times.
    pub zone: &'a TimeZone,
}

impl Scene<'_> {
    /// Foreign text made fit for this screen.
    fn text(&self, text: &str) -> String {
        self.glyphs.text(&sanitize(text))
    }

    fn panel(&self, title: String) -> Block<'_> {
        Block::new()
            .borders(Borders::ALL)
            .border_set(self.glyphs.border())
            .border_style(self.theme.dim)
            .title(Span::styled(title, self.theme.title))
    }

    fn over(&self) -> bool {
        is_over(self.run.core.status)
    }
}

/// Draws a frame of any size.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>) {
    let area = frame.area();
    if area.width < SMALL.0 || area.height < SMALL.1 {
        small(frame, scene, area);
        return;
    }
    let strip = if area.height >= 40 { 5 } else { 1 };
    let scrubber = if scene.ui.replay.is_some() { 2 } else { 0 };
    let [head, body, notes, replay, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Fill(1),
        Constraint::Length(strip),
        Constraint::Length(scrubber),
        Constraint::Length(1),
    ])
    .areas(area);
    header::draw(frame, scene, head);
    bars::strip(frame, scene, notes);
    if let Some(playing) = &scene.ui.replay {
        scrubber::draw(frame, scene, playing, replay);
    }
    bars::footer(frame, scene, foot);
    match &scene.ui.prompt {
        Some(Prompt::Decision(p)) => {
            let [rest, side] = if area.width >= WIDE {
                Layout::horizontal([Constraint::Fill(1), Constraint::Length(60)]).areas(body)
            } else {
                Layout::vertical([Constraint::Fill(1), Constraint::Length(11)]).areas(body)
            };
            overview::draw(frame, scene, rest);
            prompt::decision(frame, scene, p, side);
        }
        Some(Prompt::Leave(p)) => {
            let [rest, low] =
                Layout::vertical([Constraint::Fill(1), Constraint::Length(5)]).areas(body);
            overview::draw(frame, scene, rest);
            prompt::leave(frame, scene, p, low);
        }
        Some(Prompt::Line(p)) => {
            let [rest, low] =
                Layout::vertical([Constraint::Fill(1), Constraint::Length(palette::HEIGHT)])
                    .areas(body);
            overview::draw(frame, scene, rest);
            palette::draw(frame, scene, p, low);
        }
        None => overview::draw(frame, scene, body),
    }
    if scene.ui.help {
        help::draw(frame, scene, area);
    }
}

/// One thing at a time: what is asked, else the help, else the result, else the chart.
fn small(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let head = u16::from(area.height >= 2);
    let foot = u16::from(area.height >= 5);
    // One line of it, where the chart keeps its least height.
    let playing = scene.ui.replay.as_ref().filter(|_| area.height >= 8);
    let [top, body, replay, bottom] = Layout::vertical([
        Constraint::Length(head),
        Constraint::Fill(1),
        Constraint::Length(u16::from(playing.is_some())),
        Constraint::Length(foot),
    ])
    .areas(area);
    header::short(frame, scene, top);
    if let Some(playing) = playing {
        scrubber::draw(frame, scene, playing, replay);
    }
    bars::footer(frame, scene, bottom);
    match &scene.ui.prompt {
        Some(Prompt::Decision(p)) => prompt::decision(frame, scene, p, body),
        Some(Prompt::Leave(p)) => prompt::leave(frame, scene, p, body),
        Some(Prompt::Line(p)) => palette::draw(frame, scene, p, body),
        None if scene.ui.help => help::draw(frame, scene, body),
        None if scene.over() => result::draw(frame, scene, body),
        None if body.width >= 24 && body.height >= 5 => overview::alone(frame, scene, body),
        None => bars::strip(frame, scene, body),
    }
}

/// As many of `segments`, in order, as fit into `width`, two spaces apart; a later one may fit where an earlier did
/// not.
fn fitted(segments: Vec<(String, Style)>, width: u16) -> Line<'static> {
    let mut line = Line::default();
    let mut left = usize::from(width);
    for (text, style) in segments {
        let gap = if line.spans.is_empty() { 1 } else { 2 };
        let needs = gap + Span::raw(text.as_str()).width();
        if !text.is_empty() && needs <= left {
            line.push_span(Span::raw(" ".repeat(gap)));
            line.push_span(Span::styled(text, style));
            left -= needs;
        }
    }
    line
}
