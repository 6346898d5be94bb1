//! The one room that touches the terminal: raw mode and alternate screen, frames in one write, the hangup gate, and
//! where stdout and stderr go meanwhile.
//!
//! A lost terminal must end the dashboard, never spin or block it. crossterm's reader loops on a descriptor that gives
//! errors and blocks on one that holds half a sequence. So the terminal is read through a non-blocking description of
//! its own, poll(2) is asked before crossterm may look, and on a hangup an empty non-blocking pipe is put over stdin,
//! by the signal's own thread if need be.

use std::fs::File;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use crossterm::event::{
    self, DisableBracketedPaste, EnableBracketedPaste, Event, KeyEvent, KeyEventKind,
};
use crossterm::style::force_color_output;
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, queue};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{dup2_stdin, pipe2};
use ratatui::Frame;
use ratatui::backend::CrosstermBackend;
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

use super::frame_writer::FrameWriter;
use crate::file;
use crate::signals::WATCHED;
use crate::threads;

type Screen = ratatui::Terminal<CrosstermBackend<FrameWriter>>;

/// xterm's way to put a window's title aside, and to bring it back.
const KEEP_TITLE: &str = "\x1b[22;2t";
const FORMER_TITLE: &str = "\x1b[23;2t";

/// What came from the terminal.
#[derive(Debug, PartialEq)]
pub enum Input {
    Key(KeyEvent),
    /// Text that was pasted in one piece.
    Paste(String),
    Resized,
    /// A signal that asks for a stop.
    Stop,
    /// The terminal is gone.
    Hangup,
}

/// What signals have said, over the whole life of the process.
#[derive(Debug, Default)]
struct Signalled {
    hangup: AtomicBool,
    stop: AtomicBool,
}

/// Watches signals from the first call on.
fn signalled() -> &'static Signalled {
    static STATE: OnceLock<&'static Signalled> = OnceLock::new();
    STATE.get_or_init(|| {
        let state: &'static Signalled = Box::leak(Box::default());
        // Without handlers, signals do what they do anywhere.
        if let Ok(mut signals) = Signals::new(WATCHED) {
            // Refused, they are looked for no more: the keyboard and the terminal's end still are.
            let _ = threads::spawn("signals", move || {
                for signal in signals.forever() {
                    if signal == SIGHUP {
                        state.hangup.store(true, Ordering::SeqCst);
                        silence_stdin();
                    } else {
                        state.stop.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
        state
    })
}

/// Puts an empty pipe over stdin, on which no reader blocks or spins.
fn silence_stdin() {
    // Both ends stay open for ever: a closed writer would be an end of file.
    static PIPE: OnceLock<Option<(OwnedFd, OwnedFd)>> = OnceLock::new();
    let pipe = PIPE.get_or_init(|| pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).ok());
    if let Some((read, _)) = pipe {
        let _ = dup2_stdin(read);
    }
}

/// The controlling terminal, opened for non-blocking reads. One description serves the whole process, since crossterm
/// registers it once.
fn tty() -> Option<&'static File> {
    static TTY: OnceLock<Option<File>> = OnceLock::new();
    let open = || file::open_device("/dev/tty").ok();
    TTY.get_or_init(open).as_ref()
}

/// A terminal in full-screen mode; dropped, it is as it was.
pub struct Terminal {
    /// Dropped only while there is a terminal: ratatui's own drop writes to it, and complains on stderr if it cannot.
    screen: ManuallyDrop<Screen>,
    writer: FrameWriter,
    /// The same terminal, to ask about.
    line: OwnedFd,
    /// Stdin as it was, while [`tty`] stands in for it.
    stdin: Option<OwnedFd>,
    gone: bool,
    /// The window's title as it was set last; empty: not set.
    title: String,
}

impl Terminal {
    /// Takes the terminal over. Frames go to a duplicate of stdout, which may then be pointed elsewhere.
    ///
    /// # Errors
    /// When stdin or stdout is no terminal.
    pub fn enter() -> io::Result<Self> {
        signalled();
        // The theme heeds NO_COLOR; crossterm would also leave out what resets bold.
        force_color_output(true);
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let line = out.try_clone()?.into();
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let stdin = tty().and_then(|tty| dup2_stdin(tty).is_ok().then_some(stdin));
        let give_back = |error| {
            if let Some(stdin) = &stdin {
                let _ = dup2_stdin(stdin);
            }
            Err(error)
        };
        if let Err(error) = enable_raw_mode() {
            return give_back(error);
        }
        let writer = FrameWriter::new(out);
        let entered = queue!(
            writer.clone(),
            EnterAlternateScreen,
            EnableBracketedPaste,
            cursor::Hide
        )
        .and_then(|()| writer.send())
        .and_then(|_| Screen::new(CrosstermBackend::new(writer.clone())));
        match entered {
            Ok(screen) => Ok(Self {
                screen: ManuallyDrop::new(screen),
                writer,
                line,
                stdin,
                title: String::new(),
                gone: false,
            }),
            Err(error) => {
                let _ = disable_raw_mode();
                give_back(error)
            }
        }
    }

    /// Draws a frame in one synchronised write, and returns its bytes: none when no cell has changed. A write that fails means
    /// that the terminal is gone, which [`Self::inputs`] tells.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> usize {
        let drawn = queue!(self.screen.backend_mut(), BeginSynchronizedUpdate)
            .and_then(|()| self.screen.draw(render).map(drop))
            .and_then(|()| queue!(self.screen.backend_mut(), EndSynchronizedUpdate))
            .and_then(|()| self.writer.send_frame());
        drawn.unwrap_or_else(|_| {
            self.hang_up();
            0
        })
    }

    /// Gives the terminal's window a title, which must have no control characters; the former one comes back at the end. Terminals that
    /// would show the title as text are left alone.
    pub fn set_title(&mut self, title: &str) {
        if title == self.title || matches!(std::env::var("TERM").as_deref(), Ok("linux" | "dumb")) {
            return;
        }
        // The first time, the terminal is asked to keep what it had.
        let keep = if self.title.is_empty() {
            KEEP_TITLE
        } else {
            ""
        };
        self.title = title.into();
        let written = write!(self.writer, "{keep}\x1b]2;{title}\x07");
        if written.and_then(|()| self.writer.send()).is_err() {
            self.hang_up();
        }
    }

    /// Gives a text, which must have no control characters, to the terminal for its clipboard (OSC 52); terminals without one
    /// ignore it.
    pub fn copy(&mut self, text: &str) {
        let coded = BASE64_STANDARD.encode(text);
        let written = write!(self.writer, "\x1b]52;c;{coded}\x07");
        if written.and_then(|()| self.writer.send()).is_err() {
            self.hang_up();
        }
    }

    /// Clears the terminal: the next frame writes every cell, whatever another program has left there.
    pub fn clear(&mut self) {
        // ratatui's own way asks the terminal where its cursor is, and waits for the answer.
        let fresh = queue!(self.writer.clone(), Clear(ClearType::All))
            .and_then(|()| Screen::new(CrosstermBackend::new(self.writer.clone())));
        match fresh {
            Ok(screen) => *self.screen = screen,
            Err(_) => {
                self.hang_up();
            }
        }
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
                Ok(Event::Paste(text)) => inputs.push(Input::Paste(text)),
                Ok(Event::Resize(..)) => inputs.push(Input::Resized),
                Ok(_) => {}
                Err(_) => return vec![self.hang_up()],
            }
            if let Err(hangup) = self.gate(Duration::ZERO) {
                return vec![hangup];
            }
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
        let lost = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        match fds[0].revents() {
            Some(events) if events.intersects(lost) => Err(self.hang_up()),
            _ => Ok(()),
        }
    }

    /// Marks the terminal as gone.
    fn hang_up(&mut self) -> Input {
        if !self.gone {
            self.gone = true;
            silence_stdin();
        }
        Input::Hangup
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.gone {
            return;
        }
        if !self.title.is_empty() {
            let _ = self.writer.write_all(FORMER_TITLE.as_bytes());
        }
        // Errors here have nowhere to go.
        let _ = queue!(
            self.writer.clone(),
            EndSynchronizedUpdate,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            cursor::Show
        )
        .and_then(|()| self.writer.send());
        // SAFETY: this is the drop; nothing uses the screen afterwards.
        unsafe { ManuallyDrop::drop(&mut self.screen) };
        let _ = disable_raw_mode();
        if let Some(stdin) = &self.stdin {
            let _ = dup2_stdin(stdin);
        }
    }
}
