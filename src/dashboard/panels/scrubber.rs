//! The two lines of a replay: a bar with its position, and below it marks of the run's events.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::replay::{Playing, speed_words};
use crate::dashboard::scene::{Scene, fitted};
use crate::dashboard::widgets::thousands;
use crate::run::index::Landmark;
use crate::run::show::duration;

/// Least columns of a bar; a shorter one is not drawn.
const LEAST_BAR: usize = 10;

/// Explains the marks, for the help.
const LEGEND: &str = "| phase  ^ growth  D decision  ◆ checkpoint  < back  ! warning";

/// Draws a bar, with the replay's state to the left and its position to the right; in a second row, if there is one, the marks.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, playing: &Playing, area: Rect) {
    if area.height == 0 {
        return;
    }
    let state = format!(" {:<7}", scene.text(&state(playing)));
    let place = place(playing);
    // Room for the widest position, so that the bar does not move.
    let behind = widest_place(playing).max(place.chars().count());
    let width = usize::from(area.width);
    let bar = width.saturating_sub(state.chars().count() + behind + 3);
    if bar < LEAST_BAR {
        let segments = vec![
            (state.trim().to_string(), scene.theme.key),
            (place, scene.theme.plain),
        ];
        frame.render_widget(fitted(segments, area.width), area);
        return;
    }
    let buffer = frame.buffer_mut();
    let left = area.x + state.chars().count() as u16;
    let right = left + bar as u16 + 2;
    buffer.set_string(area.x, area.y, &state, scene.theme.key);
    let row = Rect {
        x: left,
        width: bar as u16,
        height: 1,
        ..area
    };
    line(buffer, scene, playing, row);
    buffer.set_string(right, area.y, &place, scene.theme.plain);
    if area.height > 1 {
        let below = Rect {
            y: area.y + 1,
            ..row
        };
        marks(buffer, scene, playing, below);
        let count = match playing.shortened {
            Some(gap) => format!("{} shortened", duration(gap)),
            None => format!(
                "event {}/{}",
                thousands(playing.event as u64),
                thousands(playing.events as u64)
            ),
        };
        buffer.set_stringn(right, below.y, count, behind, scene.theme.dim);
    }
}

/// Returns the state of the replay in one or two words.
fn state(playing: &Playing) -> String {
    match playing.playing {
        true => format!("▶ {}", speed_words(playing.speed)),
        false if playing.event == playing.events => "end".into(),
        false => "paused".into(),
    }
}

fn place(playing: &Playing) -> String {
    let (step, last) = (thousands(playing.step), thousands(playing.last_step));
    let (at, end) = (duration(playing.at), duration(playing.end));
    format!("step {step}/{last}  {at}/{end}")
}

fn widest_place(playing: &Playing) -> usize {
    let last = thousands(playing.last_step).len();
    // The longest time below an hour is `59m59s`; beyond, `1h00m` grows with the hours.
    let end = duration(playing.end)
        .len()
        .max(if playing.end < 60.0 { 4 } else { 6 });
    "step /  /".len() + 2 * last + end + duration(playing.end).len()
}

/// Returns the column of a run time on a bar of `width` columns.
fn column(playing: &Playing, elapsed: f64, width: u16) -> u16 {
    let length = playing.end - playing.begin;
    if length <= 0.0 {
        return 0;
    }
    let share = ((elapsed - playing.begin) / length).clamp(0.0, 1.0);
    (share * f64::from(width - 1)).round() as u16
}

fn line(buffer: &mut Buffer, scene: &Scene<'_>, playing: &Playing, row: Rect) {
    let (done, rest, knob) = match scene.glyphs {
        Glyphs::Ascii => ('=', '-', '#'),
        Glyphs::Braille | Glyphs::Block => ('━', '─', '●'),
    };
    let here = column(playing, playing.at, row.width);
    for x in 0..row.width {
        let (symbol, style) = match x {
            x if x < here => (done, scene.theme.plain),
            x if x == here => (knob, scene.theme.key),
            _ => (rest, scene.theme.dim),
        };
        buffer[(row.x + x, row.y)].set_char(symbol).set_style(style);
    }
}

/// Draws the marks; the most important one of those in a column.
fn marks(buffer: &mut Buffer, scene: &Scene<'_>, playing: &Playing, row: Rect) {
    let mut cells: Vec<Option<Landmark>> = vec![None; usize::from(row.width)];
    for (elapsed, landmark) in playing.landmarks.iter() {
        let cell = &mut cells[usize::from(column(playing, *elapsed, row.width))];
        if cell.is_none_or(|there| weight(there) < weight(*landmark)) {
            *cell = Some(*landmark);
        }
    }
    for (x, landmark) in cells.into_iter().enumerate() {
        if let Some(landmark) = landmark {
            let (symbol, style) = look(scene, landmark);
            buffer[(row.x + x as u16, row.y)]
                .set_char(symbol)
                .set_style(style);
        }
    }
}

fn weight(landmark: Landmark) -> u8 {
    match landmark {
        Landmark::Checkpoint => 0,
        Landmark::Warning => 1,
        Landmark::Phase => 2,
        Landmark::Back => 3,
        Landmark::Growth => 4,
        Landmark::Decision => 5,
    }
}

fn look(scene: &Scene<'_>, landmark: Landmark) -> (char, Style) {
    let theme = scene.theme;
    match landmark {
        Landmark::Phase => ('|', theme.plain),
        Landmark::Growth => ('^', theme.good),
        Landmark::Decision => ('D', theme.key),
        Landmark::Checkpoint => (scene.glyphs.marks().checkpoint, theme.dim),
        Landmark::Back => ('<', theme.warning),
        Landmark::Warning => ('!', theme.warning),
    }
}

/// Returns the legend as a line of the help.
pub fn legend(scene: &Scene<'_>) -> Line<'static> {
    let text = scene.text(&format!(" marks: {LEGEND}"));
    Line::styled(text, scene.theme.dim)
}
