//! Job control: stops this process so that the shell continues, and determines which process group has the terminal.
//!
//! A full screen is in raw mode, where the terminal sends Ctrl-Z as a key. The program therefore stops its own process
//! group, as the terminal would. Nothing here draws or reads.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, kill, raise, sigaction, signal,
};
use nix::unistd::{Pid, getpgid, getpgrp, getppid, getsid, tcgetpgrp};

use crate::file;

/// Longest time in which a stopped process handles the SIGCONT that continues it.
const SETTLED: Duration = Duration::from_millis(100);

/// Longest time between the loss of a terminal and the signal with which its shell ends stopped jobs.
const FAREWELL: Duration = Duration::from_secs(1);

/// Requests by SIGTSTP and SIGCONT since they were last read.
#[derive(Debug, Default)]
struct Asked {
    suspend: Arc<AtomicBool>,
    continued: Arc<AtomicBool>,
}

/// Watches both signals from the first call on. SIGTSTP then does not stop the process any more: see [`take_suspend`].
fn asked() -> &'static Asked {
    static ASKED: OnceLock<Asked> = OnceLock::new();
    ASKED.get_or_init(|| {
        let asked = Asked::default();
        // If a handler cannot be installed, the signal has its default effect: SIGTSTP stops the process, SIGCONT continues it.
        for (signal, flag) in [
            (Signal::SIGTSTP, &asked.suspend),
            (Signal::SIGCONT, &asked.continued),
        ] {
            let _ = signal_hook::flag::register(signal as i32, Arc::clone(flag));
        }
        asked
    })
}

/// Watches SIGTSTP and SIGCONT from now on, and receives a SIGTSTP that was [blocked](hold_back).
pub fn watch() {
    asked();
    // Fails only for an unknown way to set a mask.
    let _ = suspend_signal().thread_unblock();
}

/// Returns whether a suspension was asked for since the last call: by SIGTSTP, or by [`ask_to_suspend`].
pub fn take_suspend() -> bool {
    asked().suspend.swap(false, Ordering::SeqCst)
}

/// Asks for a suspension, as SIGTSTP does.
pub fn ask_to_suspend() {
    asked().suspend.store(true, Ordering::SeqCst);
}

/// Returns whether SIGCONT has come since the last call.
pub fn take_continued() -> bool {
    asked().continued.swap(false, Ordering::SeqCst)
}

fn suspend_signal() -> SigSet {
    SigSet::from_iter([Signal::SIGTSTP])
}

/// Runs `start` with SIGTSTP blocked in this thread. A process that it starts receives an early SIGTSTP once it [watches](watch).
pub fn hold_back<T>(start: impl FnOnce() -> T) -> T {
    let before = suspend_signal().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let started = start();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    started
}

/// The process group that has the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// This process and its group.
    Foreground,
    /// Another group: this process must neither read nor draw.
    Background,
    /// The terminal belongs to another session, so the shell cannot stop or continue this process.
    Unknown,
}

/// Returns which process group has the terminal.
pub fn ground(terminal: impl AsFd) -> Ground {
    match tcgetpgrp(terminal) {
        Ok(group) if group == getpgrp() => Ground::Foreground,
        // The group is in another process namespace, so no process in this one can hand over the terminal.
        Ok(group) if group.as_raw() == 0 => Ground::Unknown,
        Ok(_) => Ground::Background,
        Err(_) => Ground::Unknown,
    }
}

/// Makes reads and writes from the background fail instead of stopping this process.
pub fn ignore_terminal_stops() {
    for refusal in [Signal::SIGTTIN, Signal::SIGTTOU] {
        // SAFETY: no handler is installed, and no other part of the program uses these two signals.
        let _ = unsafe { signal(refusal, SigHandler::SigIgn) };
    }
}

/// Returns whether a shell with job control has started this process: one outside its process group, in its session.
/// Without one, nothing would continue it after a stop.
pub fn has_shell() -> bool {
    let (group, Ok(session)) = (getpgrp(), getsid(None)) else {
        return false;
    };
    let mut ancestor = Some(getppid());
    while let Some(pid) = ancestor {
        if getsid(Some(pid)) != Ok(session) {
            return false;
        }
        if getpgid(Some(pid)) != Ok(group) {
            return true;
        }
        ancestor = parent_of(pid);
    }
    false
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parent_in(&stat).map(Pid::from_raw)
}

/// Returns the parent's id in a line of /proc/PID/stat, where the program's name may contain anything.
fn parent_in(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// The state of the shell that started a screen.
#[derive(Debug)]
struct Shell {
    /// Whether the screen was suspended.
    unseen: bool,
    /// Time at which the terminal was lost.
    lost: Option<Instant>,
}

fn shell() -> MutexGuard<'static, Shell> {
    static SHELL: Mutex<Shell> = Mutex::new(Shell {
        unseen: false,
        lost: None,
    });
    SHELL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes whether the screen, of this process or of the one it waits for, was suspended.
pub fn set_unseen(unseen: bool) {
    shell().unseen = unseen;
}

/// Returns what [`set_unseen`] has noted.
pub fn is_unseen() -> bool {
    shell().unseen
}

/// Notes that the terminal is lost.
pub fn note_hangup() {
    shell().lost.get_or_insert_with(Instant::now);
}

/// Returns whether a SIGTERM that has just come means only that the terminal is lost: bash sends one to each job
/// that it believes stopped when its terminal is closed. Training continues then, as after any lost terminal.
pub fn is_farewell() -> bool {
    let mut shell = shell();
    if shell.unseen && shell.lost.is_none() && file::open_device("/dev/tty").is_err() {
        shell.lost = Some(Instant::now());
    }
    is_farewell_after(shell.unseen, shell.lost.map(|lost| lost.elapsed()))
}

fn is_farewell_after(unseen: bool, lost: Option<Duration>) -> bool {
    unseen && lost.is_some_and(|since| since < FAREWELL)
}

/// Stops this process and its group (a script or pipeline around it), so that the shell continues. Returns true after SIGCONT, and
/// false if the system has not stopped the process, since its group has no shell that could continue it.
///
/// # Errors
/// When a signal's action cannot be set.
pub fn stop_group() -> io::Result<bool> {
    let action = |handler| SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    watch();
    take_continued();
    // Stops the other processes first, ignoring the signal meanwhile. This process stops last, so that it knows when it returns.
    // SAFETY: no handler is installed; the former action comes back below.
    let former = unsafe { sigaction(Signal::SIGTSTP, &action(SigHandler::SigIgn)) }?;
    let _ = kill(Pid::from_raw(0), Signal::SIGTSTP);
    // SAFETY: as above.
    let stopped = unsafe { sigaction(Signal::SIGTSTP, &action(SigHandler::SigDfl)) }
        // Sent to this thread, the signal stops the process before the call returns.
        .and_then(|_| raise(Signal::SIGTSTP));
    // SAFETY: the action is the one that was in place before this call.
    let restored = unsafe { sigaction(Signal::SIGTSTP, &former) };
    stopped.and(restored)?;
    let begun = Instant::now();
    let mut continued = take_continued();
    // Another thread may handle SIGCONT.
    while !continued && begun.elapsed() < SETTLED {
        std::thread::sleep(Duration::from_millis(5));
        continued = take_continued();
    }
    // Drops the request for this stop, and any that came during it.
    take_suspend();
    Ok(continued)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent_in("12 (a b) S 7 12 12 0"), Some(7));
        assert_eq!(parent_in("12 (a) T 99 (b)) S 8 12 12 0"), Some(8));
        assert_eq!(parent_in("12 (a"), None);
        assert_eq!(
            parent_of(Pid::this()).map(Pid::as_raw),
            Some(getppid().as_raw())
        );
    }

    #[test]
    fn a_file_is_not_a_terminal_that_could_be_lost() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(ground(&file), Ground::Unknown);
    }

    #[test]
    fn only_a_lost_terminal_makes_a_sigterm_a_farewell() {
        let soon = Some(Duration::from_millis(10));
        assert!(is_farewell_after(true, soon));
        assert!(!is_farewell_after(false, soon), "the screen was up");
        assert!(!is_farewell_after(true, None), "the terminal is there");
        assert!(!is_farewell_after(true, Some(FAREWELL)), "asked for later");
    }

    #[test]
    fn a_suspension_is_asked_for_once() {
        ask_to_suspend();
        assert!(take_suspend());
        assert!(!take_suspend());
    }
}
