//! Two processes at a terminal: a thin parent that the shell waits for, and the child that trains. When the operator
//! detaches, the parent ends and the shell has its prompt back, while training goes on in the process that owns the
//! device.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
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
    std::env::var_os(PARENT).is_some()
}

/// Runs this very command again as a child, waits for it and gives its exit code on; signals are passed to it.
///
/// # Errors
/// When the child cannot be started.
pub fn wait_for_child() -> Result<i32> {
    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]).context("cannot watch signals")?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
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
                SIGUSR1 => std::process::exit(exit::OK),
                // From the keyboard the child has it too; in raw mode it never comes.
                SIGINT => {}
                other => {
                    if let Ok(signal) = Signal::try_from(other) {
                        // A child that has just ended needs no signal.
                        let _ = kill(pid, signal);
                    }
                    if other == SIGHUP {
                        std::process::exit(exit::OK);
                    }
                }
            }
        }
    });
    let status = child
        .wait()
        .context("cannot wait for the training process")?;
    Ok(status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// What is said when the dashboard is left and training goes on.
pub fn farewell(dir: &RunDir) -> String {
    format!(
        "run {} goes on in the background (pid {}): heirloom watch {}\n",
        dir.name(),
        std::process::id(),
        dir.argument()
    )
}

/// Lets go of the terminal: stdin from nowhere, stdout and stderr to the log, a session of its own; then tells the
/// parent to end.
///
/// # Errors
/// When the log cannot be opened.
pub fn leave_terminal(log: &Path) -> Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)?;
    dup2_stdin(&null)?;
    dup2_stdout(&log)?;
    dup2_stderr(&log)?;
    // Fails only for a process group's leader, which cannot be hung up on through the group anyway.
    let _ = setsid();
    if let Some(parent) = parent() {
        let _ = kill(parent, Signal::SIGUSR1);
    }
    Ok(())
}
