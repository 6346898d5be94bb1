//! Divides a training at a terminal into two processes: a thin parent that the shell waits for, and the child that trains.
//! When the operator detaches, the parent ends, so that the shell prints its prompt, and the child continues training. When
//! the screen is suspended, the parent stops until the shell continues it, and the child trains without a screen. The child
//! reports both through a pipe. A signal has the same effect on either process.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getppid, pipe, setsid};
use signal_hook::consts::{SIGHUP, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;

use crate::cli::exit;
use crate::dashboard::{FORMER_TITLE, Word};
use crate::file;
use crate::jobs::{self, Ground};
use crate::run::dir::RunDir;
use crate::signals::{WATCHED, held_back};
use crate::threads;

/// Environment variable of the child: its parent's process id.
const PARENT: &str = "HEIRLOOM_PARENT";
/// Environment variable of the child: the descriptor of the pipe to its parent.
const PIPE: &str = "HEIRLOOM_PARENT_PIPE";
/// Environment variable of the child: the descriptor of a file that takes its output under a screen, before the run has a log.
const HELD: &str = "HEIRLOOM_PARENT_HELD";

/// Bytes that the child writes into the pipe: it continues alone, its screen was left, its screen is shown again.
const ALONE: u8 = b'!';
const LEFT: u8 = b'z';
const BACK: u8 = b'b';

/// Returns the parent's id, if this process is the child of a waiting parent.
fn parent() -> Option<Pid> {
    let id = std::env::var(PARENT).ok()?.parse().ok()?;
    let parent = Pid::from_raw(id);
    (parent == getppid()).then_some(parent)
}

/// Whether this process is the one that trains.
pub fn is_child() -> bool {
    parent().is_some()
}

/// Whether all other processes end with this one: the first process of a container, and the process that a batch system's
/// step waits for. (A shell within such a step survives this process.)
fn must_stay() -> bool {
    let parent = std::fs::read_to_string(format!("/proc/{}/comm", getppid()));
    let of_step = parent.is_ok_and(|name| name.starts_with("slurm"));
    std::process::id() == 1 || (of_step && std::env::var_os("SLURM_STEP_ID").is_some())
}

/// Runs this command line again as a child, waits for it and returns its exit code. Passes every signal on to the child, which
/// decides which signals count once. With `has_screen` it also passes SIGTSTP, which would otherwise stop both processes.
///
/// # Errors
/// When the child cannot be started.
pub fn wait_for_child(has_screen: bool) -> Result<i32> {
    if has_screen {
        // Before the other handler, so that the signal is noted when the thread that it wakes looks for it.
        jobs::watch();
    }
    let passed = WATCHED.into_iter().chain(has_screen.then_some(SIGTSTP));
    let mut signals = Signals::new(passed).context("cannot watch signals")?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let terminal = tcgetattr(std::io::stdin()).ok();
    let (word, to_parent) = word_pipe().context("cannot make a pipe to the training process")?;
    let mut command = Command::new(program);
    command
        .args(std::env::args_os().skip(1))
        .env(PARENT, std::process::id().to_string())
        .env(PIPE, to_parent.as_raw_fd().to_string());
    // Without this file, the output of a child that is killed under its screen would be lost.
    let held = file::unnamed().ok();
    if let Some(held) = &held {
        command.env(HELD, held.as_raw_fd().to_string());
    }
    // Signals are blocked until the child handles them: an earlier signal would kill it.
    let mut start = || held_back(|| command.spawn());
    let started = match has_screen {
        true => jobs::hold_back(start),
        false => start(),
    };
    let mut child = started.context("cannot start the training process")?;
    drop(to_parent);
    let pid = Pid::from_raw(child.id().cast_signed());
    let forwarding = threads::spawn("signals", move || {
        for signal in signals.forever() {
            if signal == SIGTSTP {
                pass_suspension(pid);
                continue;
            }
            let signal = match signal {
                SIGTERM if jobs::is_farewell() => SIGHUP,
                signal => signal,
            };
            if let Ok(signal) = Signal::try_from(signal) {
                // A child that has just ended needs no signal.
                let _ = kill(pid, signal);
            }
            if signal != SIGHUP {
                continue;
            }
            jobs::note_hangup();
            if !must_stay() {
                std::process::exit(exit::OK);
            }
        }
    });
    let listening = threads::spawn("word", move || listen(word.into(), pid));
    if let Err(refused) = forwarding.and(listening) {
        // Ending the child loses nothing: training has not begun.
        let _ = kill(pid, Signal::SIGTERM);
        let _ = child.wait();
        return Err(refused.into());
    }
    let status = child
        .wait()
        .context("cannot wait for the training process")?;
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    // The child removes its output from the file and prints it, unless it ended under the screen.
    let said = held.as_ref().map(file::take_all).unwrap_or_default();
    let under_screen = code >= 128 || code == exit::INTERNAL || !said.is_empty();
    // A child that had left its screen has restored the terminal already; later changes are the shell's.
    if under_screen && !jobs::is_unseen() && !is_behind() {
        restore(terminal.as_ref());
    }
    let _ = std::io::stderr().write_all(&said);
    Ok(code)
}

/// Carries out what the child's bytes ask for, until the child ends.
fn listen(mut words: File, child: Pid) {
    let mut word = [0];
    loop {
        match words.read(&mut word) {
            Ok(1) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Ok(_) | Err(_) => return,
        }
        match word[0] {
            ALONE if !must_stay() => std::process::exit(exit::OK),
            // Notes when the terminal may have been lost: only a SIGTERM soon after that is the shell's farewell; a later one is a stop.
            ALONE => jobs::note_hangup(),
            LEFT => {
                jobs::set_unseen(true);
                if !matches!(jobs::stop_group(), Ok(true)) {
                    // This process was not stopped, so the shell will not continue it: continue the child here.
                    let _ = kill(child, Signal::SIGCONT);
                }
            }
            BACK => jobs::set_unseen(false),
            _ => {}
        }
    }
}

/// Passes a SIGTSTP on to the child, which leaves its screen first. In the background the child has no screen.
fn pass_suspension(child: Pid) {
    // The request is older than a stop that has happened since: it is done.
    if !jobs::take_suspend() {
        return;
    }
    if is_behind() {
        let _ = jobs::stop_group();
    } else {
        let _ = kill(child, Signal::SIGTSTP);
    }
}

/// Whether another process group has the terminal.
fn is_behind() -> bool {
    jobs::ground(std::io::stdin()) == Ground::Background
}

/// Makes a pipe for the child's bytes. Returns the end to read, and the end that the child inherits.
fn word_pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe()?;
    fcntl(&read, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok((read, write))
}

/// Sends a byte to the waiting parent.
///
/// # Errors
/// When this process has no waiting parent.
fn send_parent(word: u8) -> io::Result<()> {
    let gone = || io::Error::other("the process that the shell waits for has ended");
    parent().ok_or_else(gone)?;
    let pipe = std::env::var(PIPE).map_err(|_| gone())?;
    // Opened by its name instead of its number, so that closing it cannot close a descriptor of another part of the program.
    file::open_device(&format!("/dev/fd/{pipe}"))?.write_all(&[word])
}

/// Reports to the parent that the screen was left, so that the parent stops, or that the screen is shown again.
///
/// # Errors
/// When the parent has ended.
pub fn report_screen(word: Word) -> io::Result<()> {
    send_parent(match word {
        Word::Left => LEFT,
        Word::Back => BACK,
    })
}

/// If the shell or another program has the terminal, redirects all later output to the file that the parent prints once it is
/// continued.
pub fn hold_words_behind() {
    if is_behind()
        && let Some(held) = held_output()
    {
        let _ = dup2_stdout(&held);
        let _ = dup2_stderr(&held);
    }
}

/// Opens the file for output under a screen before the run has a log. The parent prints it if this process is killed.
pub fn held_output() -> Option<File> {
    parent()?;
    let held = std::env::var(HELD).ok()?;
    // Opened by its name, as the pipe is.
    file::open_device(&format!("/dev/fd/{held}")).ok()
}

/// Restores the terminal after a child that could not: it was killed, or interrupted twice.
fn restore(terminal: Option<&Termios>) {
    if let Some(terminal) = terminal {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, terminal);
        // End of a synchronised update, of bracketed paste and of the alternate screen; cursor on. Harmless if not on.
        let mut out = std::io::stdout();
        let _ = out.write_all(b"\x1b[?2026l\x1b[?2004l\x1b[?1049l\x1b[?25h");
        // The first frame has saved the window's title.
        let _ = out.write_all(FORMER_TITLE.as_bytes());
        let _ = out.flush();
    }
}

/// Returns the message for a training that continues without a dashboard, with the command that reaches it.
/// `is_reachable` means that there is a control socket to attach to, `is_stopping` that a signal has asked the training to stop.
pub fn farewell(dir: &RunDir, is_reachable: bool, is_stopping: bool) -> String {
    let (name, run) = (dir.name(), dir.argument());
    if is_stopping {
        return format!(
            "run {name} stops after a checkpoint; resume: heirloom train --resume {run}\n"
        );
    }
    let pid = std::process::id();
    let running = format!("run {name} continues in the background (pid {pid})");
    match is_reachable {
        true => format!("{running}; reattach: heirloom attach {run}\n"),
        false => format!(
            "{running} without a control socket, so that attach and ctl cannot reach it (the journal has the reason): \
             heirloom watch {run} follows it, kill {pid} ends it after a checkpoint\n"
        ),
    }
}

/// Leaves the terminal: redirects stdin to `/dev/null`, stdout and stderr to the log (or to `/dev/null`), starts a session of
/// its own, and has the parent end. If a part of this fails, training continues.
pub fn leave_terminal(log: &Path) {
    let null = || file::open_device("/dev/null");
    let log = file::open_to_append(log);
    if let Ok(null) = null() {
        let _ = dup2_stdin(&null);
    }
    if let Ok(out) = log.or_else(|_| null()) {
        let _ = dup2_stdout(&out);
        let _ = dup2_stderr(&out);
    }
    // Fails only for the leader of a process group, which a hangup of the group does not reach.
    let _ = setsid();
    // A failure is ignored: the parent has already ended.
    let _ = send_parent(ALONE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_that_stops_is_not_announced_as_continuing() {
        let dir = RunDir::at(Path::new("runs/third"));
        let text = farewell(&dir, true, true);
        assert!(
            text.starts_with("run third stops after a checkpoint; resume: heirloom train --resume")
        );
        for is_reachable in [true, false] {
            let text = farewell(&dir, is_reachable, false);
            assert!(
                text.starts_with("run third continues in the background"),
                "{text}"
            );
        }
    }
}
