//! Sets and restores what a full screen takes of a terminal: its modes, the alternate screen, stdin, the window's title.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, queue};
use nix::unistd::dup2_stdin;
use ratatui::Frame;
use ratatui::backend::CrosstermBackend;

use super::gate::tty;
use crate::dashboard::frame_writer::FrameWriter;

type Screen = ratatui::Terminal<CrosstermBackend<FrameWriter>>;

/// xterm's way to put a window's title aside, and to bring it back.
const KEEP_TITLE: &str = "\x1b[22;2t";
pub const FORMER_TITLE: &str = "\x1b[23;2t";

/// The screen, which is taken, left and taken again.
pub struct Canvas {
    /// Dropped, it writes to the frame's buffer alone.
    screen: Screen,
    writer: FrameWriter,
    /// Stdin as it was, while [`tty`] stands in for it.
    stdin: Option<OwnedFd>,
    /// The window's title as it was set last; empty: not set.
    title: String,
    /// Whether the terminal has been taken before.
    taken: bool,
}

impl Canvas {
    /// A screen on `out`, from which nothing has been taken yet.
    ///
    /// # Errors
    /// When the window's size cannot be found out.
    pub fn new(out: File) -> io::Result<Self> {
        let writer = FrameWriter::new(out);
        Ok(Self {
            screen: fresh(&writer)?,
            writer,
            stdin: None,
            title: String::new(),
            taken: false,
        })
    }

    /// Takes the terminal as it is now: another program may have changed its modes, and its size.
    ///
    /// # Errors
    /// When stdin or stdout is not a terminal; nothing is taken then.
    pub fn take(&mut self) -> io::Result<()> {
        if self.stdin.is_none() {
            let stdin = io::stdin().as_fd().try_clone_to_owned()?;
            self.stdin = tty().and_then(|tty| dup2_stdin(tty).is_ok().then_some(stdin));
        }
        let again = std::mem::replace(&mut self.taken, true);
        self.enter(again).inspect_err(|_| self.give_modes_back())
    }

    fn enter(&mut self, again: bool) -> io::Result<()> {
        // Raw mode that is on as far as crossterm knows would not be set again.
        disable_raw_mode()?;
        enable_raw_mode()?;
        queue!(
            self.writer,
            EnterAlternateScreen,
            EnableBracketedPaste,
            cursor::Hide
        )?;
        if again {
            // Another program may have drawn on a screen that was never left.
            queue!(self.writer, Clear(ClearType::All))?;
        }
        self.writer.send()?;
        self.screen = fresh(&self.writer)?;
        Ok(())
    }

    /// Leaves the alternate screen, so that the shell's is there again. Errors have nowhere to go.
    pub fn leave(&mut self) {
        if !std::mem::take(&mut self.title).is_empty() {
            let _ = self.writer.write_all(FORMER_TITLE.as_bytes());
        }
        let _ = queue!(
            self.writer,
            EndSynchronizedUpdate,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            cursor::Show
        )
        .and_then(|()| self.writer.send());
    }

    /// Gives the terminal's modes and stdin back.
    pub fn give_modes_back(&mut self) {
        let _ = disable_raw_mode();
        self.give_stdin_back();
    }

    /// Gives stdin back, where the modes are another program's by now.
    pub fn give_stdin_back(&mut self) {
        if let Some(stdin) = self.stdin.take() {
            let _ = dup2_stdin(&stdin);
        }
    }

    /// Draws a frame in one synchronised write, and returns its bytes: none when no cell has changed.
    ///
    /// # Errors
    /// When the terminal does not take it.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<usize> {
        queue!(self.screen.backend_mut(), BeginSynchronizedUpdate)?;
        self.screen.draw(render)?;
        queue!(self.screen.backend_mut(), EndSynchronizedUpdate)?;
        self.writer.send_frame()
    }

    /// Gives the terminal's window a title, which must have no control characters; [`Self::leave`] brings the former one back.
    /// Terminals that would show the title as text are left alone.
    ///
    /// # Errors
    /// When the terminal does not take it.
    pub fn set_title(&mut self, title: &str) -> io::Result<()> {
        if title == self.title || !has_sequences() {
            return Ok(());
        }
        // The first time, the terminal is asked to keep what it had.
        let keep = if self.title.is_empty() {
            KEEP_TITLE
        } else {
            ""
        };
        self.title = title.into();
        write!(self.writer, "{keep}\x1b]2;{title}\x07")?;
        self.writer.send().map(drop)
    }

    /// Writes a sequence outside frames.
    ///
    /// # Errors
    /// When the terminal does not take it.
    pub fn send(&mut self, sequence: &str) -> io::Result<()> {
        self.writer.write_all(sequence.as_bytes())?;
        self.writer.send().map(drop)
    }

    /// Clears the terminal: the next frame writes every cell, whatever another program has left there.
    ///
    /// # Errors
    /// When the terminal does not take it.
    pub fn clear(&mut self) -> io::Result<()> {
        // ratatui's own way asks the terminal where its cursor is, and waits for the answer.
        queue!(self.writer, Clear(ClearType::All))?;
        self.screen = fresh(&self.writer)?;
        Ok(())
    }
}

/// Whether the terminal takes sequences with a text, and does not show them.
pub fn has_sequences() -> bool {
    !matches!(std::env::var("TERM").as_deref(), Ok("linux" | "dumb"))
}

/// A screen of the window's present size, of which no cell has been drawn.
fn fresh(writer: &FrameWriter) -> io::Result<Screen> {
    Screen::new(CrosstermBackend::new(writer.clone()))
}
