//! The loop of every screen: takes new data, draws a frame if one is due, and handles input.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::keymap;
use super::terminal::{Input, Terminal};

/// Time for which resizes are gathered.
const RESIZE_GAP: Duration = Duration::from_millis(50);

/// A full screen: a run's dashboard, or the home screen.
pub trait Screen {
    /// The result of the loop.
    type Out;
    /// Takes new data. `Some` ends the screen.
    ///
    /// # Errors
    /// When what it shows cannot be read.
    fn turn(&mut self, now: Instant) -> Result<Option<Self::Out>>;
    /// Returns the longest wait for input.
    fn wait(&self) -> Duration;
    /// Whether a frame must be drawn. `keeps_up` is whether the terminal has taken all previous frames.
    fn is_due(&self, keeps_up: bool, now: Instant) -> bool;
    fn draw(&mut self, terminal: &mut Terminal, now: Instant);
    /// Handles a key, pasted text, a signal or the loss of the terminal. `Some` ends the screen.
    fn on_input(&mut self, input: Input, terminal: &mut Terminal) -> Option<Self::Out>;
    /// Notes that every cell must be drawn: the window has another size, or another program has had the terminal.
    fn on_resize(&mut self);
    /// Notes that the screen is about to be suspended (false), or is shown again (true).
    fn on_seen(&mut self, _seen: bool) {}
    /// Reports why the screen cannot be suspended.
    fn on_refused(&mut self, _why: String) {}
}

/// Shows a screen until it is over.
///
/// # Errors
/// When what it shows cannot be read.
pub fn drive<S: Screen>(screen: &mut S, terminal: &mut Terminal) -> Result<S::Out> {
    if !terminal.is_up() {
        screen.on_seen(false);
    }
    loop {
        let now = Instant::now();
        if let Some(out) = screen.turn(now)? {
            return Ok(out);
        }
        if terminal.is_up() && screen.is_due(terminal.keeps_up(), now) {
            screen.draw(terminal, now);
        }
        for input in terminal.inputs(screen.wait()) {
            match input {
                Input::Resized => {
                    // Dragging a window causes many resizes, which get a single frame.
                    std::thread::sleep(RESIZE_GAP);
                    screen.on_resize();
                }
                Input::Away => screen.on_seen(false),
                Input::Back => {
                    screen.on_seen(true);
                    screen.on_resize();
                }
                Input::Suspend => {
                    suspend(screen, terminal);
                    break;
                }
                // Suspends in every scope, also while a line is typed. Later input belongs to the shell.
                Input::Key(key) if keymap::suspends(&key) => {
                    suspend(screen, terminal);
                    break;
                }
                // Also in every scope.
                Input::Key(key) if keymap::redraws(&key) => {
                    terminal.clear();
                    screen.on_resize();
                }
                input => {
                    if let Some(out) = screen.on_input(input, terminal) {
                        return Ok(out);
                    }
                }
            }
        }
    }
}

/// Suspends the screen and returns the terminal to the shell.
fn suspend<S: Screen>(screen: &mut S, terminal: &mut Terminal) {
    if let Err(why) = terminal.check_shell() {
        return screen.on_refused(why);
    }
    // Gives up control before this process stops, because it could not do so afterwards.
    screen.on_seen(false);
    if let Err(why) = terminal.suspend() {
        screen.on_seen(true);
        screen.on_refused(why);
    }
}
