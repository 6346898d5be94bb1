//! The title of the terminal's window, which shows a run's state while the operator looks at another window.

use super::session::Facts;
use crate::run::event::Phase;
use crate::run::state::{RunState, Status};
use crate::text::sanitize;

/// Longest title, in characters.
const LONGEST: usize = 80;

/// Returns `* real24 r2 62% gap +0.061`: a mark for the state (`D` open decision, `P` paused, `=` over, `!` stopped or failed), the
/// run, its phase, the phase's progress, and the gap. ASCII except for the name.
pub fn of(run: &RunState, facts: &Facts, name: &str) -> String {
    let core = &run.core;
    let mark = match core.status {
        _ if facts.replay.is_some() => "replay",
        _ if facts.starting.is_some() => "starting",
        Status::Running | Status::Paused if core.decision.is_some() => "D",
        Status::Paused => "P",
        Status::Empty | Status::Running => "*",
        Status::Interrupted | Status::Failed => "!",
        Status::Done => "=",
    };
    let mut title = format!("{mark} {}", sanitize(name));
    if let Some(now) = &core.phase {
        title.push_str(&match &now.phase {
            Phase::Round(n) => format!(" r{n}"),
            other => format!(" {}", sanitize(&other.to_string())),
        });
        if now.due > 0 && core.status != Status::Done {
            let share = (100.0 * core.phase_step as f64 / now.due as f64).floor();
            title.push_str(&format!(" {share:.0}%"));
        }
    }
    if let Some(gap) = run.gap().filter(|gap| gap.is_finite()) {
        title.push_str(&format!(" gap {gap:+.3}"));
    }
    title.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::tests::realistic::{journal::Moment, run_at};

    #[test]
    fn a_title_says_what_the_run_does() {
        let title = |moment| of(&run_at(moment), &Facts::default(), "real24");
        assert_eq!(title(Moment::Healthy), "* real24 r2 62% gap +0.058");
        assert_eq!(title(Moment::Deciding), "D real24 r2 100% gap +0.012");
        assert_eq!(title(Moment::Interrupted).chars().next(), Some('!'));
        assert_eq!(title(Moment::Done).chars().next(), Some('='));
        let hostile = format!("a\x07b\x1b]2;c\x1b\\{}", "x".repeat(200));
        let title = of(&run_at(Moment::Healthy), &Facts::default(), &hostile);
        assert!(title.chars().count() <= LONGEST && !title.contains(|c: char| c.is_control()));
    }
}
