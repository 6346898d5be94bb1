//! Rings the terminal for an operator who looks at another window, if the run's config asks for it.

use super::session::Session;
use super::terminal::Terminal;
use crate::run::notify::{Bell, Notice, Ringing, Waiting, stall};
use crate::run::state::RunState;
use crate::text::sanitize;

/// Longest text of a notification, in characters.
const LONGEST: usize = 80;

/// The events that ring the terminal.
#[derive(Debug, Default)]
pub struct Alerts {
    due: Waiting,
    /// Whether the run has been observed before: earlier events do not ring.
    looked: bool,
    /// The event after which a stall has been noticed.
    stalled_at: Option<u64>,
}

impl Alerts {
    /// Collects the notices since the last call. Returns whether to ring the terminal. `news` is `None` for a run that is only read,
    /// which never rings.
    pub fn gather(&mut self, news: Option<Vec<Notice>>, session: &Session) -> bool {
        let (Some(mut news), run) = (news, &session.run) else {
            return false;
        };
        let facts = &session.facts;
        if facts.starting.is_some() || facts.loading.is_some() {
            return false;
        }
        news.extend(self.stall(run, session.clock()));
        if let Some(Ringing { on, .. }) = ringing(run) {
            let wanted = news.into_iter().filter(|news| on.contains(&news.occasion));
            // Nothing rings while the screen is suspended: then the latest notice of each kind is kept.
            wanted.for_each(|news| self.due.push(news));
        }
        !self.due.is_empty()
    }

    /// Returns a notice when the run has stalled since the last look. `now` is Unix time in milliseconds.
    fn stall(&mut self, run: &RunState, now: Option<i64>) -> Option<Notice> {
        let looked = std::mem::replace(&mut self.looked, true);
        let silence = run.silence(now?)?;
        let is_news = self.stalled_at.replace(run.seq) != Some(run.seq);
        (is_news && looked).then(|| stall::notice(run, silence))
    }

    /// Rings for the collected notices.
    pub fn ring(&mut self, terminal: &mut Terminal, session: &Session) {
        let due = self.due.take_all();
        let Some(info) = session.run.info.as_ref().filter(|_| !due.is_empty()) else {
            return;
        };
        match info.ringing.as_ref().map(|ringing| ringing.terminal) {
            Some(Bell::Bell) => terminal.ring(),
            Some(Bell::Osc9) => {
                due.iter()
                    .for_each(|notice| terminal.notify(&words(&info.name, notice)));
            }
            Some(Bell::Off) | None => {}
        }
    }
}

fn ringing(run: &RunState) -> Option<&Ringing> {
    run.info.as_ref()?.ringing.as_ref()
}

/// Returns the text of a notification. It begins with the program's name, because some terminals take a leading number for a
/// command.
fn words(name: &str, notice: &Notice) -> String {
    let text = format!("heirloom {name}: {}", notice.text);
    sanitize(&text).chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::session::Facts;
    use crate::dashboard::tests::realistic::{journal::Moment, run_at};
    use crate::run::notify::Occasion;

    fn notice(occasion: Occasion) -> Notice {
        Notice {
            occasion,
            step: 1,
            text: format!("{}: x", occasion.name()),
        }
    }

    fn session(terminal: Bell, on: &[Occasion]) -> Session {
        let mut run = run_at(Moment::Healthy);
        run.info.as_mut().unwrap().ringing = Some(Ringing {
            terminal,
            on: on.to_vec(),
        });
        Session::new(run, Facts::default())
    }

    #[test]
    fn the_terminal_is_rung_for_what_was_asked_for() {
        let on = [Occasion::Done, Occasion::Nan];
        let session = session(Bell::Bell, &on);
        let mut alerts = Alerts::default();
        assert!(!alerts.gather(Some(Vec::new()), &session));
        assert!(!alerts.gather(Some(vec![notice(Occasion::Best)]), &session));
        assert!(alerts.gather(Some(vec![notice(Occasion::Nan)]), &session));
        assert_eq!(alerts.due.take_all(), [notice(Occasion::Nan)]);
        // Without ringing, only the latest notice is kept.
        for step in 0..1000 {
            let step = Notice {
                step,
                ..notice(Occasion::Nan)
            };
            alerts.gather(Some(vec![step]), &session);
        }
        let steps: Vec<u64> = alerts.due.take_all().iter().map(|n| n.step).collect();
        assert_eq!(steps, [999]);
        // A run that is only read, and one without the setting.
        assert!(!Alerts::default().gather(None, &session));
        let plain = Session::new(run_at(Moment::Healthy), Facts::default());
        let news = vec![notice(Occasion::Done)];
        assert!(!Alerts::default().gather(Some(news), &plain));
    }

    #[test]
    fn a_stall_rings_once_and_one_that_was_there_before_not_at_all() {
        let run = run_at(Moment::Healthy);
        let later = |seconds: i64| Some(run.t + 1000 * seconds);
        let mut alerts = Alerts::default();
        assert_eq!(alerts.stall(&run, later(1)), None);
        let notice = alerts.stall(&run, later(100_000)).unwrap();
        assert_eq!(notice.occasion, Occasion::Stall);
        assert_eq!(alerts.stall(&run, later(100_001)), None);
        let mut late = Alerts::default();
        assert_eq!(late.stall(&run, later(100_000)), None);
        assert_eq!(late.stall(&run, later(100_001)), None);
        // It trains again, and stalls again.
        let mut again = run.clone();
        again.seq += 1;
        assert!(late.stall(&again, later(200_000)).is_some());
    }

    #[test]
    fn a_notification_is_short_text() {
        let hostile = Notice {
            text: format!("done: a\u{1b}]9;b\u{7}\u{9c}{}", "x".repeat(200)),
            ..notice(Occasion::Done)
        };
        let text = words("4;1\u{1b}\\", &hostile);
        assert!(text.starts_with("heirloom 4;1: done: a"), "{text}");
        assert_eq!(text.chars().count(), LONGEST);
        assert!(!text.contains(char::is_control));
    }
}
