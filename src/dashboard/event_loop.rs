//! The one loop of every screen: what is new, a frame where one is due, input.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::keymap;
use super::terminal::{Input, Terminal};

/// Resizes are gathered for this long.
const RESIZE_GAP: Duration = Duration::from_millis(50);

/// A full screen: a run's dashboard, or the home screen.
pub trait Screen {
    /// The result of the loop.
    type Out;
    /// Takes in what is new. `Some`: the screen is over.
    ///
    /// # Errors
    /// When what it shows cannot be read.
    fn turn(&mut self, now: Instant) -> Result<Option<Self::Out>>;
    /// Longest wait for input.
    fn wait(&self) -> Duration;
    /// Whether a frame is called for; `keeps_up`: the terminal has taken all the frames before.
    fn is_due(&self, keeps_up: bool, now: Instant) -> bool;
    fn draw(&mut self, terminal: &mut Terminal, now: Instant);
    /// Takes a key, pasted text, a signal or the end of the terminal. `Some`: the screen is over.
    fn on_input(&mut self, input: Input, terminal: &mut Terminal) -> Option<Self::Out>;
    /// The window has another size, or the terminal was another program's: every cell is to be drawn.
    fn on_resize(&mut self);
    /// The screen is about to be left for the shell, or is up again.
    fn on_seen(&mut self, _seen: bool) {}
    /// The screen cannot be suspended; reports why.
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
                    // A dragged window sends many: one frame for a burst.
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
                // Everywhere, prompts and lines that are typed included. What was typed after it is meant for the shell.
                Input::Key(key) if keymap::suspends(&key) => {
                    suspend(screen, terminal);
                    break;
                }
                // Everywhere as well.
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

/// Lets the shell have its prompt.
fn suspend<S: Screen>(screen: &mut S, terminal: &mut Terminal) {
    if let Err(why) = terminal.check_shell() {
        return screen.on_refused(why);
    }
    // Before this process stops: from then on it can give nothing up.
    screen.on_seen(false);
    if let Err(why) = terminal.suspend() {
        screen.on_seen(true);
        screen.on_refused(why);
    }
}
