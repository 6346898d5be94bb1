//! Draws a frame of a run without a terminal, for pictures, fuzzing, and tests outside this crate.

use std::convert::Infallible;
use std::time::Instant;

use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::glyphs::Glyphs;
use super::keymap;
use super::layers::LOCK;
use super::scene::Scene;
use super::screen;
use super::session::Facts;
use super::theme::Theme;
use super::update::{self, Desk};
use crate::run::state::RunState;

/// Options of a frame without a terminal.
#[derive(Debug, Clone, Copy)]
pub struct Stage<'a> {
    pub theme: &'a Theme,
    pub glyphs: Glyphs,
    /// The run's name, if the events do not contain it.
    pub title: &'a str,
    /// The present Unix time in milliseconds; `None`: the time of the last event.
    pub clock: Option<i64>,
    /// Whether the screen belongs to the training process.
    pub owner: bool,
    /// Keys that have been pressed, by their names in the table of keys.
    pub keys: &'a [&'a str],
}

/// Draws a read-only dashboard with these columns and rows.
///
/// # Errors
/// None: a frame in memory can always be drawn.
pub fn still(run: &RunState, size: (u16, u16)) -> Result<Buffer, Infallible> {
    let stage = Stage {
        theme: &Theme::mono(),
        glyphs: Glyphs::Braille,
        title: "run",
        clock: None,
        owner: false,
        keys: &[],
    };
    still_in(run, size, &stage)
}

/// Draws a frame like [`still`], with these options.
///
/// # Errors
/// None: a frame in memory can always be drawn.
pub fn still_in(run: &RunState, size: (u16, u16), stage: &Stage<'_>) -> Result<Buffer, Infallible> {
    let mut desk = Desk::default();
    let facts = Facts {
        read_only: !stage.owner,
        owner: stage.owner,
        ..Facts::default()
    };
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1))?;
    let mut draw = |desk: &Desk| {
        let scopes = keymap::below(&desk.ui, &facts);
        let scene = Scene {
            run,
            facts: &facts,
            frozen: false,
            status: run.core.status,
            ui: &desk.ui,
            tables: &desk.tables,
            scopes: &scopes,
            theme: stage.theme,
            glyphs: stage.glyphs,
            title: run.info.as_ref().map_or(stage.title, |info| &info.name),
            zone: &TimeZone::UTC,
            clock: stage.clock,
        };
        let frame = terminal.draw(|frame| screen::draw(frame, &scene, &desk.layers));
        frame.map(drop)
    };
    let mut now = Instant::now();
    for key in stage.keys {
        // A layer gets the limit of scrolling from a drawn frame.
        draw(&desk)?;
        now += 2 * LOCK;
        update::on_key(&mut desk, &facts, run, &keymap::event(key), now);
    }
    draw(&desk)?;
    Ok(terminal.backend().buffer().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::Event;
    use crate::text;

    /// Makes an event of a phase and kind, at a step.
    fn told(seq: u64, step: u64, phase: &str, rest: &str) -> Event {
        let line = format!(
            r#"{{"v":1,"seq":{seq},"t":-9000000000000000000,"elapsed":-5,"step":{step},"phase":"{phase}","phase_step":9007199254740992,"branch":0,{rest}}}"#
        );
        Event::from_line(&line).unwrap()
    }

    fn train(seq: u64, step: u64) -> Event {
        let rest = format!(
            r#""kind":"train","loss":{step},"lr":0,"grad_norm":1e15,"tokens":{seq},"tokens_per_second":-1e15"#
        );
        told(seq, step, "x", &rest)
    }

    fn begins(seq: u64, step: u64, phase: &str) -> Event {
        let rest = r#""kind":"phase","layers":1024,"parameters":18446744073709551615,"steps":9007199254740992,"start":"random","source_layers":[]"#;
        told(seq, step, phase, rest)
    }

    const SIZES: [(u16, u16); 8] = [
        (1, 1),
        (2, 300),
        (24, 7),
        (59, 15),
        (60, 15),
        (80, 24),
        (119, 40),
        (300, 80),
    ];

    #[test]
    fn steps_and_numbers_out_of_order_can_be_drawn() {
        let mut run = RunState::default();
        let order = [
            (5, 9),
            (1, 0),
            (9, 1 << 53),
            (2, 7),
            (2, 7),
            (0, 3),
            (8, 1),
            (3, 100),
        ];
        for (seq, step) in order.into_iter().cycle().take(3000) {
            if step % 7 == 0 {
                run.apply(&begins(seq, step, "round-1000"));
            }
            run.apply(&train(seq, step));
            let gap = told(seq, step, "x", r#""kind":"gap","dropped":4294967295"#);
            run.apply(&gap);
        }
        for size in SIZES {
            let Ok(frame) = still(&run, size);
            assert_eq!(frame.area.width, size.0);
        }
    }

    #[test]
    fn a_wide_name_stays_in_its_panel() {
        let mut run = RunState::default();
        for seq in 1..9 {
            run.apply(&train(seq, seq));
        }
        // The label has as many characters as fit to the chart's edge, but they take twice the columns.
        run.apply(&begins(9, 4_503_599_627_370_496, &"數".repeat(40)));
        run.apply(&train(10, 10));
        let Ok(frame) = still(&run, (120, 40));
        for y in 2..10 {
            let edges = [75, 76].map(|x| frame[(x, y)].symbol().to_string());
            let frame_like = |s: &String| ["│", "┐", "┌", "┘", "└"].contains(&s.as_str());
            assert!(edges.iter().all(frame_like), "row {y}: {edges:?}");
        }
        let row = |y| -> String { (0..120).map(|x| frame[(x, y)].symbol()).collect() };
        let screen: Vec<String> = (0..40).map(row).collect();
        assert!(text::width(&screen[3]) == 120, "{screen:?}");
    }

    /// The time to draw marks and layers is linear in their number, not quadratic.
    #[test]
    fn a_hundred_thousand_growths_are_drawn_at_once() {
        let mut run = RunState::default();
        run.apply(&train(1, 1));
        for seq in 2..100_000 {
            let growth = r#""kind":"grow","from_layers":1,"to_layers":2,"added":[1],"mode":"keep","round":2"#;
            run.apply(&told(seq, seq, "round-2", growth));
            run.apply(&begins(seq, seq, "round-2"));
        }
        run.apply(&train(100_000, 100_000));
        let began = std::time::Instant::now();
        let Ok(_) = still(&run, (200, 60));
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    }
}
