//! Two processes at a terminal: a thin parent that the shell waits for, and the child that trains. When the operator
//! detaches, the parent ends and the shell has its prompt back, while training goes on in the process that owns the
//! device.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getppid, setsid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::cli::exit;
use crate::run::dir::RunDir;

/// Set in the child: its parent's process id.
const PARENT: &str = "HEIRLOOM_PARENT";

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

/// Runs this very command again as a child, waits for it and gives its exit code on; signals are passed to it.
///
/// # Errors
/// When the child cannot be started.
pub fn wait_for_child() -> Result<i32> {
    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]).context("cannot watch signals")?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let terminal = tcgetattr(std::io::stdin()).ok();
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(PARENT, std::process::id().to_string())
        .spawn()
        .context("cannot start the training process")?;
    let pid = Pid::from_raw(child.id().cast_signed());
    std::thread::spawn(move || {
        for signal in signals.forever() {
            match signal {
                // The child says that it goes on alone.
                SIGUSR1 if must_stay() => {}
                SIGUSR1 => std::process::exit(exit::OK),
                // From the keyboard the child has it too; in raw mode it never comes.
                SIGINT => {}
                other => {
                    if let Ok(signal) = Signal::try_from(other) {
                        // A child that has just ended needs no signal.
                        let _ = kill(pid, signal);
                    }
                    if other == SIGHUP && !must_stay() {
                        std::process::exit(exit::OK);
                    }
                }
            }
        }
    });
    let status = child
        .wait()
        .context("cannot wait for the training process")?;
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    if code >= 128 {
        restore(terminal.as_ref());
    }
    Ok(code)
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

/// What is said when the training goes on without a dashboard.
pub fn farewell(dir: &RunDir) -> String {
    let (name, run) = (dir.name(), dir.argument());
    let pid = std::process::id();
    format!("run {name} goes on in the background (pid {pid}): heirloom attach {run}\n")
}

/// Lets go of the terminal: stdin from nowhere, stdout and stderr to the log (or nowhere), a session of its own; then
/// tells the parent to end. Whatever of it fails, the training goes on.
pub fn leave_terminal(log: &Path) {
    let null = || OpenOptions::new().read(true).write(true).open("/dev/null");
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        // A run directory from elsewhere must not choose where this goes.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(log);
    if let Ok(null) = null() {
        let _ = dup2_stdin(&null);
    }
    if let Ok(out) = log.or_else(|_| null()) {
        let _ = dup2_stdout(&out);
        let _ = dup2_stderr(&out);
    }
    // Fails only for a process group's leader, which cannot be hung up on through the group anyway.
    let _ = setsid();
    if let Some(parent) = parent() {
        let _ = kill(parent, Signal::SIGUSR1);
    }
}
