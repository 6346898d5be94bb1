//! Where a start shows how far it is: on stderr, or on a screen that is up already.

use crate::cli::say;
use crate::corpus::Report;
use crate::dashboard::starting::Start;
use crate::run::presence::Presence;

/// Shows the progress of a start.
#[derive(Clone, Copy)]
pub(super) enum Progress<'a> {
    /// Lines to stderr, for long work only.
    Lines,
    Screen(&'a Start),
}

impl Progress<'_> {
    /// Shows what is done besides reading, as a verb and to what; without a screen nothing.
    pub(super) fn show(self, doing: &str, what: &str) {
        if let Self::Screen(start) = self {
            start.show(doing, what);
        }
    }

    /// Shows how far a text has been read.
    pub(super) fn report(self, report: Report<'_>) {
        match (self, report) {
            (Self::Lines, report) => say::report(report),
            (Self::Screen(start), Report::Line(line) | Report::Shared(line)) => start.note(line),
            (Self::Screen(start), Report::Reading { file, done, total }) => {
                start.show_reading(file, done, total);
            }
        }
    }

    /// Reports something that the operator should know later, too. Under a screen the journal gets it, and shows it there.
    pub(super) fn warn(self, line: String, presence: &Presence) {
        match self {
            Self::Lines => say::err(&line),
            Self::Screen(_) => presence.tell(line),
        }
    }
}
