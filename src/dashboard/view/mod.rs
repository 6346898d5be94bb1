//! Drawing: a pure function of the run, the screen's own state and the area. Nothing here changes anything.

pub(super) mod bars;
pub(super) mod decision;
pub(super) mod evidence;
pub(super) mod figures;
mod header;
pub(super) mod overview;
mod result;
pub(super) mod scrubber;
mod starting;

use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders};

use super::app::is_over;
use super::curve::Curve;
use super::glyphs::Glyphs;
use super::layers::{self, Room};
use super::session::Facts;
use super::theme::Theme;
use super::update::Ui;
use super::views;
pub use super::widgets::thousands;
use crate::run::state::RunState;
use crate::text::sanitize;

/// Below this, one panel.
const SMALL: (u16, u16) = (60, 15);
/// From this width on, panels stand side by side that are stacked below it.
const WIDE: u16 = 120;

/// What a frame shows.
pub struct Scene<'a> {
    pub run: &'a RunState,
    pub facts: &'a Facts,
    /// The display stands still.
    pub frozen: bool,
    pub ui: &'a Ui,
    pub curve: &'a Curve,
    pub theme: &'a Theme,
    pub glyphs: Glyphs,
    /// The run's name, until an event tells it.
    pub title: &'a str,
    /// For clock times.
    pub zone: &'a TimeZone,
    /// The time now, Unix time in milliseconds; none where the run is not followed as it happens.
    pub clock: Option<i64>,
}

impl Scene<'_> {
    /// Foreign text made fit for this screen.
    pub fn text(&self, text: &str) -> String {
        self.glyphs.text(&sanitize(text))
    }

    /// The time now: by the clock where the run is live, else that of its last event. Unix time in milliseconds.
    pub fn now(&self) -> i64 {
        self.clock.unwrap_or(self.run.t)
    }

    /// Whether lines and bars are drawn with ASCII characters.
    pub fn is_ascii(&self) -> bool {
        self.glyphs == Glyphs::Ascii
    }

    /// A frame with a title.
    pub fn panel(&self, title: String) -> Block<'_> {
        Block::new()
            .borders(Borders::ALL)
            .border_set(self.glyphs.border())
            .border_style(self.theme.dim)
            .title(Span::styled(title, self.theme.title))
    }

    /// Whether the run's status is final.
    pub fn over(&self) -> bool {
        is_over(self.run.core.status)
    }
}

/// Draws a frame of any size.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>) {
    if let Some(starting) = &scene.facts.starting {
        starting::draw(frame, scene, starting);
        return;
    }
    let area = frame.area();
    if area.width < SMALL.0 || area.height < SMALL.1 {
        small(frame, scene, area);
        return;
    }
    let strip = match area.height {
        40.. => 5,
        24.. => 3,
        _ => 1,
    };
    let scrubber = if scene.facts.replay.is_some() { 2 } else { 0 };
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
    if let Some(playing) = &scene.facts.replay {
        scrubber::draw(frame, scene, playing, replay);
    }
    bars::footer(frame, scene, foot);
    let place = scene.ui.layers.top().map(|layer| layer.room());
    let low = |rows| Layout::vertical([Constraint::Fill(1), Constraint::Length(rows)]).areas(body);
    let [rest, asked] = match place {
        Some(Room::Side { columns, .. }) if area.width >= WIDE => {
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(columns)]).areas(body)
        }
        Some(Room::Side { rows, .. } | Room::Bottom(rows)) => low(rows),
        Some(Room::Over) | None => [body, area],
    };
    view(frame, scene, rest);
    layers::draw(frame, scene, asked);
}

/// The view that is chosen.
fn view(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    if let Some(view) = views::row(scene.ui.view) {
        (view.draw)(frame, scene, area);
    }
}

/// One thing at a time: what is asked, else the help, else the result, else the chart.
fn small(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let head = u16::from(area.height >= 2);
    let foot = u16::from(area.height >= 5);
    // One line of it, where the chart keeps its least height.
    let playing = scene.facts.replay.as_ref().filter(|_| area.height >= 8);
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
    match scene.ui.view {
        _ if scene.ui.layers.top().is_some() => layers::draw(frame, scene, body),
        view if !views::has_chart(view) => self::view(frame, scene, body),
        _ if scene.over() => result::draw(frame, scene, body),
        _ if body.width >= 24 && body.height >= 5 => overview::alone(frame, scene, body),
        _ => bars::strip(frame, scene, body),
    }
}

/// As many of `segments`, in order, as fit into `width`, two spaces apart; a later one may fit where an earlier did
/// not.
pub fn fitted(segments: Vec<(String, Style)>, width: u16) -> Line<'static> {
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
