//! The only module that touches the terminal: raw mode and alternate screen, frames in one write, the check for a hangup, and
//! the redirection of stdout and stderr.
//!
//! A lost terminal must end the dashboard, never spin or block it. crossterm's reader loops on a descriptor that returns
//! errors, and blocks on one that holds half a sequence. So the terminal is read through a non-blocking file description of
//! its own, poll(2) is called before crossterm reads, and on a hangup an empty non-blocking pipe replaces stdin, by the
//! signal's own thread if necessary.
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

/// Time between two checks whether another program has returned the terminal.
const GLANCE: Duration = Duration::from_millis(200);

/// The state of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Up,
    /// The screen was left, and the process that the shell waits for is about to stop; the terminal still belongs to this group.
    Leaving,
    /// The shell or another program has the terminal, until this group is in the foreground again.
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
    /// This process has taken the terminal back: every cell must be drawn.
    Back,
    /// The terminal is lost.
    Hangup,
}

/// A terminal in full-screen mode. Dropping it restores the terminal.
pub struct Terminal {
    canvas: Canvas,
    /// The same terminal, for poll(2) and queries.
    line: OwnedFd,
    job: Job,
    stage: Stage,
    gone: bool,
}

impl Terminal {
    /// Takes the terminal over. Frames are written to a duplicate of stdout, which may then be redirected. A training process that
    /// was started in the background does not touch the terminal until it is in the foreground.
    ///
    /// # Errors
    /// When stdin or stdout is not a terminal.
    pub fn enter(job: Job) -> io::Result<Self> {
        signalled();
        // The theme honours NO_COLOR; crossterm would also leave out the sequences that reset bold.
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
        // From here on the event loop handles SIGTSTP.
        jobs::watch();
        Ok(terminal)
    }

    /// Whether the screen is shown.
    pub fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    fn set_stage(&mut self, stage: Stage) {
        self.stage = stage;
        jobs::set_unseen(stage != Stage::Up);
    }

    /// Takes the terminal back from another program. A terminal that cannot be taken counts as lost.
    fn take_back(&mut self) -> Input {
        if self.canvas.take().is_err() {
            return self.hang_up();
        }
        self.set_stage(Stage::Up);
        // Drops requests to suspend from before: they have been carried out, or are obsolete.
        jobs::take_suspend();
        if let Job::WorksOn(send) = self.job {
            // A failure is ignored: the parent has ended.
            let _ = send(Word::Back);
        }
        Input::Back
    }

    /// Checks that a shell can continue a [suspended](Self::suspend) screen.
    ///
    /// # Errors
    /// When no shell with job control has started this process.
    pub fn check_shell(&self) -> Result<(), String> {
        jobs::take_suspend();
        let has_shell = jobs::ground(&self.line) == Ground::Foreground && jobs::has_shell();
        let why = "cannot suspend: no shell with job control has started this program";
        has_shell.then_some(()).ok_or_else(|| why.into())
    }

    /// Leaves the screen and returns the terminal to the shell. A process that stops with its screen returns from here once it is
    /// continued; one that keeps working returns at once. [`Self::inputs`] takes the terminal back in the foreground.
    ///
    /// # Errors
    /// When the screen cannot be suspended: it stays, and the error is the reason.
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

    /// Draws a frame, and returns its bytes: 0 if no cell has changed. A failed write means that the terminal is lost, which
    /// [`Self::inputs`] reports.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> usize {
        let drawn = self.canvas.draw(render);
        drawn.unwrap_or_else(|_| {
            self.hang_up();
            0
        })
    }

    /// Sets the title of the terminal's window, which must not contain control characters. The previous title is restored at the end.
    pub fn set_title(&mut self, title: &str) {
        if self.canvas.set_title(title).is_err() {
            self.hang_up();
        }
    }

    /// Copies a text, which must not contain control characters, to the terminal's clipboard (OSC 52). Terminals without a clipboard
    /// ignore it.
    pub fn copy(&mut self, text: &str) {
        let coded = BASE64_STANDARD.encode(text);
        self.send(&format!("\x1b]52;c;{coded}\x07"));
    }

    /// Rings the terminal's bell.
    pub fn ring(&mut self) {
        self.send("\x07");
    }

    /// Has the terminal show a notification, whose text must not contain control characters. A terminal that would print the
    /// sequence rings its bell instead.
    pub fn notify(&mut self, text: &str) {
        match has_sequences() {
            true => self.send(&format!("\x1b]9;{text}\x07")),
            false => self.ring(),
        }
    }

    /// Writes a sequence between frames, while the screen is shown.
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

    /// Whether the terminal has taken everything that was written; false on a slow line.
    pub fn keeps_up(&self) -> bool {
        let mut fds = [PollFd::new(self.line.as_fd(), PollFlags::POLLOUT)];
        !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(0))
    }

    /// Waits up to `timeout` for inputs and returns all of them. While another program has the terminal, the only inputs are signals
    /// and the terminal's return.
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
        // Resizes come by a signal and not through the descriptor, so crossterm's events are always read.
        while matches!(event::poll(Duration::ZERO), Ok(true)) {
            match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    inputs.push(Input::Key(key))
                }
                Ok(Event::Paste(text)) => inputs.push(Input::Paste(text)),
                Ok(Event::Resize(..)) => inputs.push(Input::Resized),
                Ok(_) => {}
                // The error may mean that another program has just got the terminal, which is not a loss.
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

    /// Checks whether another program has got the terminal, or this process was stopped and continued, after which the shell may
    /// have changed the modes and the screen.
    fn look_at_job(&mut self) -> Option<Input> {
        let continued = jobs::take_continued();
        if jobs::ground(&self.line) == Ground::Background {
            // The terminal's modes now belong to the other program.
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
        // No event is requested, because the input belongs to the shell. poll(2) reports a hangup nevertheless.
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

    /// Calls poll(2) on the terminal before crossterm reads from it.
    fn gate(&mut self, timeout: Duration) -> Result<(), Input> {
        if self.gone || signalled().hangup.load(Ordering::SeqCst) {
            return Err(self.hang_up());
        }
        let stdin = io::stdin();
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let wait = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        // A wait that a signal interrupts is treated as finished.
        let _ = poll(&mut fds, wait);
        match fds[0].revents() {
            Some(events) if events.intersects(lost()) => Err(self.hang_up()),
            _ => Ok(()),
        }
    }

    /// Marks the terminal as lost.
    fn hang_up(&mut self) -> Input {
        if !self.gone {
            self.gone = true;
            // A shell that has lost its terminal sends a SIGTERM soon after; only a later one is a stop.
            jobs::note_hangup();
            silence_stdin();
        }
        Input::Hangup
    }
}

/// Returns the results of poll(2) that mean a lost terminal.
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
