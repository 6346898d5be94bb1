//! The `:` line: commands in words, the same as `heirloom ctl` takes.

use std::time::Instant;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::update::{Effect, LOCK, prompt_key};
use crate::run::command::Command;
use crate::run::event::Phase;
use crate::run::state::RunState;
use crate::run::words::{self, USAGES};

/// Longest line, in characters.
const LONGEST: usize = 200;

/// What the screen itself understands besides the trainer's commands.
const TAKE_CONTROL: (&str, &str) = ("take-control", "take the control over from whoever has it");

/// A command being typed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LinePrompt {
    pub text: String,
    /// Why the line was not understood.
    pub error: Option<String>,
    /// What is about to be done.
    pub confirming: Option<Confirming>,
}

/// A drastic command that is asked about: since when, and of which stretch of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirming {
    pub command: Command,
    since: Instant,
    of: Stretch,
}

/// The phase and the event it began to run with.
type Stretch = (Option<(Phase, u64)>, u64);

fn stretch(run: &RunState) -> Stretch {
    let phase = run.core.phase.as_ref();
    let phase = phase.map(|p| (p.phase.clone(), p.began_at));
    (phase, run.running_since)
}

impl LinePrompt {
    /// Takes a key. Returns whether the line stays open, and what is to be done.
    pub fn on_key(&mut self, run: &RunState, key: &KeyEvent, now: Instant) -> (bool, Vec<Effect>) {
        let stay = (true, Vec::new());
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if key.code == KeyCode::Char('c') && control {
            return (false, Vec::new());
        }
        if let Some(asked) = &self.confirming {
            let settled = now.duration_since(asked.since) >= LOCK;
            return match prompt_key(key) {
                KeyCode::Enter | KeyCode::Char('y') if settled && asked.of != stretch(run) => {
                    self.error = Some("not done: the run is elsewhere by now".into());
                    self.confirming = None;
                    stay
                }
                KeyCode::Enter | KeyCode::Char('y') if settled => {
                    (false, vec![Effect::Send(asked.command.clone())])
                }
                KeyCode::Esc | KeyCode::Char('n') => {
                    self.confirming = None;
                    stay
                }
                _ => stay,
            };
        }
        match key.code {
            KeyCode::Esc => return (false, Vec::new()),
            KeyCode::Backspace if self.text.is_empty() => return (false, Vec::new()),
            KeyCode::Backspace => {
                self.text.pop();
            }
            KeyCode::Char('u') if control => self.text.clear(),
            KeyCode::Char(_) if control || key.modifiers.contains(KeyModifiers::ALT) => {}
            KeyCode::Char(c) if self.text.chars().count() < LONGEST => self.text.push(c),
            KeyCode::Tab => self.complete(),
            KeyCode::Enter => return self.enter(run, now),
            _ => return stay,
        }
        self.error = None;
        stay
    }

    fn enter(&mut self, run: &RunState, now: Instant) -> (bool, Vec<Effect>) {
        let words: Vec<&str> = self.text.split_whitespace().collect();
        if words.is_empty() {
            return (false, Vec::new());
        }
        if words == [TAKE_CONTROL.0] {
            return (false, vec![Effect::TakeControl]);
        }
        match words::parse(&words) {
            Ok(command) if words::is_drastic(&command) => {
                self.confirming = Some(Confirming {
                    command,
                    since: now,
                    of: stretch(run),
                });
                (true, Vec::new())
            }
            Ok(command) => (false, vec![Effect::Send(command)]),
            Err(error) => {
                self.error = Some(error);
                (true, Vec::new())
            }
        }
    }

    /// Completes the first word when there is only one way to.
    fn complete(&mut self) {
        let fitting = self.fitting();
        if let [(usage, _)] = fitting[..] {
            let mut fixed = usage
                .split(' ')
                .take_while(|w| !w.contains(|c: char| c.is_uppercase() || c == '['));
            let first = fixed.next().unwrap_or_default().to_string();
            let line = fixed.fold(first, |line, word| format!("{line} {word}"));
            if line.starts_with(self.text.trim_end()) {
                let more = if line.len() < usage.len() { " " } else { "" };
                self.text = format!("{line}{more}");
            }
        }
    }

    /// The commands that the line may become, with what they do.
    pub fn fitting(&self) -> Vec<(&'static str, &'static str)> {
        let typed = self.text.split(' ').next().unwrap_or_default();
        let whole = self.text.contains(' ');
        let all = USAGES.iter().map(|u| (u.words, u.help));
        all.chain([TAKE_CONTROL])
            .filter(|(words, _)| {
                let name = words.split(' ').next().unwrap_or_default();
                if whole {
                    name == typed
                } else {
                    name.starts_with(typed)
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &mut LinePrompt, text: &str, now: Instant) -> (bool, Vec<Effect>) {
        let mut last = (true, Vec::new());
        for c in text.chars() {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                c => KeyCode::Char(c),
            };
            let run = RunState::default();
            last = line.on_key(&run, &KeyEvent::new(code, KeyModifiers::NONE), now);
        }
        last
    }

    #[test]
    fn a_command_is_sent_and_a_drastic_one_is_confirmed_first() {
        let now = Instant::now();
        let send = |command| (false, vec![Effect::Send(command)]);
        let mut line = LinePrompt::default();
        assert_eq!(
            typed(&mut line, "lr 2e-4\n", now),
            send(Command::SetLr { lr: 2e-4 })
        );
        let mut line = LinePrompt::default();
        assert_eq!(typed(&mut line, "stop\n", now), (true, Vec::new()));
        // An Enter too many confirms nothing.
        assert_eq!(typed(&mut line, "\n", now), (true, Vec::new()));
        assert_eq!(
            typed(&mut line, "\n", now + LOCK),
            send(Command::Stop { decision: None })
        );
        let mut line = LinePrompt::default();
        assert_eq!(
            typed(&mut line, "take-control\n", now),
            (false, vec![Effect::TakeControl])
        );
    }

    #[test]
    fn a_question_about_another_stretch_of_the_run_is_not_answered() {
        let now = Instant::now();
        let mut line = LinePrompt::default();
        typed(&mut line, "quit\n", now);
        let mut run = RunState::default();
        run.running_since = 7;
        let enter = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        assert_eq!(line.on_key(&run, &enter, now + LOCK), (true, Vec::new()));
        assert!(line.error.unwrap().contains("elsewhere"));
        // Esc followed at once by another key goes back, whatever the key.
        let mut line = LinePrompt::default();
        typed(&mut line, "quit\n", now);
        let both = KeyEvent::new(KeyCode::Char('y'), KeyModifiers::ALT);
        assert_eq!(
            line.on_key(&RunState::default(), &both, now + LOCK),
            (true, Vec::new())
        );
        assert!(line.confirming.is_none());
    }

    #[test]
    fn what_is_not_understood_stays_to_be_mended() {
        let now = Instant::now();
        let mut line = LinePrompt::default();
        typed(&mut line, "grwo 2\n", now);
        assert!(line.error.as_ref().unwrap().contains("did you mean grow"));
        typed(&mut line, "x", now);
        assert_eq!((line.text.as_str(), line.error), ("grwo 2x", None));
    }

    #[test]
    fn tab_completes_what_is_clear() {
        let now = Instant::now();
        for (text, wanted) in [
            ("pa\t", "pause"),
            ("gr\t", "grow "),
            ("r\t", "r"),
            ("se\t", "set lr "),
            ("tr\t", "train-on "),
        ] {
            let mut line = LinePrompt::default();
            typed(&mut line, text, now);
            assert_eq!(line.text, wanted);
        }
    }
}
