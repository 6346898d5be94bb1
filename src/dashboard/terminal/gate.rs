//! Watches the signals of a lost terminal and of stops, and replaces stdin after a hangup.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::OFlag;
use nix::unistd::{dup2_stdin, pipe2};
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

use crate::file;
use crate::signals::WATCHED;
use crate::threads;

/// The signals that the process has received.
#[derive(Debug, Default)]
pub struct Signalled {
    pub hangup: AtomicBool,
    pub stop: AtomicBool,
}

/// Watches signals from the first call on.
pub fn signalled() -> &'static Signalled {
    static STATE: OnceLock<&'static Signalled> = OnceLock::new();
    STATE.get_or_init(|| {
        let state: &'static Signalled = Box::leak(Box::default());
        // If handlers cannot be installed, signals have their default effects.
        if let Ok(mut signals) = Signals::new(WATCHED) {
            // If the thread is refused, signals are not noticed; the keyboard and the terminal's end still are.
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

/// Replaces stdin by an empty pipe, on which a reader neither blocks nor spins.
pub fn silence_stdin() {
    // Both ends stay open, because a closed writer would be an end of file.
    static PIPE: OnceLock<Option<(OwnedFd, OwnedFd)>> = OnceLock::new();
    let pipe = PIPE.get_or_init(|| pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).ok());
    if let Some((read, _)) = pipe {
        let _ = dup2_stdin(read);
    }
}

/// Returns the controlling terminal, opened for non-blocking reads. The process has a single description of it, since crossterm
/// registers it only once.
pub fn tty() -> Option<&'static File> {
    static TTY: OnceLock<Option<File>> = OnceLock::new();
    let open = || file::open_device("/dev/tty").ok();
    TTY.get_or_init(open).as_ref()
}
