//! Sets and restores a terminal's modes, the alternate screen, stdin and the window's title.

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

/// Sequences of xterm that save and restore a window's title.
const KEEP_TITLE: &str = "\x1b[22;2t";
pub const FORMER_TITLE: &str = "\x1b[23;2t";

/// The screen, which can be taken and left several times.
pub struct Canvas {
    /// Dropping it only writes to the frame's buffer.
    screen: Screen,
    writer: FrameWriter,
    /// The original stdin, while [`tty`] replaces it.
    stdin: Option<OwnedFd>,
    /// The window's title that was set last; empty: not set.
    title: String,
    /// Whether the terminal has been taken before.
    taken: bool,
}

impl Canvas {
    /// Makes a screen on `out`, without taking the terminal yet.
    ///
    /// # Errors
    /// When the window's size cannot be determined.
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

    /// Takes the terminal in its present state: another program may have changed its modes and its size.
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
        // Disabled first, because crossterm would not set a mode again that it believes to be on.
        disable_raw_mode()?;
        enable_raw_mode()?;
        queue!(
            self.writer,
            EnterAlternateScreen,
            EnableBracketedPaste,
            cursor::Hide
        )?;
        if again {
            // Another program may have drawn on the screen.
            queue!(self.writer, Clear(ClearType::All))?;
        }
        self.writer.send()?;
        self.screen = fresh(&self.writer)?;
        Ok(())
    }

    /// Leaves the alternate screen, so that the shell's screen is shown again. Errors are ignored.
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

    /// Restores the terminal's modes and stdin.
    pub fn give_modes_back(&mut self) {
        let _ = disable_raw_mode();
        self.give_stdin_back();
    }

    /// Restores stdin, but not the modes, which now belong to another program.
    pub fn give_stdin_back(&mut self) {
        if let Some(stdin) = self.stdin.take() {
            let _ = dup2_stdin(&stdin);
        }
    }

    /// Draws a frame in one synchronised write. Returns its bytes: 0 if no cell has changed.
    ///
    /// # Errors
    /// When the terminal does not take it.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<usize> {
        queue!(self.screen.backend_mut(), BeginSynchronizedUpdate)?;
        self.screen.draw(render)?;
        queue!(self.screen.backend_mut(), EndSynchronizedUpdate)?;
        self.writer.send_frame()
    }

    /// Sets the title of the terminal's window, which must not contain control characters; [`Self::leave`] restores the previous one.
    /// Does nothing on terminals that would print the title as text.
    ///
    /// # Errors
    /// When the terminal does not take it.
    pub fn set_title(&mut self, title: &str) -> io::Result<()> {
        if title == self.title || !has_sequences() {
            return Ok(());
        }
        // Before the first title, the terminal's own title is saved.
        let keep = if self.title.is_empty() {
            KEEP_TITLE
        } else {
            ""
        };
        self.title = title.into();
        write!(self.writer, "{keep}\x1b]2;{title}\x07")?;
        self.writer.send().map(drop)
    }

    /// Writes a sequence between frames.
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
        // ratatui's own `clear` asks the terminal for the cursor's position, and waits for the answer.
        queue!(self.writer, Clear(ClearType::All))?;
        self.screen = fresh(&self.writer)?;
        Ok(())
    }
}

/// Whether the terminal interprets sequences with a text, instead of printing them.
pub fn has_sequences() -> bool {
    !matches!(std::env::var("TERM").as_deref(), Ok("linux" | "dumb"))
}

/// Makes a screen of the window's present size, in which all cells must be drawn.
fn fresh(writer: &FrameWriter) -> io::Result<Screen> {
    Screen::new(CrosstermBackend::new(writer.clone()))
}
