//! Decides what is done while a result is not on disk: the clock, signals and commands become one [`Retry`].

use std::time::{Duration, Instant};

use super::{Control, Sender};
use crate::run::command::{By, Command};

/// Time for which a process that was asked to stop keeps trying: batch systems kill it about half a minute after their signal.
pub(in crate::train) const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// Time between two attempts of such a process.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// A decision while a result is not on disk.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::train) enum Retry {
    /// Make the next attempt, which is due.
    Attempt,
    /// Make an attempt at once: the process was asked to stop and ends after [`STOP_PATIENCE`].
    LastAttempts { signal: Option<String> },
    /// Give the result up: the process was asked to stop and has no time left.
    TooLate,
    /// Apply a command, as far as that is possible now.
    Obey { by: By, command: Command },
    /// Look again soon.
    Wait,
}

impl Control {
    /// Decides what is done `waited` after an attempt, when the next attempt is due after `wait`. With [`Retry::Obey`] comes the sender of
    /// the command. Waits a moment for a command.
    pub(in crate::train) fn retry(&mut self, waited: Duration, wait: Duration) -> (Retry, Sender) {
        let alone = |retry| (retry, Sender::default());
        let mut wait = wait;
        if self.must_stop() {
            let Some(seen) = self.stop_seen else {
                self.stop_seen = Some(Instant::now());
                let signal = self.signal().map(str::to_string);
                return alone(Retry::LastAttempts { signal });
            };
            if seen.elapsed() >= STOP_PATIENCE {
                return alone(Retry::TooLate);
            }
            wait = wait.min(STOP_WAIT);
        }
        if waited >= wait {
            return alone(Retry::Attempt);
        }
        match self.receive() {
            Some(request) => {
                let (by, command, sender) = Sender::of(request);
                (Retry::Obey { by, command }, sender)
            }
            None => alone(Retry::Wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::run::command::Request;
    use crate::run::presence::Presence;
    use crate::signals::Signalled;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn commands_are_taken_until_an_attempt_is_due() {
        let (requests, receiver) = channel();
        let mut control = Control::new(receiver, Signalled::none(), Presence::new(true));
        let mut next = |waited| control.retry(waited, STOP_WAIT).0;
        let (by, command) = (By::Control, Command::Checkpoint);
        requests.send(Request::new(by, command.clone())).unwrap();
        assert_eq!(next(STOP_WAIT), Retry::Attempt);
        assert_eq!(next(Duration::ZERO), Retry::Obey { by, command });
        assert_eq!(next(Duration::ZERO), Retry::Wait);
    }

    #[test]
    fn a_stop_is_seen_once_and_shortens_the_waits() {
        let (_requests, receiver) = channel();
        let signalled = Signalled::none();
        signalled.interrupt();
        let mut control = Control::new(receiver, signalled, Presence::new(true));
        let signal = Some("SIGINT".to_string());
        let first = control.retry(Duration::ZERO, LONG).0;
        assert_eq!(first, Retry::LastAttempts { signal });
        assert_eq!(control.retry(STOP_WAIT, LONG).0, Retry::Attempt);
        assert_eq!(control.retry(Duration::ZERO, LONG).0, Retry::Wait);
        control.stop_seen = Instant::now().checked_sub(STOP_PATIENCE);
        assert_eq!(control.retry(Duration::ZERO, LONG).0, Retry::TooLate);
    }
}
