//! Signals as flags that the trainer reads at step boundaries.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Exit code of a second interrupt.
pub const SECOND_INTERRUPT: i32 = 130;

/// What has been signalled so far.
#[derive(Debug, Default)]
pub struct Signalled {
    stops: AtomicUsize,
    hangup: AtomicBool,
}

impl Signalled {
    /// Flags that no signal sets (for tests and embedding).
    pub fn none() -> Arc<Self> {
        Arc::default()
    }

    /// Watches SIGTERM, SIGINT and SIGHUP on a thread of their own. The first SIGTERM or SIGINT asks for a checkpoint
    /// and an end; the second ends the process at once with code 130. SIGHUP only means that the terminal is gone.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn watch() -> io::Result<Arc<Self>> {
        let flags = Self::none();
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let seen = Arc::clone(&flags);
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    if signal == SIGHUP {
                        seen.hangup.store(true, Ordering::SeqCst);
                    } else if seen.stops.fetch_add(1, Ordering::SeqCst) > 0 {
                        std::process::exit(SECOND_INTERRUPT);
                    }
                }
            })?;
        Ok(flags)
    }

    /// Whether the process was asked to stop.
    pub fn stop(&self) -> bool {
        self.stops.load(Ordering::SeqCst) > 0
    }

    /// Whether the terminal hung up.
    pub fn hangup(&self) -> bool {
        self.hangup.load(Ordering::SeqCst)
    }
}
