//! Notifications for an operator who is not looking at the screen.
//!
//! [`recognise`] finds the [occasions](Occasion) in a run's events, [`stall`] the absence of events. For each
//! [`Notice`], [`command::Notifier`] runs the operator's command, only in the process that trains; dashboards ring
//! their terminal.

pub mod command;
mod execute;
pub mod recognise;
pub mod stall;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::text;

/// Bytes of a notice's text.
const LONGEST: usize = 300;

/// An event that an operator is notified of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Occasion {
    /// A decision has opened.
    Decision,
    /// A loss or a gradient is not finite.
    Nan,
    /// A run that trains has sent no event for an unusually long time.
    Stall,
    /// A round has a new best validation loss.
    Best,
    /// The run is done, or has failed.
    Done,
}

impl Occasion {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Decision,
        Self::Nan,
        Self::Stall,
        Self::Best,
        Self::Done,
    ];
    /// Their names, in the same order.
    pub const NAMES: [&'static str; 5] = ["decision", "nan", "stall", "best", "done"];

    /// Returns its name in the config.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// The signal of a dashboard to its terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bell {
    #[default]
    Off,
    /// The character BEL.
    Bell,
    /// The escape sequence OSC 9, which some terminals show as a notification of the desktop.
    Osc9,
}

/// The events for which the dashboards of a run ring, and the signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ringing {
    pub terminal: Bell,
    pub on: Vec<Occasion>,
}

/// An occasion that an operator should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub occasion: Occasion,
    /// Optimizer steps since the run began, over all phases.
    pub step: u64,
    /// One sentence, which cannot draw on a terminal.
    pub text: String,
}

impl Notice {
    fn new(occasion: Occasion, step: u64, text: &str) -> Self {
        Self {
            occasion,
            step,
            text: text::cut(&text::clean(text), LONGEST).into_owned(),
        }
    }
}

/// Waiting notices, oldest first: only the latest of each occasion.
#[derive(Debug, Default)]
pub struct Waiting(VecDeque<Notice>);

impl Waiting {
    /// Adds a notice, replacing an older one of its occasion.
    pub fn push(&mut self, notice: Notice) {
        self.0.retain(|old| old.occasion != notice.occasion);
        self.0.push_back(notice);
    }

    /// Takes the oldest notice.
    fn pop(&mut self) -> Option<Notice> {
        self.0.pop_front()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all of them.
    pub fn take_all(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.0).into()
    }

    /// Drops all but those of one occasion.
    fn keep_only(&mut self, occasion: Occasion) {
        self.0.retain(|notice| notice.occasion == occasion);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_occasion_has_its_name() {
        for (occasion, name) in Occasion::ALL.into_iter().zip(Occasion::NAMES) {
            assert_eq!(serde_json::to_value(occasion).unwrap(), name);
            assert_eq!(occasion.name(), name);
        }
    }

    #[test]
    fn a_newer_notice_takes_the_place_of_one_that_waits() {
        let mut waiting = Waiting::default();
        for step in 0..1000 {
            waiting.push(Notice::new(Occasion::Best, step, "best"));
            if step == 500 {
                waiting.push(Notice::new(Occasion::Decision, step, "decision"));
            }
        }
        let steps: Vec<u64> = waiting.take_all().iter().map(|n| n.step).collect();
        assert_eq!(steps, [500, 999]);
    }

    #[test]
    fn a_text_cannot_draw_and_is_short() {
        let text = format!("a\u{1b}]9;b\u{7}c\n{}", "x".repeat(10_000));
        let notice = Notice::new(Occasion::Done, 1, &text);
        assert!(notice.text.starts_with("ac xx"), "{}", notice.text);
        assert!(notice.text.len() <= LONGEST && !notice.text.contains(char::is_control));
    }
}
