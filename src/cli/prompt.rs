//! Commands typed at a plain terminal: stdin is read by a thread of its own, line by line as the terminal edits them, while
//! the training prints its lines. The end of stdin ends the prompts and nothing else.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getpgrp, read, tcgetpgrp};

use super::say;
use crate::dashboard::Feed;
use crate::dashboard::plain::{Answers, Console, Decision, Lines, Move, Role};
use crate::jobs;
use crate::run::dir::RunDir;
use crate::run::presence::Leave;
use crate::run::state::RunState;
use crate::threads;

/// Time between two checks whether this process is in the foreground.
const GLANCE: Duration = Duration::from_millis(200);
/// Longest line that is read, in bytes; the rest of a longer one is dropped.
const LONGEST: usize = 8192;

/// State that is shared between printing lines and reading answers.
#[derive(Debug)]
pub struct Terminal {
    dir: RunDir,
    /// RUN on the command line.
    run: String,
    role: Role,
    /// Whether typed lines are read.
    reads: AtomicBool,
    offers: Mutex<Offers>,
}

/// Decisions whose choices are numbered.
#[derive(Debug, Default)]
struct Offers {
    /// With the numbers of their events, in order; their lines wait to be printed.
    waiting: VecDeque<(u64, Decision)>,
    /// The one that was printed last.
    shown: Option<Decision>,
}

impl Terminal {
    /// A terminal of the run in `dir`; `reads` when typed lines will be read.
    pub fn new(dir: &RunDir, role: Role, reads: bool) -> Arc<Self> {
        Arc::new(Self {
            dir: dir.clone(),
            run: dir.argument(),
            role,
            reads: AtomicBool::new(reads),
            offers: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Offers> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the run's lines.
    pub fn lines(&self) -> Lines {
        Lines::local(&self.dir)
    }

    /// Returns the ways in which a decision can be answered at present.
    pub fn answers(&self) -> Answers<'_> {
        match self.reads.load(Ordering::SeqCst) && self.role != Role::Reader {
            true => Answers::Typed,
            false => self.commands(),
        }
    }

    /// Answers by commands given elsewhere.
    pub fn commands(&self) -> Answers<'_> {
        Answers::Commands(&self.run)
    }

    /// Notes that the choices of `decision` will be printed with event number `seq`.
    pub fn offer(&self, seq: u64, decision: Decision) {
        self.lock().waiting.push_back((seq, decision));
    }

    /// Notes that the lines of event number `seq` are printed: what they offered can be answered.
    pub fn shown(&self, seq: u64) {
        let mut offers = self.lock();
        while offers.waiting.front().is_some_and(|(of, _)| *of <= seq) {
            offers.shown = offers.waiting.pop_front().map(|(_, decision)| decision);
        }
    }

    /// Reads commands from stdin on a thread of its own, until it ends. `look` returns the run as it stands; `left` is called
    /// once no more commands will come.
    ///
    /// # Errors
    /// When the thread cannot be started; nothing is read then.
    pub fn read(
        self: &Arc<Self>,
        mut feed: Box<dyn Feed + Send>,
        look: impl Fn() -> RunState + Send + 'static,
        left: impl FnOnce(Leave) + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let terminal = Arc::clone(self);
        let started = threads::spawn("commands", move || {
            let mut console = Console::new(&terminal.dir, terminal.role);
            let stops = terminal.role != Role::Owner;
            let how = read_lines(stops, |typed| {
                let line = match typed {
                    Typed::Line(line) => line,
                    Typed::Seen(seen) => return feed.set_seen(seen),
                };
                let shown = terminal.lock().shown.clone();
                let text = match console.read(line, &look(), shown.as_ref()) {
                    Move::Say(text) => Some(text),
                    // The answer comes with the run's events.
                    Move::Send(command) => feed
                        .send(command)
                        .err()
                        .map(|why| format!("refused: {why}")),
                    Move::TakeControl => match feed.take_control() {
                        true => Some("control taken".into()),
                        false => Some("refused: control cannot be taken here".into()),
                    },
                };
                // Answers are printed from their events; this empties the feed's list of them.
                feed.answers();
                if let Some(text) = text {
                    // A failure is ignored: a terminal that takes no output has no reader.
                    let _ = say::out(&format!("{text}\n"));
                }
            });
            terminal.reads.store(false, Ordering::SeqCst);
            drop(feed);
            left(how);
            // Numbers cannot be typed any more: prints the choices again as commands for another shell.
            let rest = terminal.lines().of_present(&look(), terminal.answers());
            if let Some(text) = rest.text {
                let _ = say::out(&format!("{text}\n"));
            }
        });
        if started.is_err() {
            self.reads.store(false, Ordering::SeqCst);
        }
        started
    }
}

/// Events at the terminal.
enum Typed<'a> {
    Line(&'a str),
    /// Whether this process is in the foreground. It is `false` in the background and before a stop, where nothing is read.
    Seen(bool),
}

/// Calls `take` with what happens at the terminal, until stdin ends. Returns how it ended. `stops`: Ctrl-Z is reported before it
/// stops this process, which another one would wait for in vain.
///
/// A process in the background does not read: it would be stopped, and the training with it.
fn read_lines(stops: bool, mut take: impl FnMut(Typed<'_>)) -> Leave {
    let mut held = SigSet::empty();
    held.add(Signal::SIGTTIN);
    // Between the look at the foreground and the read, the shell may have put this process into the background. With the
    // signal held back in this thread, that read fails and stops nothing.
    if held.thread_block().is_err() {
        return Leave::InputEnded;
    }
    if stops {
        jobs::watch();
    }
    let stdin = io::stdin();
    let wait = PollTimeout::try_from(GLANCE).unwrap_or(PollTimeout::ZERO);
    let (mut line, mut bytes, mut seen) = (Vec::new(), [0; 4096], true);
    loop {
        // Without a shell, nothing would continue it.
        if stops && jobs::take_suspend() && jobs::has_shell() {
            if std::mem::replace(&mut seen, false) {
                take(Typed::Seen(false));
            }
            let _ = jobs::stop_group();
        }
        if is_behind(&stdin) == seen {
            seen = !seen;
            take(Typed::Seen(seen));
        }
        // In the background, what is typed is the shell's; the terminal's end is reported all the same.
        let awaited = match seen {
            true => PollFlags::POLLIN,
            false => PollFlags::empty(),
        };
        let mut fds = [PollFd::new(stdin.as_fd(), awaited)];
        match poll(&mut fds, wait) {
            Ok(0) | Err(Errno::EINTR | Errno::EAGAIN) => continue,
            Ok(_) => {}
            Err(_) => return Leave::InputEnded,
        }
        if is_gone(&fds[0]) {
            return Leave::HungUp;
        }
        if is_behind(&stdin) {
            continue;
        }
        match read(stdin.as_fd(), &mut bytes) {
            // Ctrl-D; or a hangup that came after the look at it.
            Ok(0) if is_hung_up(&stdin) => return Leave::HungUp,
            Ok(0) => return Leave::InputEnded,
            Ok(n) => {
                for byte in &bytes[..n] {
                    match byte {
                        b'\n' => {
                            take(Typed::Line(&String::from_utf8_lossy(&line)));
                            line.clear();
                        }
                        byte if line.len() < LONGEST => line.push(*byte),
                        _ => {}
                    }
                }
            }
            // In the background after all.
            Err(Errno::EIO) if is_behind(&stdin) => {}
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => return Leave::HungUp,
        }
    }
}

/// Returns whether another process group has the terminal. One that is not the controlling terminal knows no foreground.
fn is_behind(stdin: &io::Stdin) -> bool {
    tcgetpgrp(stdin.as_fd()).is_ok_and(|foreground| foreground != getpgrp())
}

/// Whether the terminal of a descriptor that was looked at is gone.
fn is_gone(looked: &PollFd<'_>) -> bool {
    let events = looked.revents().unwrap_or(PollFlags::POLLNVAL);
    events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL)
}

fn is_hung_up(stdin: &io::Stdin) -> bool {
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0 && is_gone(&fds[0]))
}
