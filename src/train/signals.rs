//! Signals as flags that the trainer reads at step boundaries; `signal-hook` sets them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Exit code of a second interrupt.
pub const SECOND_INTERRUPT: i32 = 130;

/// A stop that follows another sooner is the same one: it reached this process both directly and through its parent, as
/// when a whole process group is signalled.
const APART: Duration = Duration::from_millis(500);

/// What has been signalled so far.
#[derive(Debug, Default)]
pub struct Signalled {
    stop: AtomicBool,
}

impl Signalled {
    /// Flags that no signal sets (for tests and embedding).
    pub fn none() -> Arc<Self> {
        Arc::default()
    }

    /// Watches SIGTERM, SIGINT and SIGHUP on a thread of their own. The first SIGTERM or SIGINT asks for a checkpoint
    /// and an end; another, later one ends the process at once with code 130. SIGHUP only means that the terminal is gone.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn watch() -> io::Result<Arc<Self>> {
        let flags = Self::none();
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let seen = Arc::clone(&flags);
        let mut first: Option<Instant> = None;
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    // A hangup is no reason to stop: the dashboard sees by itself that its terminal is gone.
                    if signal == SIGHUP {
                        continue;
                    }
                    seen.stop.store(true, Ordering::SeqCst);
                    if first.get_or_insert_with(Instant::now).elapsed() >= APART {
                        std::process::exit(SECOND_INTERRUPT);
                    }
                }
            })?;
        Ok(flags)
    }

    /// Whether the process was asked to stop.
    pub fn stop(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}
