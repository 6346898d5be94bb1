//! Handles the signals that ask a process to stop, by flags that long work reads between two of its parts.
//!
//! A batch system warns of a job's end with a signal of its own choice (SLURM's `--signal`, submitit, SGE's `-notify`,
//! LSF), and the kernel warns with `SIGXCPU` of the end of the CPU time. Each of them means the same as `SIGTERM`.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

use crate::jobs;
use crate::threads;

/// Every signal that asks for a stop.
pub const STOPS: [i32; 5] = [SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGXCPU];
/// Signals that a person repeats to end the process at once. The others are warnings, which batch systems and the kernel repeat
/// automatically.
const INSISTING: [i32; 2] = [SIGTERM, SIGINT];
/// All signals that a training process handles.
pub const WATCHED: [i32; 6] = [SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGXCPU, SIGHUP];

/// Exit code of a second interrupt.
pub const SECOND_INTERRUPT: i32 = 130;
/// Exit code of a stop before anything was trained: the same as after a checkpoint, since nothing is lost.
const STOPPED_EARLY: i32 = 75;

/// Least time between two SIGTERM or SIGINT that count as two. A sooner one belongs to the same stop, which reached this process
/// both directly and through its parent, as when a whole process group is signalled.
const APART: Duration = Duration::from_millis(500);

/// The signals received so far.
#[derive(Debug, Default)]
pub struct Signalled {
    stop: AtomicBool,
    first: Mutex<First>,
}

#[derive(Debug, Default)]
struct First {
    /// The signal that asked for the stop.
    signal: Option<i32>,
    /// The effect of a stop before there is something to save.
    early: Early,
    /// Time at which a person first asked for the stop.
    insisted: Option<Instant>,
    /// Time that work gets after a stop, if ending it at any moment loses nothing.
    grace: Option<Duration>,
}

/// The effect of a stop before there is something to save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Early {
    /// There is something to save: a stop sets the flag.
    #[default]
    Over,
    /// A stop ends the process at once.
    Ends,
    /// A stop sets the flag, and the screen, which must be left first, ends the process.
    Screen,
    /// The screen has ended the work.
    Abandoned,
}

impl Signalled {
    /// Returns flags that no signal sets (for tests and embedding).
    pub fn none() -> Arc<Self> {
        Arc::default()
    }

    /// Watches the [signals that ask for a stop](STOPS) and SIGHUP on a thread of their own. The first of them sets a
    /// flag. A second SIGTERM or SIGINT, [later](APART) than the first, ends the process at once with code 130; repeated
    /// warnings of a batch system never do. SIGHUP only means that the terminal is gone.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn watch() -> io::Result<Arc<Self>> {
        let flags = Self::none();
        flags.spawn()?;
        Ok(flags)
    }

    /// Like [`Self::watch`], but until [`Self::begin`] a stop ends the process at once with code 75: reading text or
    /// fetching a model may take longer than the warning leaves, and there is nothing to save.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn watch_until_begun() -> io::Result<Arc<Self>> {
        let flags = Self::none();
        flags.lock().early = Early::Ends;
        flags.spawn()?;
        Ok(flags)
    }

    /// Watches signals like [`Self::watch`], for work that saves its progress continuously. A stop sets the flag; if the work
    /// has not ended after `grace`, the process exits with code 75.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn watch_with_grace(grace: Duration) -> io::Result<Arc<Self>> {
        let flags = Self::none();
        flags.lock().grace = Some(grace);
        flags.spawn()?;
        Ok(flags)
    }

    /// Notes that there is something to save: from now on a stop only sets the flag. Returns false if a screen has ended the work,
    /// or is about to: then the work must not begin.
    pub fn begin(&self) -> bool {
        let mut first = self.lock();
        let stopped = match first.early {
            Early::Abandoned => true,
            Early::Screen => first.signal.is_some(),
            Early::Ends | Early::Over => false,
        };
        if !stopped {
            first.early = Early::Over;
        }
        !stopped
    }

    /// Notes that a screen will be shown: before [`Self::begin`], a stop then does not end the process, but [`Self::abandon`] does
    /// so after the screen is left.
    pub fn enter_screen(&self) {
        let mut first = self.lock();
        if first.early == Early::Ends {
            first.early = Early::Screen;
        }
    }

    /// Notes that the screen was left and the work continues: before [`Self::begin`], a stop again ends the process at once.
    pub fn leave_screen(&self) {
        let mut first = self.lock();
        if first.early == Early::Screen {
            first.early = Early::Ends;
            if first.signal.is_some() {
                end_early(first.signal);
            }
        }
    }

    /// Prevents work that has not [begun](Self::begin) from beginning. Returns false if it has begun.
    pub fn abandon(&self) -> bool {
        let mut first = self.lock();
        if first.early != Early::Over {
            first.early = Early::Abandoned;
        }
        first.early == Early::Abandoned
    }

    /// Ends the process after [`Self::abandon`], or after a stop that came before the work had begun. Returns otherwise.
    pub fn end_if_abandoned(&self) {
        let first = self.lock();
        let stopped = first.early == Early::Screen && first.signal.is_some();
        if stopped || first.early == Early::Abandoned {
            end_early(first.signal);
        }
    }

    /// Asks for a stop, for Ctrl-C in a terminal mode in which it is a key and not a signal.
    pub fn interrupt(&self) {
        self.receive(SIGINT);
    }

    fn spawn(self: &Arc<Self>) -> io::Result<()> {
        let mut signals = Signals::new(WATCHED)?;
        // A waiting parent starts this process with these signals blocked.
        watched().thread_unblock()?;
        let flags = Arc::clone(self);
        threads::spawn("signals", move || {
            for signal in signals.forever() {
                match signal {
                    // The dashboard notices a lost terminal itself; without one, a hangup changes nothing.
                    SIGHUP => jobs::note_hangup(),
                    SIGTERM if jobs::is_farewell() => {}
                    _ => flags.receive(signal),
                }
            }
        })?;
        Ok(())
    }

    fn receive(&self, signal: i32) {
        self.ask_to_stop(signal);
        let insists = |first: &mut First| {
            let since = first.insisted.get_or_insert_with(Instant::now);
            since.elapsed() >= APART
        };
        if INSISTING.contains(&signal) && insists(&mut self.lock()) {
            std::process::exit(SECOND_INTERRUPT);
        }
    }

    fn ask_to_stop(&self, signal: i32) {
        let mut first = self.lock();
        first.signal.get_or_insert(signal);
        if first.early == Early::Ends {
            end_early(first.signal);
        }
        let grace = first.grace.take();
        drop(first);
        self.stop.store(true, Ordering::SeqCst);
        if let Some(grace) = grace {
            let end = move || {
                std::thread::sleep(grace);
                let _ = writeln!(
                    io::stderr(),
                    "{} received; run the same command again to continue",
                    name(signal)
                );
                std::process::exit(STOPPED_EARLY);
            };
            let timer = std::thread::Builder::new().name("grace".into());
            if timer.spawn(end).is_err() {
                std::process::exit(STOPPED_EARLY);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, First> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the process was asked to stop.
    pub fn stop(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Returns the name of the signal that first asked for the stop, such as `SIGUSR1`.
    pub fn name(&self) -> Option<&'static str> {
        self.lock().signal.map(name)
    }
}

/// Makes a write beyond the limit of a file's size (`ulimit -f`) an error like any other; otherwise the kernel's
/// SIGXFSZ would end the process.
///
/// # Errors
/// When the handler cannot be installed.
pub fn survive_size_limit() -> io::Result<()> {
    // The handler only sets a flag, which is not read.
    signal_hook::flag::register(libc::SIGXFSZ, Arc::default()).map(drop)
}

/// Reports that nothing is lost by a stop this early, and ends the process.
fn end_early(signal: Option<i32>) -> ! {
    let what = signal.map_or("stopped".into(), |signal| {
        format!("{} received", name(signal))
    });
    // A failure is ignored: stderr may have no reader any more.
    let _ = writeln!(
        io::stderr(),
        "{what} before the training began; there is nothing to save, and the same command starts again"
    );
    std::process::exit(STOPPED_EARLY);
}

fn name(signal: i32) -> &'static str {
    signal_name(signal).unwrap_or("a signal")
}

/// Returns the watched signals as a set.
fn watched() -> SigSet {
    WATCHED
        .into_iter()
        .filter_map(|signal| Signal::try_from(signal).ok())
        .collect()
}

/// Runs `start` with the watched signals blocked in this thread. A process that it starts has them blocked from its first
/// instruction on, and receives those sent in the meantime once it [watches](Signalled::watch) them.
pub fn held_back<T>(start: impl FnOnce() -> T) -> T {
    let before = watched().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let started = start();
    if let Ok(before) = before {
        // Fails only for an unknown way to set a mask.
        let _ = before.thread_set_mask();
    }
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_is_remembered_by_its_name() {
        let flags = Signalled::none();
        assert_eq!((flags.stop(), flags.name()), (false, None));
        for signal in [SIGUSR2, SIGTERM, SIGUSR2] {
            flags.ask_to_stop(signal);
        }
        assert_eq!((flags.stop(), flags.name()), (true, Some("SIGUSR2")));
    }

    #[test]
    fn work_begins_or_is_abandoned() {
        let flags = |early| {
            let flags = Signalled::none();
            flags.lock().early = early;
            flags
        };
        let plain = flags(Early::Ends);
        assert!(plain.begin() && !plain.abandon());
        // A stop that the screen has not noticed yet prevents the work from beginning.
        let screen = flags(Early::Ends);
        screen.enter_screen();
        screen.ask_to_stop(SIGTERM);
        assert!(!screen.begin() && screen.abandon() && !screen.begin());
        // Without a stop the work begins, and the trainer handles later stops.
        let begun = flags(Early::Ends);
        begun.enter_screen();
        assert!(begun.begin());
        begun.ask_to_stop(SIGTERM);
        assert!(begun.begin() && begun.stop() && !begun.abandon());
        begun.end_if_abandoned();
        let back = flags(Early::Screen);
        back.leave_screen();
        assert_eq!(back.lock().early, Early::Ends);
    }

    #[test]
    fn every_signal_that_stops_is_watched_and_has_a_name() {
        assert!(STOPS.iter().all(|signal| WATCHED.contains(signal)));
        assert!(INSISTING.iter().all(|signal| STOPS.contains(signal)));
        assert_eq!(watched().iter().count(), WATCHED.len());
        let names = STOPS.map(name);
        assert_eq!(
            names,
            ["SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGXCPU"]
        );
    }
}
