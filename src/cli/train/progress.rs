//! Shows the progress of a start, on stderr or on a screen.

use crate::cli::say;
use crate::corpus::Report;
use crate::dashboard::starting::Start;
use crate::run::presence::Presence;

/// The place where a start's progress is shown.
#[derive(Clone, Copy)]
pub(super) enum Progress<'a> {
    /// Lines to stderr, for long work only.
    Lines,
    Screen(&'a Start),
}

impl Progress<'_> {
    /// Shows work other than reading, as a verb and its object, if there is a screen.
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

    /// Reports a warning that must still be found later. Under a screen it becomes an event of the journal, which the screen shows.
    pub(super) fn warn(self, line: String, presence: &Presence) {
        match self {
            Self::Lines => say::err(&line),
            Self::Screen(_) => presence.print(line),
        }
    }
}
