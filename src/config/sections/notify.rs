//! `[notify]`.

use crate::config::declare::section;
use crate::config::key::OnResume::Free;
use crate::config::rules::command;
use crate::run::notify::{Bell, Occasion, Ringing};

section! {
    /// Notifications for an operator who is not at the screen ([dashboard.md](dashboard.md#notifications)).
    "notify" NotifyConfig: Default {
        /// A program and its arguments, such as `["/home/me/notify.sh"]`, which the training process runs, without a
        /// shell, for each event of `on`; 10 s at most, one at a time. Empty: none. A resume runs it only if it is
        /// given again with `--set`.
        command: Vec<String> = default(Vec::new()), Free, check command;

        /// `decision`: one opens; `nan`: a loss or gradient is not finite; `stall`: a run that trains sends no event
        /// for 60 s and 3 times its usual interval; `best`: a new best validation loss of a round; `done`: done or
        /// failed.
        on: Vec<Occasion> = default(Occasion::ALL.to_vec()), Free;

        /// Signal of the run's dashboards (`train`, `attach`) to their terminal for the same events: `bell`, or
        /// `osc9`, which some terminals show as a notification of the desktop.
        terminal: Bell = default(Bell::Off), Free;
    }
}

impl NotifyConfig {
    /// Returns what dashboards ring for; `None` where they do not ring.
    pub fn ringing(&self) -> Option<Ringing> {
        let rings = self.terminal != Bell::Off && !self.on.is_empty();
        rings.then(|| Ringing {
            terminal: self.terminal,
            on: self.on.clone(),
        })
    }
}
