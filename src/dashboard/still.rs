//! One frame of a run without a terminal, for fuzzing and tests outside this crate.

use std::convert::Infallible;

use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::curve::Curve;
use super::glyphs::Glyphs;
use super::theme::{ColorMode, Theme};
use super::update::Ui;
use super::view::{self, Scene};
use crate::run::state::RunState;

/// What a read-only dashboard of these columns and rows shows of a run.
///
/// # Errors
/// None: a frame in memory can always be drawn.
pub fn still(run: &RunState, size: (u16, u16)) -> Result<Buffer, Infallible> {
    let ui = Ui {
        read_only: true,
        ..Ui::default()
    };
    let mut curve = Curve::default();
    curve.follow(&run.train, &run.phase_starts(), ui.chart.smoothing);
    let theme = Theme::new(ColorMode::Never);
    let scene = Scene {
        run,
        ui: &ui,
        curve: &curve,
        theme: &theme,
        glyphs: Glyphs::Braille,
        title: "run",
        zone: &TimeZone::UTC,
    };
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1))?;
    terminal.draw(|frame| view::draw(frame, &scene))?;
    Ok(terminal.backend().buffer().clone())
}
