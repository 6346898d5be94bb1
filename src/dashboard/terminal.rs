//! The one room that touches the terminal: raw mode and alternate screen, frames in one write, the hangup gate, and
//! where stdout and stderr go meanwhile.
//!
//! A lost terminal must end the dashboard, never spin it: crossterm's reader loops on a hung-up descriptor, so poll(2)
//! is asked first, and on a hangup an empty pipe is put over stdin.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use crossterm::event::{
    self, DisableBracketedPaste, EnableBracketedPaste, Event, KeyEvent, KeyEventKind,
};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, execute, queue};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};
use ratatui::Frame;
use ratatui::backend::CrosstermBackend;

/// A frame is gathered here and leaves in one write.
const FRAME_BYTES: usize = 256 << 10;

type Screen = ratatui::Terminal<CrosstermBackend<BufWriter<File>>>;

/// What came from the terminal.
#[derive(Debug, PartialEq)]
pub enum Input {
    Key(KeyEvent),
    Resized,
    /// The terminal is gone.
    Hangup,
}

/// A terminal in full-screen mode; dropped, it is as it was.
pub struct Terminal {
    /// Dropped only while there is a terminal: ratatui's own drop writes to it, and complains on stderr if it cannot.
    screen: ManuallyDrop<Screen>,
    /// The same terminal, to ask about.
    line: OwnedFd,
    gone: bool,
}

impl Terminal {
    /// Takes the terminal over. Frames go to a duplicate of stdout, which may then be pointed elsewhere.
    ///
    /// # Errors
    /// When stdin or stdout is no terminal.
    pub fn enter() -> io::Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let line = out.try_clone()?.into();
        enable_raw_mode()?;
        let mut writer = BufWriter::with_capacity(FRAME_BYTES, out);
        let entered = execute!(
            writer,
            EnterAlternateScreen,
            EnableBracketedPaste,
            cursor::Hide
        )
        .and_then(|()| Screen::new(CrosstermBackend::new(writer)));
        match entered {
            Ok(screen) => Ok(Self {
                screen: ManuallyDrop::new(screen),
                line,
                gone: false,
            }),
            Err(error) => {
                let _ = disable_raw_mode();
                Err(error)
            }
        }
    }

    /// Draws a frame in one synchronised write. A write that fails means that the terminal is gone.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> Result<(), Input> {
        let drawn = queue!(self.screen.backend_mut(), BeginSynchronizedUpdate)
            .and_then(|()| self.screen.draw(render).map(drop))
            .and_then(|()| execute!(self.screen.backend_mut(), EndSynchronizedUpdate));
        drawn.map_err(|_| self.hang_up())
    }

    /// Whether the terminal has taken what was written so far; a slow line says no.
    pub fn keeps_up(&self) -> bool {
        let mut fds = [PollFd::new(self.line.as_fd(), PollFlags::POLLOUT)];
        !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(0))
    }

    /// Waits up to `timeout` for input and returns all that has come.
    pub fn inputs(&mut self, timeout: Duration) -> Vec<Input> {
        if let Err(hangup) = self.gate(timeout) {
            return vec![hangup];
        }
        let mut inputs = Vec::new();
        // Resizes come by a signal and not through the descriptor: look each time, and drain.
        while matches!(event::poll(Duration::ZERO), Ok(true)) {
            match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    inputs.push(Input::Key(key))
                }
                Ok(Event::Resize(..)) => inputs.push(Input::Resized),
                Ok(_) => {}
                Err(_) => return vec![self.hang_up()],
            }
            if let Err(hangup) = self.gate(Duration::ZERO) {
                return vec![hangup];
            }
        }
        inputs
    }

    /// Asks poll(2) about the terminal before crossterm may.
    fn gate(&mut self, timeout: Duration) -> Result<(), Input> {
        let stdin = io::stdin();
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let wait = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        // An interrupted wait (a signal, a resize) is as good as a finished one.
        let _ = poll(&mut fds, wait);
        let lost = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        match fds[0].revents() {
            Some(events) if events.intersects(lost) => Err(self.hang_up()),
            _ => Ok(()),
        }
    }

    /// Marks the terminal as gone and puts an empty pipe over stdin, so that no reader spins on it.
    fn hang_up(&mut self) -> Input {
        if !self.gone {
            self.gone = true;
            if let Ok((read, write)) = nix::unistd::pipe() {
                let _ = dup2_stdin(&read);
                // Kept open for ever: a closed writer would be another end of file.
                std::mem::forget(write);
            }
        }
        Input::Hangup
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if !self.gone {
            let out = self.screen.backend_mut();
            // Errors here have nowhere to go.
            let _ = execute!(
                out,
                EndSynchronizedUpdate,
                DisableBracketedPaste,
                LeaveAlternateScreen,
                cursor::Show
            );
            // SAFETY: this is the drop; nothing uses the screen afterwards.
            unsafe { ManuallyDrop::drop(&mut self.screen) };
        }
        let _ = disable_raw_mode();
    }
}

/// Stdout and stderr as they were, given back when dropped.
pub struct OutputGuard {
    out: OwnedFd,
    err: OwnedFd,
}

/// Points stdout and stderr at `log`, for libraries and panics that would write over the screen. Call it after
/// [`Terminal::enter`] has taken its duplicate, or before on a duplicate of one's own.
///
/// # Errors
/// When the log cannot be opened.
pub fn redirect_output(log: &Path) -> io::Result<OutputGuard> {
    let guard = OutputGuard {
        out: io::stdout().as_fd().try_clone_to_owned()?,
        err: io::stderr().as_fd().try_clone_to_owned()?,
    };
    let file = OpenOptions::new().create(true).append(true).open(log)?;
    dup2_stdout(&file)?;
    dup2_stderr(&file)?;
    Ok(guard)
}

impl Drop for OutputGuard {
    fn drop(&mut self) {
        let _ = io::stdout().flush();
        let _ = dup2_stdout(&self.out);
        let _ = dup2_stderr(&self.err);
    }
}
