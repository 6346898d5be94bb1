//! Two processes at a terminal: a thin parent that the shell waits for, and the child that trains. When the operator
//! detaches, the parent ends and the shell has its prompt back, while training goes on in the process that owns the
//! device. The child tells the parent so through a pipe; signals mean the same to both.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getppid, pipe, setsid};
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

use crate::cli::exit;
use crate::file;
use crate::run::dir::RunDir;
use crate::signals::{WATCHED, held_back};
use crate::threads;

/// Set in the child: its parent's process id.
const PARENT: &str = "HEIRLOOM_PARENT";
/// Set in the child: the descriptor of the pipe to its parent.
const PIPE: &str = "HEIRLOOM_PARENT_PIPE";
/// Set in the child: the descriptor of a file for what it prints under a screen before the run has a log.
const HELD: &str = "HEIRLOOM_PARENT_HELD";

/// The parent's id, if this process is the child of a waiting parent.
fn parent() -> Option<Pid> {
    let id = std::env::var(PARENT).ok()?.parse().ok()?;
    let parent = Pid::from_raw(id);
    (parent == getppid()).then_some(parent)
}

/// Whether this process is the one that trains.
pub fn is_child() -> bool {
    parent().is_some()
}

/// Whether everything ends with this process: as the first one of a container, and as the one a batch system's step
/// waits for (not in a shell within such a step, which goes on by itself).
fn must_stay() -> bool {
    let parent = std::fs::read_to_string(format!("/proc/{}/comm", getppid()));
    let of_step = parent.is_ok_and(|name| name.starts_with("slurm"));
    std::process::id() == 1 || (of_step && std::env::var_os("SLURM_STEP_ID").is_some())
}

/// Runs this very command again as a child, waits for it and returns its exit code. Passes signals on to it, each as often
/// as it comes: the child knows which ones count once.
///
/// # Errors
/// When the child cannot be started.
pub fn wait_for_child() -> Result<i32> {
    let mut signals = Signals::new(WATCHED).context("cannot watch signals")?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let terminal = tcgetattr(std::io::stdin()).ok();
    let (word, to_parent) = word_pipe().context("cannot make a pipe to the training process")?;
    let mut command = Command::new(program);
    command
        .args(std::env::args_os().skip(1))
        .env(PARENT, std::process::id().to_string())
        .env(PIPE, to_parent.as_raw_fd().to_string());
    // Without it, what a child prints just before it is killed under its screen is lost.
    let held = file::unnamed().ok();
    if let Some(held) = &held {
        command.env(HELD, held.as_raw_fd().to_string());
    }
    // Held back until the child handles them: a signal this early would kill it.
    let mut child = held_back(|| command.spawn()).context("cannot start the training process")?;
    drop(to_parent);
    let pid = Pid::from_raw(child.id().cast_signed());
    let forwarding = threads::spawn("signals", move || {
        for signal in signals.forever() {
            if let Ok(signal) = Signal::try_from(signal) {
                // A child that has just ended needs no signal.
                let _ = kill(pid, signal);
            }
            if signal == SIGHUP && !must_stay() {
                std::process::exit(exit::OK);
            }
        }
    });
    let listening = threads::spawn("word", move || {
        // Ends without a byte when the child does.
        if matches!(File::from(word).read(&mut [0]), Ok(1)) && !must_stay() {
            std::process::exit(exit::OK);
        }
    });
    if let Err(refused) = forwarding.and(listening) {
        // Nothing has been trained yet.
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
    // The child takes its own words out, unless it ended under the screen.
    let said = held.as_ref().map(file::take_all).unwrap_or_default();
    if code >= 128 || code == exit::INTERNAL || !said.is_empty() {
        restore(terminal.as_ref());
    }
    let _ = std::io::stderr().write_all(&said);
    Ok(code)
}

/// A pipe for the child's word that it goes on alone: the end to read, and the one that a child inherits.
fn word_pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe()?;
    fcntl(&read, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok((read, write))
}

/// Tells a parent that waits that this process goes on alone.
fn tell_parent() {
    if parent().is_none() {
        return;
    }
    if let Ok(pipe) = std::env::var(PIPE) {
        // By its name, not by its number: nothing that another part of the program has open can be closed by it.
        let opened = file::open_device(&format!("/dev/fd/{pipe}"));
        // A parent that has gone needs no word.
        let _ = opened.and_then(|mut pipe| pipe.write_all(b"!"));
    }
}

/// The file for what is printed under a screen before the run has a log; the parent shows it if this process is killed.
pub fn held_output() -> Option<File> {
    parent()?;
    let held = std::env::var(HELD).ok()?;
    // By its name, not by its number, as the pipe.
    file::open_device(&format!("/dev/fd/{held}")).ok()
}

/// Puts the terminal right after a child that had no time to: killed, or interrupted twice.
fn restore(terminal: Option<&Termios>) {
    if let Some(terminal) = terminal {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, terminal);
        // End of a synchronised update, of bracketed paste and of the alternate screen; cursor on. Harmless if not on.
        let _ = std::io::stdout().write_all(b"\x1b[?2026l\x1b[?2004l\x1b[?1049l\x1b[?25h");
        let _ = std::io::stdout().flush();
    }
}

/// Returns the message for a training that continues without a dashboard, with the command that reaches it.
/// `is_reachable` means that there is a control socket to attach to.
pub fn farewell(dir: &RunDir, is_reachable: bool) -> String {
    let (name, run) = (dir.name(), dir.argument());
    let pid = std::process::id();
    let running = format!("run {name} continues in the background (pid {pid})");
    match is_reachable {
        true => format!("{running}; reattach: heirloom attach {run}\n"),
        false => format!(
            "{running} without a control socket, so that attach and ctl cannot reach it (the journal says why): heirloom \
             watch {run} follows it, kill {pid} ends it after a checkpoint\n"
        ),
    }
}

/// Lets go of the terminal: stdin from nowhere, stdout and stderr to the log (or nowhere), a session of its own; then
/// tells the parent to end. Whatever of it fails, the training goes on.
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
    // Fails only for a process group's leader, which cannot be hung up on through the group anyway.
    let _ = setsid();
    tell_parent();
}
