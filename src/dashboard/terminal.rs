//! The one room that touches the terminal: raw mode and alternate screen, frames in one write, the hangup gate, and
//! where stdout and stderr go meanwhile.
//!
//! A lost terminal must end the dashboard, never spin or block it. crossterm's reader loops on a descriptor that gives
//! errors and blocks on one that holds half a sequence. So the terminal is read through a non-blocking description of
//! its own, poll(2) is asked before crossterm may look, and on a hangup an empty non-blocking pipe is put over stdin,
//! by the signal's own thread if need be.
//!
//! While the shell has the terminal ([`Terminal::suspend`], or a stop from outside), nothing here reads or draws.

mod canvas;
mod gate;
mod job;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use crossterm::style::force_color_output;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::Frame;

use self::canvas::{Canvas, has_sequences};
use self::gate::{signalled, silence_stdin};
use crate::jobs::{self, Ground};

pub use self::canvas::FORMER_TITLE;
pub use self::job::{Job, Word};

/// A wait for the terminal ends after this long, to look whether it is back.
const GLANCE: Duration = Duration::from_millis(200);

/// Whether the screen is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Up,
    /// Left, while the process that the shell waits for is about to stop: the terminal is this group's for a moment yet.
    Leaving,
    /// The shell or another program has the terminal; it is taken again once this group is in the foreground.
    Away,
}

/// An input from the terminal.
#[derive(Debug, PartialEq)]
pub enum Input {
    Key(KeyEvent),
    /// Text that was pasted in one piece.
    Paste(String),
    Resized,
    /// A signal that asks for a stop.
    Stop,
    /// A signal that asks for a [suspension](Terminal::suspend).
    Suspend,
    /// Another program has the terminal.
    Away,
    /// The terminal was taken again: every cell is to be drawn.
    Back,
    /// The terminal is gone.
    Hangup,
}

/// A terminal in full-screen mode; dropped, it is as it was.
pub struct Terminal {
    canvas: Canvas,
    /// The same terminal, to ask about.
    line: OwnedFd,
    job: Job,
    stage: Stage,
    gone: bool,
}

impl Terminal {
    /// Takes the terminal over. Frames go to a duplicate of stdout, which may then be pointed elsewhere. A process that
    /// works on unseen, and was started in the background, leaves the terminal alone until it is in the foreground.
    ///
    /// # Errors
    /// When stdin or stdout is not a terminal.
    pub fn enter(job: Job) -> io::Result<Self> {
        signalled();
        // The theme honours NO_COLOR; crossterm would also leave out what resets bold.
        force_color_output(true);
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let line = out.try_clone()?.into();
        let mut terminal = Self {
            canvas: Canvas::new(out)?,
            line,
            job,
            stage: Stage::Away,
            gone: false,
        };
        let works_on = matches!(job, Job::WorksOn(_));
        if works_on {
            jobs::ignore_terminal_stops();
        }
        match jobs::ground(&terminal.line) {
            Ground::Background if works_on => terminal.set_stage(Stage::Away),
            // In the background, this stops the process, as the users of a shell expect.
            _ => {
                terminal.canvas.take()?;
                terminal.set_stage(Stage::Up);
            }
        }
        // From here on SIGTSTP is answered by the loop.
        jobs::watch();
        Ok(terminal)
    }

    /// Whether the screen is up.
    pub fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    fn set_stage(&mut self, stage: Stage) {
        self.stage = stage;
        jobs::set_unseen(stage != Stage::Up);
    }

    /// Takes the terminal again after it was another program's, and reports that. A terminal that cannot be taken is gone.
    fn take_back(&mut self) -> Input {
        if self.canvas.take().is_err() {
            return self.hang_up();
        }
        self.set_stage(Stage::Up);
        // What came while the screen was not up, or led to that, is done with.
        jobs::take_suspend();
        if let Job::WorksOn(send) = self.job {
            // A process that has gone needs no word.
            let _ = send(Word::Back);
        }
        Input::Back
    }

    /// Checks that a shell would bring a [suspended](Self::suspend) screen back.
    ///
    /// # Errors
    /// Without a shell: the screen must stay.
    pub fn check_shell(&self) -> Result<(), String> {
        jobs::take_suspend();
        let has_shell = jobs::ground(&self.line) == Ground::Foreground && jobs::has_shell();
        let why = "cannot suspend: no shell with job control has started this program";
        has_shell.then_some(()).ok_or_else(|| why.into())
    }

    /// Leaves the screen and lets the shell have its prompt. A process that stops is continued when this returns; one that
    /// works on returns at once. [`Self::inputs`] takes the terminal again when this process is in the foreground.
    ///
    /// # Errors
    /// Why the screen cannot be suspended; it is up then.
    pub fn suspend(&mut self) -> Result<(), String> {
        self.canvas.leave();
        self.canvas.give_modes_back();
        jobs::take_continued();
        self.set_stage(Stage::Leaving);
        let left = match self.job {
            Job::Stops => jobs::stop_group().map(|_| self.set_stage(Stage::Away)),
            Job::WorksOn(send) => send(Word::Left),
        };
        left.map_err(|error| {
            self.take_back();
            format!("cannot suspend: {error}")
        })
    }

    /// Draws a frame, and returns its bytes: none when no cell has changed. A write that fails means that the terminal is gone,
    /// which [`Self::inputs`] tells.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> usize {
        let drawn = self.canvas.draw(render);
        drawn.unwrap_or_else(|_| {
            self.hang_up();
            0
        })
    }

    /// Gives the terminal's window a title, which must have no control characters; the former one comes back at the end.
    pub fn set_title(&mut self, title: &str) {
        if self.canvas.set_title(title).is_err() {
            self.hang_up();
        }
    }

    /// Gives a text, which must have no control characters, to the terminal for its clipboard (OSC 52); terminals without one
    /// ignore it.
    pub fn copy(&mut self, text: &str) {
        let coded = BASE64_STANDARD.encode(text);
        self.send(&format!("\x1b]52;c;{coded}\x07"));
    }

    /// Rings the terminal's bell.
    pub fn ring(&mut self) {
        self.send("\x07");
    }

    /// Has the terminal notify its user of a text, which must have no control characters. A terminal that would show the sequence
    /// as text rings its bell instead.
    pub fn notify(&mut self, text: &str) {
        match has_sequences() {
            true => self.send(&format!("\x1b]9;{text}\x07")),
            false => self.ring(),
        }
    }

    /// Writes a sequence outside frames, while the screen is up.
    fn send(&mut self, text: &str) {
        if self.stage == Stage::Up && self.canvas.send(text).is_err() {
            self.hang_up();
        }
    }

    /// Clears the terminal: the next frame writes every cell, whatever another program has left there.
    pub fn clear(&mut self) {
        if self.canvas.clear().is_err() {
            self.hang_up();
        }
    }

    /// Whether the terminal has taken what was written so far; a slow line says no.
    pub fn keeps_up(&self) -> bool {
        let mut fds = [PollFd::new(self.line.as_fd(), PollFlags::POLLOUT)];
        !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(0))
    }

    /// Waits up to `timeout` for input and returns all that has come. While another program has the terminal, only signals
    /// and the terminal's return do.
    pub fn inputs(&mut self, timeout: Duration) -> Vec<Input> {
        if self.stage != Stage::Up {
            return self.wait_for_return(timeout.min(GLANCE));
        }
        if let Err(hangup) = self.gate(timeout) {
            return vec![hangup];
        }
        if let Some(moved) = self.look_at_job() {
            return vec![moved];
        }
        let mut inputs = Vec::new();
        // Resizes come by a signal and not through the descriptor: look each time, and drain.
        while matches!(event::poll(Duration::ZERO), Ok(true)) {
            match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    inputs.push(Input::Key(key))
                }
                Ok(Event::Paste(text)) => inputs.push(Input::Paste(text)),
                Ok(Event::Resize(..)) => inputs.push(Input::Resized),
                Ok(_) => {}
                // Another program may just have got the terminal; then it is not gone.
                Err(_) => return vec![self.look_at_job().unwrap_or_else(|| self.hang_up())],
            }
            if let Err(hangup) = self.gate(Duration::ZERO) {
                return vec![hangup];
            }
        }
        if signalled().stop.load(Ordering::SeqCst) {
            inputs.push(Input::Stop);
        }
        if jobs::take_suspend() {
            inputs.push(Input::Suspend);
        }
        inputs
    }

    /// Finds out whether another program has got the terminal, or this one was stopped and continued: the shell may have
    /// changed modes and written over the screen meanwhile.
    fn look_at_job(&mut self) -> Option<Input> {
        let continued = jobs::take_continued();
        if jobs::ground(&self.line) == Ground::Background {
            // The modes are the other program's.
            self.canvas.leave();
            self.canvas.give_stdin_back();
            self.set_stage(Stage::Away);
            return Some(Input::Away);
        }
        continued.then(|| {
            self.canvas.leave();
            self.take_back()
        })
    }

    /// Waits up to `timeout` for the terminal to be this group's again, for its end, and for signals.
    fn wait_for_return(&mut self, timeout: Duration) -> Vec<Input> {
        // No event is asked for: what is typed is the shell's. A terminal's end is reported all the same.
        let mut fds = [PollFd::new(self.line.as_fd(), PollFlags::empty())];
        let wait = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        let _ = poll(&mut fds, wait);
        let lost = fds[0].revents().is_some_and(|e| e.intersects(lost()));
        if self.gone || lost || signalled().hangup.load(Ordering::SeqCst) {
            return vec![self.hang_up()];
        }
        let mut inputs = Vec::new();
        let continued = jobs::take_continued();
        match jobs::ground(&self.line) {
            Ground::Background => self.stage = Stage::Away,
            Ground::Foreground if continued || self.stage == Stage::Away => {
                inputs.push(self.take_back());
            }
            Ground::Foreground => {}
            // The session has ended.
            Ground::Unknown => return vec![self.hang_up()],
        }
        if signalled().stop.load(Ordering::SeqCst) {
            inputs.push(Input::Stop);
        }
        inputs
    }

    /// Asks poll(2) about the terminal before crossterm may.
    fn gate(&mut self, timeout: Duration) -> Result<(), Input> {
        if self.gone || signalled().hangup.load(Ordering::SeqCst) {
            return Err(self.hang_up());
        }
        let stdin = io::stdin();
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let wait = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        // An interrupted wait (a signal, a resize) is as good as a finished one.
        let _ = poll(&mut fds, wait);
        match fds[0].revents() {
            Some(events) if events.intersects(lost()) => Err(self.hang_up()),
            _ => Ok(()),
        }
    }

    /// Marks the terminal as gone.
    fn hang_up(&mut self) -> Input {
        if !self.gone {
            self.gone = true;
            // A SIGTERM of the shell that has lost its terminal comes soon; a later one is meant.
            jobs::note_hangup();
            silence_stdin();
        }
        Input::Hangup
    }
}

/// What poll(2) says of a terminal that is gone.
fn lost() -> PollFlags {
    PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.gone || self.stage != Stage::Up {
            return;
        }
        self.canvas.leave();
        self.canvas.give_modes_back();
    }
}
