//! The overview: the charts and figures on which an operator decides. Builds plain values for the widgets from the run's state,
//! and places the widgets over the same x axis.
//!
//! | module | builds |
//! |---|---|
//! | [`phases`], [`extent`] | the parts of a run that belong to its phases; the part that is shown |
//! | [`loss`], [`gap`] | the two charts |
//! | [`forecast`] | the expected course of the two curves |
//! | [`marks`] | marks of events below the loss |
//! | [`ranks`] | attention rank: a heat map, or small cells |
//! | [`rank_times`] | times per step of each process of a run of several |
//! | [`multiples`] | small series next to the heat map, or in place of the chart |
//! | [`cursor`] | the value of every series at the cursor |

mod cursor;
mod extent;
mod forecast;
mod gap;
mod loss;
mod marks;
mod multiples;
mod phases;
mod rank_times;
mod ranks;
#[cfg(test)]
mod tests;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::view::Row;
use crate::dashboard::keys::Differs;
use crate::dashboard::panels::{decision, notes, result};
use crate::dashboard::scene::{Scene, WIDE};
use crate::dashboard::ui::OVERVIEW;
use crate::dashboard::widgets::chart::{Chart, Fitted};
use crate::text;
use extent::{MARGIN, View};
pub use multiples::all as small_series;

pub const ROW: Row = Row {
    id: OVERVIEW,
    title: "Overview",
    keys: &["1"],
    command: "view overview",
    help: "losses, evidence, ranks",
    chart: true,
    differs: Differs::Goes(&["4"], "events ·"),
    draw,
    draw_small,
    act: |_, _| {},
};

/// From this width on, the decision panel has a second column of figures.
const VERY_WIDE: u16 = 190;
/// Least rows of a chart next to other panels, and of the two charts together.
const CHART: u16 = 9;
const CHARTS: u16 = 21;
/// Rows of the gap chart.
const GAP: (u16, u16) = (9, 15);
/// Least width of the small multiples.
const MULTIPLES: u16 = 34;

/// Draws the overview.
fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let view = View::new(scene);
    if area.width >= WIDE {
        view.wide(frame, area);
    } else {
        view.narrow(frame, area);
    }
}

/// Draws the result of a run that is over; otherwise one chart (the loss, or the gap if it was asked for) if there is room, or
/// the latest notes.
fn draw_small(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    if scene.over() {
        result::draw(frame, scene, area);
    } else if area.width >= 24 && area.height >= 5 {
        View::new(scene).chart(frame, area);
    } else {
        notes::strip(frame, scene, area);
    }
}

impl View<'_> {
    /// Draws charts and decision above, ranks and small multiples below, and the result at the bottom.
    fn wide(&self, frame: &mut Frame<'_>, area: Rect) {
        let scene = self.scene;
        let result = if scene.over() {
            result::height(scene, area.height.saturating_sub(CHART))
        } else {
            0
        };
        let result = result.min(area.height.saturating_sub(CHART));
        let room = area.height.saturating_sub(result + CHART + 4);
        let ranks = match ranks::height(scene) {
            wanted if room >= 4 => wanted.min(room),
            _ => 0,
        };
        // The times of the processes get the room that the panels about the model leave.
        let left = area.height.saturating_sub(result + CHART + ranks);
        let times = match rank_times::height(scene, area.width) {
            wanted if wanted <= left => wanted,
            _ => 0,
        };
        let [top, processes, middle, bottom] = Layout::vertical([
            Constraint::Fill(1),
            Constraint::Length(times),
            Constraint::Length(ranks),
            Constraint::Length(result),
        ])
        .areas(area);
        if times > 0 {
            rank_times::draw(frame, self, processes);
        }
        let side = if area.width >= VERY_WIDE { 70 } else { 44 };
        let [left, right] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(side)]).areas(top);
        let margin = self.charts(frame, left);
        decision::draw(frame, scene, right);
        if ranks > 0 {
            // The heat map's plot has the columns of the loss chart, with its figures to the right.
            let plot = left.width.saturating_sub(2 + margin);
            let beside = area.width.saturating_sub(left.width + ranks::FIGURES);
            let beside = if beside >= MULTIPLES && multiples::count(self) > 0 {
                beside
            } else {
                0
            };
            let [heat, small] =
                Layout::horizontal([Constraint::Fill(1), Constraint::Length(beside)]).areas(middle);
            ranks::heatmap(frame, self, heat, margin, plot);
            if beside > 0 {
                multiples::draw(frame, self, small, false);
            }
        }
        if result > 0 {
            result::draw(frame, scene, bottom);
        }
    }

    /// Draws one chart or the small series, small cells of the ranks, and the decision in a line or two.
    fn narrow(&self, frame: &mut Frame<'_>, area: Rect) {
        let scene = self.scene;
        let mut room = area.height.saturating_sub(CHART);
        let mut take = |wanted: u16, least: u16| {
            let rows = if room >= least { wanted.min(room) } else { 0 };
            room -= rows;
            rows
        };
        let result = match scene.over() {
            true => take(result::height(scene, area.height.saturating_sub(CHART)), 3),
            false => 0,
        };
        let mut brief = decision::brief(scene, area.width);
        if let Some(line) = rank_times::line(scene, area.width) {
            brief.push(line);
        }
        // A run that is over has no decision to show.
        let brief_rows = match scene.over() {
            true => 0,
            false => take(brief.len() as u16, 1),
        };
        let ranks = take(ranks::compact_height(scene, area.width), 3);
        let [top, middle, line, bottom] = Layout::vertical([
            Constraint::Fill(1),
            Constraint::Length(ranks),
            Constraint::Length(brief_rows),
            Constraint::Length(result),
        ])
        .areas(area);
        if multiples::is_chosen(self) {
            self.small_series(frame, top);
        } else if top.height >= CHARTS {
            self.charts(frame, top);
        } else {
            self.chart(frame, top);
        }
        if ranks > 0 {
            ranks::compact(frame, self, middle);
        }
        frame.render_widget(Paragraph::new(brief), line);
        if result > 0 {
            result::draw(frame, scene, bottom);
        }
    }

    /// Draws the small series, below the chart where there is room for both.
    fn small_series(&self, frame: &mut Frame<'_>, area: Rect) {
        let chart = match area.height >= CHARTS {
            true => area.height / 2,
            false => 0,
        };
        let [above, below] =
            Layout::vertical([Constraint::Length(chart), Constraint::Fill(1)]).areas(area);
        if chart > 0 {
            self.chart(frame, above);
        }
        multiples::draw(frame, self, below, true);
    }

    fn chart(&self, frame: &mut Frame<'_>, area: Rect) {
        let inner = area.width.saturating_sub(2);
        let chosen = match gap::chart(self) {
            Some(chart) if self.scene.ui.chart.gap => Panel::new(chart, gap::TITLE, inner),
            _ => Panel::new(loss::chart(self, inner), "", inner),
        };
        let margin = chosen.margin(area.height);
        chosen.draw(frame, self, area, margin);
    }

    /// Draws the loss and, below it, the gap if there is one and it fits. Returns the columns of their y labels.
    fn charts(&self, frame: &mut Frame<'_>, area: Rect) -> u16 {
        let inner = area.width.saturating_sub(2);
        let loss = Panel::new(loss::chart(self, inner), "", inner);
        let gap = gap::chart(self).filter(|_| area.height >= CHARTS);
        let Some(gap) = gap.map(|chart| Panel::new(chart, gap::TITLE, inner)) else {
            let margin = loss.margin(area.height);
            loss.draw(frame, self, area, margin);
            return margin;
        };
        let rows = (area.height * 2 / 5).clamp(GAP.0, GAP.1);
        let [above, below] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(rows)]).areas(area);
        let margin = loss.margin(above.height).max(gap.margin(below.height));
        loss.draw(frame, self, above, margin);
        gap.draw(frame, self, below, margin);
        margin
    }
}

/// A chart in its frame.
struct Panel<'a> {
    chart: Chart<'a>,
    fitted: Option<Fitted>,
    /// Its title; empty for the loss.
    title: &'static str,
}

impl<'a> Panel<'a> {
    fn new(chart: Chart<'a>, title: &'static str, width: u16) -> Self {
        Self {
            fitted: chart.fit(width.saturating_sub(MARGIN)),
            chart,
            title,
        }
    }

    fn margin(&self, height: u16) -> u16 {
        let rows = height.saturating_sub(2);
        let fitted = self.fitted.as_ref();
        fitted.map_or(0, |f| self.chart.margin(f, rows)).max(MARGIN)
    }

    fn draw(&self, frame: &mut Frame<'_>, view: &View<'_>, area: Rect, margin: u16) {
        let scene = view.scene;
        let is_loss = self.title.is_empty();
        let name = if is_loss { loss::TITLE } else { self.title };
        let title = view.title(name, self.fitted.as_ref(), self.chart.log);
        let room = usize::from(area.width.saturating_sub(2)).saturating_sub(text::width(&title));
        let mut block = scene.panel(title);
        if !is_loss && self.chart.cone.is_some() {
            let words = format!(" {} ", forecast::legend(view));
            if text::width(&words) < room {
                let words = Line::styled(words, scene.theme.val);
                block = block.title(words.right_aligned());
            }
        }
        if is_loss {
            block = block.title(loss::legend(view, room));
            if let Some(words) = cursor::words(view, area.width.saturating_sub(2)) {
                block = block.title_bottom(Span::styled(words, scene.theme.selected));
            }
        }
        let inside = block.inner(area);
        frame.render_widget(block, area);
        match &self.fitted {
            Some(fitted) => self.chart.draw(frame.buffer_mut(), inside, margin, fitted),
            None => {
                let text = Line::styled("no loss yet", scene.theme.dim);
                frame.render_widget(text, inside);
            }
        }
    }
}
